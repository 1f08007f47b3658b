/* A map from names to pointers, for readers and passes that look up many tensors: open addressing,
 * linear probing, at most half full. Keys are not copied: they must outlive the map (names of
 * tensors do, they live in the graph's arena). */
#ifndef CR_GRAPH_NAMES_H
#define CR_GRAPH_NAMES_H

#include "base/mem.h"

typedef struct cr_names {
    struct cr_names_slot *slots;
    size_t cap, count; /* cap is 0 or a power of two */
} cr_names;

void *cr_names_get(const cr_names *m, const char *key); /* NULL if absent */
/* Sets key to a non-NULL value, replacing an older one. False: no memory. */
bool cr_names_put(cr_names *m, const char *key, void *value);
void cr_names_free(cr_names *m); /* leaves an empty map */

#endif
