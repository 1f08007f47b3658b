/* The certificate: sessions and the reference, layer by layer from the same integers.
 *
 * A session shows its tensors, which are kept by name for one picture (some 40 MB for YOLOv8n). The
 * reference then runs the graph; after each node its result is compared and replaced by the session's, so
 * that the next node starts from the session's values. Tensors that a session does not make, because it
 * fuses nodes, keep the reference's value: what comes after them is the fused group's result.
 * Rejected: comparing two whole runs, where one tie changes everything behind it. */
#include "crayon/certify.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/names.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"

/* In steps. Sums of floats in another order move a value by some 1e-5 of a step (tests/peers/tensors_ort.py
 * measures it); 16-bit steps are 256 times finer. */
static const double tie = 1e-4;

typedef struct seen {
    float *values; /* NULL: not seen in this run */
    int64_t count, room;
} seen;

typedef struct session_run {
    cr_program *program;
    cr_session *session;
    cr_observer observer;
    cr_names names; /* tensor -> seen */
    cr_arena arena;
    const cr_recipe *recipe;
    bool no_memory;
} session_run;

typedef struct check {
    session_run *from;
    const cr_model *to;
    cr_parity *parity;
    cr_arena *arena;
    size_t room;
    bool hidden; /* the node in hand reads tensors that the session did not make */
    bool *made;  /* by tensor id of `to`: the session made it */
    bool no_memory;
} check;

const char *cr_difference_name(cr_difference why)
{
    static const char *const names[] = {"tie", "fused", "float", "recipe", "other"};
    return names[why];
}

/* ---- the session's side ---- */

static void keep(void *user, const cr_view *v)
{
    session_run *s = user;
    const int64_t n = v->rows * v->cols;
    if (v->tensor->data) return;
    seen *e = cr_names_get(&s->names, v->tensor->name);
    if (!e) {
        e = cr_arena_alloc(&s->arena, sizeof *e);
        if (!e || !cr_names_put(&s->names, v->tensor->name, e)) {
            s->no_memory = true;
            return;
        }
    }
    if (n > e->room) {
        cr_free(e->values);
        e->values = cr_malloc((size_t)n * sizeof *e->values);
        e->room = e->values ? n : 0;
        s->no_memory |= !e->values;
    }
    e->count = e->values ? n : 0;
    if (e->values) cr_view_to_f32(v, e->values);
}

static cr_status open_session(session_run *s, const cr_model *m, cr_pool *pool, cr_error *err)
{
    const cr_program_options o = {.threads = cr_pool_threads(pool)};
    s->observer = (cr_observer){keep, s};
    s->recipe = m->recipe;
    CR_TRY(cr_program_compile(cr_model_graph(m), m->recipe, &o, &s->program, err));
    CR_TRY(cr_session_open(s->program, pool, &s->session, err));
    cr_session_set_observer(s->session, &s->observer);
    return CR_OK;
}

static void close_session(session_run *s, const cr_model *m)
{
    const cr_graph *g = cr_model_graph(m);
    for (size_t i = 0; i < g->tensor_count; i++) {
        seen *e = cr_names_get(&s->names, g->tensors[i]->name);
        if (!e) continue;
        cr_free(e->values);
        e->values = NULL;
    }
    cr_session_close(&s->session);
    cr_program_free(&s->program);
    cr_names_free(&s->names);
    cr_arena_free(&s->arena);
}

/* ---- the reference's side ---- */

static const cr_recipe_entry *entry_named(const cr_recipe *r, const char *name)
{
    for (size_t i = 0; r && i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, name)) return &r->entries[i];
    return NULL;
}

static bool same_entry(const cr_recipe_entry *a, const cr_recipe_entry *b)
{
    if (!a || !b) return a == b;
    return a->q.type == b->q.type && a->q.count == b->q.count &&
           (a->q.count == 1 || a->q.axis == b->q.axis) &&
           !memcmp(a->q.scale, b->q.scale, a->q.count * sizeof *a->q.scale) &&
           !memcmp(a->q.zero_point, b->q.zero_point, a->q.count * sizeof *a->q.zero_point);
}

static bool is_wide(const cr_recipe_entry *e)
{
    return cr_dtype_size(e->q.type) == 2;
}

/* The scale of element i. */
static double scale_at(const cr_recipe_entry *e, const cr_q_grain *g, int64_t i)
{
    return (double)e->q.scale[e->q.count == 1 ? 0 : (size_t)(i / g->inner % g->length)];
}

