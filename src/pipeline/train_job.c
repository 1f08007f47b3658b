/* Training from options to a file: see crayon/train.h.
 *
 * The loop is the trainer's (train/trainer.h). Here are the network, the pictures, the judging of
 * averaged weights on pictures kept apart, and the choice of the best. The best weights lie in the
 * checkpoint, not in a file of their own: OUT appears at the end, whole. */
#include "pipeline/train_job.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/threads.h"
#include "crayon/quantize.h"
#include "train/train_state.h"

enum { MOST_POINTS = 400, BATCH = 16, EPOCHS = 100, VALIDATIONS = 20 };

cr_train_options cr_train_options_default(void)
{
    return (cr_train_options){.batch = BATCH, .epochs = EPOCHS, .augment = CR_TRAIN_AUGMENT_FLIP};
}

const char *cr_train_architectures(void)
{
    return cr_arch_names();
}

void cr_train_warn(const cr_train_job *j, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!j->o->warn) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    j->o->warn(j->o->user, line);
}

static void warn_line(void *ctx, const char *line)
{
    cr_train_warn(ctx, "%s", line);
}

/* ---- pictures ---- */

enum { APART_ONE_OF = 10, APART_MOST = 500 };

static unsigned parts_of(cr_arch_task task)
{
    return task == CR_ARCH_SEGMENT ? CR_LABEL_MASKS : task == CR_ARCH_POSE ? CR_LABEL_KEYPOINTS : 0;
}

static bool make_part(cr_train_part *part, const cr_dataset *set, size_t count)
{
    *part = (cr_train_part){set, cr_calloc(count + 1, sizeof *part->which), count};
    for (size_t i = 0; part->which && i < count; i++) part->which[i] = i;
    return part->which != NULL;
}

