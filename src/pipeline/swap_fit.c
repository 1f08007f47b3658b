/* cr_model_swap_fitted: another activation where it fits best, before layers are refitted.
 *
 * What reads an activation is fitted by least squares afterwards (refit.c), so an activation f stands
 * for y = SiLU(z) as well as a f(z + b) + c does for the best a and c. Two things are chosen here:
 *
 *     b     per channel, where the kink of a ReLU lies: the one of a few that leaves the least of y
 *           unexplained on samples of z. 0 for hard-swish, and in front of layers that are not
 *           refitted (the last ones), which would be left with c.
 *     K     of ReLU6, for the whole network: yolov8n has values up to 100, and 6 would cut off a third
 *           of the energy of some layers. What is homogeneous keeps its meaning if all activations are
 *           divided by one number: biases become beta / K, weights stay; the first convolutions' are
 *           divided, those of the last multiplied. So 6 lies above everything that was seen.
 *
 * On yolov8n what activations leave unexplained falls from .060 of their energy (ReLU6 in place) to .019,
 * in the first layers and in front of the heads from .1 to .3 to less than .003 (by hand, six pictures;
 * before padded zeros counted).
 *
 * The teacher gets the same coordinates, so that convolutions still give what the student's are to give:
 *
 *     teacher   conv (z + b) / K -> Mul K -> Add -b -> SiLU -> Mul 1 / K
 *     student   conv (z + b) / K -> Mul 1 -> Add 0  -> f    -> Mul 1         the same nodes: refit.c
 *                                                                            compares by position
 *
 * and computes what it did; the student's idle nodes go in the end. K stays 1 where something between
 * activations and convolutions is not homogeneous (attention, gates).
 *
 * Rejected: factors per channel (joints of branches need equal ones, quant/equalize.c; one number does
 * it all, as float has room); c taken to the readers' biases by hand (least squares does it). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/threads.h"
#include "crayon/train.h"
#include "graph/passes.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"
#include "train/distill.h"

enum { PICTURES = 16, SAMPLES = 128 }; /* the latter of a channel of a picture */

static const double LOWEST = -1, HIGHEST = 4, STEP = .25; /* of b */
static const double TOP = 6, ROOM = 1.25;

typedef struct site { /* a convolution and the SiLU behind it, by index in both graphs */
    size_t conv, act;
    int64_t channels;
    float *samples; /* [channels][count] */
    float *shift;   /* [channels]: b */
    cr_node *added[3]; /* of the student */
} site;

typedef struct fitter {
    cr_model *model, *teacher;
    cr_activation activation;
    site *sites;
    size_t count, pictures;
    double most; /* of z, over all sites */
    double K;
    bool *scaled; /* by tensor: divided by K */
    bool *fixed;  /* by tensor: read by something that is not refitted */
} fitter;

/* ---- where ---- */

static bool is_own(const cr_tensor *t)
{
    return t && t->data && t->dtype == CR_DT_F32 && t->uses == 1;
}

static bool is_site(const cr_node *act)
{
    const cr_node *conv = act->op->kind == CR_OP_Swish ? act->in[0]->producer : NULL;
    return conv && conv->op->kind == CR_OP_Conv && conv->n_in == 3 && is_own(conv->in[1]) &&
           is_own(conv->in[2]) && act->in[0]->uses == 1 && act->in[0]->shape.rank == 4 &&
           act->in[0]->shape.dim[0] == 1 && cr_shape_known(&act->in[0]->shape) &&
           cr_attr_float(act, "alpha", 1) == 1.f;
}

static cr_status find_sites(fitter *f, cr_error *err)
{
    const cr_graph *g = f->teacher->graph;
    const size_t n = (size_t)PICTURES * SAMPLES;
    f->sites = cr_calloc(g->node_count + 1, sizeof *f->sites);
    f->scaled = cr_calloc(g->tensor_count + 1, sizeof *f->scaled);
    f->fixed = cr_calloc(g->tensor_count + 1, sizeof *f->fixed);
    if (!f->sites || !f->scaled || !f->fixed) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++) {
        if (!is_site(g->nodes[i])) continue;
        site *s = &f->sites[f->count++];
        s->act = i;
        s->conv = (size_t)g->nodes[i]->in[0]->producer->index;
        s->channels = g->nodes[i]->in[0]->shape.dim[1];
        s->samples = cr_calloc((size_t)s->channels * n + 1, sizeof *s->samples);
        s->shift = cr_calloc((size_t)s->channels + 1, sizeof *s->shift);
        if (!s->samples || !s->shift) return CR_NOMEM(err);
    }
    return CR_OK;
}

/* ---- samples ---- */

