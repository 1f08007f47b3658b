/* Entries of the recipe as layers: FakeQuantize, and codes with what makes floats of them. */
#include <math.h>
#include <string.h>

#include "openvino/ir_out.h"

/* ---- weights ---- */

enum { LEAST_BLOCK = 4 }; /* shorter ones cost more for scales than codes save */

typedef struct form { /* the shapes in which codes and scales are stored */
    cr_shape codes, scales;
    int64_t block;
} form;

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static cr_shape ones(int rank)
{
    cr_shape s = {rank, {0}};
    for (int d = 0; d < rank; d++) s.dim[d] = 1;
    return s;
}

/* [O, ...] as [G, O/G, ...]. */
static cr_shape grouped(const cr_shape *s, int64_t groups)
{
    cr_shape out = {s->rank + 1, {groups, s->dim[0] / groups}};
    for (int d = 1; d < s->rank; d++) out.dim[d + 1] = s->dim[d];
    return out;
}

static bool has_room(const cr_shape *s)
{
    return s->rank < CR_MAX_RANK;
}

/* Blocks divide the axis here: of such as do not, a part that does, with scales repeated. */
static bool blocked_form(const cr_shape *s, const cr_qparams *q, form *f)
{
    const int64_t length = s->dim[q->axis];
    f->block = q->block >= length ? length : common_divisor(length, q->block);
    if (!has_room(s) || (f->block < LEAST_BLOCK && f->block < length)) return false;
    f->codes = *s;
    f->codes.rank++;
    memmove(&f->codes.dim[q->axis + 2], &s->dim[q->axis + 1],
            (size_t)(s->rank - q->axis - 1) * sizeof *s->dim);
    f->codes.dim[q->axis] = length / f->block;
    f->codes.dim[q->axis + 1] = f->block;
    f->scales = f->codes;
    f->scales.dim[q->axis + 1] = 1;
    return true;
}

static bool find_form(const cr_tensor *t, const cr_qparams *q, int64_t groups, form *f)
{
    *f = (form){.block = 0};
    if (q->block) return blocked_form(&t->shape, q, f);
    if (groups > 1 && !has_room(&t->shape)) return false;
    f->codes = groups > 1 ? grouped(&t->shape, groups) : t->shape;
    f->scales = ones(f->codes.rank);
    if (cr_q_per_tensor(q)) return true;
    const int axis = groups > 1 ? q->axis + 1 : q->axis;
    f->scales.dim[axis] = f->codes.dim[axis];
    if (groups > 1 && q->axis == 0) f->scales.dim[0] = groups;
    return true;
}

/* Which of the entry's scales is the i-th of the stored ones. */
static size_t source_scale(const cr_tensor *t, const cr_qparams *q, const form *f, size_t i)
{
    if (!q->block) return i;
    const cr_q_grain grain = cr_q_grain_of(q, &t->shape);
    const size_t inner = (size_t)grain.inner, parts = (size_t)(grain.length / f->block);
    const size_t o = i / (parts * inner), part = i / inner % parts;
    const size_t block = part * (size_t)f->block / (size_t)q->block;
    return (o * (size_t)grain.blocks + block) * inner + i % inner;
}

static cr_dtype stored_type(cr_dtype t)
{
    if (t == CR_DT_I2 || t == CR_DT_I1) return CR_DT_I4;
    return t == CR_DT_U2 ? CR_DT_U4 : t;
}

/* Codes as the .bin has them; returns the bytes. Two of four bits share one, the first the low half. */
static size_t pack(cr_dtype type, const int32_t *codes, size_t n, unsigned char *out)
{
    if (type == CR_DT_I4 || type == CR_DT_U4) {
        for (size_t i = 0; i < n; i++)
            out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] | (codes[i] & 15) << 4 : codes[i] & 15);
        return (n + 1) / 2;
    }
    const size_t each = cr_dtype_size(type);
    for (size_t i = 0; i < n; i++) {
        const uint16_t v = (uint16_t)codes[i];
        if (each == 1) out[i] = (unsigned char)v;
        else memcpy(out + 2 * i, &v, 2);
    }
    return n * each;
}

