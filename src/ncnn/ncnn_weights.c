/* Weights: float, in 16 bits, as a table of values, as int8 codes with their scales. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ncnn/ncnn_out.h"

/* What a weight begins with; anything else that is not 0 announces a table. */
enum { TAG_FLOAT = 0, TAG_FLOAT16 = 0x01306B47, TAG_BFLOAT16 = 0x01348B83, TAG_INT8 = 0x000D4B38 };
enum { TAG_TABLE = 1, TABLE = 256 };

static const char hint[] = "'crayon quantize --target ncnn' (or -o OUT.param) plans for it";

static bool is_wide(const cr_qparams *q)
{
    return q->type == CR_DT_I16 || q->type == CR_DT_U16;
}

static cr_status check_input(const cr_tensor *t, const cr_qparams *q, cr_error *err)
{
    CR_CHECK(!q->dynamic, err, CR_ERR_UNSUPPORTED,
             "ncnn cannot say that '%.80s' is quantized anew in every run; --mode static can be written",
             t->name);
    CR_CHECK(q->count == 1, err, CR_ERR_UNSUPPORTED,
             "'%.80s' has a scale per channel, ncnn has one per tensor; %s", t->name, hint);
    CR_CHECK(q->type == CR_DT_I8 && !q->zero_point[0], err, CR_ERR_UNSUPPORTED,
             "'%.80s' is %s with zero point %d, ncnn has int8 with 0; %s", t->name,
             cr_dtype_key(q->type), (int)q->zero_point[0], hint);
    return CR_OK;
}

/* One scale for all, or one per output: axis 0 (of a Gemm's matrix [depth][outputs] axis 1). */
static cr_status check_weight(const cr_tensor *t, const cr_qparams *q, int axis, cr_error *err)
{
    bool zero = true;
    for (size_t i = 0; i < q->count; i++) zero = zero && !q->zero_point[i];
    CR_CHECK(cr_q_int8_codes(q->type) && zero, err, CR_ERR_UNSUPPORTED,
             "weight '%.80s' is %s%s, ncnn has signed weights of 8 bits without; %s", t->name,
             cr_dtype_key(q->type), zero ? "" : " with zero points", hint);
    CR_CHECK(!q->block && (q->count == 1 || q->axis == axis), err, CR_ERR_UNSUPPORTED,
             "weight '%.80s' has scales %s, ncnn has one per output; --mode fp16 can be written",
             t->name, q->block ? "in blocks" : "along another axis");
    return CR_OK;
}

/* May the outputs of each group share a scale? */
static bool groups_share(const cr_qparams *q, int64_t groups)
{
    const size_t each = groups ? q->count / (size_t)groups : 1;
    for (size_t i = 0; q->count > 1 && i < q->count; i++)
        if (q->scale[i] != q->scale[i / each * each]) return false;
    return true;
}

cr_status cr_ncnn_codes_of(const cr_ncnn_out *w, int64_t groups, cr_ncnn_codes *out, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_tensor *x = n->in[0], *t = n->in[1];
    const cr_recipe_entry *input = w->entries[x->id], *weight = w->entries[t->id];
    const bool turned = n->op->kind == CR_OP_MatMul ||
                        (n->op->kind == CR_OP_Gemm && !cr_attr_int(n, "transB", 0));
    *out = (cr_ncnn_codes){0};
    if (!weight) return CR_OK;
    CR_CHECK(input, err, CR_ERR_UNSUPPORTED,
             "weight '%.80s' is quantized alone, ncnn has integers only where activations are too: "
             "--mode fp16 and --weights palette8 can be written",
             t->name);
    if (is_wide(&input->q)) return CR_OK;
    CR_TRY(check_input(x, &input->q, err));
    CR_TRY(check_weight(t, &weight->q, turned ? t->shape.rank - 1 : 0, err));
    if (groups && !groups_share(&weight->q, groups)) return CR_OK;
    *out = (cr_ncnn_codes){&input->q, &weight->q};
    return CR_OK;
}

/* ---- bytes ---- */

static void put_tag(cr_ncnn_out *w, uint32_t tag)
{
    fwrite(&tag, sizeof tag, 1, w->bin); /* the stream remembers a failure */
}

static void pad(cr_ncnn_out *w, size_t written)
{
    static const char zeros[4];
    fwrite(zeros, 1, (4 - written % 4) % 4, w->bin);
}

void cr_ncnn_put_floats(cr_ncnn_out *w, const float *v, size_t n)
{
    static const float zero;
    if (v) fwrite(v, sizeof *v, n, w->bin);
    for (size_t i = 0; !v && i < n; i++) fwrite(&zero, sizeof zero, 1, w->bin);
}

/* Codes per unit. */
static void put_scale(cr_ncnn_out *w, float scale)
{
    const float per_unit = 1 / scale;
    fwrite(&per_unit, sizeof per_unit, 1, w->bin);
}

