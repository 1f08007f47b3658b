/* Tuning runs the float network and the quantized one side by side, a stage at a time.
 *
 *     stage 0   what lies in front of the first layers              tune the layers that read it
 *     stage 1   those layers, and what lies behind them             tune the next ones
 *     ...                                                           (stage.h)
 *
 * A layer of depth d has d layers in front of it on the longest path and runs in stage d + 1, with
 * the weights that it was given behind stage d. So each is fitted to the inputs that it will have.
 * Pictures are run by one thread each; then, a layer at a time, its sums are made from what was
 * kept (gram.h). Memory: what flows between two stages for all pictures (their number is cut to
 * fit), and one layer's sums.
 *
 * Rejected: fitting all layers to one run (each makes up for the same errors in front of them, and
 * all together overshoot: YOLOX-nano loses all its detections), running from the start for each
 * depth (a minute instead of seconds). Learning the codes of all layers by gradients from here on, as
 * AdaRound does by layer (Nagel et al. 2020): some hundred steps of a picture each make the network's
 * outputs on other pictures worse (yolov8n W4A8: their loss against the float model's doubled).
 * Drawing places by how much the raw outputs bend there (Gauss-Newton, one backward pass each): it
 * fits a few places of a few objects, agreement on other pictures .88 instead of .91. */
#include "quant/tune.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "graph/passes.h"
#include "quant/gram.h"
#include "quant/rounding.h"
#include "quant/stage.h"

static const double FINER = 0.3; /* scales become no finer than that (lattice.c) */
enum { ROWS = 2, ROWS_OF_FEW_CODES = 4, ROWS_OF_REFIT = 6 }; /* per input of a layer */
enum { CHUNK = 8, CHECKED = 2 }; /* pictures whose rows are added at once; how many of them check */

cr_tune_options cr_tune_options_default(void)
{
    return (cr_tune_options){
        .pictures = 64, .memory = (size_t)48 << 20, .damping = .5, .correct = true, .sweeps = 2,
        .scales = true};
}

typedef struct layer {
    cr_gram gram;
    int depth;
} layer;

/* One of the two networks, cut to the stage. */
typedef struct stream {
    cr_graph *graph; /* all of it; [1]: its weights are tuned */
    cr_graph *part;
    cr_recipe *part_recipe;
    cr_program *program;
    cr_session **session; /* [lanes] */
} stream;

typedef struct lane {
    float *values; /* of the largest tensor */
    cr_status status;
    cr_error error;
} lane;

typedef struct tuner {
    const cr_tune_options *o;
    cr_recipe *recipe;
    const cr_recipe_entry **entries; /* by tensor id */
    stream stream[2];                /* exact, quantized: the same ids */
    layer *layers;
    size_t count;
    int *depth; /* by tensor id: layers in front of it */
    int *last;  /* by tensor id: last stage that reads it; -1: none */
    int deepest, stage;
    bool *run;             /* by node index: in this stage */
    int *inputs, *outputs; /* ids, of this stage */
    size_t n_in, n_out;
    cr_kept *kept[2]; /* [pictures][tensors] */
    size_t pictures;  /* in use */
    size_t *chosen;
    cr_pool *pool, *inline_pool;
    lane *lanes;
    int lane_count;
    layer *current;         /* being tuned: */
    size_t first;           /* picture of the chunk */
    float *rows[2], *shift; /* [CHUNK][places][groups*k]: exact, quantized; [groups*out] */
    cr_sample_fn fill;
    void *user;
} tuner;

/* ---- layers and stages ---- */

static bool can_round(const cr_gram *g, const cr_recipe_entry *w)
{
    const size_t outputs = (size_t)(g->groups * g->out);
    if (!w || w->q.type == CR_DT_I1 || cr_dtype_size(w->q.type) > 1) return false;
    if (w->q.block) return w->q.axis == (g->across == 1 ? 0 : 1); /* along the inputs */
    return w->q.count == 1 || (w->q.count == outputs && w->q.axis == (g->across == 1 ? 1 : 0));
}

static int input_depth(const tuner *t, const cr_node *n)
{
    int d = 0;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && t->depth[n->in[k]->id] > d) d = t->depth[n->in[k]->id];
    return d;
}

/* The stage that runs node n: that of its outputs. */
static int stage_of(const tuner *t, const cr_node *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k]) return t->depth[n->out[k]->id];
    return 0;
}

