/* --head detach: the model ends at its last convolutions, a description of them goes into its
 * metadata, and the host decodes (vision/head_branches.c).
 *
 * Roles (quant/head_parts.c) tell what each branch holds, shapes tell strides. How the boxes are
 * decoded is not read from the graph but tried: of the few ways that there are (distances from a
 * cell's centre or corner; offsets and exponents) the first whose boxes and scores, made by our own
 * decoder of the detached float model's outputs, equal those of the whole float model on a made-up
 * picture is written down. So a description is never wrong by a guess; a head that decodes in
 * another way is refused. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "pipeline/model_impl.h"
#include "quant/head_parts.h"
#include "runtime/runtime.h"

enum { MAX_OUTPUTS = 32, COMPARED = 20, KEPT = 200 };

typedef struct plan {
    const cr_model *model;
    cr_head head;
    cr_branches branches;
    const char *outputs[MAX_OUTPUTS];
    cr_arena arena;
} plan;

/* ---- what the branches are ---- */

/* The convolution's output, or that of the sigmoid which alone reads it. */
static const cr_tensor *end_of(const cr_graph *g, const cr_node *conv, bool *sigmoid)
{
    const cr_tensor *t = conv->out[0];
    *sigmoid = false;
    for (size_t i = (size_t)conv->index + 1; i < g->node_count && t->uses == 1; i++) {
        const cr_node *n = g->nodes[i];
        if (n->n_in < 1 || n->in[0] != t) continue;
        *sigmoid = n->op->kind == CR_OP_Sigmoid;
        return *sigmoid ? n->out[0] : t;
    }
    return t;
}

static bool to_branch_part(cr_part p, cr_branch_part *out)
{
    switch (p) {
    case CR_PART_BOX:
    case CR_PART_DFL:
        *out = CR_BRANCH_BOX;
        return true;
    case CR_PART_SCORE:
        *out = CR_BRANCH_SCORE;
        return true;
    case CR_PART_OBJECT:
        *out = CR_BRANCH_OBJECT;
        return true;
    case CR_PART_KEYPOINT:
        *out = CR_BRANCH_KEYPOINT;
        return true;
    default:
        return false;
    }
}

static int output_of(plan *p, const char *name)
{
    int i = 0;
    while (i < MAX_OUTPUTS && p->outputs[i] && strcmp(p->outputs[i], name)) i++;
    if (i < MAX_OUTPUTS) p->outputs[i] = name;
    return i;
}

static cr_status refuse(const cr_model *m, const char *why, cr_error *err)
{
    return cr_fail(err, CR_ERR_UNSUPPORTED, "%s: --head detach: %s", m->info.path, why);
}

static cr_status add_run(plan *p, const cr_part_run *r, cr_error *err)
{
    const cr_graph *g = p->model->graph;
    cr_branch_part part;
    bool sigmoid;
    const cr_tensor *t = end_of(g, r->node, &sigmoid);
    if (t->shape.rank != 4) return refuse(p->model, "a branch is no map [1, C, h, w]", err);
    const int output = output_of(p, t->name);
    if (output == MAX_OUTPUTS) return refuse(p->model, "more than 32 branches", err);
    if (!to_branch_part(r->part, &part)) return CR_OK; /* masks: given, not decoded */
    if (p->branches.count == CR_MAX_BRANCHES)
        return refuse(p->model, "boxes and scores take turns within a convolution (anchors)", err);
    const int64_t width = g->inputs[0]->shape.dim[3];
    p->branches.items[p->branches.count++] = (cr_branch){
        part,    output, r->first, r->count, (int)((width + t->shape.dim[3] - 1) / t->shape.dim[3]),
        !sigmoid};
    return CR_OK;
}

static void sort_by_stride(cr_branches *b)
{
    for (int i = 1; i < b->count; i++)
        for (int k = i; k > 0 && b->items[k - 1].stride > b->items[k].stride; k--) {
            const cr_branch swap = b->items[k];
            b->items[k] = b->items[k - 1];
            b->items[k - 1] = swap;
        }
}

/* What the bins stand for: the weights of the expectation where the graph has it as a node (one known
 * file has them rounded to 8 bits), else 0, 1, 2, ... */
