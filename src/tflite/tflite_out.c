/* Tensors and operators of the file, and the conversions between the forms and orders in which
 * operators want a tensor. Each is made once. */
#include "tflite/tflite_out.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

cr_status cr_tfl_refuse(const cr_node *n, const char *why, cr_error *err)
{
    return cr_fail(err, CR_ERR_UNSUPPORTED, "TFLite: node '%s' (%s): %s", n->name, n->op->name,
                   why);
}

/* ---- forms ---- */

cr_tfl_type cr_tfl_type_of(cr_dtype t)
{
    static const signed char types[CR_DT_COUNT] = {
        [CR_DT_F32] = 1 + CR_TFL_F32, [CR_DT_F16] = 1 + CR_TFL_F16,   [CR_DT_I8] = 1 + CR_TFL_I8,
        [CR_DT_U8] = 1 + CR_TFL_U8,   [CR_DT_I16] = 1 + CR_TFL_I16,   [CR_DT_I32] = 1 + CR_TFL_I32,
        [CR_DT_I64] = 1 + CR_TFL_I64, [CR_DT_BOOL] = 1 + CR_TFL_BOOL, [CR_DT_I4] = 1 + CR_TFL_I4};
    return (cr_tfl_type)(types[t] - 1);
}

/* uint8 codes are int8 codes moved by 128. Kernels of 16 bits know no zero point, so uint16 becomes
 * the symmetric form that holds the same range, with steps up to twice as wide. */
cr_tfl_form cr_tfl_form_of(const cr_qparams *q)
{
    const float s = q->scale[0];
    const int32_t z = q->zero_point[0];
    if (q->type == CR_DT_U8) return (cr_tfl_form){CR_TFL_I8, s, z - 128};
    if (q->type != CR_DT_U16 && (q->type != CR_DT_I16 || z == 0))
        return (cr_tfl_form){cr_tfl_type_of(q->type), s, z};
    const double lo = q->type == CR_DT_U16 ? 0 : -32768, hi = lo + 65535;
    return (cr_tfl_form){CR_TFL_I16, (float)((double)s * fmax(hi - z, z - lo) / 32767), 0};
}

cr_tfl_form cr_tfl_stored_form(const cr_tfl_out *o, const cr_tensor *t)
{
    const cr_recipe_entry *e = o->entry[t->id];
    if (t->dtype != CR_DT_F32) return (cr_tfl_form){.type = cr_tfl_type_of(t->dtype)};
    return e && !e->is_weight && !e->q.dynamic ? cr_tfl_form_of(&e->q) : cr_tfl_float();
}

bool cr_tfl_form_equal(const cr_tfl_form *a, const cr_tfl_form *b)
{
    return a->type == b->type && a->scale == b->scale && a->zero_point == b->zero_point;
}

/* ---- tensors ---- */

static int push_tensor(cr_tfl_out *o, const cr_tfl_tensor *t)
{
    if (!cr_grow((void **)&o->tensors, &o->tensor_cap, o->tensor_count, sizeof *o->tensors)) {
        o->failed = true;
        return -1;
    }
    o->tensors[o->tensor_count] = *t;
    return (int)o->tensor_count++;
}

int cr_tfl_new_tensor(cr_tfl_out *o, const char *name, const cr_tfl_form *form,
                      const cr_shape *shape, const cr_layout *layout)
{
    cr_tfl_tensor t = {.name = name, .form = *form, .rank = shape->rank};
    for (int i = 0; i < t.rank; i++) t.dim[i] = (int32_t)shape->dim[layout->at[i]];
    return push_tensor(o, &t);
}

static int new_const(cr_tfl_out *o, const char *name, const cr_tfl_form *form,
                     const cr_shape *shape, const cr_layout *layout, const void *data, size_t bytes)
{
    const int index = cr_tfl_new_tensor(o, name, form, shape, layout);
    if (index < 0 || !data) {
        o->failed = true;
        return -1;
    }
    o->tensors[index].data = data;
    o->tensors[index].bytes = bytes;
    return index;
}