void cr_ncnn_put_scales(cr_ncnn_out *w, const cr_ncnn_codes *c, int64_t outputs)
{
    const cr_qparams *q = c->weight;
    if (!q) return;
    const size_t each = q->count > (size_t)outputs ? q->count / (size_t)outputs : 1;
    for (int64_t i = 0; i < outputs; i++) put_scale(w, q->scale[q->count == 1 ? 0 : (size_t)i * each]);
    put_scale(w, c->input->scale[0]);
}

static cr_status put_codes(cr_ncnn_out *w, const cr_tensor *t, const int64_t *order,
                           const cr_qparams *q, cr_error *err)
{
    const size_t n = (size_t)cr_shape_count(&t->shape);
    int32_t *codes = cr_malloc((n + 1) * sizeof *codes);
    int8_t *bytes = cr_malloc(n + 1);
    const bool ok = codes && bytes;
    if (ok) {
        cr_quantize_tensor(t, q, codes);
        for (size_t i = 0; i < n; i++) bytes[i] = (int8_t)codes[order ? order[i] : (int64_t)i];
        put_tag(w, TAG_INT8);
        fwrite(bytes, 1, n, w->bin);
        pad(w, n);
    }
    cr_free(codes);
    cr_free(bytes);
    return ok ? CR_OK : CR_NOMEM(err);
}

static bool fits_half(const float *v, size_t n, cr_dtype half)
{
    for (size_t i = 0; i < n; i++) {
        const float back = half == CR_DT_F16 ? cr_f16_to_f32(cr_f32_to_f16(v[i]))
                                             : cr_bf16_to_f32(cr_f32_to_bf16(v[i]));
        if (back != v[i]) return false;
    }
    return true;
}

static void put_half(cr_ncnn_out *w, const float *v, size_t n, cr_dtype half)
{
    put_tag(w, half == CR_DT_F16 ? TAG_FLOAT16 : TAG_BFLOAT16);
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = half == CR_DT_F16 ? cr_f32_to_f16(v[i]) : cr_f32_to_bf16(v[i]);
        fwrite(&h, sizeof h, 1, w->bin);
    }
    pad(w, n * sizeof(uint16_t));
}

/* ---- tables ---- */

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The different values of v in order; 0: there are more than a table has. */
static size_t find_values(const float *v, size_t n, float table[TABLE])
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (used && bsearch(&v[i], table, used, sizeof *table, by_value)) continue;
        if (used == TABLE) return 0;
        size_t at = used++;
        for (; at && table[at - 1] > v[i]; at--) table[at] = table[at - 1];
        table[at] = v[i];
    }
    return used;
}

/* False: floats take less, or are needed. */
static bool put_table(cr_ncnn_out *w, const float *v, size_t n)
{
    float table[TABLE] = {0};
    if (n * 3 <= sizeof table) return false;
    const size_t used = find_values(v, n, table);
    if (!used) return false;
    put_tag(w, TAG_TABLE);
    fwrite(table, sizeof *table, TABLE, w->bin);
    for (size_t i = 0; i < n; i++) {
        const float *at = bsearch(&v[i], table, used, sizeof *table, by_value);
        fputc((int)(at - table), w->bin);
    }
    pad(w, n);
    return true;
}

/* ---- a weight ---- */

void cr_ncnn_put_values(cr_ncnn_out *w, const float *v, size_t n)
{
    const cr_dtype half = w->options->half;
    if (w->options->tables && put_table(w, v, n)) return;
    if (half && fits_half(v, n, half)) {
        put_half(w, v, n, half);
        return;
    }
    put_tag(w, TAG_FLOAT);
    cr_ncnn_put_floats(w, v, n);
}

cr_status cr_ncnn_put_weight(cr_ncnn_out *w, const cr_tensor *t, const int64_t *order,
                             const cr_ncnn_codes *c, cr_error *err)
{
    const int64_t count = cr_shape_count(&t->shape);
    CR_CHECK(t->data && t->dtype == CR_DT_F32 && count > 0 && count < INT_MAX, err,
             CR_ERR_UNSUPPORTED, "weights '%.80s' that are no float constant", t->name);
    if (c->weight) return put_codes(w, t, order, c->weight, err);
    const cr_recipe_entry *e = w->entries[t->id];
    const size_t n = (size_t)count;
    float *own = cr_malloc(2 * n * sizeof *own), *turned = own ? own + n : NULL;
    if (!own) return CR_NOMEM(err);
    if (e) cr_fake_quantize(t, &e->q, own);
    else memcpy(own, t->data, n * sizeof *own);
    for (size_t i = 0; order && i < n; i++) turned[i] = own[order[i]];
    cr_ncnn_put_values(w, order ? turned : own, n);
    cr_free(own);
    return CR_OK;
}