static void take(fitter *f, site *s, const float *x, int64_t cells, size_t picture)
{
    for (int64_t c = 0; c < s->channels; c++, x += cells) {
        float *to = s->samples + ((size_t)c * PICTURES + picture) * SAMPLES;
        for (int64_t k = 0; k < SAMPLES; k++) to[k] = x[(k * cells / SAMPLES + 7 * k) % cells];
        for (int64_t k = 0; k < cells; k++) f->most = fmax(f->most, (double)x[k]);
    }
}

static cr_status look(fitter *f, const cr_image_list *list, cr_session *session,
                      cr_image_reader *reader, const cr_progress *progress, cr_error *err)
{
    const size_t n = list->count < PICTURES ? list->count : PICTURES;
    for (size_t p = 0; p < n; p++) {
        cr_image img;
        CR_TRY(cr_image_reader_read(reader, list->paths[p * list->count / n], &img, err));
        const cr_status st = cr_preprocess_run(&f->teacher->info.preprocess, &img,
                                               cr_session_input_data(session, 0), NULL, err);
        cr_image_free(&img);
        CR_TRY(st);
        CR_TRY(cr_session_execute(session, err));
        for (size_t i = 0; i < f->count; i++) {
            const cr_tensor *t = cr_session_output_tensor(session, i);
            take(f, &f->sites[i], t->data, t->shape.dim[2] * t->shape.dim[3], p);
        }
        CR_CHECK(cr_report(progress, "looking at activations", p + 1, n), err, CR_ERR_CANCELLED,
                 "cancelled");
    }
    f->pictures = n;
    return CR_OK;
}

static cr_status measure(fitter *f, const cr_image_list *list, int threads,
                         const cr_progress *progress, cr_error *err)
{
    const cr_graph *g = f->teacher->graph;
    const char **names = cr_calloc(f->count + 1, sizeof *names);
    cr_graph *cut = NULL;
    cr_program *program = NULL;
    cr_session *session = NULL;
    cr_pool *pool = NULL;
    cr_image_reader *reader = NULL;
    cr_status st = names ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; names && i < f->count; i++)
        names[i] = g->nodes[f->sites[i].act]->in[0]->name;
    if (st == CR_OK) st = cr_distill_cut(g, names, f->count, &cut, err);
    if (st == CR_OK) st = cr_pool_create(threads, &pool, err);
    if (st == CR_OK) st = cr_program_create(cut, NULL, cr_pool_threads(pool), &program, err);
    if (st == CR_OK) st = cr_session_open(program, pool, &session, err);
    if (st == CR_OK) st = cr_image_reader_create(&reader, err);
    if (st == CR_OK) st = look(f, list, session, reader, progress, err);
    cr_image_reader_free(&reader);
    cr_session_close(&session);
    cr_program_free(&program);
    cr_graph_free(&cut);
    cr_pool_free(&pool);
    cr_free(names);
    return st;
}

/* ---- b ---- */

static double silu(double x)
{
    return x / (1 + exp(-x));
}

/* What a f(z + b) + c leaves of the energy of y about its mean, for the best a and c. Zeros that pad
 * the readers' maps get no c: `border`, the share of a 3x3 kernel's taps that see them, pays for it. */
static double left_over(const float *z, const double *y, size_t n, double b, double slope,
                        double border)
{
    double sy = 0, sf = 0, yy = 0, ff = 0, yf = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = (double)z[i] + b, v = x > 0 ? x : slope * x;
        sy += y[i];
        sf += v;
        yy += y[i] * y[i];
        ff += v * v;
        yf += y[i] * v;
    }
    const double count = (double)n, cov = yf - sy * sf / count, var = ff - sf * sf / count;
    const double a = var > 0 ? cov / var : 0, c = (sy - a * sf) / count;
    return yy - sy * sy / count - a * cov + border * count * c * c;
}

static void choose_shifts(const fitter *f, site *s)
{
    const bool fixed = f->fixed[f->teacher->graph->nodes[s->act]->out[0]->id];
    const size_t n = f->pictures * SAMPLES;
    const double slope = f->activation == CR_ACTIVATION_LEAKY_RELU ? .1 : 0;
    const cr_shape *map = &f->teacher->graph->nodes[s->act]->out[0]->shape;
    const double border = 2. / 3 * (1 / (double)map->dim[2] + 1 / (double)map->dim[3]);
    double y[PICTURES * SAMPLES];
    if (f->activation == CR_ACTIVATION_HARD_SWISH || fixed) return;
    for (int64_t c = 0; c < s->channels; c++) {
        const float *z = s->samples + (size_t)c * PICTURES * SAMPLES;
        for (size_t i = 0; i < n; i++) y[i] = silu((double)z[i]);
        double best = left_over(z, y, n, 0, slope, border);
        for (double b = LOWEST; b <= HIGHEST; b += STEP) {
            const double left = left_over(z, y, n, b, slope, border);
            if (left >= best) continue;
            best = left;
            s->shift[c] = (float)b;
        }
    }
}

