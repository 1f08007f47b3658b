/* The forms in which weights are stored: as they are, as 16-bit floats that are widened, as
 * integers with scales, as a palette with indices. Each gives exactly the numbers that the graph
 * means, in the float type that the layer computes in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coreml/mil_graph.h"

/* ---- the stored elements ---- */

static int32_t code_at(const cr_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case CR_DT_I32:
        return ((const int32_t *)t->data)[i];
    case CR_DT_U8:
    case CR_DT_U4:
    case CR_DT_U2:
        return ((const uint8_t *)t->data)[i];
    default:
        return ((const int8_t *)t->data)[i];
    }
}

static int32_t narrow(int64_t v)
{
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}

/* n elements in type `to`, as they lie in a file; cr_free. */
static void *converted(const cr_tensor *t, cr_mil_type to)
{
    const size_t n = (size_t)cr_shape_count(&t->shape);
    unsigned char *out = cr_malloc(n * 4 + 4);
    for (size_t i = 0; out && i < n; i++) {
        if (to == CR_MIL_F32)
            ((float *)out)[i] = (float)cr_tensor_get_f64(t, i);
        else if (to == CR_MIL_F16)
            ((uint16_t *)out)[i] = cr_f32_to_f16((float)cr_tensor_get_f64(t, i));
        else if (to == CR_MIL_BOOL)
            out[i] = cr_tensor_get_i64(t, i) != 0;
        else
            ((int32_t *)out)[i] = narrow(cr_tensor_get_i64(t, i));
    }
    return out;
}

static CrCoreml__Value *float_values(cr_mil *m, cr_mil_type to, const cr_shape *s, const float *v)
{
    const cr_tensor t = {.dtype = CR_DT_F32, .shape = *s, .data = (void *)v};
    void *bytes = to == CR_MIL_F32 ? NULL : converted(&t, to);
    if (to != CR_MIL_F32 && !bytes) {
        m->no_memory = true;
        return NULL;
    }
    CrCoreml__Value *value = cr_mil_value(m, to, s, bytes ? bytes : v);
    cr_free(bytes);
    return value;
}

static CrCoreml__Value *list_value(cr_mil *m, cr_mil_type t, const void *v, size_t n)
{
    return cr_mil_value(m, t, &(cr_shape){1, {(int64_t)n}}, v);
}

/* ---- palettes ---- */

enum { MAX_PALETTE = 256 };

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The different values of a constant, ascending; -1 if there are more than `most`. */
static int distinct(const float *v, size_t n, int most, float *found)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        int lo = 0, hi = count;
        while (lo < hi) {
            const int mid = (lo + hi) / 2;
            if (found[mid] < v[i])
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < count && found[lo] == v[i]) continue;
        if (count == most || !(v[i] == v[i])) return -1;
        memmove(found + lo + 1, found + lo, (size_t)(count - lo) * sizeof *found);
        found[lo] = v[i];
        count++;
    }
    return count;
}

const cr_palette_scales *cr_coreml_scales_of(const cr_coreml_writer *w, const cr_tensor *t)
{
    for (size_t i = 0; i < w->o->scale_count; i++)
        if (!strcmp(w->o->scales[i].tensor, t->name)) return &w->o->scales[i];
    return NULL;
}

/* The constant's values, divided by its scales if it has some: exact, they are products of two
 * float16. cr_free. */
static float *quotients(const cr_coreml_writer *w, const cr_tensor *t)
{
    const cr_palette_scales *s = cr_coreml_scales_of(w, t);
    const size_t n = (size_t)cr_shape_count(&t->shape);
    float *v = cr_malloc(n * sizeof *v + 1);
    size_t inner = 1;
    if (!v) return NULL;
    memcpy(v, t->data, n * sizeof *v);
    for (int d = s ? s->axis + 1 : 0; s && d < t->shape.rank; d++) inner *= (size_t)t->shape.dim[d];
    for (size_t i = 0; s && i < n; i++) v[i] /= s->scale[i / inner % s->count];
    return v;
}

bool cr_coreml_has_palette(const cr_coreml_writer *w, const cr_tensor *t)
{
    float found[MAX_PALETTE];
    const int64_t n = t->data && t->dtype == CR_DT_F32 ? cr_shape_count(&t->shape) : 0;
    if (!w->o->palette_bits || n < CR_COREML_LARGE) return false;
    float *v = quotients(w, t);
    const bool few = v && distinct(v, (size_t)n, 1 << w->o->palette_bits, found) >= 0;
    cr_free(v);
    return few;
}

