/* From one pass's pictures to its loss. */
#include <math.h>
#include <string.h>

#include "pipeline/train_job.h"
#include "train/loss_classify.h"
#include "train/loss_yolov8.h"
#include "train/loss_yolox.h"

/* ---- which pictures ---- */

/* Every epoch has an order of its own, which follows from the seed alone. */
static void shuffle(cr_train_job *j, int64_t epoch)
{
    cr_rng r;
    if (j->epoch == epoch) return;
    cr_rng_seed_at(&r, j->o->seed, (uint64_t)epoch, UINT64_MAX);
    for (size_t i = 0; i < j->train.count; i++) {
        const size_t k = cr_rng_below(&r, (uint32_t)(i + 1));
        j->order[i] = j->order[k];
        j->order[k] = i;
    }
    j->epoch = epoch;
}

cr_status cr_train_load_pass(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err)
{
    cr_train_job *j = ctx;
    const int64_t n = j->net.batch, count = (int64_t)j->train.count;
    const int64_t from = (step * j->passes + item) * n;
    const size_t each = 3 * (size_t)j->net.height * (size_t)j->net.width;
    float *input = cr_tape_value(tape, j->net.graph->inputs[0]);
    for (int64_t k = 0; k < n; k++) {
        cr_rng r;
        shuffle(j, (from + k) / count);
        cr_rng_seed_at(&r, j->o->seed, (uint64_t)step, (uint64_t)(item * n + k));
        cr_item_free(&j->items[k]);
        CR_TRY(cr_dataset_item(j->set, &j->how, j->train.which[j->order[(from + k) % count]], &r,
                               input + (size_t)k * each, &j->items[k], err));
    }
    return CR_OK;
}

/* ---- losses ---- */

void cr_train_part_names(const cr_train_net *net, const char *names[CR_TRAIN_PARTS])
{
    static const char *const lists[][CR_TRAIN_PARTS] = {
        {"box", "classes", "distribution"},
        {"box", "classes", "distribution", "masks"},
        {"box", "classes", "distribution", "keypoints", "visible"},
        {"classes"},
        {"box", "classes", "objectness", "offsets"}};
    const size_t row = net->family == CR_TRAIN_YOLOX ? 4 : (size_t)net->task;
    memcpy(names, lists[row], sizeof lists[row]);
}

static cr_status yolov8(cr_train_job *j, const cr_tape *tape, const cr_truth *truth, double share,
                        cr_loss_parts *p, cr_error *err)
{
    const cr_train_net *net = &j->net;
    cr_yolov8_head h = {.real = CR_DT_F32, .pictures = net->batch, .level_count = net->level_count,
                        .classes = net->classes, .bins = net->bins, .prototypes = net->masks,
                        .mask_height = j->how.mask_height, .mask_width = j->how.mask_width,
                        .input_height = net->height, .input_width = net->width,
                        .keypoints = net->keypoints, .keypoint_dims = net->keypoint_dims};
    cr_yolov8_options o = cr_yolov8_options_default();
    double *const gains[] = {&o.box, &o.classes, &o.distribution, &o.keypoints, &o.visible};
    for (int i = 0; i < 5; i++) *gains[i] *= share;
    for (int i = 0; i < net->level_count; i++) {
        const cr_train_level *l = &net->level[i];
        const cr_raw extra = cr_train_net_view(net, tape, l->extra);
        h.level[i] = (cr_yolov8_level){
            .height = l->height, .width = l->width, .stride = l->stride, .longest = l->longest,
            .box = cr_train_net_view(net, tape, l->box),
            .classes = cr_train_net_view(net, tape, l->score)};
        if (net->masks) h.level[i].coefficients = extra;
        if (net->keypoints) h.level[i].keypoints = extra;
    }
    if (net->masks) h.prototype = cr_train_net_view(net, tape, net->prototype);
    return cr_loss_yolov8(&h, truth, &o, j->pool, p, err);
}

