/* TensorProto and cr_tensor: decoding with every length checked first. */
#ifndef CR_ONNX_ONNX_TENSOR_H
#define CR_ONNX_ONNX_TENSOR_H

#include "cr_onnx.pb-c.h"
#include "graph/graph.h"

/* Gives `out` (whose name is set) dtype, shape and data. `folder` holds external data; NULL refuses
 * it. With `allocator` the payload inside `p` is released as soon as it has been copied. */
cr_status cr_onnx_decode_tensor(CrOnnx__TensorProto *p, const char *folder,
                                ProtobufCAllocator *allocator, cr_tensor *out, cr_error *err);

/* Bytes that `count` elements of a type take in a file (4-bit types: two per byte). */
size_t cr_onnx_stored_bytes(cr_dtype dtype, size_t count);

/* "float8e4m3fn" for types that the format has and we do not, "?" otherwise. */
const char *cr_onnx_type_name(int data_type);

/* 4-bit values: one per byte here, two per byte in a file, the first in the low half. */
void cr_onnx_unpack4(const uint8_t *packed, size_t count, bool is_signed, uint8_t *out);
void cr_onnx_pack4(const uint8_t *values, size_t count, uint8_t *packed);

#endif
