/* What a suppression that is not the model's own needs behind a detector's outputs. */
#ifndef CR_PIPELINE_SUPPRESSION_TAIL_H
#define CR_PIPELINE_SUPPRESSION_TAIL_H

#include "crayon/model.h"
#include "graph/graph.h"

/* Appends nodes to g, whose outputs become "confidence" [N, classes] and "coordinates" [N, 4]:
 * centre x, centre y, width and height of a box as parts of the picture's. YOLOv5, YOLOv8 and YOLOX
 * heads. Errors: UNSUPPORTED for other heads, with the reason. */
cr_status cr_suppression_tail(cr_graph *g, const cr_model_info *info, cr_error *err);

#endif
