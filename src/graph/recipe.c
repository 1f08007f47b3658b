#include "graph/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"

cr_status cr_recipe_create(cr_recipe **out, cr_error *err)
{
    *out = cr_calloc(1, sizeof **out);
    return *out ? CR_OK : CR_NOMEM(err);
}

void cr_recipe_release(cr_recipe **r)
{
    if (!r || !*r) return;
    cr_free((*r)->entries);
    cr_free((*r)->values);
    cr_free((*r)->rewrites);
    cr_free((*r)->places);
    cr_arena_free(&(*r)->arena);
    cr_free(*r);
    *r = NULL;
}

bool cr_qtype_range(cr_dtype type, int32_t *lo, int32_t *hi)
{
    switch (type) {
    case CR_DT_I8: *lo = -128, *hi = 127; return true;
    case CR_DT_U8: *lo = 0, *hi = 255; return true;
    case CR_DT_I16: *lo = -32768, *hi = 32767; return true;
    case CR_DT_U16: *lo = 0, *hi = 65535; return true;
    case CR_DT_I4: *lo = -8, *hi = 7; return true;
    case CR_DT_U4: *lo = 0, *hi = 15; return true;
    case CR_DT_I2: *lo = -2, *hi = 1; return true;
    case CR_DT_U2: *lo = 0, *hi = 3; return true;
    case CR_DT_I1: *lo = -1, *hi = 1; return true;
    case CR_DT_I32: *lo = INT32_MIN, *hi = INT32_MAX; return true;
    default: return false;
    }
}

void cr_q_range(const cr_qparams *q, int32_t *lo, int32_t *hi)
{
    *lo = *hi = 0;
    cr_qtype_range(q->type, lo, hi);
    if (q->lo || q->hi) *lo = q->lo, *hi = q->hi;
}

static bool is_activation_type(cr_dtype type)
{
    return type == CR_DT_I8 || type == CR_DT_U8 || type == CR_DT_I16 || type == CR_DT_U16;
}