static void find_layers(tuner *t)
{
    const cr_graph *g = t->stream[1].graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        int d = input_depth(t, n);
        layer *l = &t->layers[t->count];
        const bool two = n->n_in > 1 && n->in[0] && n->in[1];
        if (two && cr_gram_describe(n, &l->gram) && can_round(&l->gram, t->entries[n->in[1]->id])) {
            if (d > t->deepest) t->deepest = d;
            l->depth = d++;
            t->count++;
        }
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) t->depth[n->out[k]->id] = d;
    }
}

/* Backwards from the layers' inputs: what must be run, and how long each tensor is wanted. */
static cr_status find_readers(tuner *t, cr_error *err)
{
    const cr_graph *g = t->stream[1].graph;
    bool *wanted = cr_calloc(g->tensor_count, sizeof *wanted);
    if (!wanted) return CR_NOMEM(err);
    for (size_t i = 0; i < g->tensor_count; i++) t->last[i] = -1;
    for (size_t i = 0; i < t->count; i++) {
        wanted[t->layers[i].gram.input->id] = true;
        t->last[t->layers[i].gram.input->id] = t->layers[i].depth + 1;
    }
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        bool needed = false;
        for (int k = 0; k < n->n_out; k++) needed |= n->out[k] && wanted[n->out[k]->id];
        t->run[i] = needed;
        if (!needed) continue;
        const int stage = stage_of(t, n);
        for (int k = 0; k < n->n_in; k++) {
            if (!n->in[k]) continue;
            wanted[n->in[k]->id] = true;
            if (stage > t->last[n->in[k]->id]) t->last[n->in[k]->id] = stage;
        }
    }
    cr_free(wanted);
    return CR_OK;
}

/* Tensors that this stage reads from earlier ones, and those that it makes for later ones. A run
 * graph input counts as made by stage -1. false: one of them is no float tensor of fixed shape. */
static bool list_borders(tuner *t, const bool *run)
{
    const cr_graph *g = t->stream[1].graph;
    bool fine = true;
    t->n_in = t->n_out = 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *x = g->tensors[i];
        if (x->data) continue;
        bool read = false;
        const bool made = x->producer && run[x->producer->index];
        for (size_t j = 0; j < g->node_count && !made && !read; j++)
            for (int k = 0; run[j] && k < g->nodes[j]->n_in; k++) read |= g->nodes[j]->in[k] == x;
        const bool leaves = made && t->last[i] > t->stage;
        if (!read && !leaves) continue;
        fine = fine && x->dtype == CR_DT_F32 && cr_shape_known(&x->shape);
        if (leaves)
            t->outputs[t->n_out++] = (int)i;
        else
            t->inputs[t->n_in++] = (int)i;
    }
    return fine;
}

/* ---- pictures ---- */

static cr_kept *kept(const tuner *t, int s, size_t picture, int id)
{
    return &t->kept[s][picture * t->stream[1].graph->tensor_count + (size_t)id];
}

static const cr_recipe_entry *entry_of(const tuner *t, int s, int id)
{
    const cr_recipe_entry *e = s ? t->entries[id] : NULL;
    return e && e->q.dynamic ? NULL : e; /* that has no fixed grid */
}

static cr_status load_picture(tuner *t, lane *l, size_t picture)
{
    const cr_tensor *x = t->stream[1].graph->inputs[0];
    CR_TRY(t->fill(t->user, t->chosen[picture], l->values, &l->error));
    for (int s = 0; s < 2; s++) {
        const cr_recipe_entry *e = entry_of(t, s, x->id);
        cr_tensor shell = *x;
        shell.data = l->values;
        if (e) cr_fake_quantize(&shell, &e->q, l->values);
        CR_TRY(cr_kept_store(kept(t, s, picture, x->id), x, e, l->values, &l->error));
    }
    return CR_OK;
}

