/* A network as it is trained: the graph that the tape runs, which ends at the branches, the graph
 * that users get, and what each branch is. Weights go from the first to the second by name.
 *
 * It comes from an architecture (batches, BatchNormalization kept, weights drawn) or from a model
 * file, whose last convolutions are found as `quantize --head detach` finds them; BatchNormalization
 * has been folded there, so that pictures do not depend on each other and a pass may hold any number
 * of them. */
#ifndef CR_PIPELINE_TRAIN_NET_H
#define CR_PIPELINE_TRAIN_NET_H

#include "pipeline/model_impl.h"
#include "train/arch.h"
#include "train/loss.h"
#include "train/tape.h"

typedef enum cr_train_family {
    CR_TRAIN_YOLOV8, /* distributions of distances, no objectness */
    CR_TRAIN_YOLOX,
    CR_TRAIN_CLASSES
} cr_train_family;

typedef struct cr_train_branch {
    int output, first; /* place in graph->outputs, first channel; output -1: there is none */
} cr_train_branch;

typedef struct cr_train_level {
    int stride, height, width;
    double longest; /* pixels: no longer object is for this level; 0: any */
    cr_train_branch box, score, object, extra;
} cr_train_level;

typedef struct cr_train_net {
    cr_graph *graph, *plain;
    cr_train_family family;
    cr_arch_task task;
    bool norms; /* BatchNormalization by the batch's statistics */
    int batch, height, width;
    int classes, bins, masks, keypoints, keypoint_dims;
    int level_count;
    cr_train_level level[CR_LOSS_LEVELS];
    cr_train_branch prototype;
    cr_preprocess preprocess;
} cr_train_net;

cr_status cr_train_net_of_arch(const cr_arch_options *o, cr_train_net *out, cr_error *err);
/* CR_ERR_UNSUPPORTED: quantized, or a head whose loss is not known. The model must outlive nothing:
 * graphs are copies. */
cr_status cr_train_net_of_model(const cr_model *m, int batch, cr_train_net *out, cr_error *err);
void cr_train_net_release(cr_train_net *net);

/* A model with the tape's present weights, BatchNormalization folded; the caller frees it. `path`
 * stands for it in messages. */
cr_status cr_train_net_model(const cr_train_net *net, const cr_tape *tape, const char *path,
                             cr_model **out, cr_error *err);

/* The view of a branch on the tape; value NULL where there is none. */
cr_raw cr_train_net_view(const cr_train_net *net, const cr_tape *tape, cr_train_branch b);

#endif
