/* The row "ncnn" of the table of formats. */
#ifndef CR_PIPELINE_NCNN_EXPORT_H
#define CR_PIPELINE_NCNN_EXPORT_H

#include "crayon/quantize.h"
#include "pipeline/model_impl.h"

cr_status cr_ncnn_export(const cr_model *m, const cr_export_options *o, const char *path,
                         cr_error *err);

#endif