/* Small tables (axes, pads, shapes) are shared by those who want the same. */
int cr_tfl_new_i32(cr_tfl_out *o, const char *name, const int32_t *values, int rows, int cols)
{
    const size_t bytes = (size_t)rows * (size_t)cols * 4;
    const cr_tfl_form form = {.type = CR_TFL_I32};
    const cr_shape shape = {cols > 1 ? 2 : 1, {rows, cols}};
    const cr_layout plain = cr_layout_plain(shape.rank);
    for (size_t i = 0; i < o->tensor_count; i++) {
        const cr_tfl_tensor *t = &o->tensors[i];
        if (t->form.type == CR_TFL_I32 && t->bytes == bytes && t->rank == shape.rank &&
            t->dim[0] == rows && !memcmp(t->data, values, bytes))
            return (int)i;
    }
    int32_t *copy = cr_arena_alloc(&o->arena, bytes);
    if (copy) memcpy(copy, values, bytes);
    return new_const(o, name, &form, &shape, &plain, copy, bytes);
}

/* ---- operators ---- */

cr_tfl_operator *cr_tfl_new_op(cr_tfl_out *o, cr_tfl_op code, int n_in, int n_out)
{
    static cr_tfl_operator scratch; /* written to after a failure, never read */
    static int nowhere[64];
    if (!cr_grow((void **)&o->ops, &o->op_cap, o->op_count, sizeof *o->ops)) {
        o->failed = true;
        scratch = (cr_tfl_operator){.in = nowhere, .out = nowhere};
        return &scratch;
    }
    cr_tfl_operator *op = &o->ops[o->op_count];
    *op = (cr_tfl_operator){.code = code, .n_in = n_in, .n_out = n_out};
    op->in = cr_arena_alloc(&o->arena, (size_t)n_in * sizeof(int));
    op->out = cr_arena_alloc(&o->arena, (size_t)n_out * sizeof(int));
    if (!op->in || !op->out) {
        o->failed = true;
        scratch = (cr_tfl_operator){.in = nowhere, .out = nowhere};
        return &scratch;
    }
    o->op_count++;
    return op;
}

void cr_tfl_set(cr_tfl_operator *op, int slot, char kind, double value)
{
    op->field[op->fields++] = (cr_tfl_field){slot, kind, value};
}

static void unary(cr_tfl_out *o, cr_tfl_op code, int in, int out)
{
    cr_tfl_operator *op = cr_tfl_new_op(o, code, 1, 1);
    op->in[0] = in;
    op->out[0] = out;
}

/* ---- constants ---- */

static void to_codes(const float *x, size_t n, const cr_tfl_form *f, void *out)
{
    const int32_t lo = f->type == CR_TFL_I8 ? -128 : -32768, hi = -lo - 1;
    for (size_t i = 0; i < n; i++) {
        const double q = nearbyint((double)(x[i] / f->scale)) + f->zero_point;
        const int32_t code = q < lo ? lo : q > hi ? hi : (int32_t)q;
        if (f->type == CR_TFL_I8)
            ((int8_t *)out)[i] = (int8_t)code;
        else
            ((int16_t *)out)[i] = (int16_t)code;
    }
}

/* Elements of `size` bytes in the file's order. */
static void *reorder(cr_tfl_out *o, const void *data, const cr_shape *s, const cr_layout *l,
                     size_t size)
{
    const int64_t count = cr_shape_count(s);
    unsigned char *out = count < 0 ? NULL : cr_arena_alloc(&o->arena, (size_t)count * size + 1);
    int64_t stride[CR_MAX_RANK], at[CR_MAX_RANK] = {0}, step = 1, from = 0;
    if (!out) return NULL;
    for (int a = s->rank; a-- > 0; step *= s->dim[a]) stride[a] = step;
    for (int64_t i = 0; i < count; i++) {
        memcpy(out + (size_t)i * size, (const unsigned char *)data + (size_t)from * size, size);
        for (int p = s->rank; p-- > 0;) {
            const int a = l->at[p];
            from += stride[a];
            if (++at[p] < s->dim[a]) break;
            from -= at[p] * stride[a];
            at[p] = 0;
        }
    }
    return out;
}