static void compare_codes(const cr_computed *c, const float *other, cr_tensor_parity *p)
{
    const cr_q_grain g = cr_q_grain_of(&c->entry->q, &c->tensor->shape);
    for (int64_t i = 0; i < c->count; i++) {
        if (c->values[i] == other[i]) continue;
        const double s = scale_at(c->entry, &g, i), exact = (double)c->raw[i] / s;
        const double steps = fabs((double)c->values[i] - (double)other[i]) / s;
        p->differing++;
        p->steps = fmax(p->steps, nearbyint(steps));
        p->from_tie = fmax(p->from_tie, fabs(exact - floor(exact) - .5));
    }
}

static void compare_floats(const cr_computed *c, const float *other, cr_tensor_parity *p)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < c->count; i++) {
        largest = fmax(largest, fabs((double)other[i]));
        if (c->values[i] == other[i] || (c->values[i] != c->values[i] && other[i] != other[i])) continue;
        p->differing++;
        worst = fmax(worst, fabs((double)c->values[i] - (double)other[i]));
    }
    p->steps = largest > 0 ? worst / largest : worst;
}

static cr_difference why(const check *k, const cr_computed *c, const cr_tensor_parity *p)
{
    if (!same_entry(c->entry, entry_named(k->from->recipe, c->tensor->name)))
        return CR_DIFFERENCE_RECIPE;
    if (!c->entry) return CR_DIFFERENCE_FLOAT;
    if (p->steps <= 1 && p->from_tie <= tie * (is_wide(c->entry) ? 256 : 1)) return CR_DIFFERENCE_TIE;
    return k->hidden ? CR_DIFFERENCE_FUSED : CR_DIFFERENCE_OTHER;
}

/* Pictures of one tensor add up in one line. */
static cr_tensor_parity *line_of(check *k, const cr_computed *c)
{
    cr_parity *p = k->parity;
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->list[i].tensor, c->tensor->name)) return &p->list[i];
    if (!cr_grow((void **)&p->list, &k->room, p->count, sizeof *p->list)) return NULL;
    const cr_node *n = c->tensor->producer;
    cr_tensor_parity *line = &p->list[p->count];
    *line = (cr_tensor_parity){.tensor = cr_arena_strdup(k->arena, c->tensor->name),
                               .node = cr_arena_strdup(k->arena, n ? n->name : ""),
                               .op = n ? n->op->name : ""};
    if (!line->tensor || !line->node) return NULL;
    p->count++;
    return line;
}

static void count_tensor(check *k, const cr_computed *c, const cr_tensor_parity *now)
{
    cr_parity *p = k->parity;
    if (!c->entry) {
        p->floats++;
        p->equal_floats += !now->differing;
    } else {
        p->tensors++;
        p->identical += !now->differing;
        p->elements += now->elements;
        p->differing += now->differing;
    }
    cr_tensor_parity *line = now->differing ? line_of(k, c) : NULL;
    if (!now->differing) return;
    if (!line) {
        k->no_memory = true;
        return;
    }
    const cr_difference reason = why(k, c, now);
    line->why = line->differing && line->why > reason ? line->why : reason;
    line->elements += now->elements;
    line->differing += now->differing;
    line->steps = fmax(line->steps, now->steps);
    line->from_tie = fmax(line->from_tie, now->from_tie);
}

/* What the reference computed, against what the session had; the session's goes on. */
static void judge(void *user, const cr_computed *c)
{
    check *k = user;
    const cr_node *n = c->tensor->producer;
    const seen *e = cr_names_get(&k->from->names, c->tensor->name);
    k->hidden = false;
    for (int i = 0; n && i < n->n_in; i++)
        k->hidden |= n->in[i] && !n->in[i]->data && n->in[i]->producer && !k->made[n->in[i]->id];
    k->made[c->tensor->id] = e && e->count == c->count;
    if (!k->made[c->tensor->id]) return;
    cr_tensor_parity now = {.elements = (uint64_t)c->count};
    if (c->entry)
        compare_codes(c, e->values, &now);
    else
        compare_floats(c, e->values, &now);
    count_tensor(k, c, &now);
    memcpy(c->values, e->values, (size_t)c->count * sizeof *c->values);
}

static cr_status run_check(check *k, const float *input, cr_error *err)
{
    const cr_graph *g = cr_model_graph(k->to);
    const cr_layer_probe probe = {judge, k};
    memset(k->made, 0, g->tensor_count * sizeof *k->made);
    CR_TRY(cr_reference_layers(g, k->to->recipe, &input, &probe, err));
    return k->no_memory ? CR_NOMEM(err) : CR_OK;
}

