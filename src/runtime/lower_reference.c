/* Operators without a fast path: the reference implementation on row-major tensors. */
#include <string.h>

#include "base/error.h"
#include "ops/ref.h"
#include "runtime/integer_conv.h"
#include "runtime/integer_live.h"
#include "runtime/integer_matmul.h"
#include "runtime/program.h"

enum { MAX_ARGS = 256 };

static cr_status check_same(const cr_step *s, const cr_tensor *planned, const cr_tensor *now,
                            cr_error *err)
{
    CR_CHECK(cr_shape_equal(&planned->shape, &now->shape) && planned->dtype == now->dtype, err,
             CR_ERR_INTERNAL, "node '%s' (%s): the shape of '%s' changed while running",
             s->node->name, s->node->op->name, planned->name);
    return CR_OK;
}

/* Outputs of fixed shape are evaluated in place; the others are allocated by cr_op_run. */
static cr_status run_reference(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_tensor *in[MAX_ARGS];
    cr_tensor *out[MAX_ARGS], fixed[MAX_ARGS];
    bool dynamic = false;
    for (int i = 0; i < s->n_in; i++) in[i] = s->in[i] < 0 ? NULL : &session->shells[s->in[i]];
    for (int i = 0; i < s->n_out; i++) {
        out[i] = s->out[i] < 0 ? NULL : &session->shells[s->out[i]];
        dynamic |= out[i] && session->program->values[s->out[i]].dynamic;
    }
    cr_op_call call = {s->node, in, out, s->n_in, s->n_out};
    if (dynamic) return cr_op_run(&call, err);
    for (int i = 0; i < s->n_out; i++) {
        if (!out[i]) continue;
        fixed[i] = *out[i];
        out[i] = &fixed[i];
    }
    CR_TRY(s->node->op->infer(&call, err));
    for (int i = 0; i < s->n_out; i++)
        if (out[i]) CR_TRY(check_same(s, &session->shells[s->out[i]], out[i], err));
    return cr_op_eval(&call, err);
}

/* An integer convolution that the fast kernels do not take (1-D, 3-D, very large kernels), or such
 * a product. */
static cr_status run_integer(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_recipe_entry *const *entries = session->program->entries;
    cr_tensor y = session->shells[s->out[0]];
    if (cr_matmul_takes_integers(entries, s->node))
        return cr_integer_matmul(entries, s->node, &session->shells[s->in[0]],
                                 &session->shells[s->in[1]], &y, err);
    return cr_integer_conv(entries, s->node, &session->shells[s->in[0]], &y, err);
}

static cr_status run_live(const cr_step *s, cr_session *session, cr_error *err)
{
    cr_tensor y = session->shells[s->out[0]];
    return cr_live_eval(session->program->entries, s->node, &session->shells[s->in[0]], &y, err);
}

/* A weight with an entry: the operator sees dequantize(quantize(W)). */
static cr_status quantized_constant(cr_program *p, const cr_tensor *t, int *value, cr_error *err)
{
    const float *data;
    CR_TRY(cr_program_weights(p, t, &data, err));
    CR_TRY(cr_program_output(p, t, CR_DT_F32, false, value, err));
    p->values[*value].fixed = data;
    return CR_OK;
}

static cr_status reference_input(cr_program *p, const cr_tensor *t, int *value, cr_error *err)
{
    if (t->data && cr_program_entry(p, t)) return quantized_constant(p, t, value, err);
    return cr_program_need(p, t, t->dtype, false, value, err);
}

cr_status cr_lower_reference(cr_program *p, const cr_node *n, cr_error *err)
{
    int in[MAX_ARGS];
    CR_CHECK(n->n_in <= MAX_ARGS && n->n_out <= MAX_ARGS, err, CR_ERR_LIMIT,
             "node '%s' (%s): more than %d inputs or outputs", n->name, n->op->name, MAX_ARGS);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = -1;
        if (n->in[i]) CR_TRY(reference_input(p, n->in[i], &in[i], err));
    }
    const bool integers =
        cr_conv_takes_integers(p->entries, n) || cr_matmul_takes_integers(p->entries, n);
    const bool live = cr_dynamic_takes(p->live, p->entries, n);
    cr_step *s = cr_program_add_step(p, live ? run_live : integers ? run_integer : run_reference,
                                     n->op->name, n, n->n_in, n->n_out);
    if (!s) return CR_NOMEM(err);
    for (int i = 0; i < n->n_in; i++) s->in[i] = in[i];
    int out[MAX_ARGS];
    for (int i = 0; i < n->n_out; i++) {
        out[i] = -1;
        if (n->out[i])
            CR_TRY(cr_program_output(p, n->out[i], n->out[i]->dtype, false, &out[i], err));
        s->out[i] = out[i];
    }
    for (int i = 0; i < n->n_out; i++)
        if (out[i] >= 0) CR_TRY(cr_program_finish(p, n->out[i], out[i], err));
    return CR_OK;
}
