/* What peers-autograd_dump and peers-train_step differentiate: MODEL is a file, whose constants are
 * folded, or "arch:NAME:SIZE:BATCH", an untrained network with BatchNormalization by the statistics
 * of the batch. */
#ifndef CR_TESTS_TRAIN_MODEL_H
#define CR_TESTS_TRAIN_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "onnx/onnx.h"
#include "ops/ref.h"
#include "train/arch.h"

static inline void must(cr_status st, const cr_error *err)
{
    if (st == CR_OK) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static inline cr_graph *train_model(const char *model, bool *batch_stats)
{
    cr_graph *g;
    cr_error err;
    char name[32];
    int size, batch;
    *batch_stats = sscanf(model, "arch:%31[^:]:%d:%d", name, &size, &batch) == 3;
    if (*batch_stats) {
        cr_arch_layout layout;
        const cr_arch_options o = {.name = name,
                                   .classes = 80,
                                   .height = size,
                                   .width = size,
                                   .batch = batch,
                                   .seed = 1,
                                   .training = true};
        must(cr_arch_graph(&o, &g, &layout, &err), &err);
        return g;
    }
    const cr_onnx_options how = {0};
    must(cr_onnx_read(model, &how, &g, &err), &err);
    must(cr_graph_fold(g, cr_op_run, &err), &err);
    must(cr_graph_tidy(g, &err), &err);
    must(cr_graph_infer(g, &err), &err);
    return g;
}

#endif
