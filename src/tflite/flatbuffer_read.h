/* Reading FlatBuffers out of untrusted bytes.
 *
 *     table:  int32 distance back to its vtable, then its fields
 *     vtable: u16 own size, u16 size of the table, u16 offset in the table per field (0: absent)
 *     vector: u32 count, elements; string: the same of bytes; offsets are u32 and point forward
 *
 * Nothing is unpacked: a table is a place in the bytes, a field is looked up when it is asked for,
 * and each look-up checks every offset that it follows against the end of the bytes. Values are put
 * together byte by byte, so neither alignment nor the machine's byte order matters. What cannot be
 * read gives the default or an empty vector and is noted in the file (the first time); who reads
 * asks with cr_flat_check after each table and so needs no check per number. Offsets point forward,
 * except to vtables, and nothing here recurses.
 *
 * Source: "FlatBuffer Internals" of the FlatBuffers documentation. Rejected: a verifier that walks
 * the whole file first (it needs the schema twice, and a file may have parts that nobody asks for).
 */
#ifndef CR_TFLITE_FLATBUFFER_READ_H
#define CR_TFLITE_FLATBUFFER_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crayon/status.h"

typedef struct cr_flat {
    const uint8_t *bytes;
    size_t size;
    const char *wrong; /* what could not be read first; NULL: nothing yet */
    size_t where;
} cr_flat;

typedef struct cr_flat_table {
    cr_flat *file;
    size_t at, size; /* file NULL: an absent table, all of whose fields are absent */
    size_t vtable;
    unsigned fields;
} cr_flat_table;

typedef struct cr_flat_vector {
    cr_flat *file;
    size_t at;    /* of the first element */
    size_t count; /* all elements are inside the bytes */
    size_t width;
} cr_flat_vector;

/* The root table. identifier: the four characters behind the first offset. False: not such a file.
 */
bool cr_flat_open(cr_flat *file, const void *bytes, size_t size, const char identifier[4],
                  cr_flat_table *root);
/* CR_ERR_FORMAT if something could not be read since the file was opened. */
cr_status cr_flat_check(const cr_flat *file, cr_error *err);

bool cr_flat_has(const cr_flat_table *t, unsigned field);
/* Numbers; `absent` where the field is not there. */
int64_t cr_flat_i8(const cr_flat_table *t, unsigned field, int64_t absent);
int64_t cr_flat_u8(const cr_flat_table *t, unsigned field, int64_t absent);
int64_t cr_flat_i32(const cr_flat_table *t, unsigned field, int64_t absent);
int64_t cr_flat_u32(const cr_flat_table *t, unsigned field, int64_t absent);
uint64_t cr_flat_u64(const cr_flat_table *t, unsigned field, uint64_t absent);
float cr_flat_f32(const cr_flat_table *t, unsigned field, float absent);

/* The table that a field refers to; absent (file NULL) where there is none. */
cr_flat_table cr_flat_child(const cr_flat_table *t, unsigned field);
/* A vector of elements of `width` bytes (4 for offsets to tables and strings); empty if absent. */
cr_flat_vector cr_flat_items(const cr_flat_table *t, unsigned field, size_t width);
/* A string's bytes and length, "" if absent. The bytes need not end with a 0. */
const char *cr_flat_text(const cr_flat_table *t, unsigned field, size_t *length);

/* Element i; 0 or an absent table behind the end. */
int64_t cr_flat_item_i32(const cr_flat_vector *v, size_t i);
int64_t cr_flat_item_i64(const cr_flat_vector *v, size_t i);
float cr_flat_item_f32(const cr_flat_vector *v, size_t i);
cr_flat_table cr_flat_item_table(const cr_flat_vector *v, size_t i);

#endif