/* What only weights have: fewer than 8 bits, blocks, a range of codes. */
static cr_status check_form(const char *tensor, bool is_weight, const cr_qparams *q, cr_error *err)
{
    int32_t lo = 0, hi = 0;
    cr_qtype_range(q->type, &lo, &hi);
    CR_CHECK(is_weight || is_activation_type(q->type), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': %s is a type for weights only", tensor, cr_dtype_key(q->type));
    CR_CHECK(is_weight || (!q->block && !q->lo && !q->hi), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': blocks and ranges of codes are for weights only", tensor);
    CR_CHECK(q->block >= 0 && (!q->block || q->axis >= 0), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': a block of %lld along axis %d", tensor, (long long)q->block,
             q->axis);
    CR_CHECK((!q->lo && !q->hi) || (q->lo < q->hi && q->lo >= lo && q->hi <= hi), err,
             CR_ERR_FORMAT, "recipe: tensor '%s': %d to %d is no range of %s codes", tensor, q->lo,
             q->hi, cr_dtype_key(q->type));
    return CR_OK;
}

static cr_status check_params(const char *tensor, bool is_weight, const cr_qparams *q,
                              cr_error *err)
{
    int32_t lo, hi;
    CR_CHECK(q->type != CR_DT_I32 && cr_qtype_range(q->type, &lo, &hi), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': %s is not a quantized type", tensor, cr_dtype_key(q->type));
    CR_CHECK(q->count >= 1 && (q->axis >= 0 || q->count == 1), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': %zu scales without an axis", tensor, q->count);
    CR_TRY(check_form(tensor, is_weight, q, err));
    CR_CHECK(!q->dynamic || (!is_weight && q->type == CR_DT_U8 && q->axis < 0), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': a dynamic entry is uint8, of an activation, with one scale",
             tensor);
    cr_q_range(q, &lo, &hi);
    if (q->type == CR_DT_I1) lo = hi = 0; /* zero points */
    for (size_t i = 0; i < q->count; i++) {
        CR_CHECK(isfinite(q->scale[i]) && q->scale[i] > 0, err, CR_ERR_FORMAT,
                 "recipe: tensor '%s': scale %g is not positive and finite", tensor,
                 (double)q->scale[i]);
        CR_CHECK(q->zero_point[i] >= lo && q->zero_point[i] <= hi, err, CR_ERR_FORMAT,
                 "recipe: tensor '%s': zero point %d outside %s", tensor, q->zero_point[i],
                 cr_dtype_key(q->type));
    }
    return CR_OK;
}

cr_status cr_recipe_add(cr_recipe *r, const char *tensor, bool is_weight, const cr_qparams *q,
                        const char *note, cr_error *err)
{
    CR_TRY(check_params(tensor, is_weight, q, err));
    for (size_t i = 0; i < r->count; i++)
        CR_CHECK(strcmp(r->entries[i].tensor, tensor), err, CR_ERR_FORMAT,
                 "recipe: two entries for tensor '%s'", tensor);
    const cr_qparams given = *q; /* q may be another entry's, which growing moves */
    if (!cr_grow((void **)&r->entries, &r->cap, r->count, sizeof *r->entries))
        return CR_NOMEM(err);
    cr_recipe_entry e = {cr_arena_strdup(&r->arena, tensor), is_weight, given,
                         cr_arena_strdup(&r->arena, note ? note : "")};
    e.q.scale = cr_arena_alloc(&r->arena, given.count * sizeof *given.scale);
    e.q.zero_point = cr_arena_alloc(&r->arena, given.count * sizeof *given.zero_point);
    if (!e.tensor || !e.note || !e.q.scale || !e.q.zero_point) return CR_NOMEM(err);
    memcpy(e.q.scale, given.scale, given.count * sizeof *given.scale);
    memcpy(e.q.zero_point, given.zero_point, given.count * sizeof *given.zero_point);
    r->entries[r->count++] = e;
    return CR_OK;
}

bool cr_recipe_add_place(cr_recipe *r, const cr_recipe_place *place)
{
    if (!cr_grow((void **)&r->places, &r->place_cap, r->place_count, sizeof *r->places)) return false;
    cr_recipe_place p = *place;
    const char **const texts[] = {&p.tensor, &p.shape, &p.op, &p.node, &p.role, &p.why};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!(*texts[i] = cr_arena_strdup(&r->arena, *texts[i] ? *texts[i] : ""))) return false;
    r->places[r->place_count++] = p;
    return true;
}

bool cr_recipe_set_fact(cr_recipe *r, const char *key, const char *value)
{
    const char **grown = cr_arena_alloc(&r->arena, (r->fact_count + 1) * 2 * sizeof *grown);
    const char *k = cr_arena_strdup(&r->arena, key), *v = cr_arena_strdup(&r->arena, value);
    if (!grown || !k || !v) return false;
    if (r->fact_count) memcpy(grown, r->facts, r->fact_count * 2 * sizeof *grown);
    grown[2 * r->fact_count] = k;
    grown[2 * r->fact_count + 1] = v;
    r->facts = grown;
    r->fact_count++;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const cr_tensor *const *)a)->name, (*(const cr_tensor *const *)b)->name);
}

static int name_to_tensor(const void *key, const void *item)
{
    return strcmp(key, (*(const cr_tensor *const *)item)->name);
}

static cr_status check_fit(const cr_recipe_entry *e, const cr_tensor *t, cr_error *err)
{
    CR_CHECK(t->dtype == CR_DT_F32, err, CR_ERR_FORMAT,
             "recipe: tensor '%s' is %s, only float32 is quantized", t->name,
             cr_dtype_key(t->dtype));
    CR_CHECK(e->is_weight == cr_tensor_is_const(t), err, CR_ERR_FORMAT,
             "recipe: tensor '%s' is %s in the model", t->name,
             e->is_weight ? "no weight" : "a weight");
    CR_CHECK(cr_q_fits(&e->q, &t->shape), err, CR_ERR_FORMAT,
             "recipe: tensor '%s': %zu scales do not fit axis %d", t->name, e->q.count, e->q.axis);
    return CR_OK;
}

