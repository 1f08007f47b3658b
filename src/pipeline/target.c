/* Models as TFLite wants them. */
#include "pipeline/target.h"

#include "base/error.h"
#include "graph/passes.h"
#include "quant/full_plan.h"

static bool boxes_in_pixels(const cr_graph *g, const cr_head *h)
{
    const bool decoded =
        h->kind == CR_HEAD_YOLOV8 || h->kind == CR_HEAD_POSE || h->kind == CR_HEAD_YOLOV5;
    return decoded && !h->fractions && g->output_count > 0 && g->outputs[0]->shape.rank == 3 &&
           g->outputs[0]->dtype == CR_DT_F32 && h->input_width > 0 && h->input_height > 0;
}

/* x, y, w, h in front; x and y of keypoints behind the classes. */
static cr_status to_fractions(cr_graph *g, cr_head *h, cr_error *err)
{
    const cr_shape *s = &g->outputs[0]->shape;
    const int axis = h->kind == CR_HEAD_YOLOV5 || h->transposed ? 2 : 1;
    const int64_t n = s->dim[axis], points = 4 + h->classes;
    const float side[2] = {1 / (float)h->input_width, 1 / (float)h->input_height};
    float *factor = n < 4 ? NULL : cr_malloc((size_t)n * sizeof *factor);
    if (!factor) return CR_NOMEM(err);
    for (int64_t i = 0; i < n; i++) factor[i] = i < 4 ? side[i & 1] : 1;
    for (int64_t k = 0; h->kind == CR_HEAD_POSE && k < h->keypoints; k++)
        for (int64_t i = 0; i < 2; i++)
            if (points + k * h->keypoint_dims + i < n)
                factor[points + k * h->keypoint_dims + i] = side[i];
    const cr_status st = cr_graph_scale_output(g, 0, axis, factor, err);
    cr_free(factor);
    h->fractions = st == CR_OK;
    return st;
}

static cr_status reaches_decoding(const cr_graph *g, const cr_recipe *r, bool *yes, cr_error *err)
{
    const cr_recipe_entry **found;
    cr_role *roles;
    CR_TRY(cr_recipe_bind(r, g, &found, err));
    const cr_status st = cr_roles_find(g, &roles, err);
    *yes = false;
    for (size_t i = 0; st == CR_OK && i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_out; k++)
            *yes |=
                roles[i] == CR_ROLE_DECODE && g->nodes[i]->out[k] && found[g->nodes[i]->out[k]->id];
    if (st == CR_OK) cr_free(roles);
    cr_free(found);
    return st;
}

cr_status cr_target_graph(const cr_graph *source, const cr_recipe *r, cr_head *head, cr_graph **out,
                          cr_error *err)
{
    cr_graph *g;
    *out = NULL;
    CR_TRY(cr_graph_clone(source, &g, err));
    cr_status st = cr_graph_split_activations(g, err);
    bool decodes_integers = false;
    if (st == CR_OK && r) st = reaches_decoding(source, r, &decodes_integers, err);
    if (st == CR_OK && !decodes_integers && boxes_in_pixels(g, head))
        st = to_fractions(g, head, err);
    if (st != CR_OK) cr_graph_free(&g);
    *out = g;
    return st;
}

static cr_status split_graph(const cr_graph *source, cr_graph **out, cr_error *err)
{
    CR_TRY(cr_graph_clone(source, out, err));
    const cr_status st = cr_graph_split_activations(*out, err);
    if (st != CR_OK) cr_graph_free(out);
    return st;
}

cr_status cr_model_set_target(cr_model *m, cr_target target, cr_error *err)
{
    cr_head head = m->head;
    cr_graph *g;
    cr_role *roles;
    CR_CHECK(!m->recipe && !m->stored, err, CR_ERR_ARGUMENT,
             "%s: has a recipe or 16-bit floats already; choose the target first", m->info.path);
    if (!cr_target_splits(target)) {
        m->target = target;
        return CR_OK;
    }
    CR_TRY(cr_target_is_full(target) ? cr_target_graph(m->graph, NULL, &head, &g, err)
                                     : split_graph(m->graph, &g, err));
    const cr_status st = cr_roles_find(g, &roles, err);
    if (st != CR_OK) {
        cr_graph_free(&g);
        return st;
    }
    if (m->read)
        cr_graph_free(&m->graph);
    else
        m->read = m->graph;
    cr_free(m->roles);
    m->graph = g;
    m->roles = roles;
    m->target = target;
    m->head = m->info.head = head;
    m->info.nodes = g->node_count;
    m->info.tensors = g->tensor_count;
    return CR_OK;
}

cr_status cr_model_swap_activation(cr_model *m, cr_activation activation, size_t *count,
                                   cr_error *err)
{
    static const cr_op_kind kinds[] = {CR_OP_Clip, CR_OP_Relu, CR_OP_LeakyRelu, CR_OP_HardSwish};
    *count = 0;
    CR_CHECK(!m->recipe && !m->stored && m->target == CR_TARGET_CRAYON, err, CR_ERR_ARGUMENT,
             "%s: has a recipe, 16-bit floats or a target already; swap activations first",
             m->info.path);
    if (activation == CR_ACTIVATION_KEEP) return CR_OK;
    CR_TRY(cr_graph_swap_activation(m->graph, kinds[activation - CR_ACTIVATION_RELU6], count, err));
    CR_CHECK(*count, err, CR_ERR_ARGUMENT, "%s: has no SiLU to be swapped", m->info.path);
    return cr_model_recount(m, err);
}
