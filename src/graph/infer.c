/* Runs shape inference node by node; the per-operator rules are in infer_*.c. */
#include "base/error.h"
#include "graph/graph.h"

static cr_status check_counts(const cr_node *n, cr_error *err)
{
    const cr_op_def *op = n->op;
    CR_CHECK(n->n_in >= op->min_in && (op->max_in < 0 || n->n_in <= op->max_in), err,
             CR_ERR_FORMAT, "node '%s' (%s): %d inputs, expected %d to %d", n->name, op->name,
             n->n_in, op->min_in, op->max_in);
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

/* Behind a data-dependent shape (NonZero ...) only the type is passed on; the session infers the
 * rest when it runs. */
static void spread_unknown(const cr_node *n)
{
    for (int i = 0; i < n->n_out; i++) {
        if (!n->out[i]) continue;
        n->out[i]->shape = cr_shape_unknown();
        if (n->out[i]->dtype == CR_DT_NONE && n->in[0]) n->out[i]->dtype = n->in[0]->dtype;
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
