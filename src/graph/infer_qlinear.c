#include "graph/qlinear.h"

#include "base/error.h"
#include "graph/infer_all.h"
#include "graph/shape.h"

static const cr_qlinear_form forms[] = {
    {CR_OP_QLinearAdd, CR_OP_Add, 0, 6},
    {CR_OP_QLinearMul, CR_OP_Mul, 0, 6},
    {CR_OP_QLinearSigmoid, CR_OP_Sigmoid, 0, 3},
    {CR_OP_QLinearLeakyRelu, CR_OP_LeakyRelu, 0, 3},
    {CR_OP_QLinearSoftmax, CR_OP_Softmax, 0, 3},
    {CR_OP_QLinearAveragePool, CR_OP_AveragePool, 0, 3},
    {CR_OP_QLinearGlobalAveragePool, CR_OP_GlobalAveragePool, 0, 3},
    {CR_OP_QLinearConcat, CR_OP_Concat, 2, 0},
};
enum { FORMS = sizeof forms / sizeof *forms };

const cr_qlinear_form *cr_qlinear_form_of(cr_op_kind kind)
{
    for (int i = 0; i < FORMS; i++)
        if (forms[i].kind == kind) return &forms[i];
    return NULL;
}

const cr_qlinear_form *cr_qlinear_form_for(cr_op_kind plain)
{
    for (int i = 0; i < FORMS; i++)
        if (forms[i].plain == plain) return &forms[i];
    return NULL;
}

int cr_qlinear_operands(const cr_qlinear_form *f, const cr_node *n)
{
    return f->first ? (n->n_in - f->first + 2) / 3 : f->y / 3;
}

cr_status cr_qlinear_open(const cr_op_call *call, cr_tensor *y, cr_qlinear_plain *p, cr_error *err)
{
    const cr_qlinear_form *f = cr_qlinear_form_of(call->node->op->kind);
    const int n = cr_qlinear_operands(f, call->node);
    *p = (cr_qlinear_plain){.node = *call->node, .out = {y}};
    p->node.op = cr_op_get(f->plain);
    p->node.n_in = n;
    p->in = cr_calloc((size_t)n, sizeof *p->in);
    p->floats = cr_calloc((size_t)n, sizeof *p->floats);
    if (!p->in || !p->floats) {
        cr_qlinear_close(p);
        return CR_NOMEM(err);
    }
    for (int i = 0; i < n; i++) {
        const cr_tensor *codes = call->in[f->first + 3 * i];
        p->floats[i] = (cr_tensor){.name = codes->name, .dtype = CR_DT_F32, .shape = codes->shape};
        p->in[i] = &p->floats[i];
    }
    p->call = (cr_op_call){&p->node, p->in, p->out, n, 1};
    return CR_OK;
}

void cr_qlinear_close(cr_qlinear_plain *p)
{
    for (int i = 0; p->floats && i < p->node.n_in; i++) cr_tensor_drop_data(&p->floats[i]);
    cr_free(p->floats);
    cr_free(p->in);
    p->floats = NULL;
    p->in = NULL;
}

/* Codes of one type, one float scale and one zero point of that type each. */
static cr_status check_triple(const cr_op_call *call, int scale, cr_error *err)
{
    static const unsigned bytes = CR_DT_BIT(I8) | CR_DT_BIT(U8);
    CR_OP_CHECK(cr_op_in(call, scale), call, err, "input %d, a scale, is missing", scale);
    CR_TRY(cr_op_check_dtype(call, scale, CR_DT_BIT(F32), err));
    CR_TRY(cr_op_check_scalar(call, scale, err));
    CR_TRY(cr_op_check_dtype(call, scale + 1, bytes, err));
    return cr_op_check_scalar(call, scale + 1, err);
}

cr_status cr_infer_qlinear_float(const cr_op_call *call, cr_error *err)
{
    const cr_qlinear_form *f = cr_qlinear_form_of(call->node->op->kind);
    const int n = cr_qlinear_operands(f, call->node);
    CR_OP_CHECK(!cr_attr_int(call->node, "channels_last", 0), call, err,
                "pictures with channels last are not read");
    for (int i = 0; i < n; i++) {
        const int at = f->first + 3 * i;
        CR_OP_CHECK(cr_op_in(call, at), call, err, "input %d is missing", at);
        CR_TRY(cr_op_check_dtype(call, at, CR_DT_BIT(I8) | CR_DT_BIT(U8), err));
        CR_TRY(check_triple(call, at + 1, err));
        CR_TRY(cr_op_check_same(call, at + 2, at, err));
        CR_TRY(cr_op_check_same(call, at, f->first, err));
    }
    CR_TRY(check_triple(call, f->y, err));
    CR_TRY(cr_op_check_same(call, f->y + 1, f->first, err));
    cr_tensor y = {.name = "", .dtype = CR_DT_F32, .shape = cr_shape_unknown()};
    cr_qlinear_plain plain;
    CR_TRY(cr_qlinear_open(call, &y, &plain, err));
    const cr_status st = plain.node.op->infer(&plain.call, err);
    cr_qlinear_close(&plain);
    if (st != CR_OK) return st;
    return cr_op_set_out(call, 0, call->in[f->first]->dtype, &y.shape, err);
}
