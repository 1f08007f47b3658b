/* Models in 16-bit floats: which nodes take part, and the graph that is written. */
#include "base/error.h"
#include "crayon/quantize.h"
#include "onnx/half_write.h"
#include "pipeline/model_impl.h"
#include "quant/layer_choice.h"

cr_half_options cr_half_options_default(void)
{
    return (cr_half_options){.head = CR_HEAD_AUTO};
}

/* The arithmetic of boxes stays float32: float16 has steps of half a pixel beyond 512. */
static bool head_stays_float(const cr_half_options *o, cr_role role)
{
    if (!o->whole_graph || o->head == CR_HEAD_QUANTIZE) return false;
    return role == CR_ROLE_DECODE || (role == CR_ROLE_LAST_CONV && o->head == CR_HEAD_FLOAT);
}

static cr_status find_kept(const cr_model *m, const cr_half_options *o, bool **out, cr_error *err)
{
    const cr_quantize_options globs = {.keep_float = o->keep_float,
                                       .keep_float_count = o->keep_float_count,
                                       .only = o->only,
                                       .only_count = o->only_count};
    const cr_graph *g = m->graph;
    cr_layer_precision *said;
    CR_TRY(cr_layer_choices(g, &globs, &said, err));
    bool *kept = cr_calloc(g->node_count + 1, sizeof *kept);
    for (size_t i = 0; kept && i < g->node_count; i++)
        kept[i] = said[i] == CR_LAYER_FLOAT || head_stays_float(o, m->roles[i]);
    cr_free(said);
    *out = kept;
    return kept ? CR_OK : CR_NOMEM(err);
}

cr_status cr_model_to_half(cr_model *m, const cr_half_options *o, cr_half_report *report,
                           cr_error *err)
{
    const cr_half_options defaults = cr_half_options_default();
    cr_half_counts counts;
    cr_graph *stored = NULL;
    bool *kept;
    if (!o) o = &defaults;
    CR_CHECK(!m->recipe, err, CR_ERR_ARGUMENT, "%s: is quantized already; give the float model",
             m->info.path);
    CR_TRY(find_kept(m, o, &kept, err));
    const cr_half_plan plan = {.type = o->type == CR_HALF_BFLOAT16 ? CR_DT_BF16 : CR_DT_F16,
                               .whole = o->whole_graph,
                               .keep_float = kept};
    cr_status st = cr_half_write(m->graph, &plan, &stored, &counts, err);
    if (st == CR_OK) st = cr_half_round(m->graph, &plan, err);
    cr_free(kept);
    if (st != CR_OK) {
        cr_graph_free(&stored);
        return st;
    }
    cr_graph_free(&m->stored);
    m->stored = stored;
    if (report)
        *report = (cr_half_report){counts.weights, counts.nodes, counts.kept, counts.too_large,
                                   counts.largest};
    return CR_OK;
}

cr_dtype cr_model_half_type(const cr_model *m)
{
    for (size_t i = 0; m->stored && i < m->stored->tensor_count; i++) {
        const cr_dtype t = m->stored->tensors[i]->dtype;
        if (t == CR_DT_F16 || t == CR_DT_BF16) return t;
    }
    return CR_DT_NONE;
}
