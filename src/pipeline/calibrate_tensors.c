/* Calibration from tensors that somebody else prepared. */
#include "base/error.h"
#include "crayon/quantize.h"
#include "pipeline/model_impl.h"
#include "quant/stats.h"

cr_status cr_calibrate_tensors(const cr_model *m, size_t count, cr_fill_fn fill, void *user,
                               const cr_quantize_options *o, const cr_progress *progress,
                               cr_stats **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(!m->recipe, err, CR_ERR_ARGUMENT, "%s is quantized already: calibrate the float model",
             m->info.path);
    CR_CHECK(count > 0, err, CR_ERR_ARGUMENT, "no samples to calibrate with");
    const cr_collect_options collect = {.count = count,
                                        .fill = fill,
                                        .user = user,
                                        .threads = o->threads,
                                        .all = o->all_samples,
                                        .all_channels = o->equalize == CR_EQUALIZE_ALL,
                                        .progress = progress};
    return cr_stats_collect(m->graph, &collect, out, err);
}
