#include "pipeline/train_net.h"

#include <string.h>

#include "base/error.h"
#include "graph/names.h"
#include "graph/passes.h"
#include "graph/shape.h"
#include "ops/ref.h"

static const cr_train_branch none = {-1, 0};

void cr_train_net_release(cr_train_net *net)
{
    cr_graph_free(&net->graph);
    cr_graph_free(&net->plain);
}

/* ---- from an architecture ---- */

/* With two levels the finer one sees half the picture: it could learn every object, and then does.
 * FCOS (Tian et al. 2019) keeps objects longer than 8 cells for the coarser levels; so do we there. */
static void bound_levels(cr_train_net *net)
{
    const double cells = 8;
    if (net->level_count == 2) net->level[0].longest = cells * net->level[0].stride;
}

static void describe_arch(const cr_arch_options *o, const cr_arch_layout *l, cr_train_net *net)
{
    const int each = l->per_level;
    net->task = l->task;
    net->family = l->task == CR_ARCH_CLASSIFY ? CR_TRAIN_CLASSES : CR_TRAIN_YOLOV8;
    net->bins = l->bins;
    net->masks = l->masks;
    net->keypoints = l->task == CR_ARCH_POSE ? o->keypoints : 0;
    net->keypoint_dims = o->keypoint_dims;
    net->level_count = l->levels;
    net->prototype = l->masks ? (cr_train_branch){l->levels * each, 0} : none;
    for (int i = 0; i < l->levels; i++)
        net->level[i] = (cr_train_level){
            .stride = l->stride[i], .height = o->height / l->stride[i],
            .width = o->width / l->stride[i], .box = {i * each, 0}, .score = {i * each + 1, 0},
            .object = none, .extra = each > 2 ? (cr_train_branch){i * each + 2, 0} : none};
    bound_levels(net);
}

static cr_preprocess usual_preprocess(const cr_arch_options *o, cr_arch_task task)
{
    cr_preprocess p = cr_preprocess_default(o->width, o->height);
    if (task == CR_ARCH_CLASSIFY) p.fit = CR_FIT_CENTERCROP;
    return p;
}

cr_status cr_train_net_of_arch(const cr_arch_options *options, cr_train_net *out, cr_error *err)
{
    cr_arch_options o = *options;
    cr_arch_layout layout;
    cr_train_net net = {.norms = true, .batch = o.batch, .height = o.height, .width = o.width,
                        .classes = o.classes};
    o.training = true;
    CR_TRY(cr_arch_graph(&o, &net.graph, &layout, err));
    o.training = false;
    const cr_status st = cr_arch_graph(&o, &net.plain, &layout, err);
    if (st != CR_OK) {
        cr_train_net_release(&net);
        return st;
    }
    describe_arch(&o, &layout, &net);
    net.preprocess = usual_preprocess(&o, net.task);
    *out = net;
    return CR_OK;
}

/* ---- from a model ---- */

static cr_status refuse(const cr_model *m, const char *why, cr_error *err)
{
    return cr_fail(err, CR_ERR_UNSUPPORTED, "%s: cannot be trained: %s", m->info.path, why);
}

/* A sigmoid or softmax at the end is the loss's. */
static cr_status open_ends(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->output_count; i++) {
        cr_node *n = g->outputs[i]->producer;
        if (n && (n->op->kind == CR_OP_Sigmoid || n->op->kind == CR_OP_Softmax))
            g->outputs[i] = n->in[0];
    }
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_tidy(g, err));
    return cr_graph_infer(g, err);
}

static cr_train_level *level_of(cr_train_net *net, int stride)
{
    for (int i = 0; i < net->level_count; i++)
        if (net->level[i].stride == stride) return &net->level[i];
    if (net->level_count == CR_LOSS_LEVELS) return NULL;
    cr_train_level *l = &net->level[net->level_count++];
    *l = (cr_train_level){.stride = stride, .box = none, .score = none, .object = none,
                          .extra = none};
    return l;
}

static cr_status take_branches(const cr_model *m, const cr_branches *b, cr_train_net *net,
                               cr_error *err)
{
    for (int i = 0; i < b->count; i++) {
        const cr_branch *x = &b->items[i];
        cr_train_level *l = level_of(net, x->stride);
        if (!l) return refuse(m, "too many levels", err);
        cr_train_branch *to[] = {&l->box, &l->score, &l->object, &l->extra}; /* cr_branch_part */
        *to[x->part] = (cr_train_branch){x->output, x->first};
        const cr_shape *s = &net->graph->outputs[x->output]->shape;
        l->height = (int)s->dim[2];
        l->width = (int)s->dim[3];
    }
    net->bins = b->bins;
    const bool objects = net->level[0].object.output >= 0;
    if (!b->exponent && b->bins > 1 && b->offset == .5f && !objects)
        net->family = CR_TRAIN_YOLOV8;
    else if (b->exponent && objects)
        net->family = CR_TRAIN_YOLOX;
    else
        return refuse(m, "only YOLOv8-like heads, YOLOX and classifiers have a loss here", err);
    if (net->keypoints && (b->keypoint_scale != 2 || b->keypoint_offset != 0))
        return refuse(m, "its keypoints are decoded in another way than YOLOv8's", err);
    return CR_OK;
}

