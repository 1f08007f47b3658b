#include "train/arch.h"

#include <stdio.h>
#include <string.h>

#include "train/arch_parts.h"

/* pico: two levels are enough where no object is larger than half the picture; the parameters that a
 * third would take do more good in these two. */
static const cr_arch_size sizes[] = {
    {"pico", 3, 16, {24, 40, 64}, {1, 1, 1}, 1, 32, 24, 16, 128},
    {"yolov8n", 4, 16, {32, 64, 128, 256}, {1, 2, 2, 1}, 1, 0, 0, 32, 1280},
    {"yolov8s", 4, 32, {64, 128, 256, 512}, {1, 2, 2, 1}, 1, 0, 0, 32, 1280},
    {"yolov8m", 4, 48, {96, 192, 384, 576}, {2, 4, 4, 2}, 2, 0, 0, 32, 1280}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const char *const suffixes[] = {"", "-seg", "-pose", "-cls"}; /* cr_arch_task */
static const char *const tasks[] = {"detect", "segment", "pose", "classify"};
enum { TASKS = 4 };

const char *cr_arch_names(void)
{
    return "pico, yolov8n, yolov8s, yolov8m, each also with -seg, -pose or -cls";
}

static const cr_arch_size *find(const char *name, cr_arch_task *task)
{
    for (int s = 0; s < SIZES; s++) {
        const size_t n = strlen(sizes[s].name);
        for (int t = 0; t < TASKS && !strncmp(name, sizes[s].name, n); t++) {
            if (strcmp(name + n, suffixes[t])) continue;
            *task = (cr_arch_task)t;
            return &sizes[s];
        }
    }
    return NULL;
}

bool cr_arch_find_task(const char *name, cr_arch_task *task)
{
    return find(name, task) != NULL;
}

static int largest_stride(const cr_arch_size *s)
{
    return 2 << s->stages;
}

static cr_status check(const cr_arch_options *o, cr_arch_task task, int stride, cr_error *err)
{
    CR_CHECK(o->classes >= 1 && o->classes <= 10000, err, CR_ERR_ARGUMENT,
             "%d classes: 1 to 10000 are possible", o->classes);
    CR_CHECK(o->height >= stride && o->width >= stride && o->height <= 4096 && o->width <= 4096 &&
                 o->height % stride == 0 && o->width % stride == 0,
             err, CR_ERR_ARGUMENT, "%s: pictures of %dx%d: both must be multiples of %d, up to 4096",
             o->name, o->width, o->height, stride);
    CR_CHECK(!o->training || (o->batch >= 1 && o->batch <= 1024), err, CR_ERR_ARGUMENT,
             "a batch of %d pictures: 1 to 1024 are possible", o->batch);
    CR_CHECK(task != CR_ARCH_POSE || (o->keypoints >= 1 && o->keypoints <= 1000 &&
                                      (o->keypoint_dims == 2 || o->keypoint_dims == 3)),
             err, CR_ERR_ARGUMENT, "%s: %d keypoints of %d numbers: 1 to 1000 of 2 or 3 are possible",
             o->name, o->keypoints, o->keypoint_dims);
    return CR_OK;
}

/* ---- metadata ---- */

/* "{0: 'circle', 1: 'square'}", quotes and backslashes escaped as Python has it. */
static const char *names_text(cr_arch_net *net, const cr_arch_options *o)
{
    const char *text = "{";
    for (int i = 0; text && i < o->classes; i++) {
        char name[256];
        size_t at = 0;
        const char *from = o->class_names ? o->class_names[i] : NULL;
        if (!from) at = (size_t)snprintf(name, sizeof name, "%d", i);
        for (; from && *from && at + 3 < sizeof name; from++) {
            if (*from == '\'' || *from == '\\') name[at++] = '\\';
            name[at++] = *from;
        }
        name[at] = 0;
        text = cr_arena_printf(&net->g->arena, "%s%s%d: '%s'", text, i ? ", " : "", i, name);
    }
    return text ? cr_arena_printf(&net->g->arena, "%s}", text) : NULL;
}

static bool describe(cr_arch_net *net, const cr_arch_options *o, cr_arch_task task, int stride)
{
    cr_graph *g = net->g;
    char size[64], steps[16], points[64];
    const char *names = names_text(net, o);
    snprintf(size, sizeof size, "[%d, %d]", o->height, o->width);
    snprintf(steps, sizeof steps, "%d", stride);
    snprintf(points, sizeof points, "[%d, %d]", o->keypoints, o->keypoint_dims);
    const bool ok = names && cr_graph_set_meta(g, "stride", steps) &&
              cr_graph_set_meta(g, "task", tasks[task]) && cr_graph_set_meta(g, "batch", "1") &&
              cr_graph_set_meta(g, "channels", "3") && cr_graph_set_meta(g, "imgsz", size) &&
              cr_graph_set_meta(g, "names", names);
    return ok && (task != CR_ARCH_POSE || cr_graph_set_meta(g, "kpt_shape", points));
}

/* ---- the graph ---- */

static bool add_output(cr_arch_net *net, cr_tensor *t, const char *name)
{
    if (net->st != CR_OK) return false;
    cr_graph *g = net->g;
    cr_tensor **grown = cr_arena_alloc(&g->arena, (g->output_count + 1) * sizeof *grown);
    const char *kept = name ? cr_arena_strdup(&g->arena, name) : t->name;
    if (!grown || !kept) {
        net->st = CR_NOMEM(net->err);
        return false;
    }
    if (g->output_count) memcpy(grown, g->outputs, g->output_count * sizeof *grown);
    grown[g->output_count++] = t;
    g->outputs = grown;
    t->name = kept;
    return true;
}

static cr_tensor *add_image(cr_arch_net *net, const cr_arch_options *o)
{
    cr_graph *g = net->g;
    const cr_shape shape = {4, {o->training ? o->batch : 1, 3, o->height, o->width}};
    cr_tensor *x = cr_graph_add_tensor(g, "images", CR_DT_F32, shape);
    g->inputs = cr_arena_alloc(&g->arena, sizeof *g->inputs);
    if (!x || !g->inputs) {
        net->st = CR_NOMEM(net->err);
        return NULL;
    }
    g->inputs[g->input_count++] = x;
    return x;
}

static void finish_classifier(cr_arch_net *net, cr_tensor *image, const cr_arch_head *h)
{
    const cr_attr axis = {.name = "axis", .type = CR_ATTR_INT, .i = 1};
    cr_tensor *x = cr_arch_classifier(net, image, h);
    if (!h->o->training) x = cr_arch_node(net, "/head", CR_OP_Softmax, &x, 1, &axis, 1);
    add_output(net, x, "output0");
}

static void finish_detector(cr_arch_net *net, cr_tensor *image, cr_arch_head *h)
{
    cr_arch_trunk(net, image, h);
    cr_arch_branches(net, h);
    if (!h->o->training) {
        add_output(net, cr_arch_decode(net, h), "output0");
        if (h->prototypes) add_output(net, h->prototypes, "output1");
        return;
    }
    for (int i = 0; i < h->levels; i++) {
        add_output(net, h->box[i], NULL);
        add_output(net, h->score[i], NULL);
        if (h->extras) add_output(net, h->extra[i], NULL);
    }
    if (h->prototypes) add_output(net, h->prototypes, NULL);
}

static cr_arch_layout layout_of(const cr_arch_head *h)
{
    cr_arch_layout l = {.task = h->task, .levels = h->levels, .per_level = h->extras ? 3 : 2};
    for (int i = 0; i < h->levels; i++) l.stride[i] = 8 << i;
    if (h->task != CR_ARCH_CLASSIFY) l.bins = CR_ARCH_BINS;
    if (h->task == CR_ARCH_SEGMENT) l.masks = h->extras;
    return l;
}

cr_status cr_arch_graph(const cr_arch_options *o, cr_graph **out, cr_arch_layout *layout,
                        cr_error *err)
{
    cr_arch_head h = {.o = o};
    *out = NULL;
    h.size = find(o->name, &h.task);
    CR_CHECK(h.size, err, CR_ERR_ARGUMENT, "no architecture '%s': there are %s", o->name,
             cr_arch_names());
    CR_TRY(check(o, h.task, largest_stride(h.size), err));
    if (h.task == CR_ARCH_POSE) h.extras = o->keypoints * o->keypoint_dims;
    if (h.task == CR_ARCH_SEGMENT) h.extras = h.size->masks;
    cr_arch_net net = {.err = err};
    CR_TRY(cr_graph_create(&net.g, err));
    cr_rng_seed(&net.rng, o->seed);
    net.g->name = "crayon";
    net.g->producer = "crayon";
    net.g->source_opset = 17;
    net.g->source_ir = 8;
    cr_tensor *image = add_image(&net, o);
    if (h.task == CR_ARCH_CLASSIFY)
        finish_classifier(&net, image, &h);
    else
        finish_detector(&net, image, &h);
    if (net.st == CR_OK && !describe(&net, o, h.task, largest_stride(h.size)))
        net.st = CR_NOMEM(err);
    if (net.st == CR_OK) net.st = cr_graph_index(net.g, err);
    if (net.st == CR_OK) net.st = cr_graph_infer(net.g, err);
    if (net.st != CR_OK) {
        cr_graph_free(&net.g);
        return net.st;
    }
    *layout = layout_of(&h);
    *out = net.g;
    return CR_OK;
}