typedef struct colours { /* a constant as a palette and indices */
    float value[MAX_PALETTE];
    unsigned char *packed; /* NULL: no memory */
    size_t size;
} colours;

static void find_colours(const cr_coreml_writer *w, const cr_tensor *t, colours *c)
{
    const unsigned bits = (unsigned)w->o->palette_bits;
    const size_t n = (size_t)cr_shape_count(&t->shape);
    *c = (colours){.size = (n * bits + 7) / 8};
    float *v = quotients(w, t);
    uint8_t *codes = cr_malloc(n);
    unsigned char *packed = cr_calloc(c->size + 1, 1);
    if (v && codes && packed) {
        const int count = distinct(v, n, 1 << bits, c->value);
        for (size_t i = 0; i < n; i++) {
            const float *at = bsearch(&v[i], c->value, (size_t)count, sizeof *v, compare_floats);
            codes[i] = (uint8_t)(at - c->value);
        }
        for (int i = count; i < 1 << bits; i++) c->value[i] = c->value[count - 1];
        cr_blob_pack(codes, n, bits, packed);
        c->packed = packed;
    } else {
        cr_free(packed);
    }
    cr_free(v);
    cr_free(codes);
}

/* As iOS 16 has it: one palette, indices as a run of bytes. */
static void write_plain_palette(cr_mil *m, const cr_tensor *t, const colours *c, int64_t entries,
                                cr_mil_type type, const char *name)
{
    uint32_t dims[CR_MAX_RANK];
    for (int i = 0; i < t->shape.rank; i++) dims[i] = (uint32_t)t->shape.dim[i];
    cr_mil_op *op = cr_mil_begin(m, "constexpr_lut_to_dense", name, 3, 1);
    if (op) {
        cr_mil_attribute(m, op, "indices", list_value(m, CR_MIL_U8, c->packed, c->size));
        cr_mil_attribute(m, op, "lut", float_values(m, type, &(cr_shape){1, {entries}}, c->value));
        cr_mil_attribute(m, op, "shape", list_value(m, CR_MIL_U32, dims, (size_t)t->shape.rank));
    }
    cr_mil_out(m, op, name, type, &t->shape);
}

static cr_mil_type index_type(int bits)
{
    return bits == 1 ? CR_MIL_U1 : bits == 2 ? CR_MIL_U2 : bits == 4 ? CR_MIL_U4
         : bits == 6 ? CR_MIL_U6 : CR_MIL_U8;
}

/* As iOS 18 has it: indices in the constant's shape. */
static void write_shaped_palette(cr_mil *m, const cr_tensor *t, const colours *c, int bits,
                                 cr_mil_type type, const char *name)
{
    cr_shape lut = t->shape;
    for (int d = 0; d < t->shape.rank; d++) lut.dim[d] = 1;
    lut.dim[lut.rank++] = 1 << bits;
    lut.dim[lut.rank++] = 1;
    cr_mil_op *op = cr_mil_begin(m, "constexpr_lut_to_dense", name, 2, 1);
    if (op) {
        cr_mil_arg_value(m, op, "indices", cr_mil_value(m, index_type(bits), &t->shape, c->packed));
        cr_mil_arg_value(m, op, "lut", float_values(m, type, &lut, c->value));
    }
    cr_mil_out(m, op, name, type, &t->shape);
}

static void write_scaled_palette(cr_mil *m, const cr_tensor *t, const colours *c, int bits,
                                 const cr_palette_scales *s, cr_mil_type type, const char *name)
{
    cr_shape scales = t->shape;
    char stem[512];
    for (int d = 0; d < t->shape.rank; d++) scales.dim[d] = 1;
    scales.dim[s->axis] = (int64_t)s->count;
    snprintf(stem, sizeof stem, "%s_palette", name);
    const char *inner = cr_mil_identifier(m, stem);
    if (!inner) {
        m->no_memory = true;
        return;
    }
    write_shaped_palette(m, t, c, bits, type, inner);
    cr_mil_op *op = cr_mil_begin(m, "constexpr_blockwise_shift_scale", name, 2, 1);
    if (op) {
        cr_mil_arg(m, op, "data", inner);
        cr_mil_arg_value(m, op, "scale", float_values(m, type, &scales, s->scale));
    }
    cr_mil_out(m, op, name, type, &t->shape);
}