static int by_place(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Every tenth picture, at most 500, chosen by the seed, is kept apart; one alone is in both parts. */
static cr_status part_set(cr_train_job *j, cr_error *err)
{
    const size_t n = cr_dataset_count(j->set), share = n / APART_ONE_OF;
    const size_t most = share < APART_MOST ? share : APART_MOST, held = most ? most : 1;
    cr_rng r;
    if (!make_part(&j->train, j->set, n) || !make_part(&j->val, j->set, held))
        return CR_NOMEM(err);
    if (n == 1) {
        cr_train_warn(j, "%s: one picture alone: it is judged by what it is trained on",
                      j->o->data);
        return CR_OK;
    }
    cr_rng_seed(&r, j->o->seed);
    for (size_t i = 0; i < n; i++) {
        const size_t k = cr_rng_below(&r, (uint32_t)(i + 1));
        j->train.which[i] = j->train.which[k];
        j->train.which[k] = i;
    }
    j->train.count = n - held;
    memcpy(j->val.which, j->train.which + j->train.count, held * sizeof *j->val.which);
    qsort(j->val.which, held, sizeof *j->val.which, by_place);
    qsort(j->train.which, j->train.count, sizeof *j->train.which, by_place);
    return CR_OK;
}

static cr_status open_sets(cr_train_job *j, cr_arch_task task, const char *const *names,
                           size_t classes, cr_error *err)
{
    const cr_train_options *o = j->o;
    cr_dataset_options how = {.labels = o->data, .images = o->images, .parts = parts_of(task),
                              .names = names, .classes = classes, .warn = warn_line, .user = j};
    CR_TRY(cr_dataset_open(&how, &j->set, err));
    if (!cr_dataset_objects(j->set))
        cr_train_warn(j, "%s: no picture holds any object: it will learn that there is nothing",
                      o->data);
    if (!o->val) return part_set(j, err);
    how.labels = o->val;
    how.images = o->val_images;
    how.validation = true;
    CR_TRY(cr_dataset_open(&how, &j->val_set, err));
    return make_part(&j->train, j->set, cr_dataset_count(j->set)) &&
                   make_part(&j->val, j->val_set, cr_dataset_count(j->val_set))
               ? CR_OK
               : CR_NOMEM(err);
}

/* Which category of val's labels each class is; which of the training's are none. */
static cr_status map_classes(cr_train_job *j, const char *const *names, size_t n, cr_error *err)
{
    const cr_labels *labels = cr_dataset_labels(j->set);
    const size_t boxes = cr_labels_box_count(labels);
    j->class_category = cr_calloc(n + 1, sizeof *j->class_category);
    if (!j->class_category) return CR_NOMEM(err);
    CR_TRY(cr_labels_map_classes(labels, names, n, j->class_category, err));
    for (size_t k = 0; k < cr_labels_category_count(labels); k++) {
        const cr_label_category *c = cr_labels_category(labels, k);
        bool known = false;
        size_t objects = 0;
        for (size_t i = 0; i < n; i++) known |= j->class_category[i] == c->id;
        for (size_t i = 0; !known && i < boxes; i++)
            objects += cr_labels_box(labels, i)->category_id == c->id;
        j->result->unknown += objects;
        if (objects)
            cr_train_warn(j, "class '%s' is unknown to the model: its %zu objects are left out",
                          c->name, objects);
    }
    return cr_labels_map_classes(cr_dataset_labels(j->val.set), names, n, j->class_category, err);
}

/* ---- the network ---- */

static cr_status open_arch(cr_train_job *j, cr_error *err)
{
    const cr_train_options *o = j->o;
    cr_arch_task task;
    CR_CHECK(cr_arch_find_task(o->arch, &task), err, CR_ERR_ARGUMENT,
             "no architecture '%s': there are %s", o->arch, cr_arch_names());
    CR_TRY(open_sets(j, task, NULL, 0, err));
    const size_t n = cr_dataset_classes(j->set);
    const char **names = cr_calloc(n + 1, sizeof *names);
    if (!names) return CR_NOMEM(err);
    for (size_t k = 0; k < n; k++) names[k] = cr_dataset_class(j->set, k);
    cr_status st = map_classes(j, names, n, err);
    const int side = task == CR_ARCH_CLASSIFY ? 224 : 640;
    const cr_arch_options how = {.name = o->arch, .classes = (int)n, .class_names = names,
                                 .keypoints = (int)cr_dataset_keypoints(j->set),
                                 .keypoint_dims = 3, .height = o->height ? o->height : side,
                                 .width = o->width ? o->width : side,
                                 .batch = o->pass ? o->pass : o->batch, .seed = o->seed};
    if (st == CR_OK) st = cr_train_net_of_arch(&how, &j->net, err);
    cr_free(names);
    return st;
}

static cr_arch_task task_of(const cr_model_info *info)
{
    return info->head.kind == CR_HEAD_CLASSIFY ? CR_ARCH_CLASSIFY
           : info->head.keypoints              ? CR_ARCH_POSE
                                               : CR_ARCH_DETECT;
}

static cr_status open_model(cr_train_job *j, cr_error *err)
{
    const cr_train_options *o = j->o;
    cr_model_options how = cr_model_options_default();
    cr_model *m;
    how.height = o->height;
    how.width = o->width;
    CR_TRY(cr_model_open(o->model, &how, &m, err));
    const cr_model_info *info = cr_model_get_info(m);
    cr_status st = cr_train_net_of_model(m, o->pass ? o->pass : 1, &j->net, err);
    if (st == CR_OK) {
        const size_t n = (size_t)j->net.classes;
        const char *const *names = info->name_count >= n ? info->names : NULL;
        st = open_sets(j, task_of(info), names, n, err);
        if (st == CR_OK) st = map_classes(j, names, n, err);
    }
    cr_model_free(&m);
    return st;
}

/* ---- the run ---- */

static cr_status check(const cr_train_options *o, cr_error *err)
{
    CR_CHECK(!o->arch != !o->model, err, CR_ERR_ARGUMENT,
             "either an architecture or a model is trained");
    CR_CHECK(o->data, err, CR_ERR_ARGUMENT, "labelled pictures are needed");
    CR_CHECK(o->batch >= 1 && o->batch <= 1024 && o->pass >= 0 && o->pass <= o->batch, err,
             CR_ERR_ARGUMENT, "a batch has 1 to 1024 pictures, a pass no more than the batch");
    CR_CHECK(!o->pass || o->batch % o->pass == 0, err, CR_ERR_ARGUMENT,
             "a batch of %d is no whole number of passes of %d", o->batch, o->pass);
    CR_CHECK(o->epochs > 0 || o->steps > 0 || o->minutes > 0, err, CR_ERR_ARGUMENT,
             "training needs a length: epochs, steps or minutes");
    CR_CHECK(o->steps >= 0 && o->minutes >= 0 && o->rate >= 0 && o->validate_every >= 0 &&
                 o->checkpoint_every >= 0 && o->patience >= 0,
             err, CR_ERR_ARGUMENT, "lengths, rate and intervals are not negative");
    return CR_OK;
}

/* Weights of hidden convolutions and products, as Muon wants them: not those of the last layers, which
 * are no map between hidden states, nor of depthwise ones, which are no matrices. */
static void mark_matrices(cr_train_job *j)
{
    const cr_graph *g = j->net.graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_Conv || cr_attr_int(n, "group", 1) != 1) continue;
        bool last = false;
        for (size_t k = 0; k < g->output_count; k++) last |= g->outputs[k] == n->out[0];
        for (size_t k = 0; !last && k < j->trained; k++)
            if (!strcmp(j->list[k].name, n->in[1]->name))
                j->list[k].p.rows = n->in[1]->shape.dim[0];
    }
}