static cr_status cut_detector(const cr_model *m, cr_train_net *net, cr_error *err)
{
    cr_recipe *r;
    cr_head head;
    cr_branches branches;
    cr_preprocess ignored = m->info.preprocess;
    cr_arena arena = {0};
    const char *family = "";
    bool found = false;
    if (m->head.masks) return refuse(m, "segmentation is trained from an architecture only", err);
    CR_TRY(cr_recipe_create(&r, err));
    cr_status st = cr_model_detach(m, r, err);
    if (st == CR_OK) st = cr_recipe_apply(r, m->graph, &net->graph, err);
    cr_recipe_release(&r);
    if (st == CR_OK)
        st = cr_branches_read(net->graph, &head, &branches, &ignored, &family, &found, &arena, err);
    cr_arena_free(&arena);
    CR_TRY(st);
    net->task = head.keypoints ? CR_ARCH_POSE : CR_ARCH_DETECT;
    net->classes = head.classes;
    net->keypoints = head.keypoints;
    net->keypoint_dims = head.keypoint_dims;
    return take_branches(m, &branches, net, err);
}

static cr_status cut(const cr_model *m, cr_train_net *net, cr_error *err)
{
    if (m->head.kind == CR_HEAD_CLASSIFY) {
        net->family = CR_TRAIN_CLASSES;
        net->task = CR_ARCH_CLASSIFY;
        net->classes = m->head.classes;
        CR_TRY(cr_graph_clone(m->graph, &net->graph, err));
    } else {
        CR_TRY(cut_detector(m, net, err));
    }
    CR_TRY(open_ends(net->graph, err));
    return net->batch > 1 ? cr_graph_set_batch(net->graph, net->batch, err) : CR_OK;
}

cr_status cr_train_net_of_model(const cr_model *m, int batch, cr_train_net *out, cr_error *err)
{
    const cr_preprocess *p = &m->info.preprocess;
    cr_train_net net = {.batch = batch, .height = p->height, .width = p->width,
                        .prototype = none, .preprocess = *p};
    if (m->recipe) return refuse(m, "it is quantized (crayon qat trains such models)", err);
    cr_status st = cut(m, &net, err);
    if (st == CR_OK) st = cr_graph_clone(m->graph, &net.plain, err);
    if (st != CR_OK) {
        cr_train_net_release(&net);
        return st;
    }
    *out = net;
    return CR_OK;
}

/* ---- weights ---- */

/* Values of the tape for the constants of g that have a namesake in the trained graph. */
static cr_status copy_weights(const cr_train_net *net, const cr_tape *tape, cr_graph *g,
                              cr_error *err)
{
    cr_names names = {0};
    bool ok = true;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->data && g->tensors[i]->dtype == CR_DT_F32)
            ok &= cr_names_put(&names, g->tensors[i]->name, g->tensors[i]);
    for (size_t i = 0; ok && i < net->graph->tensor_count; i++) {
        const cr_tensor *t = net->graph->tensors[i];
        const cr_tensor *to = t->data && t->dtype == CR_DT_F32 ? cr_names_get(&names, t->name) : NULL;
        if (to && cr_shape_equal(&to->shape, &t->shape))
            memcpy(to->data, cr_tape_value(tape, t), cr_tensor_bytes(t));
    }
    cr_names_free(&names);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_train_net_model(const cr_train_net *net, const cr_tape *tape, const char *path,
                             cr_model **out, cr_error *err)
{
    cr_graph *g;
    CR_TRY(cr_graph_clone(net->plain, &g, err));
    const cr_status st = copy_weights(net, tape, g, err);
    if (st != CR_OK) {
        cr_graph_free(&g);
        return st;
    }
    return cr_model_of_graph(g, path, out, err);
}

cr_raw cr_train_net_view(const cr_train_net *net, const cr_tape *tape, cr_train_branch b)
{
    if (b.output < 0) return (cr_raw){0};
    const cr_tensor *t = net->graph->outputs[b.output];
    const int64_t cells = t->shape.rank > 2 ? cr_shape_span(&t->shape, 2, t->shape.rank) : 1;
    return cr_raw_planes(CR_DT_F32, cr_tape_value(tape, t), cr_tape_grad(tape, t), t->shape.dim[1],
                         cells, b.first);
}