/* ---- K ---- */

static bool is_homogeneous(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
    case CR_OP_GlobalAveragePool:
    case CR_OP_Add:
    case CR_OP_Resize:
        return true;
    default:
        return (n->op->flags & CR_OPF_MOVE) && n->op->kind != CR_OP_Pad;
    }
}

static bool pass_on(bool *scaled, const cr_node *n)
{
    int with = 0, values = 0;
    for (int k = 0; k < n->n_in; k++) {
        const cr_tensor *t = n->in[k];
        if (!t || (t->data && n->op->kind != CR_OP_Add)) continue;
        values++;
        with += scaled[t->id];
    }
    if (!with) return true;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k]) scaled[n->out[k]->id] = true;
    return with == values && is_homogeneous(n);
}

/* refit.c's choice. */
static bool is_refitted(const fitter *f, const cr_node *n)
{
    return n->op->kind == CR_OP_Conv && is_own(n->in[1]) &&
           f->teacher->roles[n->index] == CR_ROLE_BODY;
}

static void mark_fixed(fitter *f)
{
    const cr_graph *g = f->teacher->graph;
    for (size_t i = 0; i < g->output_count; i++) f->fixed[g->outputs[i]->id] = true;
    for (size_t i = g->node_count; i-- > 0;) {
        const cr_node *n = g->nodes[i];
        bool fixed = !is_homogeneous(n);
        if (is_refitted(f, n)) continue;
        for (int k = 0; k < n->n_out; k++) fixed |= n->out[k] && f->fixed[n->out[k]->id];
        for (int k = 0; fixed && k < n->n_in; k++)
            if (n->in[k]) f->fixed[n->in[k]->id] = true;
    }
}

/* Marks what is divided by K; false: that changes the function. */
static bool spreads(fitter *f)
{
    const cr_graph *g = f->teacher->graph;
    size_t next = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_Swish) {
            if (next >= f->count || f->sites[next++].act != i) return false;
            f->scaled[n->out[0]->id] = true;
        } else if (n->op->kind == CR_OP_Conv && is_own(n->in[1])) {
            continue;
        } else if (!pass_on(f->scaled, n)) {
            return false;
        }
    }
    for (size_t i = 0; i < g->output_count; i++)
        if (f->scaled[g->outputs[i]->id]) return false;
    return true;
}

static void choose_scale(fitter *f)
{
    const double highest = f->most + HIGHEST;
    f->K = 1;
    if (f->activation == CR_ACTIVATION_RELU6 && spreads(f)) f->K = fmax(1, ROOM * highest / TOP);
}

/* ---- the graphs ---- */

static void multiply(cr_tensor *t, double factor)
{
    float *x = t->data;
    for (int64_t i = 0; i < cr_shape_count(&t->shape); i++) x[i] = (float)((double)x[i] * factor);
}

static void scale_convolutions(const fitter *f, const cr_graph *g)
{
    bool *sited = cr_calloc(g->node_count + 1, sizeof *sited);
    if (f->K == 1 || !sited) {
        cr_free(sited);
        return;
    }
    for (size_t i = 0; i < f->count; i++) sited[f->sites[i].conv] = true;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_Conv) continue;
        const bool reads = f->scaled[n->in[0]->id];
        if (sited[i] && !reads) multiply(n->in[1], 1 / f->K);
        if (!sited[i] && reads) multiply(n->in[1], f->K);
    }
    cr_free(sited);
}

static cr_node *add_node(cr_graph *g, cr_op_kind kind, const char *name, const char *what,
                         cr_tensor *in, cr_tensor *with, cr_tensor *out)
{
    const char *full = cr_arena_printf(&g->arena, "%s_%s", name, what);
    cr_node *n = full && in && with && out ? cr_graph_add_node(g, kind, full, 2, 1, 0) : NULL;
    if (!n) return NULL;
    n->in[0] = in;
    n->in[1] = with;
    n->out[0] = out;
    return n;
}