static cr_status run_stage(tuner *t, lane *l, int worker, int s, size_t picture)
{
    const cr_graph *g = t->stream[1].graph;
    cr_session *session = t->stream[s].session[worker];
    for (size_t i = 0; i < t->n_in; i++) {
        const int id = t->inputs[i];
        cr_kept_load(kept(t, s, picture, id), g->tensors[id], entry_of(t, s, id),
                     cr_session_input_data(session, i));
        if (t->last[id] <= t->stage) cr_kept_drop(kept(t, s, picture, id));
    }
    CR_TRY(cr_session_execute(session, &l->error));
    for (size_t i = 0; i < t->n_out; i++) {
        const int id = t->outputs[i];
        const cr_tensor *y = cr_session_output_tensor(session, i);
        CR_TRY(cr_kept_store(kept(t, s, picture, id), g->tensors[id], entry_of(t, s, id), y->data,
                             &l->error));
    }
    return CR_OK;
}

static void picture_task(void *ctx, size_t picture, int worker)
{
    tuner *t = ctx;
    lane *l = &t->lanes[worker];
    if (l->status == CR_OK && t->stage == 0) l->status = load_picture(t, l, picture);
    for (int s = 0; s < 2 && l->status == CR_OK && t->n_out; s++)
        l->status = run_stage(t, l, worker, s, picture);
}

static cr_status lane_failure(const tuner *t, cr_error *err)
{
    for (int i = 0; i < t->lane_count; i++)
        if (t->lanes[i].status != CR_OK)
            return cr_fail(err, t->lanes[i].status, "%s", t->lanes[i].error.message);
    return CR_OK;
}

/* ---- one stage ---- */

static cr_status open_stream(tuner *t, int s, const bool *run, cr_error *err)
{
    stream *v = &t->stream[s];
    CR_TRY(cr_stage_cut(v->graph, run, t->inputs, t->n_in, t->outputs, t->n_out,
                        s ? t->recipe : NULL, &v->part, &v->part_recipe, err));
    CR_TRY(cr_program_create(v->part, v->part_recipe, 1, &v->program, err));
    for (int i = 0; i < t->lane_count; i++)
        CR_TRY(cr_session_open(v->program, t->inline_pool, &v->session[i], err));
    return CR_OK;
}

static void close_stream(tuner *t, int s)
{
    stream *v = &t->stream[s];
    for (int i = 0; v->session && i < t->lane_count; i++) cr_session_close(&v->session[i]);
    cr_program_free(&v->program);
    cr_recipe_release(&v->part_recipe);
    cr_graph_free(&v->part);
}

/* ---- one layer ---- */

static void gather_task(void *ctx, size_t slot, int worker)
{
    const tuner *t = ctx;
    const cr_gram *g = &t->current->gram;
    const cr_tensor *x = g->input;
    const size_t picture = t->first + slot, each = cr_gram_row_bytes(g) / sizeof(float);
    const int64_t n = cr_shape_count(&x->shape);
    const cr_view view = {.tensor = x,
                          .dtype = CR_DT_F32,
                          .data = t->lanes[worker].values,
                          .rows = 1,
                          .cols = n,
                          .ld = n};
    uint64_t seed = t->o->seed + ((uint64_t)(t->current - t->layers) << 40) + t->chosen[picture];
    const uint64_t places = cr_splitmix64(&seed);
    for (int s = 0; s < 2; s++) {
        cr_kept_load(kept(t, s, picture, x->id), x, entry_of(t, s, x->id), t->lanes[worker].values);
        cr_gram_gather(g, &view, places, t->rows[s] + slot * each);
    }
}

/* The last pictures of a chunk check. */
static cr_status add_chunk(tuner *t, size_t n, cr_error *err)
{
    cr_gram *g = &t->current->gram;
    const size_t check = n > CHECKED ? CHECKED : 0, fit = n - check;
    const size_t each = cr_gram_row_bytes(g) / sizeof(float);
    const float *w = t->stream[0].graph->tensors[g->weight->id]->data;
    CR_TRY(cr_gram_add(g, CR_GRAM_FIT, t->rows[1], t->rows[0], fit, w, t->pool, err));
    return cr_gram_add(g, CR_GRAM_CHECK, t->rows[1] + fit * each, t->rows[0] + fit * each, check, w,
                       t->pool, err);
}

/* With fewer than 8 bits it is worth choosing scales (those planned for 8 bits clip nothing and are as
 * good), and more pictures' places. */
static bool has_few_codes(const cr_qparams *q)
{
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    return hi - lo < 64;
}