static void write_palette(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type,
                          const char *name)
{
    const cr_palette_scales *s = cr_coreml_scales_of(w, t);
    colours c;
    find_colours(w, t, &c);
    if (!c.packed)
        w->mil.no_memory = true;
    else if (s)
        write_scaled_palette(&w->mil, t, &c, w->o->palette_bits, s, type, name);
    else if (w->level >= 8)
        write_shaped_palette(&w->mil, t, &c, w->o->palette_bits, type, name);
    else
        write_plain_palette(&w->mil, t, &c, 1 << w->o->palette_bits, type, name);
    cr_free(c.packed);
}

/* ---- floats and whole numbers ---- */

/* Would 16 bits lose nothing, and are they worth an operation? */
static bool is_half_inside(const cr_coreml_writer *w, const cr_tensor *t)
{
    const int64_t n = t->dtype == CR_DT_F32 ? cr_shape_count(&t->shape) : 0;
    if (t->dtype == CR_DT_F16) return true;
    if (w->level < 6 || n < CR_COREML_LARGE) return false;
    for (int64_t i = 0; i < n; i++) {
        const float v = ((const float *)t->data)[i];
        if (cr_f16_to_f32(cr_f32_to_f16(v)) != v) return false;
    }
    return true;
}

/* A constant of a float32 layer, stored in 16 bits. */
static void write_widened(cr_coreml_writer *w, const cr_tensor *t, const char *name)
{
    cr_mil *m = &w->mil;
    void *half = converted(t, CR_MIL_F16);
    cr_mil_op *op = cr_mil_begin(m, "constexpr_cast", name, 2, 1);
    if (op) {
        cr_mil_attribute(m, op, "source_val",
                         half ? cr_mil_value(m, CR_MIL_F16, &t->shape, half) : NULL);
        cr_mil_attribute(m, op, "output_dtype", cr_mil_string_value(m, "fp32"));
    }
    cr_mil_out(m, op, name, CR_MIL_F32, &t->shape);
    cr_free(half);
}

void cr_coreml_constant(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type, const char *name)
{
    if (cr_coreml_has_palette(w, t)) {
        write_palette(w, t, type, name);
        return;
    }
    if (type == CR_MIL_F32 && is_half_inside(w, t)) {
        write_widened(w, t, name);
        return;
    }
    void *data = converted(t, type);
    if (data)
        cr_mil_const(&w->mil, name, type, &t->shape, data);
    else
        w->mil.no_memory = true;
    cr_free(data);
}

/* ---- integers with scales ---- */

static bool is_blocked(const cr_node *n)
{
    return cr_attr_int(n, "block_size", 0) > 0;
}

int cr_coreml_weight_level(const cr_node *n)
{
    switch (n->in[0]->dtype) {
    case CR_DT_I32:
        return is_blocked(n) ? 0 : 5;
    case CR_DT_I8:
    case CR_DT_U8:
        return is_blocked(n) ? 8 : 6;
    case CR_DT_I4:
    case CR_DT_U4:
    case CR_DT_I2:
    case CR_DT_U2:
        return 8;
    default:
        return 0;
    }
}

/* Scales as a grid over the tensor: as many cells along each dimension as divide it evenly. */
typedef struct grid {
    cr_shape shape; /* rank of the tensor */
    float *scale;   /* by cell, row-major */
    int32_t *zero;
    bool has_zero;
} grid;

static int64_t divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool grid_alloc(grid *g)
{
    const size_t n = (size_t)cr_shape_count(&g->shape);
    g->scale = cr_malloc(n * sizeof *g->scale + 1);
    g->zero = cr_calloc(n + 1, sizeof *g->zero);
    return g->scale && g->zero;
}

static void grid_free(grid *g)
{
    cr_free(g->scale);
    cr_free(g->zero);
}

/* Core ML has no last block that is shorter: where the length is no multiple of the block, finer
 * cells repeat its scale. */
