/* Reads an ONNX model, folds constants, fuses activations and writes it at an opset:
 *
 *     peers-onnx_copy IN OUT OPSET [HEIGHT WIDTH]
 *
 * Used by onnx_write.py. One line on failure, exit 1. */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "graph/passes.h"
#include "onnx/onnx.h"
#include "ops/ref.h"

static cr_status copy(char **argv, const cr_onnx_options *options, cr_error *err)
{
    const cr_onnx_write_options w = {.opset = atoi(argv[3])};
    cr_graph *g;
    CR_TRY(cr_onnx_read(argv[1], options, &g, err));
    cr_status st = cr_graph_fold(g, cr_op_run, err);
    if (st == CR_OK) st = cr_graph_tidy(g, err);
    if (st == CR_OK) st = cr_graph_fuse_activations(g, err);
    if (st == CR_OK) st = cr_graph_infer(g, err);
    if (st == CR_OK) st = cr_onnx_write(g, &w, argv[2], err);
    cr_graph_free(&g);
    return st;
}

int main(int argc, char **argv)
{
    cr_onnx_options options = {0};
    cr_error err = {0};
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: peers-onnx_copy IN OUT OPSET [HEIGHT WIDTH]\n");
        return 2;
    }
    if (argc == 6) {
        options.height = atoi(argv[4]);
        options.width = atoi(argv[5]);
    }
    if (copy(argv, &options, &err) == CR_OK) return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}
