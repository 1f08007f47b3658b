/* Half-precision models compute in float32 here: fp16 files are a way to store weights, CPUs mostly
 * have no arithmetic for them, and calibration wants full precision. float16 to float32 is exact.
 */
#include "base/error.h"
#include "onnx/onnx.h"

static bool is_half(cr_dtype t)
{
    return t == CR_DT_F16 || t == CR_DT_BF16;
}

static cr_status widen_data(cr_tensor *t, cr_error *err)
{
    if (!is_half(t->dtype)) return CR_OK;
    cr_tensor wide = {.name = t->name, .dtype = CR_DT_F32, .shape = t->shape};
    if (t->data) {
        if (!cr_tensor_alloc(&wide)) return CR_NOMEM(err);
        const size_t n = (size_t)cr_shape_count(&t->shape);
        for (size_t i = 0; i < n; i++) ((float *)wide.data)[i] = (float)cr_tensor_get_f64(t, i);
        cr_tensor_drop_data(t);
        t->data = wide.data;
    }
    t->dtype = CR_DT_F32;
    return CR_OK;
}

/* Attributes that name an element type: Cast's `to`, EyeLike's `dtype`, (De)QuantizeLinear's
 * `output_dtype`. A CastLike follows its second input. */
static cr_status widen_attrs(cr_node *n, cr_error *err)
{
    static const char *const types[] = {"to", "dtype", "output_dtype"};
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].type == CR_ATTR_TENSOR) CR_TRY(widen_data(n->attrs[i].tensor, err));
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        const cr_attr *a = cr_attr_find(n, types[k]);
        if (!a || a->type != CR_ATTR_INT || a->i < 0 || a->i > 100) continue;
        if (is_half(cr_dtype_from_onnx((int)a->i)))
            n->attrs[a - n->attrs].i = cr_dtype_to_onnx(CR_DT_F32);
    }
    return CR_OK;
}

cr_status cr_graph_widen_half(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->tensor_count; i++) CR_TRY(widen_data(g->tensors[i], err));
    for (size_t i = 0; i < g->node_count; i++) CR_TRY(widen_attrs(g->nodes[i], err));
    return CR_OK;
}
