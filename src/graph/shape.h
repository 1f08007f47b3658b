/* What shape rules and reference operators share: broadcasting, strides, axis and list inputs, the
 * error texts that name a node, and a walk over n-dimensional index space.
 *
 * Strides count elements, not bytes. All of it works on fully known shapes. */
#ifndef CR_GRAPH_SHAPE_H
#define CR_GRAPH_SHAPE_H

#include "base/error.h"
#include "graph/graph.h"

/* Multidirectional broadcasting as numpy does it: shapes are aligned at the last dim, a dim of 1
 * stretches. False when they do not fit. `out` may be one of the inputs. */
bool cr_shape_broadcast(const cr_shape *a, const cr_shape *b, cr_shape *out);

/* Row-major strides of a dense tensor. */
void cr_shape_strides(const cr_shape *s, int64_t strides[CR_MAX_RANK]);

/* Strides that read a dense tensor of shape `in` as if it had the shape `out` it broadcasts to:
 * indexed by out's dims, 0 where `in` is stretched. */
void cr_broadcast_strides(const cr_shape *in, const cr_shape *out, int64_t strides[CR_MAX_RANK]);

/* Product of dims [from, to). */
int64_t cr_shape_span(const cr_shape *s, int from, int to);

/* -rank <= axis < rank, mapped to 0 .. rank-1. */
cr_status cr_axis_normalize(int64_t axis, int rank, const cr_node *node, int *out, cr_error *err);

/* cr_fail with "node 'name' (Op): " in front. */
cr_status cr_op_fail(const cr_op_call *call, cr_error *err, cr_status status, const char *fmt, ...)
    CR_PRINTF(4, 5);

#define CR_OP_CHECK(cond, call, err, ...)                                                          \
    do {                                                                                           \
        if (!(cond)) return cr_op_fail((call), (err), CR_ERR_FORMAT, __VA_ARGS__);                 \
    } while (0)

/* Sets of element types, one bit each. */
#define CR_DT_BIT(name) (1u << CR_DT_##name)
#define CR_DTS_FLOAT    (CR_DT_BIT(F32) | CR_DT_BIT(F64) | CR_DT_BIT(F16) | CR_DT_BIT(BF16))
#define CR_DTS_SIGNED   (CR_DT_BIT(I8) | CR_DT_BIT(I16) | CR_DT_BIT(I32) | CR_DT_BIT(I64))
#define CR_DTS_UNSIGNED (CR_DT_BIT(U8) | CR_DT_BIT(U16) | CR_DT_BIT(U32) | CR_DT_BIT(U64))
#define CR_DTS_NUMERIC  (CR_DTS_FLOAT | CR_DTS_SIGNED | CR_DTS_UNSIGNED)
#define CR_DTS_INDEX    (CR_DT_BIT(I32) | CR_DT_BIT(I64))
#define CR_DTS_ANY      (~0u)

static inline bool cr_dtype_in(cr_dtype t, unsigned set)
{
    return set >> t & 1;
}

/* Input i, or NULL when it is absent. */
static inline const cr_tensor *cr_op_in(const cr_op_call *call, int i)
{
    return i < call->n_in ? call->in[i] : NULL;
}

/* Fails unless input i (if it is there) has an element type of the set. */
cr_status cr_op_check_dtype(const cr_op_call *call, int i, unsigned set, cr_error *err);
/* Fails unless input i (if it is there) has the element type of input `like`. */
cr_status cr_op_check_same(const cr_op_call *call, int i, int like, cr_error *err);
/* Fails unless input i (if it is there) holds exactly one element. */
cr_status cr_op_check_scalar(const cr_op_call *call, int i, cr_error *err);

/* Gives output i its type and shape. An absent output is passed over where the operator allows it
 * (several outputs) and is an error where it is the only one. */
cr_status cr_op_set_out(const cr_op_call *call, int i, cr_dtype dtype, const cr_shape *shape,
                        cr_error *err);

/* Reads input i, a list of at most `max` int32 or int64 (1-D, or a scalar), into values. *count is
 * -1 when the data are not known yet (its length is checked all the same), 0 when it is absent. */
cr_status cr_op_ints(const cr_op_call *call, int i, int max, int64_t *values, int *count,
                     cr_error *err);

/* Reads an optional axes input into a flag per dimension. *count: how many, -1 data not known yet,
 * 0 absent. Repeated or out-of-range axes fail. */
cr_status cr_op_axes(const cr_op_call *call, int i, int rank, bool flags[CR_MAX_RANK], int *count,
                     cr_error *err);

/* A walk over all indices of a shape, last dim fastest, that carries up to three offsets along:
 *
 *     cr_walk w = cr_walk_begin(&shape);
 *     cr_broadcast_strides(&a, &shape, w.stride[0]);
 *     for (int64_t i = 0; i < count; i++, cr_walk_next(&w)) use(w.at[0]);
 *
 * Strides of offsets that are not used stay 0. An offset may start anywhere: set at[] first. */
enum { CR_WALK_OFFSETS = 3 };
typedef struct cr_walk {
    cr_shape shape;
    int64_t index[CR_MAX_RANK];
    int64_t stride[CR_WALK_OFFSETS][CR_MAX_RANK];
    int64_t at[CR_WALK_OFFSETS];
} cr_walk;

cr_walk cr_walk_begin(const cr_shape *shape);
void cr_walk_next(cr_walk *w);

#endif