static cr_ir_ref put_packed(cr_ir_out *w, const char *name, cr_dtype type, const cr_shape *shape,
                            int32_t *codes)
{
    cr_ir_ref out = {.dtype = CR_DT_F32, .shape = *shape};
    const size_t n = (size_t)cr_shape_count(shape);
    const size_t size = pack(type, codes, n, (unsigned char *)codes); /* never wider than int32 */
    const cr_ir_ref c = cr_ir_const(w, name, type, shape, codes, size);
    const char *convert = cr_arena_printf(&w->arena, "%s/float", name);
    cr_ir_layer_n(w, "Convert", 1, convert ? convert : "", "destination_type=\"f32\"", &c, 1, &out,
                  NULL, 1);
    return out;
}

static cr_ir_ref put_binary(cr_ir_out *w, const char *type, const char *name, cr_ir_ref a, cr_ir_ref b)
{
    cr_ir_ref out = {.dtype = CR_DT_F32, .shape = a.shape};
    const cr_ir_ref in[] = {a, b};
    cr_ir_layer_n(w, type, 1, name, "auto_broadcast=\"numpy\"", in, 2, &out, NULL, 1);
    return out;
}

static cr_ir_ref put_reshape(cr_ir_out *w, const char *name, cr_ir_ref x, const cr_shape *to)
{
    cr_ir_ref out = {.dtype = CR_DT_F32, .shape = *to};
    const cr_shape list = {1, {to->rank}};
    const char *shape = cr_arena_printf(&w->arena, "%s/shape", name);
    const cr_ir_ref in[] = {x, cr_ir_const(w, shape ? shape : "", CR_DT_I64, &list, to->dim,
                                           (size_t)to->rank * sizeof *to->dim)};
    cr_ir_layer_n(w, "Reshape", 1, name, "special_zero=\"false\"", in, 2, &out, NULL, 1);
    return out;
}

/* What the entry makes of the values, as floats. */
static cr_ir_ref put_rounded(cr_ir_out *w, const cr_tensor *t, const cr_qparams *q, int64_t groups)
{
    cr_ir_ref out = {.layer = 0};
    float *v = cr_malloc(cr_tensor_bytes(t));
    const cr_shape shape = groups > 1 ? grouped(&t->shape, groups) : t->shape;
    if (!v) {
        w->failed = true;
        return out;
    }
    cr_fake_quantize(t, q, v);
    out = cr_ir_const_floats(w, t->name, &shape, v);
    cr_free(v);
    return out;
}

cr_ir_ref cr_ir_put_codes(cr_ir_out *w, const cr_tensor *t, const cr_qparams *q, int64_t groups)
{
    form f;
    if (!find_form(t, q, groups, &f)) return put_rounded(w, t, q, groups);
    cr_ir_ref y = {.layer = 0};
    const size_t scales = (size_t)cr_shape_count(&f.scales);
    int32_t *codes = cr_malloc(((size_t)cr_shape_count(&t->shape) + 1) * sizeof *codes);
    int32_t *zero = cr_malloc((scales + 1) * sizeof *zero);
    float *scale = cr_malloc((scales + 1) * sizeof *scale);
    bool shifted = false;
    if (!codes || !zero || !scale) {
        w->failed = true;
        goto done;
    }
    cr_quantize_tensor(t, q, codes);
    for (size_t i = 0; i < scales; i++) {
        const size_t k = source_scale(t, q, &f, i);
        scale[i] = q->scale[k];
        zero[i] = q->zero_point[k];
        shifted |= zero[i] != 0;
    }
    y = put_packed(w, cr_ir_stem(w, t, "codes"), stored_type(q->type), &f.codes, codes);
    if (shifted)
        y = put_binary(w, "Subtract", cr_ir_stem(w, t, "shifted"), y,
                       put_packed(w, cr_ir_stem(w, t, "zero_point"), stored_type(q->type), &f.scales,
                                  zero));
    const cr_ir_ref s = cr_ir_const(w, cr_ir_stem(w, t, "scale"), CR_DT_F32, &f.scales, scale,
                                    scales * sizeof *scale);
    y = put_binary(w, "Multiply", f.block ? cr_ir_stem(w, t, "blocks") : t->name, y, s);
    if (f.block) {
        const cr_shape to = groups > 1 ? grouped(&t->shape, groups) : t->shape;
        y = put_reshape(w, t->name, y, &to);
    }
done:
    cr_free(codes);
    cr_free(zero);
    cr_free(scale);
    return y;
}

