/* A recipe as rows for people: what its places say (quant/explain.h), joined with its entries. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/model_impl.h"
#include "quant/explain.h"
#include "quant/plan.h"

typedef struct owned_view {
    cr_recipe_view view; /* first: a view's pointer is this one's */
    cr_arena arena;
} owned_view;

static const cr_recipe_entry *entry_of(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return &r->entries[i];
    return NULL;
}

static void describe_entry(const cr_recipe_entry *e, cr_recipe_row *row)
{
    const cr_qparams *q = &e->q;
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    row->quantized = true;
    row->dynamic = q->dynamic;
    row->type = cr_dtype_key(q->type);
    row->why = e->note;
    row->axis = q->axis;
    row->scales = q->count;
    row->block = q->block;
    row->scale_min = row->scale_max = (double)q->scale[0];
    row->zero_min = row->zero_max = q->zero_point[0];
    for (size_t i = 0; i < q->count; i++) {
        const double s = (double)q->scale[i];
        const int32_t z = q->zero_point[i];
        row->scale_min = fmin(row->scale_min, s);
        row->scale_max = fmax(row->scale_max, s);
        row->zero_min = z < row->zero_min ? z : row->zero_min;
        row->zero_max = z > row->zero_max ? z : row->zero_max;
        row->lo = fmin(row->lo, s * ((double)lo - z));
        row->hi = fmax(row->hi, s * ((double)hi - z));
    }
    if (q->dynamic) row->lo = row->hi = row->scale_min = row->scale_max = 0;
}

static bool copy_texts(owned_view *v, cr_recipe_row *row)
{
    const char **const texts[] = {&row->tensor, &row->shape, &row->op,  &row->node,
                                  &row->role,   &row->type,  &row->why};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!(*texts[i] = cr_arena_strdup(&v->arena, *texts[i] ? *texts[i] : ""))) return false;
    return true;
}

static bool is_placed(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->place_count; i++)
        if (!strcmp(r->places[i].tensor, tensor)) return true;
    return false;
}

/* Lines of places first, then entries that no line speaks of: recipes that were not made here. */
static cr_status list_rows(const cr_recipe *r, owned_view *v, cr_error *err)
{
    cr_recipe_row *rows = cr_arena_alloc(&v->arena, (r->place_count + r->count + 1) * sizeof *rows);
    if (!rows) return CR_NOMEM(err);
    size_t n = 0;
    for (size_t i = 0; i < r->place_count; i++) {
        const cr_recipe_place *p = &r->places[i];
        rows[n++] = (cr_recipe_row){.tensor = p->tensor, .is_weight = p->is_weight, .shape = p->shape,
                                    .op = p->op, .node = p->node, .role = p->role,
                                    .type = cr_dtype_key(CR_DT_F32), .why = p->why, .axis = -1};
    }
    for (size_t i = 0; i < r->count; i++)
        if (!is_placed(r, r->entries[i].tensor))
            rows[n++] = (cr_recipe_row){.tensor = r->entries[i].tensor, .is_weight = r->entries[i].is_weight};
    for (size_t i = 0; i < n; i++) {
        const cr_recipe_entry *e = entry_of(r, rows[i].tensor);
        if (e) describe_entry(e, &rows[i]);
        rows[i].replaced = cr_recipe_find_value(r, rows[i].tensor) != NULL;
        if (!copy_texts(v, &rows[i])) return CR_NOMEM(err);
    }
    v->view.rows = rows;
    v->view.row_count = n;
    return CR_OK;
}

static cr_status list_facts(const cr_recipe *r, owned_view *v, cr_error *err)
{
    const char **facts = cr_arena_alloc(&v->arena, (2 * r->fact_count + 1) * sizeof *facts);
    if (!facts) return CR_NOMEM(err);
    for (size_t i = 0; i < 2 * r->fact_count; i++)
        if (!(facts[i] = cr_arena_strdup(&v->arena, r->facts[i]))) return CR_NOMEM(err);
    v->view.facts = facts;
    v->view.fact_count = r->fact_count;
    return CR_OK;
}

static void describe_step(const cr_rewrite *s, char *text, size_t size)
{
    switch (s->kind) {
    case CR_REWRITE_BRANCH:
        snprintf(text, size, "%s: %s%s", s->tensor, s->factor_count ? "its channels scaled, as " : "a copy, ",
                 s->result);
        break;
    case CR_REWRITE_SPLIT:
        snprintf(text, size, "%s: %zu of its channels halved and repeated, as %s", s->tensor,
                 s->channel_count, s->result);
        break;
    case CR_REWRITE_RESTORE:
        snprintf(text, size, "%s: made from %s by factors", s->tensor, s->result);
        break;
    case CR_REWRITE_GROUPS:
        snprintf(text, size, "%s: falls into %lld tensors %s", s->tensor,
                 s->channel_count ? (long long)s->channel[0] : 0, s->result);
        break;
    case CR_REWRITE_OUTPUTS:
        snprintf(text, size, "the model ends at %zu tensors, %s the first", s->reader_count, s->tensor);
        break;
    }
}

static cr_status list_steps(const cr_recipe *r, owned_view *v, cr_error *err)
{
    const char **steps = cr_arena_alloc(&v->arena, (r->rewrite_count + 1) * sizeof *steps);
    if (!steps) return CR_NOMEM(err);
    for (size_t i = 0; i < r->rewrite_count; i++) {
        char text[512];
        describe_step(&r->rewrites[i], text, sizeof text);
        if (!(steps[i] = cr_arena_strdup(&v->arena, text))) return CR_NOMEM(err);
    }
    v->view.steps = steps;
    v->view.step_count = r->rewrite_count;
    return CR_OK;
}

static cr_status make_view(const cr_recipe *r, cr_recipe_view **out, cr_error *err)
{
    owned_view *v = cr_calloc(1, sizeof *v);
    if (!v) return CR_NOMEM(err);
    *out = &v->view;
    cr_status st = list_rows(r, v, err);
    if (st == CR_OK) st = list_facts(r, v, err);
    if (st == CR_OK) st = list_steps(r, v, err);
    if (st != CR_OK) cr_recipe_view_free(out);
    return st;
}

cr_status cr_recipe_view_file(const char *path, cr_recipe_view **out, cr_error *err)
{
    cr_recipe *r;
    *out = NULL;
    CR_TRY(cr_recipe_read(path, &r, err));
    const cr_status st = make_view(r, out, err);
    cr_recipe_release(&r);
    return st;
}

cr_status cr_recipe_view_model(const cr_model *m, cr_recipe_view **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(m->recipe, err, CR_ERR_ARGUMENT, "%s is not quantized: there is no recipe", m->info.path);
    CR_TRY(cr_recipe_explain(cr_model_graph(m), m->recipe, err));
    return make_view(m->recipe, out, err);
}

void cr_recipe_view_free(cr_recipe_view **view)
{
    if (!view || !*view) return;
    owned_view *v = (owned_view *)*view;
    cr_arena_free(&v->arena);
    cr_free(v);
    *view = NULL;
}
