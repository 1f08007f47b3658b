/* Edit distance (Wagner & Fischer 1974) with costs for people who type part of a name: a character
 * that the name has and the query lacks costs 1 (0 where the query has a star), a wrong or surplus
 * one WRONG. So part of a name is near to the whole. And a name that stands whole in the query is
 * near: two names that lack a comma between them, as in a script that circulates. */
#define _POSIX_C_SOURCE 200809L
#include "base/nearest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { COMPARED = 128, WRONG = 20, CONTAINED = 4 };

/* Of the last COMPARED characters, case ignored. */
static int distance(const char *query, const char *name)
{
    int row[COMPARED + 1];
    const size_t q = strlen(query), n = strlen(name);
    if (q > COMPARED) query += q - COMPARED;
    if (n > COMPARED) name += n - COMPARED;
    if (n >= CONTAINED && strstr(query, name)) return (int)strlen(query) - (int)strlen(name);
    row[0] = 0;
    for (int j = 0; query[j]; j++) row[j + 1] = row[j] + (query[j] == '*' ? 0 : WRONG);
    for (; *name; name++) {
        int diagonal = row[0]++;
        for (int j = 0; query[j]; j++) {
            const bool star = query[j] == '*';
            const int wrong = star ? 0 : WRONG, skip = star ? 0 : 1;
            const int change = diagonal + (strncasecmp(&query[j], name, 1) ? wrong : 0);
            diagonal = row[j + 1];
            const int least = row[j] + wrong < diagonal + skip ? row[j] + wrong : diagonal + skip;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[strlen(query)];
}

cr_nearest cr_nearest_to(const char *query)
{
    cr_nearest n = {.query = query};
    for (int i = 0; i < CR_NEAREST; i++) n.far[i] = INT_MAX;
    return n;
}

void cr_nearest_see(cr_nearest *n, const char *name)
{
    if (!*name) return;
    for (int i = 0; i < CR_NEAREST; i++)
        if (n->names[i] && !strcmp(n->names[i], name)) return;
    const int d = distance(n->query, name);
    int place = CR_NEAREST;
    while (place > 0 && d < n->far[place - 1]) place--;
    for (int i = CR_NEAREST - 1; i > place; i--) {
        n->names[i] = n->names[i - 1];
        n->far[i] = n->far[i - 1];
    }
    if (place == CR_NEAREST) return;
    n->names[place] = name;
    n->far[place] = d;
}

const char *cr_nearest_text(const cr_nearest *n, char *text, size_t size)
{
    text[0] = 0;
    for (int i = 0; i < CR_NEAREST && n->names[i]; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%.96s", i ? ", " : "", n->names[i]);
    }
    return text;
}