/* The three nodes around an activation. */
static cr_status surround(cr_graph *g, const site *s, double K, bool idle, cr_node *added[3],
                          cr_error *err)
{
    cr_node *act = g->nodes[s->act];
    cr_tensor *y = act->out[0], *z = act->in[0];
    const cr_shape list = {.rank = 4, .dim = {1, s->channels, 1, 1}};
    cr_tensor *factor = cr_graph_const_f32(g, "swap", idle ? 1 : (float)K);
    cr_tensor *inverse = cr_graph_const_f32(g, "swap", idle ? 1 : (float)(1 / K));
    cr_tensor *shift = cr_graph_new_const(g, "swap", CR_DT_F32, list);
    cr_tensor *grown = cr_graph_new_tensor(g, "swap", CR_DT_F32, z->shape);
    cr_tensor *moved = cr_graph_new_tensor(g, "swap", CR_DT_F32, z->shape);
    cr_tensor *raw = cr_graph_new_tensor(g, "swap", CR_DT_F32, z->shape);
    if (!shift) return CR_NOMEM(err);
    for (int64_t c = 0; !idle && c < s->channels; c++) ((float *)shift->data)[c] = -s->shift[c];
    added[0] = add_node(g, CR_OP_Mul, act->name, "grown", z, factor, grown);
    added[1] = add_node(g, CR_OP_Add, act->name, "moved", grown, shift, moved);
    added[2] = add_node(g, CR_OP_Mul, act->name, "shrunk", raw, inverse, y);
    if (!added[0] || !added[1] || !added[2]) return CR_NOMEM(err);
    act->in[0] = moved;
    act->out[0] = raw;
    return CR_OK;
}

static cr_status rewrite(fitter *f, cr_graph *g, bool idle, cr_error *err)
{
    cr_node *unused[3];
    scale_convolutions(f, g);
    for (size_t i = 0; i < f->count; i++) {
        site *s = &f->sites[i];
        float *bias = g->nodes[s->conv]->in[2]->data;
        for (int64_t c = 0; c < s->channels; c++)
            bias[c] = (float)(((double)bias[c] + (double)s->shift[c]) / f->K);
    }
    for (size_t i = 0; i < f->count; i++)
        CR_TRY(surround(g, &f->sites[i], f->K, idle, idle ? f->sites[i].added : unused, err));
    CR_TRY(cr_graph_index(g, err));
    return cr_graph_infer(g, err);
}

/* The student without its idle nodes. */
static cr_status settle(fitter *f, cr_error *err)
{
    cr_graph *g = f->model->graph;
    for (size_t i = 0; i < f->count; i++) {
        cr_node *const *n = f->sites[i].added;
        cr_node *act = n[2]->in[0]->producer;
        act->in[0] = n[0]->in[0];
        act->out[0] = n[2]->out[0];
        for (int k = 0; k < 3; k++) cr_graph_kill(n[k]);
    }
    CR_TRY(cr_graph_compact(g, err));
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_infer(g, err));
    return cr_model_recount(f->model, err);
}

static cr_status fit(fitter *f, const cr_image_list *pictures, uint64_t seed, int threads,
                     const cr_progress *progress, size_t *count, cr_tune_report *report,
                     cr_error *err)
{
    CR_TRY(find_sites(f, err));
    if (f->count) CR_TRY(measure(f, pictures, threads, progress, err));
    mark_fixed(f);
    for (size_t i = 0; i < f->count; i++) choose_shifts(f, &f->sites[i]);
    choose_scale(f);
    CR_TRY(rewrite(f, f->teacher->graph, false, err));
    CR_TRY(cr_model_recount(f->teacher, err));
    CR_TRY(rewrite(f, f->model->graph, true, err));
    CR_TRY(cr_model_recount(f->model, err));
    CR_TRY(cr_model_swap_activation(f->model, f->activation, count, err));
    CR_TRY(cr_refit(f->model, f->teacher, pictures, seed, threads, progress, report, err));
    return settle(f, err);
}

cr_status cr_model_swap_fitted(cr_model *model, cr_model *teacher, cr_activation activation,
                               const cr_image_list *pictures, uint64_t seed, int threads,
                               const cr_progress *progress, size_t *count, cr_tune_report *report,
                               cr_error *err)
{
    fitter f = {.model = model, .teacher = teacher, .activation = activation};
    *count = 0;
    CR_CHECK(!model->recipe && !teacher->recipe && !model->stored && !teacher->stored &&
                 model->graph->node_count == teacher->graph->node_count &&
                 model->graph->tensor_count == teacher->graph->tensor_count,
             err, CR_ERR_ARGUMENT, "%s: swapped are float models, beside the same one as teacher",
             model->info.path);
    CR_CHECK(pictures->count, err, CR_ERR_ARGUMENT, "no pictures to fit activations with");
    const cr_status st =
        activation == CR_ACTIVATION_KEEP
            ? CR_OK
            : fit(&f, pictures, seed, threads, progress, count, report, err);
    for (size_t i = 0; i < f.count; i++) {
        cr_free(f.sites[i].samples);
        cr_free(f.sites[i].shift);
    }
    cr_free(f.sites);
    cr_free(f.scaled);
    cr_free(f.fixed);
    return st;
}
