/* Building a FlatBuffer. What is referred to is built before what refers to it:
 *
 *     cr_fb b = {0};
 *     const cr_fb_ref name = cr_fb_string(&b, "main");
 *     cr_fb_table(&b);
 *     cr_fb_put_i32(&b, SLOT_VERSION, 3, 0);       the default 0 would not be stored
 *     cr_fb_put_ref(&b, SLOT_NAME, name);
 *     cr_fb_finish(&b, cr_fb_end(&b), "TFL3", &bytes, &size, err);
 *     cr_fb_free(&b);
 *
 * Failures (no memory, more than 2 GiB) are remembered and told by cr_fb_finish. */
#ifndef CR_TFLITE_FLATBUFFER_WRITE_H
#define CR_TFLITE_FLATBUFFER_WRITE_H

#include "base/mem.h"
#include "crayon/status.h"

enum { CR_FB_MAX_SLOTS = 16 };

typedef uint32_t cr_fb_ref; /* distance of an object's start from the buffer's end; 0: none */

typedef struct cr_fb {
    unsigned char *bytes; /* the last `used` of `cap` are filled */
    size_t used, cap;
    size_t align; /* the largest that was asked for */
    bool failed;
    cr_fb_ref slot[CR_FB_MAX_SLOTS]; /* of the open table: where its fields are */
    size_t table_end;
    int slots;
    cr_fb_ref *vtables;
    size_t vtable_count, vtable_cap;
} cr_fb;

void cr_fb_free(cr_fb *b);

cr_fb_ref cr_fb_string(cr_fb *b, const char *s);
/* count elements of `size` bytes, little-endian; the first lies at a multiple of align (a power of
 * two, at least 4). */
cr_fb_ref cr_fb_vector(cr_fb *b, const void *data, size_t count, size_t size, size_t align);
cr_fb_ref cr_fb_ref_vector(cr_fb *b, const cr_fb_ref *refs, size_t count);

/* One table is open at a time; everything that it refers to is built before it is opened. A value
 * that is its default is not stored. */
void cr_fb_table(cr_fb *b);
void cr_fb_put_i8(cr_fb *b, int slot, int value, int fallback);
void cr_fb_put_i32(cr_fb *b, int slot, int32_t value, int32_t fallback);
void cr_fb_put_u32(cr_fb *b, int slot, uint32_t value, uint32_t fallback);
void cr_fb_put_f32(cr_fb *b, int slot, float value);
void cr_fb_put_ref(cr_fb *b, int slot, cr_fb_ref ref); /* 0: nothing is stored */
cr_fb_ref cr_fb_end(cr_fb *b);

/* Ends the buffer: *bytes stay b's, valid until cr_fb_free. identifier: four characters. */
cr_status cr_fb_finish(cr_fb *b, cr_fb_ref root, const char *identifier,
                       const unsigned char **bytes, size_t *size, cr_error *err);

#endif