static cr_status yolox(cr_train_job *j, const cr_tape *tape, const cr_truth *truth, double share,
                       cr_loss_parts *p, cr_error *err)
{
    const cr_train_net *net = &j->net;
    cr_yolox_head h = {.real = CR_DT_F32, .pictures = net->batch, .level_count = net->level_count,
                       .classes = net->classes};
    cr_yolox_options o = cr_yolox_options_default();
    o.offsets = 1; /* our pictures are whole, as YOLOX's are when it adds this part */
    double *const gains[] = {&o.box, &o.objectness, &o.classes, &o.offsets};
    for (int i = 0; i < 4; i++) *gains[i] *= share * net->batch;
    for (int i = 0; i < net->level_count; i++) {
        const cr_train_level *l = &net->level[i];
        h.level[i] = (cr_yolox_level){l->height, l->width, l->stride,
                                      cr_train_net_view(net, tape, l->box),
                                      cr_train_net_view(net, tape, l->object),
                                      cr_train_net_view(net, tape, l->score)};
    }
    return cr_loss_yolox(&h, truth, &o, j->pool, p, err);
}

static cr_status classes(cr_train_job *j, const cr_tape *tape, const cr_truth *truth, double share,
                         cr_loss_parts *p, cr_error *err)
{
    const double smoothing = .05;
    const cr_train_net *net = &j->net;
    const cr_tensor *t = net->graph->outputs[0];
    const cr_raw logits = cr_train_net_view(net, tape, (cr_train_branch){0, 0});
    int *ids = cr_calloc((size_t)net->batch, sizeof *ids);
    if (!ids) return CR_NOMEM(err);
    for (int i = 0; i < net->batch; i++) ids[i] = j->items[i].class_id;
    const cr_status st =
        cr_loss_classify(CR_DT_F32, &logits, net->batch, net->classes, ids, smoothing, p, err);
    cr_free(ids);
    float *grad = cr_tape_grad(tape, t);
    const double weight = share * net->batch;
    for (int64_t i = 0; i < cr_shape_count(&t->shape); i++) grad[i] = (float)(grad[i] * weight);
    p->classes *= weight;
    return st;
}

static void clear_gradients(const cr_train_net *net, const cr_tape *tape)
{
    for (size_t i = 0; i < net->graph->output_count; i++) {
        const cr_tensor *t = net->graph->outputs[i];
        memset(cr_tape_grad(tape, t), 0, cr_tensor_bytes(t));
    }
}

/* A pass's share of a step's loss, which is the mean over pictures. */
cr_status cr_train_loss_pass(void *ctx, cr_tape *tape, int64_t step, int item, double *parts,
                             cr_error *err)
{
    cr_train_job *j = ctx;
    const cr_train_net *net = &j->net;
    const double share = 1. / ((double)net->batch * j->passes);
    cr_loss_parts p = {0};
    (void)step;
    (void)item;
    cr_truth *truth = cr_calloc((size_t)net->batch, sizeof *truth);
    if (!truth) return CR_NOMEM(err);
    for (int i = 0; i < net->batch; i++) truth[i] = j->items[i].truth;
    clear_gradients(net, tape);
    const cr_status st = net->family == CR_TRAIN_YOLOX    ? yolox(j, tape, truth, share, &p, err)
                         : net->family == CR_TRAIN_YOLOV8 ? yolov8(j, tape, truth, share, &p, err)
                                                          : classes(j, tape, truth, share, &p, err);
    cr_free(truth);
    CR_TRY(st);
    if (net->task == CR_ARCH_CLASSIFY) {
        parts[0] += p.classes;
        return CR_OK;
    }
    const bool yx = net->family == CR_TRAIN_YOLOX;
    parts[0] += p.broken ? NAN : p.box;
    parts[1] += p.classes;
    parts[2] += yx ? p.objectness : p.distribution;
    parts[3] += yx ? p.offsets : p.masks + p.keypoints;
    parts[4] += p.visible;
    return CR_OK;
}
