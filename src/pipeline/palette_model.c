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
    cr_palette_report r = {0};
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
        st = cr_palette_graph(m->graph, bits, kept, &r.weights, &r.kept, &r.error, err);
    if (st == CR_OK) m->palette_bits = bits;
    if (st == CR_OK && report) *report = r;
    cr_free(kept);
    cr_free(said);
    return st;
}