/* What suits is known for Muon at .02 with AdamW at .003 for the rest (the sample model), and SGD at
 * .01 (YOLOv8); the average's memory is a six-hundredth of the run, so that it forgets the start. */
static cr_optimiser_options optimiser_options(const cr_train_job *j)
{
    static const double rates[] = {.02, .001, .01};
    const cr_train_options *o = j->o;
    cr_optimiser_options how = cr_optimiser_options_default();
    const double steps = j->steps ? (double)j->steps : 3000;
    how.kind = o->optimiser == CR_TRAIN_MUON    ? CR_MUON
               : o->optimiser == CR_TRAIN_ADAMW ? CR_ADAMW
                                                : CR_SGD;
    how.rate = o->rate > 0 ? o->rate : rates[o->optimiser] * (o->model ? .1 : 1);
    how.warm_up = (int64_t)fmin(200, steps / 10);
    if (how.kind == CR_MUON) how.momentum = .9;
    if (how.kind != CR_SGD) how.weight_decay = .02;
    how.average = fmin(fmax(1 - 12 / steps, .9), .9999);
    how.average_ramp = steps / 20;
    return how;
}

static void spread_rates(cr_train_job *j)
{
    const double part = .15; /* of Muon's rate, for what AdamW moves */
    for (size_t i = 0; i < j->trained && j->o->optimiser == CR_TRAIN_MUON; i++) {
        cr_parameter *p = &j->list[i].p;
        if (!p->rows) p->rate = part;
        p->decays = p->rows > 0;
    }
}

/* How pictures become items. Without known partners keypoints are not mirrored. */
static void describe_items(cr_train_job *j)
{
    cr_augment_options none = {0};
    j->how = (cr_item_options){.pre = j->net.preprocess, .augment = none,
                               .keypoints = (size_t)j->net.keypoints, .pool = j->pool};
    if (j->o->augment == CR_TRAIN_AUGMENT_FLIP) j->how.augment.flip = .5;
    if (j->o->augment == CR_TRAIN_AUGMENT_SYMMETRY) j->how.augment.symmetries = true;
    if (j->o->augment == CR_TRAIN_AUGMENT_YOLO) j->how.augment = cr_augment_options_default();
    if (j->net.task == CR_ARCH_CLASSIFY) j->how.augment.mosaic = 0;
    if (j->net.masks) {
        const cr_shape *s = &j->net.graph->outputs[j->net.prototype.output]->shape;
        j->how.mask_height = (int)s->dim[2];
        j->how.mask_width = (int)s->dim[3];
    }
}