/* A constant of lower rank takes part as if it had axes of length 1 in front. */
static int get_const(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form,
                     const cr_layout *layout)
{
    cr_shape shape = {.rank = layout->rank};
    const int missing = layout->rank - t->shape.rank;
    for (int i = 0; i < shape.rank; i++) shape.dim[i] = i < missing ? 1 : t->shape.dim[i - missing];
    const size_t count = (size_t)cr_shape_count(&shape), size = cr_dtype_size(t->dtype);
    void *data = reorder(o, t->data, &shape, layout, size);
    cr_tfl_form f = *form;
    if (!data) {
        o->failed = true;
        return -1;
    }
    if (t->dtype != CR_DT_F32) f = (cr_tfl_form){.type = cr_tfl_type_of(t->dtype)};
    if (t->dtype != CR_DT_F32 || form->type == CR_TFL_F32)
        return new_const(o, t->name, &f, &shape, layout, data, count * size);
    const size_t width = form->type == CR_TFL_I8 ? 1 : 2;
    void *codes = cr_arena_alloc(&o->arena, count * width + 1);
    if (codes) to_codes(data, count, form, codes);
    return new_const(o, t->name, form, &shape, layout, codes, count * width);
}

/* Codes -8..7 two by two, the first in the low half, in place. */
static void pack_nibbles(int8_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        const int high = i + 1 < n ? codes[i + 1] & 15 : 0;
        codes[i / 2] = (int8_t)(uint8_t)((codes[i] & 15) | high << 4);
    }
}

int cr_tfl_weight(cr_tfl_out *o, const cr_tensor *w, const cr_qparams *q, const int *order,
                  int rank, const int32_t *dims, int file_axis)
{
    cr_layout layout = {.rank = rank};
    for (int i = 0; i < rank; i++) layout.at[i] = order[i];
    const size_t count = (size_t)cr_shape_count(&w->shape);
    const bool half = !q && o->options->half;
    cr_tfl_tensor t = {.name = w->name, .rank = rank};
    void *data = reorder(o, w->data, &w->shape, &layout, 4);
    t.bytes = count * 4;
    if (q && data) { /* codes in the graph's order first: scales run along its axes */
        int32_t *codes = cr_malloc(count * sizeof *codes);
        int8_t *bytes = cr_arena_alloc(&o->arena, count + 1);
        if (codes && bytes) {
            cr_quantize_tensor(w, q, codes);
            const int32_t shift = q->type == CR_DT_U8 ? 128 : 0;
            for (size_t i = 0; i < count; i++) bytes[i] = (int8_t)(codes[i] - shift);
            data = reorder(o, bytes, &w->shape, &layout, 1);
        } else {
            data = NULL;
        }
        cr_free(codes);
        t.form = (cr_tfl_form){CR_TFL_I8, q->scale[0], 0, cr_q_per_tensor(q) ? NULL : q, file_axis};
        t.bytes = count;
        if (data && q->type == CR_DT_I4 && !o->options->whole_bytes) {
            pack_nibbles(data, count);
            t.form.type = CR_TFL_I4;
            t.bytes = (count + 1) / 2;
        }
    } else if (half && data) {
        uint16_t *bits = cr_arena_alloc(&o->arena, count * 2 + 1);
        for (size_t i = 0; bits && i < count; i++)
            bits[i] = cr_f32_to_f16(((const float *)data)[i]);
        data = bits;
        t.form = (cr_tfl_form){.type = CR_TFL_F16};
        t.bytes = count * 2;
    }
    if (!data) o->failed = true;
    t.data = data;
    memcpy(t.dim, dims, (size_t)rank * sizeof *dims);
    return push_tensor(o, &t);
}

/* ---- tensors of the graph ---- */

static cr_tfl_variant *add_variant(cr_tfl_out *o, const cr_tensor *t, int index,
                                   const cr_tfl_form *form, const cr_layout *layout)
{
    cr_tfl_variant *v = cr_arena_alloc(&o->arena, sizeof *v), **end = &o->variants[t->id];
    if (!v) {
        o->failed = true;
        return NULL;
    }
    *v = (cr_tfl_variant){index, *form, *layout, NULL};
    while (*end) end = &(*end)->next;
    *end = v;
    return v;
}

