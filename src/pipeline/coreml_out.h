/* Core ML packages of models. */
#ifndef CR_PIPELINE_COREML_OUT_H
#define CR_PIPELINE_COREML_OUT_H

#include "crayon/quantize.h"
#include "pipeline/model_impl.h"

/* Writes the package; see coreml/coreml.h. */
cr_status cr_coreml_export(const cr_model *m, const cr_export_options *o, const char *path,
                           cr_error *err);

#endif
