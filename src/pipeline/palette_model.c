/* Models whose weights are palettes. */
#include "base/error.h"
#include "crayon/quantize.h"
#include "pipeline/model_impl.h"
#include "quant/layer_choice.h"
#include "quant/palette.h"

cr_status cr_model_to_palette(cr_model *m, int bits, const cr_quantize_options *o,
                              cr_palette_report *report, cr_error *err)
{
    const cr_quantize_options defaults = cr_quantize_options_default();
    cr_palette_made made = {0};
    const bool scaled = bits < 8 && (!o || o->granularity == CR_PER_CHANNEL);
    cr_layer_precision *said;
    CR_CHECK(bits == 1 || bits == 2 || bits == 4 || bits == 6 || bits == 8, err, CR_ERR_ARGUMENT,
             "palettes have indices of 1, 2, 4, 6 or 8 bits, not %d", bits);
    CR_CHECK(!m->recipe && !m->stored, err, CR_ERR_ARGUMENT,
             "%s: is quantized already; give the float model", m->info.path);
    CR_TRY(cr_layer_choices(m->graph, o ? o : &defaults, &said, err));
    bool *kept = cr_calloc(m->graph->node_count + 1, sizeof *kept);
    cr_status st = kept ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; kept && i < m->graph->node_count; i++) kept[i] = said[i] == CR_LAYER_FLOAT;
    if (st == CR_OK)
        st = cr_palette_graph(m->graph, bits, scaled, kept, &m->arena, &made, err);
    if (st == CR_OK) {
        m->palette_bits = bits;
        m->palette_scales = made.scales;
        m->palette_scale_count = made.scale_count;
    }
    if (st == CR_OK && report) *report = (cr_palette_report){made.weights, made.left, made.error};
    cr_free(kept);
    cr_free(said);
    return st;
}
