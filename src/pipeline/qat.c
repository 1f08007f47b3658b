/* cr_qat: pictures, teacher, student, trainer and judge put together.
 *
 * The loss is made where the network is still smooth (train/distill.h); the best state is chosen by
 * what a user sees, on pictures that training did not have: the judge's error (judge.h), which a
 * few pictures are enough for. The start takes part in that, so the outcome is never worse than it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "crayon/train.h"
#include "pipeline/student.h"
#include "pipeline/train_pictures.h"
#include "train/train_state.h"

enum { JUDGEMENTS = 20, WARM_UP = 20, LARGE = 448 };

/* What few pictures say of their few objects is learned by heart within some ten rounds; what inner
 * layers are to give is said of every cell, and holds for other pictures as well. Rounding leaves
 * layers wrong by some .04 of their energy, another activation by some .1. */
static const double FEATURES_ROUNDED = 30, FEATURES_FLOAT = 10;
static const double RATE = 1e-3;
static const double CLEARLY = 2;  /* standard errors */
static const double FOREIGN = .3; /* of a feature's energy; 2-bit weights cost .12 in the mean */

typedef struct best {
    double error;
    int64_t at;
} best;

typedef struct study {
    cr_model *model;
    const cr_model *teacher;
    const cr_qat_options *o;
    cr_qat_report *report;
    char **paths; /* of training; then the judges' */
    cr_image_list judges;
    cr_distill_plan plan;
    cr_pool *pool;
    cr_graph *taught;
    cr_student *student;
    cr_distill *distill;
    cr_train_pictures *pictures;
    cr_judge *judge;
    double features;
    float *start, *best_values;
    cr_verdict before;
    best best;
} study;

cr_qat_options cr_qat_options_default(void)
{
    return (cr_qat_options){
        .minutes = 20, .batch = 4, .features = CR_FEATURES_AUTO, .vary = true, .judges = 16};
}

static cr_status check(const cr_model *m, const cr_model *teacher, const cr_image_list *pictures,
                       const cr_qat_options *o, cr_error *err)
{
    const cr_graph *g = teacher->graph;
    CR_CHECK(!teacher->recipe, err, CR_ERR_ARGUMENT, "%s: the teacher must be a float model",
             teacher->info.path);
    CR_CHECK(g->input_count == 1 && g->inputs[0]->shape.rank == 4 &&
                 g->inputs[0]->shape.dim[0] == 1 && g->inputs[0]->shape.dim[1] == 3 &&
                 cr_shape_known(&g->inputs[0]->shape),
             err, CR_ERR_UNSUPPORTED, "%s: training needs one picture [1,3,H,W] as input",
             teacher->info.path);
    CR_CHECK(m->graph->input_count == 1 && m->graph->output_count == g->output_count &&
                 cr_shape_equal(&m->graph->inputs[0]->shape, &g->inputs[0]->shape),
             err, CR_ERR_ARGUMENT, "%s and its teacher differ in inputs or outputs", m->info.path);
    CR_CHECK(pictures->count > 0, err, CR_ERR_ARGUMENT, "no pictures to train with");
    CR_CHECK(!o->judge_pictures || o->judge_pictures->count, err, CR_ERR_ARGUMENT,
             "no pictures to judge with");
    CR_CHECK(o->minutes >= 0 && o->steps >= 0 && (o->minutes > 0 || o->steps > 0), err,
             CR_ERR_ARGUMENT, "how long to train must be given: minutes or steps");
    CR_CHECK(o->batch >= 1 && o->batch <= 1024 && o->rate >= 0 && isfinite(o->rate) &&
                 (o->features >= 0 || o->features == CR_FEATURES_AUTO) && isfinite(o->features),
             err, CR_ERR_ARGUMENT, "1 to 1024 pictures per step, a rate and features not below 0");
    return CR_OK;
}

/* Judges are those given, or spread evenly over the list; a single picture is both. */
static cr_status divide(study *s, const cr_image_list *all, cr_error *err)
{
    const cr_image_list *given = s->o->judge_pictures;
    const size_t n = all->count, want = s->o->judges, room = given ? given->count : n;
    size_t judges = given ? 0 : n >= 2 * want ? want : n / 8, train = 0, apart = 0;
    if (!given && judges < 1) judges = 1;
    s->paths = cr_calloc(n + room + 1, sizeof *s->paths);
    if (!s->paths) return CR_NOMEM(err);
    s->judges = (cr_image_list){s->paths + n, 0};
    for (size_t i = 0; given && i < room; i++) s->judges.paths[apart++] = given->paths[i];
    for (size_t i = 0; i < n; i++) {
        const bool judge = !given && apart < judges && i == (2 * apart + 1) * n / (2 * judges);
        if (judge) s->judges.paths[apart++] = all->paths[i];
        if (!judge || n == 1) s->paths[train++] = all->paths[i];
    }
    s->judges.count = apart;
    s->report->pictures = train;
    s->report->judges = apart;
    return CR_OK;
}

