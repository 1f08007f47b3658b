/* Readings of movement operators that shape inference and evaluation share. */
#ifndef CR_GRAPH_INFER_MOVE_H
#define CR_GRAPH_INFER_MOVE_H

#include "graph/shape.h"

/* Slice: where each dim starts and how it steps; `out` has -1 in every dim as long as an input's
 * data are not known. */
typedef struct cr_slice_plan {
    int64_t start[CR_MAX_RANK], step[CR_MAX_RANK];
    cr_shape out;
} cr_slice_plan;
cr_status cr_slice_resolve(const cr_op_call *call, cr_slice_plan *plan, cr_error *err);

/* Pad: elements added (negative: removed) before and after each dim; `known` as above. */
typedef struct cr_pad_plan {
    int64_t before[CR_MAX_RANK], after[CR_MAX_RANK];
    bool known;
} cr_pad_plan;
cr_status cr_pad_resolve(const cr_op_call *call, cr_pad_plan *plan, cr_error *err);

/* Transpose: output dim i is input dim perm[i]. */
cr_status cr_perm_resolve(const cr_op_call *call, int perm[CR_MAX_RANK], cr_error *err);

#endif
