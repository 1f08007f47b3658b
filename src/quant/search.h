/* The cheapest choice per layer within a budget of loss, on numbers alone: what the choices are,
 * how they are measured and what is lost are the caller's (pipeline/budget.c). */
#ifndef CR_QUANT_SEARCH_H
#define CR_QUANT_SEARCH_H

#include <stddef.h>

#include "crayon/status.h"

enum { CR_SEARCH_CHOICES = 4 };

typedef struct cr_search_table {
    size_t layers;
    /* by layer and choice; an infinite cost: this choice is not to be had. Every layer has one. */
    const double (*cost)[CR_SEARCH_CHOICES];
    const double (*loss)[CR_SEARCH_CHOICES]; /* an estimate that adds up over layers, >= 0 */
    int limited;                             /* this choice ... */
    size_t limit;                            /* ... for at most so many layers */
} cr_search_table;

/* One step on the way from the cheapest choices to the most exact ones. */
typedef struct cr_search_step {
    size_t layer;
    int from, to;
} cr_search_step;

typedef struct cr_search_path {
    int *start; /* [layers] */
    cr_search_step *steps;
    size_t count;
} cr_search_path;

cr_status cr_search_find_path(const cr_search_table *t, cr_search_path *out, cr_error *err);
void cr_search_path_release(cr_search_path *p);
/* The choices after the first `steps` steps. */
void cr_search_choices(const cr_search_table *t, const cr_search_path *p, size_t steps,
                       int *choice);

/* Is this choice within the budget? Measured, so it costs time and may be noisy. */
typedef cr_status (*cr_search_measure)(void *user, const int *choice, bool *within, cr_error *err);

/* Finds how far along the path to go: bisection for the first step that is within the budget, then
 * `repairs` attempts to take single steps back, the least useful ones first. choice[layers] has
 * been measured to be within, unless even the end of the path is not: then *found is false and
 * choice is that end. Measures about log2(steps) + repairs + 1 times. */
cr_status cr_search_run(const cr_search_table *t, size_t repairs, cr_search_measure measure,
                        void *user, int *choice, bool *found, cr_error *err);

#endif
