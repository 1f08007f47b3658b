/* TensorProto and cr_tensor: decoding with every length checked first. */
#ifndef CR_ONNX_ONNX_TENSOR_H
#define CR_ONNX_ONNX_TENSOR_H

#include "cr_onnx.pb-c.h"
#include "graph/graph.h"

/* Gives `out` (whose name is set) dtype, shape and data. `folder` holds external data; NULL refuses
 * it. With `allocator` the payload inside `p` is released as soon as it has been copied. */
cr_status cr_onnx_decode_tensor(CrOnnx__TensorProto *p, const char *folder,
                                ProtobufCAllocator *allocator, cr_tensor *out, cr_error *err);

/* Bytes that `count` elements of a type take in a file (4-bit types: two per byte, 2-bit types: four). */
size_t cr_onnx_stored_bytes(cr_dtype dtype, size_t count);

/* "float8e4m3fn" for types that the format has and we do not, "?" otherwise. */
const char *cr_onnx_type_name(int data_type);

/* Bits per element in a file if they are fewer than 8 (4, 2), else 0. Such values take a byte each
 * here and 8/bits of them share a byte in a file, the first in the lowest bits. */
int cr_onnx_packed_bits(cr_dtype dtype);
void cr_onnx_unpack(const uint8_t *packed, size_t count, cr_dtype dtype, uint8_t *out);
void cr_onnx_pack(const uint8_t *values, size_t count, cr_dtype dtype, uint8_t *packed);

#endif