static cr_status sum_up(tuner *t, cr_error *err)
{
    cr_gram *g = &t->current->gram;
    const bool few = has_few_codes(&t->entries[g->weight->id]->q);
    const int64_t rows = t->o->exact ? ROWS_OF_REFIT : few ? ROWS_OF_FEW_CODES : ROWS;
    CR_TRY(cr_gram_open(g, t->pictures, rows, err));
    t->rows[0] = cr_malloc(CHUNK * cr_gram_row_bytes(g));
    t->rows[1] = cr_malloc(CHUNK * cr_gram_row_bytes(g));
    t->shift = cr_calloc((size_t)(g->groups * g->out), sizeof *t->shift);
    if (!t->rows[0] || !t->rows[1] || !t->shift) return CR_NOMEM(err);
    for (t->first = 0; t->first < t->pictures; t->first += CHUNK) {
        const size_t left = t->pictures - t->first, n = left < CHUNK ? left : CHUNK;
        cr_pool_run(t->pool, n, gather_task, t);
        CR_TRY(add_chunk(t, n, err));
    }
    return CR_OK;
}

static void close_layer(tuner *t)
{
    cr_gram_close(&t->current->gram);
    for (int s = 0; s < 2; s++) {
        cr_free(t->rows[s]);
        t->rows[s] = NULL;
    }
    cr_free(t->shift);
    t->shift = NULL;
}

static bool can_shift(const layer *l)
{
    const cr_node *n = l->gram.node;
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    return b && b->data && b->dtype == CR_DT_F32 && b->uses == 1 &&
           cr_shape_count(&b->shape) == l->gram.groups * l->gram.out;
}

static void count_layer(const cr_gram *g, const cr_rounding_result *result, cr_tune_report *report)
{
    double energy = 0;
    for (int64_t o = 0; o < g->groups * g->out; o++) energy += g->sums[CR_GRAM_CHECK].yy[o];
    report->layers++;
    report->better += result->kept;
    if (!(energy > 0)) return;
    report->before += result->before / energy;
    report->after += result->after / energy;
}

static cr_recipe_entry *own_entry(cr_recipe *r, const char *weight)
{
    size_t i = 0;
    while (strcmp(r->entries[i].tensor, weight)) i++;
    return &r->entries[i];
}

/* Would a finer scale take the bias, an int32 at scale sa*sw, beyond what the planner allows? */
static bool is_bias_tight(const tuner *t, const layer *l)
{
    const cr_node *n = l->gram.node;
    const cr_recipe_entry *x = t->entries[n->in[0]->id], *w = t->entries[n->in[1]->id];
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    if (!x || x->q.dynamic || !b || !b->data || b->dtype != CR_DT_F32) return false;
    double bias = 0, step = INFINITY;
    for (int64_t i = 0; i < cr_shape_count(&b->shape); i++)
        bias = fmax(bias, fabs((double)((const float *)b->data)[i]));
    for (size_t i = 0; i < w->q.count; i++)
        step = fmin(step, (double)w->q.scale[i] * (double)x->q.scale[i < x->q.count ? i : 0]);
    return bias > step * FINER * 0x1p30;
}

static cr_status keep_layer(tuner *t, cr_error *err)
{
    const layer *l = t->current;
    const cr_tensor *w = l->gram.weight;
    cr_fake_quantize(w, &t->entries[w->id]->q, w->data); /* on the grid, whatever its form */
    CR_TRY(cr_recipe_set_value(t->recipe, w->name, &w->shape, w->data, err));
    own_entry(t->recipe, w->name)->note = "rounded by what its inputs look like";
    if (!t->o->centre || !can_shift(l)) return CR_OK;
    const cr_tensor *b = l->gram.node->in[2];
    for (int64_t i = 0; i < cr_shape_count(&b->shape); i++) ((float *)b->data)[i] += t->shift[i];
    return cr_recipe_set_value(t->recipe, b->name, &b->shape, b->data, err);
}