/* A judge that cannot be read would end the work: such ones judge no more. */
static cr_status leave_bad_judges_out(study *s, cr_error *err)
{
    cr_image_reader *reader;
    size_t good = 0;
    CR_TRY(cr_image_reader_create(&reader, err));
    for (size_t i = 0; i < s->judges.count; i++) {
        cr_error why = {0};
        cr_image img;
        char line[sizeof why.message + 32];
        if (cr_image_reader_read(reader, s->judges.paths[i], &img, &why) == CR_OK) {
            cr_image_free(&img);
            s->judges.paths[good++] = s->judges.paths[i];
            continue;
        }
        s->report->bad++;
        snprintf(line, sizeof line, "left out: %s", why.message);
        if (s->o->warn) s->o->warn(s->o->user, line);
    }
    cr_image_reader_free(&reader);
    if (!good) s->judges.paths[good++] = s->paths[0];
    s->judges.count = good;
    return CR_OK;
}

static cr_status open_pictures(study *s, const cr_image_list *all, int height, int width,
                               cr_error *err)
{
    cr_train_pictures_options o = {.preprocess = s->teacher->info.preprocess,
                                   .seed = s->o->seed,
                                   .vary = s->o->vary,
                                   .warn = s->o->warn,
                                   .user = s->o->user};
    o.part = fmin(1, fmax((double)height / o.preprocess.height, (double)width / o.preprocess.width));
    o.preprocess.height = height;
    o.preprocess.width = width;
    CR_TRY(divide(s, all, err));
    CR_TRY(leave_bad_judges_out(s, err));
    return cr_train_pictures_open(s->paths, s->report->pictures, &o, &s->pictures, err);
}

/* A quarter of the pixels is four times as many steps in the same time, and parts of pictures at the
 * scale that the model is made for (train_pictures.c) show what rounding or another activation
 * broke: half of the sides, where they stay multiples of 32 and large enough to show something. */
static void choose_size(const study *s, int *height, int *width)
{
    const cr_shape *in = &s->teacher->graph->inputs[0]->shape;
    const int h = (int)in->dim[2], w = (int)in->dim[3];
    const bool halve = h >= LARGE && w >= LARGE && h % 64 == 0 && w % 64 == 0 &&
                       cr_graph_resize(s->taught, h / 2, w / 2, NULL) == CR_OK;
    *height = s->o->height ? s->o->height : halve ? h / 2 : h;
    *width = s->o->width ? s->o->width : halve ? w / 2 : w;
}

static cr_status open_networks(study *s, int height, int width, cr_error *err)
{
    CR_TRY(cr_pool_create(s->o->threads, &s->pool, err));
    CR_TRY(cr_graph_resize(s->taught, height, width, err));
    CR_TRY(cr_student_open(s->model, &s->plan, height, width, s->pool, &s->student, err));
    CR_TRY(cr_distill_create(s->taught, s->student->graph, s->plan.parts, s->plan.count, s->pool,
                             &s->distill, err));
    s->start = cr_aligned_alloc((size_t)s->student->count * sizeof *s->start);
    s->best_values = cr_aligned_alloc((size_t)s->student->count * sizeof *s->start);
    if (!s->start || !s->best_values) return CR_NOMEM(err);
    cr_student_copy_out(s->student, s->start);
    cr_student_copy_out(s->student, s->best_values);
    return CR_OK;
}

/* Where a plan has scaled channels (quant/equalize.c), a layer gives what the teacher's does times
 * factors that the next one takes up: nothing to compare. One picture shows which those are:
 * rounding alone leaves most of the energy where it was. */
static cr_status drop_foreign_features(study *s, cr_error *err)
{
    const cr_distill_plan *plan = &s->plan;
    float *input = cr_tape_value(s->student->tape, s->student->graph->inputs[0]);
    double sums[CR_DISTILL_KINDS] = {0};
    size_t kept = 0;
    if (!s->model->recipe || plan->head == plan->count) return CR_OK;
    double *each = cr_calloc(plan->count, sizeof *each);
    if (!each) return CR_NOMEM(err);
    cr_status st = cr_train_pictures_take(s->pictures, 0, 0, s->o->batch, input, err);
    if (st == CR_OK) st = cr_distill_teach(s->distill, input, err);
    if (st == CR_OK) st = cr_tape_forward(s->student->tape, err);
    if (st == CR_OK) cr_distill_loss(s->distill, s->student->tape, 1, sums, each);
    for (size_t i = plan->head; i < plan->count; i++) kept += each[i] < FOREIGN;
    for (size_t i = plan->head; st == CR_OK && i < plan->count; i++)
        cr_distill_set_weight(s->distill, i, each[i] < FOREIGN ? s->features / (double)kept : 0);
    cr_free(each);
    return st;
}

