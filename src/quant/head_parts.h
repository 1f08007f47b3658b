/* What the channels of the last convolutions mean: boxes, scores, keypoints and so on. */
#ifndef CR_QUANT_HEAD_PARTS_H
#define CR_QUANT_HEAD_PARTS_H

#include "quant/roles.h"
#include "quant/stats.h"

typedef enum cr_part {
    CR_PART_OTHER,     /* none of these, or unknown */
    CR_PART_BOX,       /* coordinates or distances, as they are */
    CR_PART_DFL,       /* bins of a distribution over a box side's distance */
    CR_PART_SCORE,     /* one per class */
    CR_PART_OBJECT,    /* is there any object */
    CR_PART_KEYPOINT,  /* coordinates and visibility */
    CR_PART_MASK,      /* coefficients of prototypes */
    CR_PART_PROTOTYPE, /* the maps that masks are sums of */
    CR_PART_ANGLE,     /* of an oriented box */
    CR_PART_COUNT
} cr_part;

const char *cr_part_name(cr_part p); /* "box", "box distribution", ... */

typedef struct cr_part_run { /* neighbouring channels of one last convolution */
    const cr_node *node;
    int first, count;
    cr_part part;
} cr_part_run;

typedef struct cr_head_parts {
    cr_part_run *runs; /* in the order of nodes, then channels */
    size_t count;
    unsigned *carried; /* by tensor id: bit 1 << part for every part that it holds values of */
    bool *absolute;    /* by tensor id: holds positions in the picture, not distances from a cell */
} cr_head_parts;

/* stats may be NULL; where the graph does not tell scores from boxes, the typical value of a
 * convolution's output does, and without statistics its bias. */
cr_status cr_head_parts_find(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                             cr_head_parts *out, cr_error *err);
void cr_head_parts_release(cr_head_parts *p);

#endif