static const char *part_name(cr_tfl_out *o, const cr_tensor *t, const char *what)
{
    const char *name = cr_arena_printf(&o->arena, "%s_%s", t->name, what);
    if (!name) o->failed = true;
    return name ? name : "";
}

static cr_tfl_variant *move(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_variant *from,
                            const cr_layout *layout)
{
    int32_t table[CR_MAX_RANK] = {0};
    const bool still = cr_layout_same_bytes(&from->layout, layout, &t->shape);
    const int to = cr_tfl_new_tensor(o, part_name(o, t, still ? "reshaped" : "transposed"),
                                     &from->form, &t->shape, layout);
    for (int i = 0; i < layout->rank; i++)
        table[i] = still ? (int32_t)t->shape.dim[layout->at[i]]
                         : cr_layout_find(&from->layout, layout->at[i]);
    const int second = cr_tfl_new_i32(o, still ? "shape" : "order", table, layout->rank, 1);
    cr_tfl_operator *op = cr_tfl_new_op(o, still ? CR_TFL_RESHAPE : CR_TFL_TRANSPOSE, 2, 1);
    op->in[0] = from->index;
    op->in[1] = second;
    op->out[0] = to;
    return add_variant(o, t, to, &from->form, layout);
}

static cr_tfl_variant *convert(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_variant *from,
                               const cr_tfl_form *form)
{
    const bool dequantize = form->type == CR_TFL_F32;
    const int to = cr_tfl_new_tensor(o, part_name(o, t, dequantize ? "float" : "quantized"), form,
                                     &t->shape, &from->layout);
    unary(o, dequantize ? CR_TFL_DEQUANTIZE : CR_TFL_QUANTIZE, from->index, to);
    return add_variant(o, t, to, form, &from->layout);
}

static cr_tfl_variant *find(const cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form,
                            const cr_layout *layout)
{
    for (cr_tfl_variant *v = o->variants[t->id]; v; v = v->next)
        if (cr_tfl_form_equal(&v->form, form) && cr_layout_equal(&v->layout, layout)) return v;
    return NULL;
}

int cr_tfl_get(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form, const cr_layout *layout)
{
    if (t->data) return get_const(o, t, form, layout);
    const cr_tfl_variant *v = find(o, t, form, layout);
    if (v) return v->index;
    const cr_tfl_variant *base = o->variants[t->id];
    if (!base) {
        o->failed = true;
        return -1;
    }
    v = find(o, t, &base->form, layout);
    if (!v) v = move(o, t, base, layout);
    if (v && !cr_tfl_form_equal(&v->form, form)) v = convert(o, t, v, form);
    return v ? v->index : -1;
}

cr_layout cr_tfl_layout_of(const cr_tfl_out *o, const cr_tensor *t)
{
    return o->variants[t->id] ? o->variants[t->id]->layout : cr_layout_plain(t->shape.rank);
}

int cr_tfl_make(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form, const cr_layout *layout)
{
    const cr_tfl_form stored = cr_tfl_stored_form(o, t);
    const bool final = cr_tfl_form_equal(&stored, form);
    const int index =
        cr_tfl_new_tensor(o, final ? t->name : part_name(o, t, "raw"), form, &t->shape, layout);
    add_variant(o, t, index, form, layout);
    return index;
}

/* Readers see what the recipe says, so the raw values are forgotten. */
void cr_tfl_made(cr_tfl_out *o, const cr_tensor *t)
{
    const cr_tfl_form stored = cr_tfl_stored_form(o, t);
    const cr_tfl_variant *raw = o->variants[t->id];
    if (!raw || cr_tfl_form_equal(&raw->form, &stored)) return;
    o->variants[t->id] = convert(o, t, raw, &stored);
}

void cr_tfl_rename(cr_tfl_out *o, const cr_tensor *t, int index, const cr_tfl_form *form,
                   const cr_layout *layout)
{
    add_variant(o, t, index, form, layout);
}
