/* Between the files of the architectures: sizes, the trunk, the heads. */
#ifndef CR_TRAIN_ARCH_PARTS_H
#define CR_TRAIN_ARCH_PARTS_H

#include "train/arch.h"
#include "train/arch_net.h"

/* Channels of the stem (stride 2), of the stages at strides 4, 8, ... and how many bottlenecks each
 * has; the levels are the stages from stride 8 on. */
typedef struct cr_arch_size {
    const char *name;
    int stages;
    int stem, width[4], depth[4];
    int neck_depth;
    int box, cls;  /* channels of the head's branches; 0: as YOLOv8 derives them */
    int masks;     /* mask coefficients */
    int classify;  /* channels before the classifier's pooling */
} cr_arch_size;

typedef struct cr_arch_head {
    const cr_arch_options *o;
    const cr_arch_size *size;
    cr_arch_task task;
    const char *place;             /* "/model.22" */
    cr_tensor *x[CR_ARCH_LEVELS];  /* what the branches read */
    cr_tensor *box[CR_ARCH_LEVELS], *score[CR_ARCH_LEVELS], *extra[CR_ARCH_LEVELS];
    cr_tensor *prototypes;
    int levels, extras; /* channels of extra */
} cr_arch_head;

/* Backbone and neck; h->x, h->place, h->levels. */
void cr_arch_trunk(cr_arch_net *net, cr_tensor *image, cr_arch_head *h);
/* Logits [N, classes]. */
cr_tensor *cr_arch_classifier(cr_arch_net *net, cr_tensor *image, const cr_arch_head *h);
/* h->box, h->score, h->extra, h->prototypes. */
void cr_arch_branches(cr_arch_net *net, cr_arch_head *h);
/* [1, 4 + classes + extra, A]. */
cr_tensor *cr_arch_decode(cr_arch_net *net, const cr_arch_head *h);

#endif
