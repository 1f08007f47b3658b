/* In which order a tensor's axes lie in the file. */
#ifndef CR_TFLITE_TFLITE_LAYOUT_H
#define CR_TFLITE_TFLITE_LAYOUT_H

#include "graph/graph.h"

/* Axis i of the file is axis at[i] of the graph. */
typedef struct cr_layout {
    int rank;
    int at[CR_MAX_RANK];
} cr_layout;

cr_layout cr_layout_plain(int rank);         /* the graph's own order */
cr_layout cr_layout_channels_last(int rank); /* 0, 2, 3, ..., 1 */
bool cr_layout_equal(const cr_layout *a, const cr_layout *b);
/* Where the graph's axis lies in the file. */
int cr_layout_find(const cr_layout *l, int axis);
/* The same bytes in both orders: they differ by axes of length 1 alone. */
bool cr_layout_same_bytes(const cr_layout *a, const cr_layout *b, const cr_shape *s);

/* Of a Reshape from `in` to `out`: how the input has to lie (that of `have`, axes that are split or
 * merged brought together), and how the output then lies, without a value being moved. */
void cr_layout_reshape(const cr_shape *in, const cr_shape *out, const cr_layout *have,
                       cr_layout *need, cr_layout *give);

#endif