static cr_status tune_layer(tuner *t, layer *l, cr_tune_report *report, cr_error *err)
{
    const cr_tensor *w = l->gram.weight;
    cr_rounding_result result;
    cr_status st = CR_OK;
    t->current = l;
    CR_TRY_GOTO(sum_up(t, err), done);
    cr_recipe_entry *entry = own_entry(t->recipe, w->name);
    const cr_rounding_options o = {.damping = t->o->damping,
                                   .correct = t->o->correct,
                                   .centre = t->o->centre && can_shift(l),
                                   .sweeps = t->o->sweeps,
                                   .scales = t->o->scales && has_few_codes(&entry->q),
                                   .never_finer = is_bias_tight(t, l)};
    cr_free(t->rows[0]);
    cr_free(t->rows[1]);
    t->rows[0] = t->rows[1] = NULL;
    CR_TRY_GOTO(cr_round_weights(&l->gram, &entry->q, &o, t->pool, w->data, t->shift, &result,
                                 err),
                done);
    count_layer(&l->gram, &result, report);
    if (result.kept) st = keep_layer(t, err);
done:
    close_layer(t);
    return st;
}

/* *end: the network cannot be cut here; what lies behind keeps nearest rounding. */
static cr_status tune_stage(tuner *t, bool *run, cr_tune_report *report, bool *end, cr_error *err)
{
    const cr_graph *g = t->stream[1].graph;
    cr_status st = CR_OK;
    for (size_t i = 0; i < g->node_count; i++)
        run[i] = t->run[i] && stage_of(t, g->nodes[i]) == t->stage;
    *end = !list_borders(t, run);
    if (*end) return CR_OK;
    for (int s = 0; s < 2 && t->n_out; s++) CR_TRY_GOTO(open_stream(t, s, run, err), done);
    cr_pool_run(t->pool, t->pictures, picture_task, t);
    CR_TRY_GOTO(lane_failure(t, err), done);
done:
    for (int s = 0; s < 2; s++) close_stream(t, s);
    for (size_t i = 0; st == CR_OK && i < t->count; i++)
        if (t->layers[i].depth == t->stage) st = tune_layer(t, &t->layers[i], report, err);
    return st;
}

/* ---- everything ---- */

