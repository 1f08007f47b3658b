/* OpenVINO IR (versions 10 and 11): an .xml file with the layers and a .bin file with the constants.
 *
 * Read: float, float16 and quantized files of ovc, NNCF, POT and Ultralytics. The graph is as an ONNX
 * file of the same model gives it, integers in ONNX's own terms:
 *
 *     FakeQuantize on an activation    T ─ QuantizeLinear ─ DequantizeLinear ─ readers
 *     FakeQuantize on a constant       the same; preparation makes codes of it
 *     compressed weights: codes ─ Convert ─ Subtract ─ Multiply (─ Reshape)
 *                                      codes ─ DequantizeLinear
 *     an Add of one constant per channel behind a convolution   its bias
 *
 * Source of the format: OpenVINO's documentation of operation sets (opset1 to opset16) and of IR.
 * The bytes are untrusted. */
#ifndef CR_OPENVINO_OPENVINO_H
#define CR_OPENVINO_OPENVINO_H

#include "graph/graph.h"
#include "graph/passes.h"

typedef struct cr_openvino_options { /* all zero: the defaults */
    size_t max_bytes;                /* of each file; 0: 2 GiB */
    int64_t height, width;           /* where the file leaves them open; 0: an error then */
} cr_openvino_options;

/* Does a file that begins so look like an IR's .xml? */
bool cr_openvino_recognize(const void *bytes, size_t size);

/* Reads `path` and the .bin beside it. `run` evaluates what depends on shapes alone (cr_op_run). The
 * graph is indexed. On failure *out is NULL and the message begins with the path. Errors: IO, FORMAT,
 * UNSUPPORTED (up to five layers that we do not have are named), ARGUMENT (an open size), LIMIT,
 * MEMORY. */
cr_status cr_openvino_read(const char *path, const cr_openvino_options *o, cr_run_fn run,
                           cr_graph **out, cr_error *err);

/* The same from memory; bin may be NULL (no constants). `label` stands for the file in messages. */
cr_status cr_openvino_parse(const void *xml, size_t xml_size, const void *bin, size_t bin_size,
                            const char *label, const cr_openvino_options *o, cr_run_fn run,
                            cr_graph **out, cr_error *err);

#endif