static void find_bins(const cr_model *m, cr_branches *b)
{
    for (int i = 0; i < b->bins && i < CR_MAX_BRANCH_BINS; i++) b->bin_value[i] = (float)i;
    for (size_t i = 0; i < m->graph->node_count; i++) {
        const cr_node *n = m->graph->nodes[i];
        if (m->roles[i] != CR_ROLE_DECODE || !cr_has_weights(n)) continue;
        if (cr_shape_count(&n->in[1]->shape) != b->bins || b->bins > CR_MAX_BRANCH_BINS) continue;
        memcpy(b->bin_value, n->in[1]->data, (size_t)b->bins * sizeof *b->bin_value);
    }
}

/* One box and one score branch per stride, of the sizes that the head has. */
static bool fits_together(const plan *p)
{
    const cr_branches *b = &p->branches;
    int boxes = 0, scores = 0;
    for (int i = 0; i < b->count; i++) {
        const cr_branch *x = &b->items[i];
        for (int k = 0; k < i; k++)
            if (b->items[k].stride == x->stride && b->items[k].part == x->part) return false;
        boxes += x->part == CR_BRANCH_BOX;
        scores += x->part == CR_BRANCH_SCORE;
        if (x->part == CR_BRANCH_BOX && x->channels != 4 * b->bins) return false;
        if (x->part == CR_BRANCH_SCORE && x->channels != p->head.classes) return false;
    }
    return boxes > 0 && boxes == scores && b->bins <= CR_MAX_BRANCH_BINS;
}

static cr_status describe(plan *p, cr_error *err)
{
    const cr_model *m = p->model;
    cr_head_parts parts;
    cr_status st = CR_OK;
    CR_TRY(cr_head_parts_find(m->graph, m->roles, NULL, &parts, err));
    for (size_t i = 0; st == CR_OK && i < parts.count; i++) st = add_run(p, &parts.runs[i], err);
    cr_head_parts_release(&parts);
    CR_TRY(st);
    p->head = (cr_head){.kind = CR_HEAD_BRANCHES,
                        .branches = &p->branches,
                        .input_width = m->info.preprocess.width,
                        .input_height = m->info.preprocess.height,
                        .keypoints = m->head.keypoints,
                        .keypoint_dims = m->head.keypoint_dims};
    for (int i = 0; i < p->branches.count; i++) {
        const cr_branch *b = &p->branches.items[i];
        if (b->part == CR_BRANCH_BOX) p->branches.bins = b->channels / 4;
        if (b->part == CR_BRANCH_SCORE) p->head.classes = b->channels;
    }
    find_bins(m, &p->branches);
    sort_by_stride(&p->branches);
    return fits_together(p) ? CR_OK : refuse(m, "no box and score branch per stride", err);
}

/* ---- trying ---- */

static cr_status look(const cr_graph *g, const cr_head *h, cr_detections *out, cr_error *err)
{
    cr_program *program = NULL;
    cr_session *session = NULL;
    cr_output outs[MAX_OUTPUTS] = {0};
    cr_rng rng;
    const cr_placement whole = {h->input_width, h->input_height, 1, 1, 0, 0};
    const cr_detect_options o = {
        .conf = 0, .iou = 1, .max_detections = KEPT, .max_candidates = KEPT};
    cr_status st = cr_program_create(g, NULL, 0, &program, err);
    if (st == CR_OK) st = cr_session_open(program, NULL, &session, err);
    if (st == CR_OK) {
        float *x = cr_session_input_data(session, 0);
        const int64_t n = cr_shape_count(&g->inputs[0]->shape);
        cr_rng_seed(&rng, 1);
        for (int64_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&rng, 0, 1);
        st = cr_session_execute(session, err);
    }
    for (size_t i = 0; st == CR_OK && i < g->output_count && i < MAX_OUTPUTS; i++) {
        const cr_tensor *t = cr_session_output_tensor(session, i);
        outs[i] = (cr_output){.data = t->data, .rank = t->shape.rank};
        memcpy(outs[i].dim, t->shape.dim, sizeof outs[i].dim);
    }
    if (st == CR_OK) st = cr_head_decode(h, outs, g->output_count, &whole, &o, out, err);
    cr_session_close(&session);
    cr_program_free(&program);
    return st;
}

/* Relative to the picture: 1e-4 of it in float32 is the rounding of a softmax over 16 bins, and far
 * below the half cell (.5 * 8 of 640 pixels) by which the ways of decoding differ. Scores of rows
 * that are chosen inside (TopK) come by another way: 1e-4. */