static cr_status start(cr_train_job *j, cr_error *err)
{
    const cr_train_options *o = j->o;
    const size_t n = j->train.count;
    j->passes = o->batch / j->net.batch;
    j->per_epoch = ((int64_t)n + o->batch - 1) / o->batch;
    const int64_t epochs = (int64_t)fmax(1, ceil(o->epochs * (double)n / o->batch));
    j->steps = o->steps ? o->steps : o->minutes > 0 ? 0 : epochs;
    const int64_t part = j->steps / VALIDATIONS + 1;
    j->validate_every = o->validate_every                           ? o->validate_every
                        : j->steps && part > j->per_epoch ? part : j->per_epoch;
    CR_TRY(cr_pool_create(o->threads, &j->pool, err));
    const cr_tape_options how = {.real = CR_DT_F32, .pool = j->pool, .batch_stats = j->net.norms};
    CR_TRY(cr_tape_create(j->net.graph, &how, &j->tape, err));
    CR_TRY(cr_trained_of_tape(j->net.graph, j->tape, j->net.norms, 0, &j->list, &j->trained, err));
    mark_matrices(j);
    spread_rates(j);
    for (size_t i = 0; i < j->trained; i++) j->values += j->list[i].p.count;
    j->best_values = cr_calloc((size_t)j->values, sizeof *j->best_values);
    j->items = cr_calloc((size_t)j->net.batch, sizeof *j->items);
    j->order = cr_calloc(n, sizeof *j->order);
    if (!j->best_values || !j->items || !j->order) return CR_NOMEM(err);
    j->epoch = -1;
    j->best.score = -1;
    describe_items(j);
    return CR_OK;
}

static void pack(const cr_train_job *j, bool restore)
{
    float *at = j->best_values;
    for (size_t i = 0; i < j->trained; at += j->list[i].p.count, i++) {
        float *value = j->list[i].p.value;
        memcpy(restore ? value : at, restore ? at : value,
               (size_t)j->list[i].p.count * sizeof *at);
    }
}

static cr_status score_now(cr_train_job *j, double *score, cr_error *err)
{
    cr_model *m;
    CR_TRY(cr_train_net_model(&j->net, j->tape, j->out, &m, err));
    const cr_status st = cr_train_score(m, &j->val, j->net.task, j->class_category,
                                        cr_pool_threads(j->pool), score, err);
    cr_model_free(&m);
    return st;
}

/* Mean loss over the steps since the validation before. */
static double recent_loss(const cr_train_job *j, const cr_trainer *t, double parts[CR_TRAIN_PARTS])
{
    size_t n;
    const cr_curve_point *c = cr_trainer_curve(t, &n);
    const size_t span = (size_t)j->validate_every < n ? (size_t)j->validate_every : n;
    double sum = 0, used = 0;
    for (int k = 0; k < CR_TRAIN_PARTS; k++) parts[k] = 0;
    for (size_t i = n - span; i < n; i++) {
        if (isnan(c[i].norm)) continue;
        used++;
        for (int k = 0; k < CR_TRAIN_PARTS; k++) parts[k] += c[i].parts[k];
    }
    for (int k = 0; k < CR_TRAIN_PARTS; k++) sum += parts[k] /= used; /* NaN: none was used */
    return sum;
}

