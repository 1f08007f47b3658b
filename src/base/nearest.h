/* The names nearest to one that was not found, for messages. */
#ifndef CR_BASE_NEAREST_H
#define CR_BASE_NEAREST_H

#include <stddef.h>

enum { CR_NEAREST = 3 };

typedef struct cr_nearest {
    const char *query;
    const char *names[CR_NEAREST]; /* nearest first; NULL: fewer were seen */
    int far[CR_NEAREST];
} cr_nearest;

/* query: a name, or a glob pattern, whose stars count for nothing. Kept, as are the names. */
cr_nearest cr_nearest_to(const char *query);
/* Looks at one more name; names of no length and names that are held already are passed over. */
void cr_nearest_see(cr_nearest *n, const char *name);
/* "a, b, c"; "" if none was seen. */
const char *cr_nearest_text(const cr_nearest *n, char *text, size_t size);

#endif
