/* A model as ncnn's two files: in which types. */
#include "pipeline/ncnn_export.h"

#include "base/error.h"
#include "ncnn/ncnn_write.h"

cr_status cr_ncnn_export(const cr_model *m, const cr_export_options *o, const char *path,
                         cr_error *err)
{
    const cr_ncnn_write_options w = {.half = cr_model_half_type(m), .tables = m->palette_bits > 0};
    (void)o;
    return cr_ncnn_write(cr_model_graph(m), m->recipe, &w, path, err);
}
