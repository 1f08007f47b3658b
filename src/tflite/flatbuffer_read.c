#include "tflite/flatbuffer_read.h"

#include <string.h>

#include "base/error.h"

static uint64_t load(const uint8_t *p, size_t width)
{
    uint64_t v = 0;
    for (size_t i = width; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void note(cr_flat *file, const char *wrong, size_t where)
{
    if (file->wrong) return;
    file->wrong = wrong;
    file->where = where;
}

static bool inside(const cr_flat *file, size_t at, size_t n)
{
    return at <= file->size && n <= file->size - at;
}

cr_status cr_flat_check(const cr_flat *file, cr_error *err)
{
    CR_CHECK(!file->wrong, err, CR_ERR_FORMAT, "damaged or truncated: %s at byte %zu", file->wrong,
             file->where);
    return CR_OK;
}

/* ---- tables ---- */

static cr_flat_table open_table(cr_flat *file, size_t at)
{
    const cr_flat_table none = {0};
    if (!inside(file, at, 4)) {
        note(file, "a table lies outside the file", at);
        return none;
    }
    const int64_t vtable = (int64_t)at - (int32_t)load(file->bytes + at, 4);
    if (vtable < 0 || !inside(file, (size_t)vtable, 4)) {
        note(file, "a table's description lies outside the file", at);
        return none;
    }
    const size_t own = load(file->bytes + vtable, 2), size = load(file->bytes + vtable + 2, 2);
    if (own < 4 || own % 2 || size < 4 || !inside(file, (size_t)vtable, own) ||
        !inside(file, at, size)) {
        note(file, "a table has an impossible size", at);
        return none;
    }
    return (cr_flat_table){file, at, size, (size_t)vtable, (unsigned)(own / 2 - 2)};
}

bool cr_flat_open(cr_flat *file, const void *bytes, size_t size, const char identifier[4],
                  cr_flat_table *root)
{
    *file = (cr_flat){.bytes = bytes, .size = size};
    *root = (cr_flat_table){0};
    if (size < 8 || memcmp(file->bytes + 4, identifier, 4)) return false;
    *root = open_table(file, load(file->bytes, 4));
    return root->file != NULL;
}

/* Where a field's `width` bytes are; NULL: absent or damaged. */
static const uint8_t *find(const cr_flat_table *t, unsigned field, size_t width)
{
    if (!t->file || field >= t->fields) return NULL;
    const size_t offset = load(t->file->bytes + t->vtable + 4 + 2 * (size_t)field, 2);
    if (!offset) return NULL;
    if (offset < 4 || width > t->size || offset > t->size - width) {
        note(t->file, "a field lies outside its table", t->at);
        return NULL;
    }
    return t->file->bytes + t->at + offset;
}

bool cr_flat_has(const cr_flat_table *t, unsigned field)
{
    return find(t, field, 1) != NULL;
}

int64_t cr_flat_i8(const cr_flat_table *t, unsigned field, int64_t absent)
{
    const uint8_t *p = find(t, field, 1);
    return p ? (int8_t)*p : absent;
}

int64_t cr_flat_u8(const cr_flat_table *t, unsigned field, int64_t absent)
{
    const uint8_t *p = find(t, field, 1);
    return p ? *p : absent;
}

int64_t cr_flat_i32(const cr_flat_table *t, unsigned field, int64_t absent)
{
    const uint8_t *p = find(t, field, 4);
    return p ? (int32_t)load(p, 4) : absent;
}

int64_t cr_flat_u32(const cr_flat_table *t, unsigned field, int64_t absent)
{
    const uint8_t *p = find(t, field, 4);
    return p ? (int64_t)load(p, 4) : absent;
}

uint64_t cr_flat_u64(const cr_flat_table *t, unsigned field, uint64_t absent)
{
    const uint8_t *p = find(t, field, 8);
    return p ? load(p, 8) : absent;
}

float cr_flat_f32(const cr_flat_table *t, unsigned field, float absent)
{
    const uint8_t *p = find(t, field, 4);
    return p ? as_float((uint32_t)load(p, 4)) : absent;
}

/* ---- offsets ---- */

/* The place that the offset at p refers to; false: it lies outside. */
static bool follow(cr_flat *file, const uint8_t *p, size_t *to)
{
    const size_t from = (size_t)(p - file->bytes), offset = load(p, 4);
    if (offset < 4 || offset > file->size - from) {
        note(file, "an offset leads outside the file", from);
        return false;
    }
    *to = from + offset;
    return true;
}

cr_flat_table cr_flat_child(const cr_flat_table *t, unsigned field)
{
    size_t at;
    const uint8_t *p = find(t, field, 4);
    return p && follow(t->file, p, &at) ? open_table(t->file, at) : (cr_flat_table){0};
}

cr_flat_vector cr_flat_items(const cr_flat_table *t, unsigned field, size_t width)
{
    size_t at;
    const uint8_t *p = find(t, field, 4);
    const cr_flat_vector none = {t->file, 0, 0, width};
    if (!p || !follow(t->file, p, &at)) return none;
    if (!inside(t->file, at, 4)) {
        note(t->file, "a list lies outside the file", at);
        return none;
    }
    const size_t count = load(t->file->bytes + at, 4);
    if (count > (t->file->size - at - 4) / width) {
        note(t->file, "a list is longer than the file", at);
        return none;
    }
    return (cr_flat_vector){t->file, at + 4, count, width};
}

const char *cr_flat_text(const cr_flat_table *t, unsigned field, size_t *length)
{
    const cr_flat_vector v = cr_flat_items(t, field, 1);
    *length = v.count;
    return v.count ? (const char *)t->file->bytes + v.at : "";
}

/* ---- elements ---- */

static const uint8_t *element(const cr_flat_vector *v, size_t i)
{
    return i < v->count ? v->file->bytes + v->at + i * v->width : NULL;
}

int64_t cr_flat_item_i32(const cr_flat_vector *v, size_t i)
{
    const uint8_t *p = element(v, i);
    return p && v->width == 4 ? (int32_t)load(p, 4) : 0;
}

int64_t cr_flat_item_i64(const cr_flat_vector *v, size_t i)
{
    const uint8_t *p = element(v, i);
    return p && v->width == 8 ? (int64_t)load(p, 8) : 0;
}

float cr_flat_item_f32(const cr_flat_vector *v, size_t i)
{
    const uint8_t *p = element(v, i);
    return p && v->width == 4 ? as_float((uint32_t)load(p, 4)) : 0;
}

cr_flat_table cr_flat_item_table(const cr_flat_vector *v, size_t i)
{
    size_t at;
    const uint8_t *p = v->width == 4 ? element(v, i) : NULL;
    return p && follow(v->file, p, &at) ? open_table(v->file, at) : (cr_flat_table){0};
}
