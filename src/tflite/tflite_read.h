/* TFLite files: reading into a canonical graph.
 *
 * Read: float, float16, dynamic-range and full-integer models (8-bit, and 16-bit activations) of
 * the TFLite converter and of Ultralytics. The graph is as an ONNX file of the same model gives it:
 * channels first, names kept, integers in ONNX's own terms, so that passes and qdq_read.h need not
 * know where it came from:
 *
 *     a quantized activation T     T ─ QuantizeLinear ─ DequantizeLinear ─ readers
 *     a quantized weight           codes ─ DequantizeLinear ─ Conv
 *     integer weights that a float operator reads (dynamic range)
 *                                  DynamicQuantizeLinear ─ ConvInteger ─ Cast ─ Mul ─ Add
 *     a fused activation           a node of its own; the pair stands behind it
 *
 * Inputs and outputs of rank 4 are [N,C,H,W] in the graph where the file has [N,H,W,C]; a file that
 * itself transposes its input at once, or its output at last, has them in that order already. The
 * bytes are untrusted: flatbuffer_read.h checks what they claim, and what a file makes us allocate
 * is bounded by its size. */
#ifndef CR_TFLITE_TFLITE_READ_H
#define CR_TFLITE_TFLITE_READ_H

#include "graph/graph.h"

/* Does a file that begins so (8 bytes are enough) look like TFLite? */
bool cr_tflite_recognize(const void *bytes, size_t size);

/* Reads a model of at most max_bytes (0: 2 GiB). The graph is indexed, shapes are inferred. On
 * failure *out is NULL and the message begins with the path. Errors: IO, FORMAT, UNSUPPORTED (up to
 * five operators that we do not have are named), LIMIT, MEMORY. */
cr_status cr_tflite_read(const char *path, size_t max_bytes, cr_graph **out, cr_error *err);

/* The same from memory; `label` stands for the file in messages. The bytes are not kept. */
cr_status cr_tflite_parse(const void *bytes, size_t size, const char *label, cr_graph **out,
                          cr_error *err);

#endif
