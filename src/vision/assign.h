/* The cheapest way to pair rows with columns. */
#ifndef CR_VISION_ASSIGN_H
#define CR_VISION_ASSIGN_H

#include "crayon/status.h"

/* cost[rows, columns], finite, >= 0. Pairs as many as there are of the fewer, with the least sum,
 * and then undoes pairs that cost more than `most`. column_of[rows]: -1 for none. Kuhn 1955,
 * Munkres 1957, in the form with potentials and shortest augmenting paths, rows * rows * columns
 * steps. */
cr_status cr_assign(const float *cost, int rows, int columns, float most, int *column_of,
                    cr_error *err);

#endif
