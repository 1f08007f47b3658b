/* The last modules of detectors: several feature maps in, boxes and what belongs to them out. */
#ifndef CR_TORCH_TORCH_HEADS_H
#define CR_TORCH_TORCH_HEADS_H

#include "torch/torch_net.h"

enum { CR_HEAD_MAX_LEVELS = 8 };

typedef struct cr_torch_head {
    const char *class_name, *task; /* "Detect", "detect" */
    /* Makes the head's nodes behind the maps x[n]; outputs in out[], their number is given, 0 after
     * a failure. */
    int (*forward)(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n, cr_tensor *out[2]);
} cr_torch_head;

const cr_torch_head *cr_torch_head_find(const char *class_name); /* NULL if it is none */

/* YOLOv5's head with anchors, which has the class name of its successor. */
bool cr_torch_head_anchored(const cr_mod *m);
int cr_torch_anchor_head(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n,
                         cr_tensor *out[2]);

/* The one-to-one branch of YOLOv10 and YOLO26 is what the head gives. */
bool cr_torch_head_end2end(const cr_mod *m);
/* Rows [1, anchors, 4 + classes + extra] -> the best 300, [1, 300, 6 + extra]. */
cr_tensor *cr_torch_head_best(cr_net *net, const cr_mod *m, cr_tensor *rows, int64_t classes);

/* Stride of level i: the head's own attribute. False: it has no such. */
bool cr_torch_head_strides(cr_net *net, const cr_mod *m, float *strides, size_t n);

#endif