/* ---- activations ---- */

static bool same_entry(const cr_recipe_entry *a, const cr_recipe_entry *b)
{
    return a && b && a->q.type == b->q.type && cr_q_per_tensor(&a->q) && cr_q_per_tensor(&b->q) &&
           a->q.scale[0] == b->q.scale[0] && a->q.zero_point[0] == b->q.zero_point[0];
}

/* The operators through which the reader passes codes on (ir_quant.c). */
static bool moves_codes(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Concat:
    case CR_OP_Split:
    case CR_OP_Slice:
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Transpose:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
    case CR_OP_MaxPool: return true;
    case CR_OP_Resize: return !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
    default: return false;
    }
}

bool cr_ir_needs_fake(const cr_ir_out *w, const cr_tensor *t)
{
    const cr_recipe_entry *e = w->entries[t->id];
    const cr_node *n = t->producer;
    if (!e || t->data) return false;
    if (!n || !moves_codes(n)) return true;
    for (int k = 0; k < (n->op->kind == CR_OP_Concat ? n->n_in : 1); k++)
        if (n->in[k]->data || !same_entry(w->entries[n->in[k]->id], e)) return true;
    return false;
}

/* The upper end whose distance from the lower one tells the scale best: both are float32. */
static float upper_end(float low, float scale, int64_t steps, double exact)
{
    float best = (float)exact;
    double least = INFINITY;
    for (int k = -2; k <= 2; k++) {
        float high = (float)exact;
        for (int i = 0; i < (k < 0 ? -k : k); i++) high = nextafterf(high, k < 0 ? -INFINITY : INFINITY);
        const double off = fabs(((double)high - low) / (double)steps - scale);
        if (off < least) {
            least = off;
            best = high;
        }
    }
    return best;
}

cr_ir_ref cr_ir_put_fake(cr_ir_out *w, const cr_tensor *t, const cr_qparams *q, cr_ir_ref x)
{
    cr_ir_ref out = x;
    int32_t lo = 0, hi = 0;
    const bool output = cr_ir_is_output(w->g, t);
    const char *name = output ? t->name : cr_ir_stem(w, t, "fq");
    cr_shape shape = ones(t->shape.rank);
    float *low = cr_malloc(2 * q->count * sizeof *low), *high = low ? low + q->count : NULL;
    if (!low) {
        w->failed = true;
        return out;
    }
    cr_qtype_range(q->type, &lo, &hi);
    if (!cr_q_per_tensor(q)) shape.dim[q->axis] = (int64_t)q->count;
    for (size_t i = 0; i < q->count; i++) {
        const double s = q->scale[i];
        low[i] = (float)(s * (lo - q->zero_point[i]));
        high[i] = upper_end(low[i], q->scale[i], hi - lo, s * (hi - q->zero_point[i]));
    }
    const size_t size = q->count * sizeof *low;
    const cr_ir_ref l = cr_ir_const(w, cr_ir_stem(w, t, "low"), CR_DT_F32, &shape, low, size);
    const cr_ir_ref h = cr_ir_const(w, cr_ir_stem(w, t, "high"), CR_DT_F32, &shape, high, size);
    cr_free(low);
    const cr_ir_ref in[] = {x, l, h, l, h};
    char attrs[64];
    snprintf(attrs, sizeof attrs, "levels=\"%d\" auto_broadcast=\"numpy\"", hi - lo + 1);
    cr_ir_layer_n(w, "FakeQuantize", 1, name, attrs, in, 5, &out, &name, 1);
    return out;
}
