/* The buffer grows from its end towards its start, so every reference points to bytes that are
 * there already and no offset is ever patched. A position is counted from the end, which growing
 * does not move. Tables of equal layout share one vtable.
 *
 * Format: flatbuffers.dev, "FlatBuffer Internals". References are unsigned 32-bit distances
 * forward; a table begins with the signed distance back to its vtable (u16: bytes of the vtable,
 * bytes of the table, then per slot the field's place in the table, 0 for absent). Rejected:
 * building forward with a second pass that fills offsets in (twice the code for the same bytes). */
#include "tflite/flatbuffer_write.h"

#include <string.h>

#include "base/error.h"

static const size_t largest = (size_t)1 << 31;

void cr_fb_free(cr_fb *b)
{
    cr_free(b->bytes);
    cr_free(b->vtables);
    *b = (cr_fb){0};
}

/* Room for n more bytes in front. */
static bool reserve(cr_fb *b, size_t n)
{
    if (b->failed || n > largest || b->used + n > largest) return !(b->failed = true);
    if (b->used + n <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 1024;
    while (cap < b->used + n) cap *= 2;
    unsigned char *bytes = cr_malloc(cap);
    if (!bytes) return !(b->failed = true);
    if (b->used) memcpy(bytes + cap - b->used, b->bytes + b->cap - b->used, b->used);
    cr_free(b->bytes);
    b->bytes = bytes;
    b->cap = cap;
    return true;
}

static void push(cr_fb *b, const void *data, size_t n)
{
    if (!reserve(b, n)) return;
    b->used += n;
    if (n && data) memcpy(b->bytes + b->cap - b->used, data, n);
    if (n && !data) memset(b->bytes + b->cap - b->used, 0, n);
}

/* Fills up so that what is pushed up to `n` bytes from now starts at a multiple of align. */
static void pad(cr_fb *b, size_t n, size_t align)
{
    if (align > b->align) b->align = align;
    push(b, NULL, cr_round_up(b->used + n, align) - b->used - n);
}

static void push_u16(cr_fb *b, unsigned v)
{
    push(b, (const unsigned char[]){(unsigned char)v, (unsigned char)(v >> 8)}, 2);
}

static void push_u32(cr_fb *b, uint32_t v)
{
    push(b,
         (const unsigned char[]){(unsigned char)v, (unsigned char)(v >> 8),
                                 (unsigned char)(v >> 16), (unsigned char)(v >> 24)},
         4);
}

static cr_fb_ref here(const cr_fb *b)
{
    return (cr_fb_ref)b->used;
}

static void push_ref(cr_fb *b, cr_fb_ref to)
{
    pad(b, 4, 4);
    push_u32(b, here(b) + 4 - to);
}

cr_fb_ref cr_fb_string(cr_fb *b, const char *s)
{
    const size_t n = strlen(s);
    pad(b, n + 1, 4);
    push(b, s, n + 1);
    push_u32(b, (uint32_t)n);
    return here(b);
}

cr_fb_ref cr_fb_vector(cr_fb *b, const void *data, size_t count, size_t size, size_t align)
{
    size_t bytes;
    if (!cr_mul_size(count, size, &bytes) || bytes > largest) {
        b->failed = true;
        return 0;
    }
    pad(b, bytes, align);
    push(b, data, bytes);
    push_u32(b, (uint32_t)count);
    return here(b);
}

cr_fb_ref cr_fb_ref_vector(cr_fb *b, const cr_fb_ref *refs, size_t count)
{
    pad(b, 4 * count, 4);
    for (size_t i = count; i-- > 0;) push_ref(b, refs[i]);
    push_u32(b, (uint32_t)count);
    return here(b);
}

/* ---- tables ---- */

void cr_fb_table(cr_fb *b)
{
    pad(b, 0, 4);
    memset(b->slot, 0, sizeof b->slot);
    b->table_end = b->used;
    b->slots = 0;
}

static void stored(cr_fb *b, int slot)
{
    b->slot[slot] = here(b);
    if (slot >= b->slots) b->slots = slot + 1;
}

void cr_fb_put_i8(cr_fb *b, int slot, int value, int fallback)
{
    if (value == fallback) return;
    push(b, (const unsigned char[]){(unsigned char)value}, 1);
    stored(b, slot);
}

void cr_fb_put_u32(cr_fb *b, int slot, uint32_t value, uint32_t fallback)
{
    if (value == fallback) return;
    pad(b, 4, 4);
    push_u32(b, value);
    stored(b, slot);
}

void cr_fb_put_i32(cr_fb *b, int slot, int32_t value, int32_t fallback)
{
    cr_fb_put_u32(b, slot, (uint32_t)value, (uint32_t)fallback);
}

void cr_fb_put_f32(cr_fb *b, int slot, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    cr_fb_put_u32(b, slot, bits, 0);
}

void cr_fb_put_ref(cr_fb *b, int slot, cr_fb_ref ref)
{
    if (!ref) return;
    push_ref(b, ref);
    stored(b, slot);
}

/* An equal vtable that is there already, or 0. */
static cr_fb_ref find_vtable(const cr_fb *b, size_t n)
{
    const unsigned char *end = b->bytes + b->cap, *mine = end - b->used;
    for (size_t i = 0; i < b->vtable_count; i++) {
        const unsigned char *other = end - b->vtables[i];
        if (b->vtables[i] >= n && !memcmp(mine, other, n)) return b->vtables[i];
    }
    return 0;
}

static bool keep_vtable(cr_fb *b, cr_fb_ref v)
{
    if (!cr_grow((void **)&b->vtables, &b->vtable_cap, b->vtable_count, sizeof *b->vtables))
        return false;
    b->vtables[b->vtable_count++] = v;
    return true;
}

cr_fb_ref cr_fb_end(cr_fb *b)
{
    pad(b, 4, 4);
    push_u32(b, 0); /* the distance to the vtable, known below */
    const cr_fb_ref table = here(b);
    const size_t vtable_bytes = 4 + 2 * (size_t)b->slots;
    pad(b, vtable_bytes, 2);
    for (int i = b->slots; i-- > 0;) push_u16(b, b->slot[i] ? table - b->slot[i] : 0);
    push_u16(b, (unsigned)(table - b->table_end));
    push_u16(b, (unsigned)vtable_bytes);
    if (b->failed) return table;
    cr_fb_ref vtable = find_vtable(b, vtable_bytes);
    if (vtable)
        b->used = table;
    else
        vtable = here(b);
    if (vtable == here(b) && !keep_vtable(b, vtable)) b->failed = true;
    unsigned char *at = b->bytes + b->cap - table;
    const int32_t back = (int32_t)vtable - (int32_t)table;
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)((uint32_t)back >> 8 * i);
    return table;
}

cr_status cr_fb_finish(cr_fb *b, cr_fb_ref root, const char *identifier,
                       const unsigned char **bytes, size_t *size, cr_error *err)
{
    pad(b, 8, b->align > 4 ? b->align : 4);
    push(b, identifier, 4);
    push_ref(b, root);
    CR_CHECK(b->used < largest, err, CR_ERR_LIMIT, "the model takes more than 2 GiB");
    CR_CHECK(!b->failed, err, CR_ERR_MEMORY, "out of memory, or the model takes more than 2 GiB");
    *bytes = b->bytes + b->cap - b->used;
    *size = b->used;
    return CR_OK;
}