static bool make_grid(const cr_node *n, grid *g)
{
    const cr_tensor *x = n->in[0], *s = n->in[1], *z = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t given = cr_attr_int(n, "axis", 1), block = cr_attr_int(n, "block_size", 0);
    const int axis = (int)(given < 0 ? given + x->shape.rank : given);
    const bool vector = s->shape.rank > 0;
    const int64_t length = vector ? x->shape.dim[axis] : 1;
    const int64_t cell = !vector           ? 1
                         : !block          ? 1
                         : block >= length ? length
                                           : divisor(length, block);
    *g = (grid){.shape = x->shape, .has_zero = z != NULL};
    for (int i = 0; i < x->shape.rank; i++) g->shape.dim[i] = block ? x->shape.dim[i] : 1;
    if (vector) g->shape.dim[axis] = length / cell;
    if (!grid_alloc(g)) return false;
    int64_t inner = 1;
    for (int i = axis + 1; vector && i < x->shape.rank; i++) inner *= g->shape.dim[i];
    const int64_t count = cr_shape_count(&g->shape), cells = length / cell;
    const int64_t blocks = block ? (length + block - 1) / block : cells;
    for (int64_t i = 0; i < count; i++) {
        const int64_t in = i % inner, a = i / inner % cells, out = i / inner / cells;
        const int64_t from =
            !vector ? 0 : (out * blocks + (block ? a * cell / block : a)) * inner + in;
        g->scale[i] = ((const float *)s->data)[from];
        if (z) g->zero[i] = code_at(z, from);
    }
    return true;
}

/* The cell of element i. */
static int64_t cell_of(const grid *g, const cr_shape *s, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        const int64_t k = i % s->dim[d] / (s->dim[d] / g->shape.dim[d]);
        i /= s->dim[d];
        at += k * step;
        step *= g->shape.dim[d];
    }
    return at;
}

/* int32: biases. They are as small as their layer's channels and become floats. */
static void write_folded(cr_coreml_writer *w, const cr_node *n, const grid *g, cr_mil_type type,
                         const char *name)
{
    const cr_tensor *x = n->in[0];
    const int64_t count = cr_shape_count(&x->shape);
    float *v = cr_malloc((size_t)count * sizeof *v + 1);
    for (int64_t i = 0; v && i < count; i++) {
        const int64_t c = cell_of(g, &x->shape, i);
        v[i] = (float)(code_at(x, i) - g->zero[c]) * g->scale[c];
    }
    const cr_tensor floats = {.dtype = CR_DT_F32, .shape = x->shape, .data = v};
    if (v)
        cr_coreml_constant(w, &floats, type, name);
    else
        w->mil.no_memory = true;
    cr_free(v);
}

static void write_affine(cr_coreml_writer *w, const cr_node *n, const grid *g, cr_mil_type type,
                         const char *name)
{
    cr_mil *m = &w->mil;
    const cr_tensor *x = n->in[0];
    const cr_shape *scales = &n->in[1]->shape;
    const cr_mil_type codes = x->dtype == CR_DT_I8 ? CR_MIL_I8 : CR_MIL_U8;
    const int64_t given = cr_attr_int(n, "axis", 1);
    const int32_t axis = scales->rank ? (int32_t)(given < 0 ? given + x->shape.rank : given) : 0;
    const int64_t count = cr_shape_count(scales);
    uint8_t *zero = cr_malloc((size_t)count + 1);
    for (int64_t i = 0; zero && i < count; i++) zero[i] = (uint8_t)g->zero[i];
    cr_mil_op *op = zero ? cr_mil_begin(m, "constexpr_affine_dequantize", name, 4, 1) : NULL;
    if (op) {
        cr_mil_attribute(m, op, "quantized_data", cr_mil_value(m, codes, &x->shape, x->data));
        cr_mil_attribute(m, op, "zero_point", cr_mil_value(m, codes, scales, zero));
        cr_mil_attribute(m, op, "scale", float_values(m, type, scales, g->scale));
        cr_mil_attribute(m, op, "axis", cr_mil_value(m, CR_MIL_I32, &(cr_shape){0}, &axis));
    }
    cr_mil_out(m, op, name, type, &x->shape);
    cr_free(zero);
}

