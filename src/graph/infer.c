/* Runs shape inference node by node; the per-operator rules are in infer_*.c. */
#include "base/error.h"
#include "graph/graph.h"

static cr_status check_counts(const cr_node *n, cr_error *err)
{
    const cr_op_def *op = n->op;
    CR_CHECK(n->n_in >= op->min_in && (op->max_in < 0 || n->n_in <= op->max_in), err, CR_ERR_FORMAT,
             "node '%s' (%s): %d inputs, expected %d to %d", n->name, op->name, n->n_in, op->min_in,
             op->max_in);
    CR_CHECK(n->n_out >= op->min_out && (op->max_out < 0 || n->n_out <= op->max_out), err,
             CR_ERR_FORMAT, "node '%s' (%s): %d outputs, expected %d to %d", n->name, op->name,
             n->n_out, op->min_out, op->max_out);
    for (int i = 0; i < op->min_in; i++)
        CR_CHECK(n->in[i], err, CR_ERR_FORMAT, "node '%s' (%s): input %d is missing", n->name,
                 op->name, i);
    return CR_OK;
}

/* Shapes from a hostile file must stay countable: rank and element limits, no negative sizes. */
static cr_status check_output(const cr_node *n, const cr_tensor *t, cr_error *err)
{
    char text[160];
    CR_CHECK(t->shape.rank <= CR_MAX_RANK, err, CR_ERR_LIMIT, "node '%s' (%s): rank above %d",
             n->name, n->op->name, CR_MAX_RANK);
    if (!cr_shape_known(&t->shape)) return CR_OK;
    CR_CHECK(cr_shape_count(&t->shape) >= 0, err, CR_ERR_LIMIT,
             "node '%s' (%s): output '%s' of %s is too large", n->name, n->op->name, t->name,
             cr_shape_text(&t->shape, text, sizeof text));
    return CR_OK;
}

static bool any_unknown(const cr_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && (!cr_shape_known(&n->in[i]->shape) || n->in[i]->dtype == CR_DT_NONE))
            return true;
    return false;
}

static cr_dtype input_type(const cr_node *n, int i)
{
    return i < n->n_in && n->in[i] ? n->in[i]->dtype : CR_DT_NONE;
}

static cr_dtype attr_type(const cr_node *n, const char *name)
{
    const int64_t number = cr_attr_int(n, name, 0);
    return number > 0 && number < 64 ? cr_dtype_from_onnx((int)number) : CR_DT_NONE;
}

static cr_dtype quantized_type(const cr_node *n)
{
    const cr_dtype asked = attr_type(n, "output_dtype");
    if (n->n_in > 2 && n->in[2]) return n->in[2]->dtype;
    return asked != CR_DT_NONE ? asked : CR_DT_U8;
}

/* Type of output k where the shapes are not known, CR_DT_NONE if the input's types do not tell it.
 */
static cr_dtype output_type(const cr_node *n, int k)
{
    switch (n->op->kind) {
    case CR_OP_Shape:
    case CR_OP_Size:
    case CR_OP_NonZero:
    case CR_OP_ArgMax:
    case CR_OP_ArgMin:
    case CR_OP_NonMaxSuppression:
        return CR_DT_I64;
    case CR_OP_And:
    case CR_OP_Or:
    case CR_OP_Xor:
    case CR_OP_Equal:
    case CR_OP_Greater:
    case CR_OP_GreaterOrEqual:
    case CR_OP_Less:
    case CR_OP_LessOrEqual:
    case CR_OP_IsNaN:
    case CR_OP_IsInf:
        return CR_DT_BOOL;
    case CR_OP_Cast:
        return attr_type(n, "to");
    case CR_OP_EyeLike:
        return cr_attr_find(n, "dtype") ? attr_type(n, "dtype") : input_type(n, 0);
    case CR_OP_ConstantOfShape: {
        const cr_attr *a = cr_attr_find(n, "value");
        return a && a->type == CR_ATTR_TENSOR && a->tensor ? a->tensor->dtype : CR_DT_F32;
    }
    case CR_OP_CastLike:
    case CR_OP_Where:
    case CR_OP_DequantizeLinear:
        return input_type(n, 1);
    case CR_OP_OneHot:
    case CR_OP_QLinearConcat:
        return input_type(n, 2);
    case CR_OP_QLinearConv:
    case CR_OP_QLinearMatMul:
        return input_type(n, 7);
    case CR_OP_QuantizeLinear:
        return quantized_type(n);
    case CR_OP_DynamicQuantizeLinear:
        return k == 1 ? CR_DT_F32 : CR_DT_U8;
    case CR_OP_ConvInteger:
    case CR_OP_MatMulInteger:
        return CR_DT_I32;
    case CR_OP_TopK:
    case CR_OP_MaxPool:
        return k == 1 ? CR_DT_I64 : input_type(n, 0);
    case CR_OP_Dropout:
        return k == 1 ? CR_DT_BOOL : input_type(n, 0);
    case CR_OP_LayerNormalization:
        return k >= 1 ? CR_DT_F32 : input_type(n, 0);
    default:
        return input_type(n, 0);
    }
}

/* What is written into a tensor does not change its shape. Exports with suppression inside end so:
 * a varying number of rows goes into a result of fixed size. */
static bool keeps_known_shape(const cr_node *n)
{
    return (n->op->kind == CR_OP_ScatterND || n->op->kind == CR_OP_ScatterElements) &&
           cr_shape_known(&n->in[0]->shape);
}

/* Behind a data-dependent shape (NonZero ...) only the type is passed on; the session infers the
 * rest when it runs, and checks shapes that were known before. */
static void spread_unknown(const cr_node *n)
{
    for (int k = 0; k < n->n_out; k++) {
        if (!n->out[k]) continue;
        n->out[k]->shape = keeps_known_shape(n) ? n->in[0]->shape : cr_shape_unknown();
        n->out[k]->dtype = output_type(n, k);
    }
}

cr_status cr_node_infer(const cr_node *n, cr_error *err)
{
    CR_TRY(check_counts(n, err));
    if (any_unknown(n)) {
        spread_unknown(n);
        return CR_OK;
    }
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    CR_TRY(n->op->infer(&call, err));
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]) CR_TRY(check_output(n, n->out[i], err));
    return CR_OK;
}

cr_status cr_graph_infer(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) CR_TRY(cr_node_infer(g->nodes[i], err));
    return CR_OK;
}