static cr_status open_judge(study *s, const cr_progress *progress, cr_error *err)
{
    const cr_judge_options o = {.threads = s->o->threads};
    cr_verdict *v = &s->before;
    CR_TRY(cr_judge_open(s->teacher, &s->judges, &o, progress, &s->judge, err));
    CR_TRY(cr_judge_try(s->judge, s->model, s->model->recipe, 0, true, v, err));
    s->best = (best){v->error, 0};
    s->report->error_before = s->report->error_after = v->error;
    s->report->agreement_before = s->report->agreement_after = v->agreement;
    return CR_OK;
}

/* ---- what the trainer asks for ---- */

static cr_status load(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err)
{
    study *s = ctx;
    float *input = cr_tape_value(tape, s->student->graph->inputs[0]);
    CR_TRY(cr_train_pictures_take(s->pictures, step, item, s->o->batch, input, err));
    return cr_distill_teach(s->distill, input, err);
}

static cr_status loss(void *ctx, cr_tape *tape, int64_t step, int item, double *parts,
                      cr_error *err)
{
    const study *s = ctx;
    (void)step, (void)item, (void)err;
    cr_distill_loss(s->distill, tape, 1.0 / s->o->batch, parts, NULL);
    return CR_OK;
}

static void tell(const study *s, const cr_trainer *t, int64_t done, double error)
{
    char line[240];
    size_t points;
    const cr_curve_point *curve = cr_trainer_curve(t, &points);
    const size_t last = points > 50 ? 50 : points;
    double mean[CR_DISTILL_KINDS] = {0};
    if (!s->o->tell) return;
    for (size_t i = points - last; i < points; i++)
        for (int k = 0; k < CR_DISTILL_KINDS; k++) mean[k] += curve[i].parts[k] / (double)last;
    int at = snprintf(line, sizeof line, "step %lld of %lld:", (long long)done,
                      (long long)cr_trainer_steps(t));
    for (int k = 0; k < CR_DISTILL_KINDS; k++)
        if (mean[k] > 0)
            at += snprintf(line + at, sizeof line - (size_t)at, " %s %.4f,",
                           cr_distill_kind_names[k], mean[k]);
    snprintf(line + at, sizeof line - (size_t)at, " error %.5f (start %.5f)", error,
             s->report->error_before);
    s->o->tell(s->o->user, line);
}

/* The averaged weights are judged: they are what is kept. */
static cr_status judge(void *ctx, cr_trainer *t, int64_t done, bool *stop, cr_error *err)
{
    study *s = ctx;
    cr_verdict v;
    (void)stop;
    cr_trainer_swap_average(t);
    const cr_status st = cr_student_judge(s->student, s->judge, false, &v, err);
    if (st == CR_OK && v.error < s->best.error) {
        s->best = (best){v.error, done};
        cr_student_copy_out(s->student, s->best_values);
    }
    cr_trainer_swap_average(t);
    if (st == CR_OK) tell(s, t, done, v.error);
    return st;
}

static void warn(void *ctx, const char *line)
{
    const study *s = ctx;
    if (s->o->warn) s->o->warn(s->o->user, line);
}

/* What else than names and sizes of parameters a checkpoint depends on. */
static uint64_t task_of(const study *s)
{
    const cr_shape *in = &s->student->graph->inputs[0]->shape;
    const cr_qat_options *o = s->o;
    uint64_t h = cr_train_hash(0, s->start, (size_t)s->student->count * sizeof *s->start);
    h = cr_train_hash(h, in->dim, 4 * sizeof *in->dim);
    h = cr_train_hash(h, &o->rate, sizeof o->rate);
    h = cr_train_hash(h, &s->features, sizeof s->features);
    const unsigned char vary = o->vary;
    h = cr_train_hash(h, &vary, 1);
    for (size_t i = 0; i < s->report->pictures; i++)
        h = cr_train_hash(h, s->paths[i], strlen(s->paths[i]));
    return h;
}

