#include "quant/stage.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/passes.h"

/* ---- what is kept ---- */

static bool as_bytes(const cr_recipe_entry *e)
{
    return e && e->q.axis < 0 && (e->q.type == CR_DT_U8 || e->q.type == CR_DT_I8);
}

size_t cr_kept_bytes(const cr_tensor *t, const cr_recipe_entry *e)
{
    return (size_t)cr_shape_count(&t->shape) * (as_bytes(e) ? 1 : 2);
}

static void store_bytes(uint8_t *to, const float *x, int64_t n, const cr_qparams *q)
{
    int32_t lo = 0, hi = 0;
    cr_qtype_range(q->type, &lo, &hi);
    for (int64_t i = 0; i < n; i++)
        to[i] = (uint8_t)(cr_quantize_value(x[i], q->scale[0], q->zero_point[0], lo, hi) - lo);
}

static float store_words(int16_t *to, const float *x, int64_t n)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    const float scale = most > 0 && isfinite(most) ? most / 32767 : 1;
    for (int64_t i = 0; i < n; i++) to[i] = (int16_t)nearbyintf(x[i] / scale);
    return scale;
}

cr_status cr_kept_store(cr_kept *k, const cr_tensor *t, const cr_recipe_entry *e, const float *x,
                        cr_error *err)
{
    const int64_t n = cr_shape_count(&t->shape);
    cr_kept_drop(k);
    k->data = cr_malloc(cr_kept_bytes(t, e) + 1);
    if (!k->data) return CR_NOMEM(err);
    k->bytes = as_bytes(e);
    if (k->bytes)
        store_bytes(k->data, x, n, &e->q);
    else
        k->scale = store_words(k->data, x, n);
    return CR_OK;
}

void cr_kept_load(const cr_kept *k, const cr_tensor *t, const cr_recipe_entry *e, float *x)
{
    const int64_t n = cr_shape_count(&t->shape);
    if (!k->bytes) {
        for (int64_t i = 0; i < n; i++) x[i] = (float)((const int16_t *)k->data)[i] * k->scale;
        return;
    }
    int32_t lo = 0, hi = 0;
    cr_qtype_range(e->q.type, &lo, &hi);
    for (int64_t i = 0; i < n; i++)
        x[i] = cr_dequantize(((const uint8_t *)k->data)[i] + lo, e->q.scale[0], e->q.zero_point[0]);
}

void cr_kept_drop(cr_kept *k)
{
    cr_free(k->data);
    *k = (cr_kept){0};
}

/* ---- cutting ---- */

static cr_status cut_recipe(const cr_recipe *r, const cr_graph *part, cr_recipe **out,
                            cr_error *err)
{
    CR_TRY(cr_recipe_create(out, err));
    cr_status st = CR_OK;
    for (size_t i = 0; r && st == CR_OK && i < r->count; i++) {
        const cr_recipe_entry *e = &r->entries[i];
        if (cr_graph_find(part, e->tensor))
            st = cr_recipe_add(*out, e->tensor, e->is_weight, &e->q, "", err);
    }
    if (st != CR_OK) cr_recipe_release(out);
    return st;
}

cr_status cr_stage_cut(const cr_graph *g, const bool *run, const int *inputs, size_t n_in,
                       const int *outputs, size_t n_out, const cr_recipe *r, cr_graph **part,
                       cr_recipe **entries, cr_error *err)
{
    *entries = NULL;
    CR_TRY(cr_graph_clone_part(g, run, inputs, n_in, outputs, n_out, part, err));
    const cr_status st = cut_recipe(r, *part, entries, err);
    if (st != CR_OK) cr_graph_free(part);
    return st;
}
