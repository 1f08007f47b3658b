/* The row "OpenVINO IR" of the table of formats, on its way out. */
#ifndef CR_PIPELINE_OPENVINO_OUT_H
#define CR_PIPELINE_OPENVINO_OUT_H

#include "crayon/quantize.h"
#include "pipeline/model_impl.h"

cr_status cr_openvino_export(const cr_model *m, const cr_export_options *o, const char *path,
                             cr_error *err);

#endif