static cr_status train(study *s, const cr_progress *progress, cr_error *err)
{
    const cr_qat_options *o = s->o;
    const size_t bytes = (size_t)s->student->count * sizeof *s->best_values;
    const cr_trained_state states[] = {{&s->best, sizeof s->best}, {s->best_values, bytes}};
    const cr_trainer_calls calls = {s, load, loss, NULL, judge, warn};
    cr_trainer_options t = cr_trainer_options_default();
    cr_trainer *trainer;
    t.seed = o->seed;
    t.task = task_of(s);
    t.steps = o->steps;
    t.seconds = o->minutes * 60;
    t.items = o->batch;
    t.judge_every = o->steps ? (o->steps + JUDGEMENTS - 1) / JUDGEMENTS : 50;
    t.part_names = cr_distill_kind_names;
    t.part_count = CR_DISTILL_KINDS;
    t.checkpoint = o->checkpoint;
    t.checkpoint_every = t.judge_every;
    t.resume = o->resume;
    t.curve = o->curve;
    t.states = states;
    t.state_count = 2;
    if (progress) t.progress = *progress;
    t.optimiser.kind = CR_ADAMW;
    t.optimiser.rate = o->rate > 0 ? o->rate : RATE;
    t.optimiser.final_rate = 0.02;
    t.optimiser.weight_decay = 0;
    t.optimiser.warm_up = WARM_UP;
    t.optimiser.clip_norm = 1;
    t.optimiser.average = 0.98;
    t.optimiser.average_ramp = 20;
    CR_TRY(cr_trainer_create(s->student->tape, s->student->list, s->student->n, &calls, &t, s->pool,
                             &trainer, err));
    const clock_t begun = clock();
    const cr_status st = cr_trainer_run(trainer, err);
    s->report->processor_seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    size_t points;
    const cr_curve_point *curve = cr_trainer_curve(trainer, &points);
    s->report->steps = cr_trainer_done(trainer);
    s->report->left_out = cr_trainer_left_out(trainer);
    s->report->seconds = points ? curve[points - 1].seconds : 0;
    s->report->best = s->best.at;
    s->report->bad += cr_train_pictures_bad(s->pictures);
    cr_trainer_free(&trainer);
    return st;
}

/* The error ranks states, as a few pictures show it without much noise; the agreement of a few
 * pictures moves by chance, so it vetoes a state only where the same pictures say it clearly. */
static bool agrees_less(const study *s, const cr_verdict *v)
{
    double deviation;
    const double gain = cr_verdict_gain(&s->before, v, &deviation);
    return gain < (isnan(deviation) ? 0 : -CLEARLY * deviation);
}

/* The best state, or the model as it was: a quantized one that agrees less, whatever its error says,
 * is not better. */
static cr_status finish(study *s, bool trained, cr_error *err)
{
    cr_verdict v;
    const bool better = trained && s->best.at;
    cr_student_copy_in(s->student, better ? s->best_values : s->start);
    if (!better) return s->model->recipe ? CR_OK : cr_student_graduate(s->student, err);
    CR_TRY(cr_student_judge(s->student, s->judge, true, &v, err));
    if (s->model->recipe && agrees_less(s, &v)) {
        s->report->best = 0;
        return CR_OK;
    }
    s->report->error_after = v.error;
    s->report->agreement_after = v.agreement;
    return cr_student_graduate(s->student, err);
}

static cr_status run(study *s, const cr_image_list *pictures, const cr_progress *progress,
                     cr_error *err)
{
    int height, width;
    CR_TRY(cr_distill_plan_make(s->teacher, s->features, &s->plan, err));
    CR_TRY(cr_distill_cut(s->teacher->graph, s->plan.names, s->plan.name_count, &s->taught, err));
    choose_size(s, &height, &width);
    CR_TRY(open_pictures(s, pictures, height, width, err));
    CR_TRY(open_networks(s, height, width, err));
    CR_TRY(drop_foreign_features(s, err));
    CR_TRY(open_judge(s, progress, err));
    const cr_status st = train(s, progress, err);
    const cr_status end = finish(s, st == CR_OK, st == CR_OK ? err : NULL);
    return st == CR_OK ? end : st;
}

cr_status cr_qat(cr_model *model, const cr_model *teacher, const cr_image_list *pictures,
                 const cr_qat_options *options, const cr_progress *progress, cr_qat_report *report,
                 cr_error *err)
{
    cr_qat_report unused;
    study s = {
        .model = model, .teacher = teacher, .o = options, .report = report ? report : &unused};
    *s.report = (cr_qat_report){.agreement_before = NAN, .agreement_after = NAN};
    CR_TRY(check(model, teacher, pictures, options, err));
    s.features = options->features >= 0 ? options->features : model->recipe ? FEATURES_ROUNDED : FEATURES_FLOAT;
    const cr_status st = run(&s, pictures, progress, err);
    cr_judge_close(&s.judge);
    cr_train_pictures_close(&s.pictures);
    cr_distill_free(&s.distill);
    cr_student_close(&s.student);
    cr_graph_free(&s.taught);
    cr_distill_plan_release(&s.plan);
    cr_pool_free(&s.pool);
    cr_aligned_free(s.start);
    cr_aligned_free(s.best_values);
    cr_free(s.paths);
    return st;
}
