/* What a target asks of a model before it is calibrated: other nodes, and boxes as fractions. */
#ifndef CR_PIPELINE_TARGET_H
#define CR_PIPELINE_TARGET_H

#include "crayon/quantize.h"
#include "pipeline/model_impl.h"

/* A copy of the float graph g, whose outputs `head` describes, as TFLite has it: SiLU in two nodes,
 * no division, and boxes (keypoints) as fractions of the picture, which is what Ultralytics' TFLite
 * files give; head->fractions says so then. r (may be NULL) is a recipe for g: where it has entries
 * in the decoding, boxes stay as they are. Nothing changes in a graph that is of that form. */
cr_status cr_target_graph(const cr_graph *g, const cr_recipe *r, cr_head *head, cr_graph **out,
                          cr_error *err);

/* The row "TFLite" of the table of formats. */
cr_status cr_tflite_export(const cr_model *m, const cr_export_options *o, const char *path,
                           cr_error *err);

#endif