/* Codes or zero points of fewer than 8 bits, packed; 8-bit ones as they are. cr_free. */
static unsigned char *packed_codes(const int32_t *codes, const cr_tensor *t, size_t n,
                                   unsigned bits)
{
    uint8_t *bytes = cr_malloc(n + 1);
    unsigned char *out = cr_calloc(n + 2, 1);
    for (size_t i = 0; bytes && i < n; i++)
        bytes[i] = (uint8_t)(codes ? codes[i] : code_at(t, (int64_t)i));
    if (bytes && out) cr_blob_pack(bytes, n, bits, out);
    cr_free(bytes);
    return out;
}

static cr_mil_type small_type(cr_dtype t)
{
    switch (t) {
    case CR_DT_I4:
        return CR_MIL_I4;
    case CR_DT_U4:
        return CR_MIL_U4;
    case CR_DT_I8:
        return CR_MIL_I8;
    case CR_DT_U8:
        return CR_MIL_U8;
    default:
        return CR_MIL_U2;
    }
}

static void write_blocks(cr_coreml_writer *w, const cr_node *n, const grid *g, cr_mil_type type,
                         const char *name)
{
    cr_mil *m = &w->mil;
    const cr_tensor *x = n->in[0];
    const cr_mil_type codes = small_type(x->dtype);
    const unsigned bits = (unsigned)cr_mil_type_bits(codes);
    unsigned char *data = packed_codes(NULL, x, (size_t)cr_shape_count(&x->shape), bits);
    unsigned char *zero = packed_codes(g->zero, NULL, (size_t)cr_shape_count(&g->shape), bits);
    cr_mil_op *op =
        data && zero ? cr_mil_begin(m, "constexpr_blockwise_shift_scale", name, 3, 1) : NULL;
    if (op) {
        cr_mil_arg_value(m, op, "data", cr_mil_value(m, codes, &x->shape, data));
        cr_mil_arg_value(m, op, "scale", float_values(m, type, &g->shape, g->scale));
        if (g->has_zero) cr_mil_arg_value(m, op, "offset", cr_mil_value(m, codes, &g->shape, zero));
    }
    cr_mil_out(m, op, name, type, &x->shape);
    cr_free(data);
    cr_free(zero);
}

/* Two bits: Core ML has no such integers, but palettes of four per cell. */
static void write_quads(cr_coreml_writer *w, const cr_node *n, const grid *g, cr_mil_type type,
                        const char *name)
{
    cr_mil *m = &w->mil;
    const cr_tensor *x = n->in[0];
    const int64_t cells = cr_shape_count(&g->shape);
    unsigned char *data = packed_codes(NULL, x, (size_t)cr_shape_count(&x->shape), 2);
    float *palette = cr_malloc((size_t)cells * 4 * sizeof *palette);
    for (int64_t i = 0; palette && i < 4 * cells; i++) {
        const int k = (int)(i % 4), code = x->dtype == CR_DT_I2 && k > 1 ? k - 4 : k;
        palette[i] = (float)(code - g->zero[i / 4]) * g->scale[i / 4];
    }
    cr_shape s = g->shape;
    s.dim[s.rank++] = 4;
    s.dim[s.rank++] = 1;
    cr_mil_op *op = data && palette ? cr_mil_begin(m, "constexpr_lut_to_dense", name, 2, 1) : NULL;
    if (op) {
        cr_mil_arg_value(m, op, "indices", cr_mil_value(m, CR_MIL_U2, &x->shape, data));
        cr_mil_arg_value(m, op, "lut", float_values(m, type, &s, palette));
    }
    cr_mil_out(m, op, name, type, &x->shape);
    cr_free(data);
    cr_free(palette);
}

void cr_coreml_dequantized(cr_coreml_writer *w, const cr_node *n, cr_mil_type type,
                           const char *name)
{
    const cr_dtype codes = n->in[0]->dtype;
    grid g = {0};
    if (!make_grid(n, &g))
        w->mil.no_memory = true;
    else if (codes == CR_DT_I32)
        write_folded(w, n, &g, type, name);
    else if (codes == CR_DT_I2 || codes == CR_DT_U2)
        write_quads(w, n, &g, type, name);
    else if (is_blocked(n) || codes == CR_DT_I4 || codes == CR_DT_U4)
        write_blocks(w, n, &g, type, name);
    else
        write_affine(w, n, &g, type, name);
    grid_free(&g);
}
