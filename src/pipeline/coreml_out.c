/* A model as a Core ML package: which graph, in which arithmetic, with which picture and labels.
 *
 * What decodes boxes stays float32 where the rest is float16: positions beyond 512 have steps of
 * half a pixel there. */
#include "pipeline/coreml_out.h"
#include "base/error.h"
#include "coreml/coreml.h"
#include "graph/names.h"
#include "graph/passes.h"
#include "onnx/qdq.h"
#include "pipeline/suppression_tail.h"

static cr_status graph_of(const cr_model *m, cr_graph **out, cr_error *err)
{
    if (m->recipe) return cr_qdq_write(cr_model_graph(m), m->recipe, out, err);
    return cr_graph_clone(m->stored ? m->stored : m->graph, out, err);
}

/* 16-bit arithmetic unless the model or its user says otherwise. A graph that was given 16-bit
 * types
 * (--mode fp16-graph) has its own in it; one whose weights alone were (fp16) computes in float32.
 */
static bool computes_in_half(const cr_model *m, const cr_export_options *o)
{
    if (o->floats != CR_FLOATS_AUTO) return o->floats == CR_FLOATS_16;
    return m->recipe || m->palette_bits;
}

/* Nodes of g that are float32: decoding, and what was added behind the model. */
static cr_status find_float32(const cr_model *m, const cr_graph *g, bool **out, cr_error *err)
{
    const cr_graph *own = cr_model_graph(m);
    cr_role *roles = NULL;
    cr_names body = {0};
    CR_TRY(cr_roles_find(own, &roles, err));
    *out = cr_calloc(g->node_count + 1, sizeof **out);
    bool ok = *out != NULL;
    for (size_t i = 0; ok && i < own->node_count; i++)
        if (roles[i] != CR_ROLE_DECODE)
            ok = cr_names_put(&body, own->nodes[i]->name, own->nodes[i]);
    for (size_t i = 0; ok && i < g->node_count; i++)
        (*out)[i] = !cr_names_get(&body, g->nodes[i]->name);
    cr_names_free(&body);
    cr_free(roles);
    return ok ? CR_OK : CR_NOMEM(err);
}

static bool is_picture(const cr_graph *g)
{
    const cr_tensor *t = g->input_count ? g->inputs[0] : NULL;
    return t && t->dtype == CR_DT_F32 && t->shape.rank == 4 && t->shape.dim[0] == 1 &&
           t->shape.dim[1] == 3;
}

static bool gives_probabilities(const cr_model *m, const cr_graph *g)
{
    const cr_model_info *info = &m->info;
    const cr_node *last = g->output_count == 1 ? g->outputs[0]->producer : NULL;
    return info->head.kind == CR_HEAD_CLASSIFY && info->name_count && last &&
           last->op->kind == CR_OP_Softmax &&
           cr_shape_count(&g->outputs[0]->shape) == (int64_t)info->name_count;
}

static cr_coreml_options options_of(const cr_model *m, const cr_graph *g,
                                    const cr_export_options *o)
{
    const cr_model_info *info = &m->info;
    cr_coreml_options c = {.palette_bits = m->palette_bits,
                           .scales = m->palette_scales,
                           .scale_count = m->palette_scale_count,
                           .image =
                               !o->array_input && is_picture(g) && info->head.kind != CR_HEAD_NONE,
                           .bgr = info->preprocess.bgr,
                           .labels = info->names,
                           .label_count = info->name_count,
                           .classifier = gives_probabilities(m, g),
                           .suppress = o->suppress,
                           .confidence = o->confidence,
                           .iou = o->iou};
    for (int i = 0; i < 3; i++) {
        c.mean[i] = info->preprocess.mean[i];
        c.div[i] = info->preprocess.div[i];
    }
    return c;
}

cr_status cr_coreml_export(const cr_model *m, const cr_export_options *o, const char *path,
                           cr_error *err)
{
    cr_graph *g;
    bool *float32 = NULL;
    CR_TRY(graph_of(m, &g, err));
    cr_status st = o->suppress ? cr_suppression_tail(g, &m->info, err) : CR_OK;
    if (st == CR_OK && computes_in_half(m, o)) st = find_float32(m, g, &float32, err);
    if (st == CR_OK) {
        cr_coreml_options c = options_of(m, g, o);
        c.float32 = float32;
        st = cr_coreml_write(g, &c, path, err);
    }
    cr_free(float32);
    cr_graph_free(&g);
    return st;
}