/* ---- all of it ---- */

static cr_status check_models(const cr_model *const m[2], cr_error *err)
{
    CR_CHECK(m[0]->recipe || m[1]->recipe, err, CR_ERR_ARGUMENT,
             "neither model is quantized: there are no integers to compare");
    for (int i = 0; i < 2; i++)
        CR_CHECK(m[i]->graph->input_count == 1 && m[i]->graph->inputs[0]->dtype == CR_DT_F32 &&
                     m[i]->info.batch == 1,
                 err, CR_ERR_UNSUPPORTED, "%s: certifying needs one picture as input", m[i]->info.path);
    CR_CHECK(cr_shape_equal(&m[0]->graph->inputs[0]->shape, &m[1]->graph->inputs[0]->shape), err,
             CR_ERR_ARGUMENT, "the two models have inputs of different sizes");
    return CR_OK;
}

static cr_status run_sessions(session_run s[2], const cr_model *const m[2], const char *path,
                              float *input, cr_error *err)
{
    cr_image img;
    CR_TRY(cr_image_read(path, &img, err));
    cr_status st = cr_preprocess_run(&m[0]->info.preprocess, &img, input, NULL, err);
    cr_image_free(&img);
    for (int i = 0; i < 2 && st == CR_OK; i++) {
        memcpy(cr_session_input_data(s[i].session, 0), input,
               cr_tensor_bytes(m[i]->graph->inputs[0]));
        st = cr_session_execute(s[i].session, err);
        if (st == CR_OK && s[i].no_memory) st = CR_NOMEM(err);
    }
    return st;
}

static cr_status open_checks(check k[3], session_run s[2], const cr_model *const m[2],
                             cr_certificate *out, cr_error *err)
{
    static const int from[] = {0, 1, 0}, to[] = {0, 1, 1};
    out->memory = cr_calloc(1, sizeof(cr_arena));
    if (!out->memory) return CR_NOMEM(err);
    for (int i = 0; i < 3; i++) {
        k[i] = (check){.from = &s[from[i]], .to = m[to[i]], .parity = &out->pair[i], .arena = out->memory};
        k[i].made = cr_calloc(cr_model_graph(k[i].to)->tensor_count + 1, sizeof *k[i].made);
        if (!k[i].made) return CR_NOMEM(err);
    }
    return CR_OK;
}

cr_status cr_certify(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                     size_t limit, int threads, const cr_progress *progress, cr_certificate *out,
                     cr_error *err)
{
    const cr_model *const m[2] = {a, b};
    session_run s[2] = {{0}, {0}};
    check k[3] = {{0}, {0}, {0}};
    cr_pool *pool = NULL;
    cr_status st = CR_OK;
    *out = (cr_certificate){.pictures = 0};
    CR_TRY(check_models(m, err));
    const size_t n = limit && limit < pictures->count ? limit : pictures->count;
    float *input = cr_aligned_alloc(cr_tensor_bytes(a->graph->inputs[0]));
    if (!input) st = CR_NOMEM(err);
    if (st == CR_OK) st = cr_pool_create(threads, &pool, err);
    for (int i = 0; i < 2 && st == CR_OK; i++) st = open_session(&s[i], m[i], pool, err);
    if (st == CR_OK) st = open_checks(k, s, m, out, err);
    for (size_t i = 0; i < n && st == CR_OK; i++) {
        st = run_sessions(s, m, pictures->paths[i], input, err);
        for (int j = 0; j < 3 && st == CR_OK; j++) {
            st = run_check(&k[j], input, err);
            if (st == CR_OK && !cr_report(progress, "certifying", 3 * i + (size_t)j + 1, 3 * n))
                st = cr_fail(err, CR_ERR_CANCELLED, "cancelled");
        }
        out->pictures++;
    }
    for (int i = 0; i < 3; i++) cr_free(k[i].made);
    for (int i = 0; i < 2; i++) close_session(&s[i], m[i]);
    cr_pool_free(&pool);
    cr_aligned_free(input);
    if (st != CR_OK) cr_certificate_free(out);
    return st;
}

void cr_certificate_free(cr_certificate *c)
{
    for (int i = 0; i < 3; i++) cr_free(c->pair[i].list);
    if (c->memory) cr_arena_free(c->memory);
    cr_free(c->memory);
    *c = (cr_certificate){.pictures = 0};
}