static bool same_detection(const cr_detection *a, const cr_detection *b, int keypoints, float side)
{
    if (a->class_id != b->class_id || fabsf(a->score - b->score) > 1e-4f) return false;
    for (int i = 0; i < 4; i++)
        if (fabsf(a->box[i] - b->box[i]) > 1e-3f * side) return false;
    for (int i = 0; i < 3 * keypoints; i++)
        if (fabsf(a->keypoints[i] - b->keypoints[i]) > 1e-3f * side) return false;
    return true;
}

static bool same_detections(const cr_detections *a, const cr_detections *b, float side)
{
    for (size_t i = 0; i < a->count && i < COMPARED; i++) {
        bool found = false;
        for (size_t k = 0; k < b->count && !found; k++)
            found = same_detection(&a->items[i], &b->items[k], a->keypoint_count, side);
        if (!found) return false;
    }
    return a->count > 0;
}

typedef struct way {
    bool exponent;
    float offset, keypoint_scale, keypoint_offset;
} way;

/* Ultralytics (YOLOv8 to 12; 26 has the other keypoints), NanoDet-Plus, YOLOX. */
static const way ways[] = {
    {false, .5f, 2, 0}, {false, .5f, 1, .5f}, {false, 0, 1, 0}, {true, 0, 1, 0}};
enum { WAYS = sizeof ways / sizeof *ways };

static cr_status try_ways(plan *p, const cr_graph *detached, bool *found, cr_error *err)
{
    cr_detections want = {0};
    const cr_model *m = p->model;
    cr_status st = look(m->graph, &m->head, &want, err);
    *found = false;
    for (int i = 0; st == CR_OK && i < WAYS && !*found; i++) {
        cr_detections got = {0};
        if (ways[i].exponent && p->branches.bins > 1) break;
        p->branches.exponent = ways[i].exponent;
        p->branches.offset = ways[i].offset;
        p->branches.keypoint_scale = ways[i].keypoint_scale;
        p->branches.keypoint_offset = ways[i].keypoint_offset;
        st = look(detached, &p->head, &got, err);
        if (st == CR_OK) *found = same_detections(&want, &got, (float)p->head.input_width);
        cr_detections_free(&got);
    }
    cr_detections_free(&want);
    return st;
}

static cr_status add_step(const plan *p, cr_recipe *r, const char *text, cr_error *err)
{
    size_t n = 0;
    while (n < MAX_OUTPUTS && p->outputs[n]) n++;
    const cr_rewrite step = {.kind = CR_REWRITE_OUTPUTS,
                             .tensor = p->outputs[0],
                             .result = text,
                             .readers = (const char **)p->outputs,
                             .reader_count = n};
    return cr_recipe_add_rewrite(r, &step, err);
}

/* The float model's branches as a graph, to try decoding on. */
static cr_status cut(const plan *p, cr_graph **out, cr_error *err)
{
    cr_recipe *r;
    CR_TRY(cr_recipe_create(&r, err));
    cr_status st = add_step(p, r, "", err);
    if (st == CR_OK) st = cr_recipe_apply(r, p->model->graph, out, err);
    cr_recipe_release(&r);
    return st;
}

cr_status cr_model_detach(const cr_model *m, cr_recipe *r, cr_error *err)
{
    plan p = {.model = m};
    cr_graph *detached = NULL;
    const char *text;
    bool found = false;
    const cr_head_kind kind = m->head.kind;
    if (kind == CR_HEAD_NONE || kind == CR_HEAD_CLASSIFY || kind == CR_HEAD_BRANCHES ||
        m->head.oriented || (m->head.fractions && kind == CR_HEAD_END2END) || m->info.batch != 1)
        return refuse(m, "only a detector of upright boxes has branches to end at", err);
    cr_status st = describe(&p, err);
    if (st == CR_OK) st = cut(&p, &detached, err);
    if (st == CR_OK) st = try_ways(&p, detached, &found, err);
    if (st == CR_OK && !found)
        st = refuse(m, "the boxes are decoded in a way that is not known", err);
    if (st == CR_OK)
        st = cr_branches_write(detached, &p.head, &p.branches, &m->info, &text, &p.arena, err);
    if (st == CR_OK) st = add_step(&p, r, text, err);
    cr_graph_free(&detached);
    cr_arena_free(&p.arena);
    return st;
}