static void say(const cr_train_job *j, const cr_trainer *t, int64_t done, double score)
{
    char line[400];
    double parts[CR_TRAIN_PARTS];
    const double loss = recent_loss(j, t, parts);
    if (!j->o->say) return;
    int at = snprintf(line, sizeof line, "step %lld/%lld epoch %.1f loss %.3f", (long long)done,
                      (long long)cr_trainer_steps(t), (double)done / (double)j->per_epoch, loss);
    for (int k = 0; k < CR_TRAIN_PARTS && j->result->part_names[k]; k++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%s%s %.3f", k ? " " : " (",
                       j->result->part_names[k], parts[k]);
    snprintf(line + at, sizeof line - (size_t)at, ") %s %.4f%s", j->result->metric, score,
             j->best.step == done ? " (best)" : "");
    j->o->say(j->o->user, line);
}

static cr_status judge(void *ctx, cr_trainer *t, int64_t done, bool *stop, cr_error *err)
{
    cr_train_job *j = ctx;
    double score;
    cr_trainer_swap_average(t);
    const cr_status st = score_now(j, &score, err);
    if (st == CR_OK && score > j->best.score) {
        pack(j, false);
        j->best.score = score;
        j->best.step = done;
        j->best.since = -1;
    }
    cr_trainer_swap_average(t);
    CR_TRY(st);
    j->best.since++;
    if (j->best.marks == CR_TRAIN_MARKS) { /* every other one goes */
        for (int i = 0; 2 * i < CR_TRAIN_MARKS; i++) j->marks[i] = j->marks[2 * i];
        j->best.marks = CR_TRAIN_MARKS / 2;
    }
    j->marks[j->best.marks++] = (cr_train_mark){done, score};
    say(j, t, done, score);
    *stop = j->o->patience && j->best.since >= j->o->patience;
    return CR_OK;
}

/* What a model scores before it goes on: nothing worse is kept. */
static cr_status judge_start(cr_train_job *j, cr_error *err)
{
    char line[128];
    CR_TRY(score_now(j, &j->best.score, err));
    pack(j, false);
    j->marks[j->best.marks++] = (cr_train_mark){0, j->best.score};
    snprintf(line, sizeof line, "start: %s %.4f", j->result->metric, j->best.score);
    if (j->o->say) j->o->say(j->o->user, line);
    return CR_OK;
}

/* A number that differs when what is trained, on what or how does. */
static uint64_t task_number(const cr_train_job *j)
{
    const cr_train_options *o = j->o;
    const int64_t numbers[] = {(int64_t)j->train.count, (int64_t)j->val.count, j->net.height,
                               j->net.width, j->net.batch, j->passes, j->net.classes,
                               o->optimiser, o->augment, o->validate_every, o->patience, o->steps,
                               (int64_t)(o->minutes * 1000), (int64_t)(o->epochs * 1000),
                               (int64_t)(o->rate * 1e12)};
    uint64_t h = cr_train_hash(0, numbers, sizeof numbers);
    for (size_t i = 0; i < j->train.count; i++) {
        const char *path = cr_dataset_path(j->set, j->train.which[i]);
        h = cr_train_hash(h, path, strlen(path));
    }
    const char *what = o->arch ? o->arch : o->model;
    return cr_train_hash(h, what, strlen(what));
}

/* ---- the result ---- */

static cr_status keep_curve(cr_train_job *j, const cr_trainer *t, cr_error *err)
{
    cr_train_result *r = j->result;
    size_t n;
    const cr_curve_point *c = cr_trainer_curve(t, &n);
    const size_t span = n / MOST_POINTS + 1;
    r->points = cr_calloc(n / span + 1, sizeof *r->points);
    r->marks = cr_calloc((size_t)j->best.marks + 1, sizeof *r->marks);
    if (!r->points || !r->marks) return CR_NOMEM(err);
    for (size_t from = 0; from < n; from += span) {
        cr_train_point *p = &r->points[r->point_count];
        double used = 0;
        size_t to = from + span < n ? from + span : n;
        for (size_t i = from; i < to; i++) {
            if (isnan(c[i].norm)) continue;
            used++;
            for (int k = 0; k < CR_TRAIN_PARTS; k++) p->parts[k] += c[i].parts[k];
        }
        if (used < 1) continue;
        for (int k = 0; k < CR_TRAIN_PARTS; k++) p->loss += p->parts[k] /= used;
        p->step = (int64_t)to;
        p->rate = c[to - 1].rate;
        r->point_count++;
    }
    r->mark_count = (size_t)j->best.marks;
    memcpy(r->marks, j->marks, r->mark_count * sizeof *r->marks);
    if (n) r->seconds = c[n - 1].seconds;
    r->best = j->best.score;
    r->best_step = j->best.step;
    r->steps = cr_trainer_done(t);
    r->left_out = cr_trainer_left_out(t);
    return CR_OK;
}

static cr_status write_best(cr_train_job *j, cr_error *err)
{
    cr_model *m;
    pack(j, true);
    CR_TRY(cr_train_net_model(&j->net, j->tape, j->out, &m, err));
    const cr_status st = cr_model_export(m, j->out, NULL, err);
    cr_model_free(&m);
    return st;
}

static cr_status train(cr_train_job *j, cr_error *err)
{
    const cr_train_options *o = j->o;
    const cr_trained_state states[] = {{&j->best, sizeof j->best},
                                       {j->marks, sizeof j->marks},
                                       {j->best_values, (size_t)j->values * sizeof(float)}};
    const cr_trainer_calls calls = {.ctx = j, .load = cr_train_load_pass,
                                    .loss = cr_train_loss_pass, .judge = judge, .warn = warn_line};
    cr_trainer_options how = cr_trainer_options_default();
    how.seed = o->seed;
    how.task = task_number(j);
    how.steps = j->steps;
    how.seconds = j->steps ? 0 : o->minutes * 60;
    how.items = j->passes;
    how.optimiser = optimiser_options(j);
    how.judge_every = j->validate_every;
    how.part_names = j->result->part_names;
    while (how.part_count < CR_TRAIN_PARTS && how.part_names[how.part_count]) how.part_count++;
    how.checkpoint = o->checkpoint;
    how.checkpoint_every = o->checkpoint_every;
    how.resume = o->resume;
    how.states = states;
    how.state_count = 3;
    how.progress = o->progress;
    cr_trainer *t;
    CR_TRY(cr_trainer_create(j->tape, j->list, j->trained, &calls, &how, j->pool, &t, err));
    cr_status st = o->model && !cr_trainer_done(t) ? judge_start(j, err) : CR_OK;
    if (st == CR_OK) st = cr_trainer_run(t, err);
    if (st == CR_OK) st = keep_curve(j, t, err);
    cr_trainer_free(&t);
    return st == CR_OK ? write_best(j, err) : st;
}

static void release(cr_train_job *j)
{
    for (int i = 0; j->items && i < j->net.batch; i++) cr_item_free(&j->items[i]);
    cr_free(j->items);
    cr_free(j->order);
    cr_free(j->best_values);
    cr_free(j->list);
    cr_free(j->class_category);
    cr_free(j->train.which);
    cr_free(j->val.which);
    cr_tape_free(&j->tape);
    cr_pool_free(&j->pool);
    cr_train_net_release(&j->net);
    cr_dataset_free(&j->val_set);
    cr_dataset_free(&j->set);
    cr_free(j);
}

cr_status cr_train(const cr_train_options *options, const char *out, cr_train_result *result,
                   cr_error *err)
{
    *result = (cr_train_result){0};
    CR_TRY(check(options, err));
    CR_TRY(cr_export_check(out, NULL, err));
    cr_train_job *j = cr_calloc(1, sizeof *j);
    if (!j) return CR_NOMEM(err);
    j->o = options;
    j->result = result;
    j->out = out;
    cr_status st = options->arch ? open_arch(j, err) : open_model(j, err);
    if (st == CR_OK) {
        cr_train_part_names(&j->net, result->part_names);
        result->metric = cr_train_metric_name(j->net.task);
        result->pictures = j->train.count;
        result->judged = j->val.count;
        result->objects = cr_dataset_objects(j->set);
        result->missing = cr_labels_image_count(cr_dataset_labels(j->set)) - cr_dataset_count(j->set);
        st = start(j, err);
    }
    if (st == CR_OK) st = train(j, err);
    if (st == CR_OK) result->broken = cr_dataset_broken(j->set);
    release(j);
    if (st != CR_OK) cr_train_result_free(result);
    return st;
}

void cr_train_result_free(cr_train_result *r)
{
    cr_free(r->points);
    cr_free(r->marks);
    *r = (cr_train_result){0};
}
