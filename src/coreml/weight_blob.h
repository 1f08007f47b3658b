/* weight.bin of a Core ML package, in memory.
 *
 *     offset 0     header: uint32 number of blobs, uint32 version 2, 56 zero bytes
 *     then per blob, each part starting at a multiple of 64:
 *                  record: uint32 0xDEADBEEF, uint32 type, uint64 bytes, uint64 offset of the data,
 *                          uint64 unused bits in the last byte, 32 zero bytes
 *                  data, little-endian; types of fewer than 8 bits packed from the lowest bit up
 *
 * The program refers to a blob by the offset of its record. (Layout: MILBlob/Blob/StorageFormat.hpp
 * of coremltools; the field of unused bits and the types above 4 as its 9.0 writer sets them.) */
#ifndef CR_COREML_WEIGHT_BLOB_H
#define CR_COREML_WEIGHT_BLOB_H

#include "base/mem.h"

enum { CR_BLOB_ALIGN = 64, CR_BLOB_VERSION = 2 };
#define CR_BLOB_SENTINEL 0xDEADBEEFu

typedef enum cr_blob_type {
    CR_BLOB_F16 = 1,
    CR_BLOB_F32 = 2,
    CR_BLOB_U8 = 3,
    CR_BLOB_I8 = 4,
    CR_BLOB_I4 = 8,
    CR_BLOB_U1 = 9,
    CR_BLOB_U2 = 10,
    CR_BLOB_U4 = 11,
    CR_BLOB_U6 = 13,
    CR_BLOB_I32 = 14
} cr_blob_type;

typedef struct cr_blob_file {
    unsigned char *bytes; /* NULL until the first blob */
    size_t size, cap;
    uint32_t count;
} cr_blob_file;

/* Appends `size` bytes of data; *offset is what the program names. False: no memory. */
bool cr_blob_append(cr_blob_file *f, cr_blob_type type, const void *data, size_t size,
                    unsigned unused_bits, uint64_t *offset);
void cr_blob_free(cr_blob_file *f);

/* codes[i] in its lowest `bits` bits, packed from the lowest bit of the first byte up. `out` has
 * (count * bits + 7) / 8 zeroed bytes. */
void cr_blob_pack(const uint8_t *codes, size_t count, unsigned bits, unsigned char *out);

#endif