/* Seeded order of all pictures (Fisher-Yates), of which the first ones are used. */
static size_t *shuffle(size_t n, uint64_t seed)
{
    size_t *order = cr_calloc(n, sizeof *order);
    cr_rng rng;
    cr_rng_seed(&rng, seed);
    for (size_t i = 0; order && i < n; i++) {
        const size_t j = cr_rng_below(&rng, (uint32_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static size_t most_kept(const tuner *t)
{
    const cr_graph *g = t->stream[1].graph;
    size_t most = 0;
    for (int stage = 0; stage <= t->deepest; stage++) {
        size_t sum = 0;
        for (size_t i = 0; i < g->tensor_count; i++)
            if (!g->tensors[i]->data && t->depth[i] <= stage && t->last[i] > stage)
                for (int s = 0; s < 2; s++)
                    sum += cr_kept_bytes(g->tensors[i], entry_of(t, s, (int)i));
        if (sum > most) most = sum;
    }
    return most;
}

static size_t largest_tensor(const cr_graph *g)
{
    size_t most = 1;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (cr_tensor_bytes(g->tensors[i]) > most) most = cr_tensor_bytes(g->tensors[i]);
    return most;
}

/* The second may have constants more, behind the others. */
static bool same_order(const cr_graph *a, const cr_graph *b)
{
    bool same = a->tensor_count <= b->tensor_count && a->node_count == b->node_count;
    for (size_t i = 0; same && i < a->tensor_count; i++)
        same = !strcmp(a->tensors[i]->name, b->tensors[i]->name) &&
               cr_shape_equal(&a->tensors[i]->shape, &b->tensors[i]->shape);
    for (size_t i = 0; same && i < a->node_count; i++)
        same = a->nodes[i]->n_out == b->nodes[i]->n_out && a->nodes[i]->out[0] && b->nodes[i]->out[0] &&
               a->nodes[i]->out[0]->id == b->nodes[i]->out[0]->id;
    return same;
}

static cr_status open_network(tuner *t, const cr_graph *g, cr_error *err)
{
    CR_TRY(cr_recipe_apply(t->recipe, g, &t->stream[1].graph, err));
    const cr_graph *exact = t->o->exact ? t->o->exact : t->stream[1].graph;
    CR_TRY(cr_graph_clone(exact, &t->stream[0].graph, err));
    CR_CHECK(same_order(exact, t->stream[1].graph), err, CR_ERR_ARGUMENT,
             "the networks differ in more than their activations");
    const cr_graph *q = t->stream[1].graph;
    CR_TRY(cr_recipe_bind(t->recipe, q, &t->entries, err));
    t->layers = cr_calloc(q->node_count + 1, sizeof *t->layers);
    t->depth = cr_calloc(q->tensor_count, sizeof *t->depth);
    t->last = cr_calloc(q->tensor_count, sizeof *t->last);
    t->run = cr_calloc(q->node_count + 1, sizeof *t->run);
    t->inputs = cr_calloc(q->tensor_count, sizeof *t->inputs);
    t->outputs = cr_calloc(q->tensor_count, sizeof *t->outputs);
    if (!t->layers || !t->depth || !t->last || !t->run || !t->inputs || !t->outputs)
        return CR_NOMEM(err);
    find_layers(t);
    return find_readers(t, err);
}

static cr_status open_memory(tuner *t, size_t count, cr_error *err)
{
    const cr_graph *g = t->stream[1].graph;
    const size_t each = most_kept(t), room = each ? t->o->memory / each : count;
    t->pictures = t->o->pictures < count ? t->o->pictures : count;
    if (room < t->pictures) t->pictures = room ? room : 1;
    CR_TRY(cr_pool_create(t->o->threads, &t->pool, err));
    CR_TRY(cr_pool_create(1, &t->inline_pool, err));
    t->lane_count = cr_pool_threads(t->pool);
    t->lanes = cr_calloc((size_t)t->lane_count, sizeof *t->lanes);
    t->chosen = shuffle(count, t->o->seed);
    if (!t->lanes || !t->chosen) return CR_NOMEM(err);
    for (int i = 0; i < t->lane_count; i++)
        if (!(t->lanes[i].values = cr_malloc(largest_tensor(g)))) return CR_NOMEM(err);
    for (int s = 0; s < 2; s++) {
        t->kept[s] = cr_calloc(t->pictures * g->tensor_count, sizeof *t->kept[s]);
        t->stream[s].session = cr_calloc((size_t)t->lane_count, sizeof *t->stream[s].session);
        if (!t->kept[s] || !t->stream[s].session) return CR_NOMEM(err);
    }
    return CR_OK;
}

static void release(tuner *t)
{
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; t->kept[s] && i < t->pictures * t->stream[1].graph->tensor_count; i++)
            cr_kept_drop(&t->kept[s][i]);
        cr_free(t->kept[s]);
        cr_free(t->stream[s].session);
    }
    for (int i = 0; t->lanes && i < t->lane_count; i++) cr_free(t->lanes[i].values);
    cr_graph_free(&t->stream[0].graph);
    cr_graph_free(&t->stream[1].graph);
    cr_pool_free(&t->pool);
    cr_pool_free(&t->inline_pool);
    cr_free(t->lanes);
    cr_free(t->chosen);
    cr_free(t->entries);
    cr_free(t->layers);
    cr_free(t->depth);
    cr_free(t->last);
    cr_free(t->run);
    cr_free(t->inputs);
    cr_free(t->outputs);
}

cr_status cr_tune_weights(const cr_graph *g, cr_recipe *r, size_t count, cr_sample_fn fill,
                          void *user, const cr_tune_options *o, const cr_progress *progress,
                          cr_tune_report *report, cr_error *err)
{
    *report = (cr_tune_report){0};
    cr_status st = CR_OK;
    bool end = g->input_count != 1 || g->inputs[0]->dtype != CR_DT_F32 || count == 0;
    tuner t = {.o = o, .recipe = r, .fill = fill, .user = user};
    bool *run = NULL;
    CR_TRY_GOTO(open_network(&t, g, err), done);
    run = cr_calloc(t.stream[1].graph->node_count + 1, sizeof *run);
    if (!run) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(open_memory(&t, count, err), done);
    for (t.stage = 0; !end && t.count && t.stage <= t.deepest; t.stage++) {
        CR_TRY_GOTO(tune_stage(&t, run, report, &end, err), done);
        if (!cr_report(progress, "rounding weights", (uint64_t)t.stage + 1,
                       (uint64_t)t.deepest + 1)) {
            st = cr_fail(err, CR_ERR_CANCELLED, "cancelled");
            goto done;
        }
    }
    if (report->layers) {
        report->before /= (double)report->layers;
        report->after /= (double)report->layers;
    }
done:
    release(&t);
    cr_free(run);
    return st;
}