cr_status cr_recipe_bind(const cr_recipe *r, const cr_graph *g, const cr_recipe_entry ***found,
                         cr_error *err)
{
    cr_status st = CR_OK;
    *found = cr_calloc(g->tensor_count, sizeof **found);
    const cr_tensor **sorted = cr_calloc(g->tensor_count, sizeof *sorted);
    if (!*found || !sorted) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < g->tensor_count; i++) sorted[i] = g->tensors[i];
    qsort(sorted, g->tensor_count, sizeof *sorted, by_name);
    for (size_t i = 0; r && i < r->count; i++) {
        const cr_recipe_entry *e = &r->entries[i];
        const cr_tensor **hit =
            bsearch(e->tensor, sorted, g->tensor_count, sizeof *sorted, name_to_tensor);
        if (!hit) {
            st = cr_fail(err, CR_ERR_ARGUMENT, "recipe: the model has no tensor '%s'", e->tensor);
            goto done;
        }
        CR_TRY_GOTO(check_fit(e, *hit, err), done);
        (*found)[(*hit)->id] = e;
    }
done:
    cr_free(sorted);
    if (st != CR_OK) {
        cr_free(*found);
        *found = NULL;
    }
    return st;
}

bool cr_q_fits(const cr_qparams *q, const cr_shape *s)
{
    if (q->axis < 0) return q->block == 0;
    if (q->axis >= s->rank) return false;
    if (q->block == 0) return s->dim[q->axis] == (int64_t)q->count;
    const cr_q_grain g = cr_q_grain_of(q, s);
    return g.outer * g.blocks * g.inner == (int64_t)q->count;
}

cr_q_grain cr_q_grain_of(const cr_qparams *q, const cr_shape *s)
{
    cr_q_grain g = {1, 1, 1, q->block, 0};
    if (q->axis < 0 || (q->block == 0 && q->count == 1)) {
        g.inner = cr_shape_count(s);
        return g;
    }
    for (int d = 0; d < s->rank; d++)
        *(d < q->axis ? &g.outer : d == q->axis ? &g.length : &g.inner) *= s->dim[d];
    if (g.block) g.blocks = g.length / g.block + (g.length % g.block != 0);
    return g;
}

static int32_t code_of(cr_dtype type, float x, float scale, int32_t zero, int32_t lo, int32_t hi)
{
    if (type == CR_DT_I1) return x < 0 ? -1 : 1;
    return cr_quantize_value(x, scale, zero, lo, hi);
}

int32_t cr_q_code(const cr_qparams *q, size_t k, float x)
{
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    return code_of(q->type, x, q->scale[k], q->zero_point[k], lo, hi);
}

/* Exactly one of codes and out is given. */
static void quantize_all(const cr_tensor *t, const cr_qparams *q, int32_t *codes, float *out)
{
    const cr_q_grain g = cr_q_grain_of(q, &t->shape);
    const float *x = t->data;
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    for (int64_t run = 0; run < g.outer * g.length; run++) {
        size_t k = cr_q_first_scale(&g, run / g.length, run % g.length);
        float scale = q->scale[k];
        int32_t zero = q->zero_point[k];
        for (int64_t i = run * g.inner; i < (run + 1) * g.inner; i++) {
            const int32_t code = code_of(q->type, x[i], scale, zero, lo, hi);
            if (codes) codes[i] = code;
            else out[i] = cr_dequantize(code, scale, zero);
            if (!g.block || i + 1 == (run + 1) * g.inner) continue;
            scale = q->scale[++k];
            zero = q->zero_point[k];
        }
    }
}

void cr_quantize_tensor(const cr_tensor *t, const cr_qparams *q, int32_t *codes)
{
    quantize_all(t, q, codes, NULL);
}

void cr_fake_quantize(const cr_tensor *t, const cr_qparams *q, float *out)
{
    quantize_all(t, q, NULL, out);
}
