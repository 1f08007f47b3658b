/* YOLOv8's network (which has no paper; its parts do): Conv+BN+SiLU, C2f (a CSP stage, Wang et al.
 * 2020, that keeps every bottleneck's output), SPPF, a PAN neck (Liu et al. 2018), a head with
 * separate branches for boxes and classes and, by task, for masks (YOLACT, Bolya et al. 2019) or
 * keypoints. Sizes with fewer stages leave the coarse levels out. Modules are numbered as Ultralytics
 * numbers them, those without weights too. */
#include "train/arch_parts.h"

static cr_tensor *bottleneck(cr_arch_net *net, const char *place, cr_tensor *x, bool shortcut)
{
    const int64_t c = cr_arch_dim(x, 1);
    cr_tensor *y = cr_arch_conv(net, cr_arch_place(net, "%s/cv1", place), x, c, 3, 1);
    y = cr_arch_conv(net, cr_arch_place(net, "%s/cv2", place), y, c, 3, 1);
    return shortcut ? cr_arch_pair(net, place, CR_OP_Add, x, y) : y;
}

enum { MAX_DEPTH = 8 };

/* 1x1 in, split in halves, bottlenecks on the second half, all parts to a 1x1. */
static cr_tensor *c2f(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co, int depth,
                      bool shortcut)
{
    const int64_t halves[2] = {co / 2, co / 2};
    cr_tensor *parts[MAX_DEPTH + 2];
    x = cr_arch_conv(net, cr_arch_place(net, "%s/cv1", place), x, co, 1, 1);
    cr_arch_split(net, place, x, halves, 2, parts);
    for (int i = 0; i < depth; i++)
        parts[i + 2] =
            bottleneck(net, cr_arch_place(net, "%s/m.%d", place, i), parts[i + 1], shortcut);
    x = cr_arch_concat(net, place, 1, parts, depth + 2);
    return cr_arch_conv(net, cr_arch_place(net, "%s/cv2", place), x, co, 1, 1);
}

/* Maxima over 5, 9 and 13 cells, beside the input. */
static cr_tensor *sppf(cr_arch_net *net, const char *place, cr_tensor *x)
{
    const int64_t c = cr_arch_dim(x, 1);
    const char *pool = cr_arch_place(net, "%s/m", place);
    cr_tensor *parts[4];
    parts[0] = cr_arch_conv(net, cr_arch_place(net, "%s/cv1", place), x, c / 2, 1, 1);
    for (int i = 1; i < 4; i++) parts[i] = cr_arch_pool5(net, pool, parts[i - 1]);
    x = cr_arch_concat(net, place, 1, parts, 4);
    return cr_arch_conv(net, cr_arch_place(net, "%s/cv2", place), x, c, 1, 1);
}

static const char *module(cr_arch_net *net, int *number)
{
    return cr_arch_place(net, "/model.%d", (*number)++);
}

/* stage[i] at stride 4 << i. */
static void backbone(cr_arch_net *net, const cr_arch_size *s, cr_tensor *x, int *number,
                     cr_tensor **stage)
{
    x = cr_arch_conv(net, module(net, number), x, s->stem, 3, 2);
    for (int i = 0; i < s->stages; i++) {
        x = cr_arch_conv(net, module(net, number), x, s->width[i], 3, 2);
        x = stage[i] = c2f(net, module(net, number), x, s->width[i], s->depth[i], true);
    }
}

void cr_arch_trunk(cr_arch_net *net, cr_tensor *image, cr_arch_head *h)
{
    const cr_arch_size *s = h->size;
    const int *width = s->width + 1;
    int number = 0;
    cr_tensor *stage[4];
    backbone(net, s, image, &number, stage);
    const int last = s->stages - 2;
    cr_tensor **level = stage + 1;
    level[last] = sppf(net, module(net, &number), level[last]);
    for (int i = last - 1; i >= 0; i--) {
        cr_tensor *up = cr_arch_upsample(net, module(net, &number), level[i + 1]);
        cr_tensor *both[2] = {up, level[i]};
        cr_tensor *x = cr_arch_concat(net, module(net, &number), 1, both, 2);
        level[i] = c2f(net, module(net, &number), x, width[i], s->neck_depth, false);
    }
    for (int i = 1; i <= last; i++) {
        cr_tensor *down =
            cr_arch_conv(net, module(net, &number), level[i - 1], width[i - 1], 3, 2);
        cr_tensor *both[2] = {down, level[i]};
        cr_tensor *x = cr_arch_concat(net, module(net, &number), 1, both, 2);
        level[i] = c2f(net, module(net, &number), x, width[i], s->neck_depth, false);
    }
    h->place = module(net, &number);
    h->levels = last + 1;
    for (int i = 0; i < h->levels; i++) h->x[i] = level[i];
}

cr_tensor *cr_arch_classifier(cr_arch_net *net, cr_tensor *image, const cr_arch_head *h)
{
    int number = 0;
    cr_tensor *stage[4];
    backbone(net, h->size, image, &number, stage);
    const char *place = module(net, &number);
    cr_tensor *x = cr_arch_conv(net, cr_arch_place(net, "%s/conv", place),
                                stage[h->size->stages - 1], h->size->classify, 1, 1);
    x = cr_arch_unary(net, cr_arch_place(net, "%s/pool", place), CR_OP_GlobalAveragePool, x);
    const int64_t flat[2] = {cr_arch_dim(x, 0), cr_arch_dim(x, 1)};
    x = cr_arch_reshape(net, place, x, flat, 2);
    return cr_arch_linear(net, cr_arch_place(net, "%s/linear", place), x, h->o->classes);
}

/* ---- branches ---- */

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Two 3x3 convolutions and a plain 1x1. */
static cr_tensor *branch(cr_arch_net *net, const char *place, cr_tensor *x, int64_t hidden,
                         int64_t out, float bias)
{
    x = cr_arch_conv(net, cr_arch_place(net, "%s.0", place), x, hidden, 3, 1);
    x = cr_arch_conv(net, cr_arch_place(net, "%s.1", place), x, hidden, 3, 1);
    return cr_arch_plain(net, cr_arch_place(net, "%s.2", place), x, out, 1, 1, bias);
}

static cr_tensor *prototypes(cr_arch_net *net, const cr_arch_head *h)
{
    const int64_t c = h->size->width[1];
    const char *place = cr_arch_place(net, "%s/proto", h->place);
    cr_tensor *x = cr_arch_conv(net, cr_arch_place(net, "%s/cv1", place), h->x[0], c, 3, 1);
    x = cr_arch_grow(net, cr_arch_place(net, "%s/upsample", place), x, c);
    x = cr_arch_conv(net, cr_arch_place(net, "%s/cv2", place), x, c, 3, 1);
    return cr_arch_conv(net, cr_arch_place(net, "%s/cv3", place), x, h->extras, 1, 1);
}

void cr_arch_branches(cr_arch_net *net, cr_arch_head *h)
{
    /* boxes begin with every distance as likely, scores at .01 (Lin et al. 2017) */
    const float box_bias = 1, score_bias = -4.6f;
    const cr_arch_size *s = h->size;
    const int64_t c = s->width[1], nc = h->o->classes, sides = 4 * CR_ARCH_BINS;
    const int64_t box = s->box ? s->box : largest(largest(16, c / 4), sides);
    const int64_t cls = s->cls ? s->cls : largest(c, nc < 100 ? nc : 100);
    for (int i = 0; i < h->levels; i++) {
        h->box[i] = branch(net, cr_arch_place(net, "%s/cv2.%d/cv2.%d", h->place, i, i), h->x[i],
                           box, sides, box_bias);
        h->score[i] = branch(net, cr_arch_place(net, "%s/cv3.%d/cv3.%d", h->place, i, i), h->x[i],
                             cls, nc, score_bias);
        if (h->extras)
            h->extra[i] = branch(net, cr_arch_place(net, "%s/cv4.%d/cv4.%d", h->place, i, i),
                                 h->x[i], largest(c / 4, h->extras), h->extras, 0);
    }
    if (h->task == CR_ARCH_SEGMENT) h->prototypes = prototypes(net, h);
}

/* ---- decoding, operator by operator as Ultralytics' exports have it ---- */

typedef struct grid {
    cr_tensor *centres, *strides; /* [1, 2, A] in strides, [1, A] */
    int64_t cells;
} grid;

static grid make_grid(cr_arch_net *net, const cr_arch_head *h)
{
    grid g = {0};
    for (int i = 0; i < h->levels; i++)
        g.cells += cr_arch_dim(h->box[i], 2) * cr_arch_dim(h->box[i], 3);
    g.centres = cr_arch_const(net, cr_arch_place(net, "%s/anchors", h->place),
                              (cr_shape){3, {1, 2, g.cells}});
    g.strides = cr_arch_const(net, cr_arch_place(net, "%s/strides", h->place),
                              (cr_shape){2, {1, g.cells}});
    if (!g.centres || !g.strides) return g;
    float *centre = g.centres->data, *stride = g.strides->data;
    for (int64_t i = 0, at = 0; i < h->levels; i++) {
        const int64_t w = cr_arch_dim(h->box[i], 3), cells = w * cr_arch_dim(h->box[i], 2);
        for (int64_t k = 0; k < cells; k++, at++) {
            centre[at] = (float)(k % w) + .5f;
            centre[g.cells + at] = (float)(k / w) + .5f;
            stride[at] = (float)(8 << i);
        }
    }
    return g;
}

/* Levels side by side: [1, channels, A]. */
static cr_tensor *gather(cr_arch_net *net, const char *place, cr_tensor *const *x, int levels)
{
    cr_tensor *rows[CR_ARCH_LEVELS];
    for (int i = 0; i < levels; i++) {
        const int64_t dims[3] = {1, cr_arch_dim(x[i], 1), -1};
        rows[i] = cr_arch_reshape(net, place, x[i], dims, 3);
    }
    return cr_arch_concat(net, place, 2, rows, levels);
}

/* [1, 4 * bins, A] -> [1, 4, A]: the mean of each side's distribution. */
static cr_tensor *expect(cr_arch_net *net, const char *head, cr_tensor *x, int64_t cells)
{
    const char *place = cr_arch_place(net, "%s/dfl", head);
    const int64_t apart[4] = {1, 4, CR_ARCH_BINS, cells}, sides[3] = {1, 4, cells};
    int64_t perm[4] = {0, 2, 1, 3}, ones[2] = {1, 1}, none[4] = {0};
    const cr_attr turn = {.name = "perm", .type = CR_ATTR_INTS, .count = 4, .ints = perm};
    const cr_attr axis = {.name = "axis", .type = CR_ATTR_INT, .i = 1};
    const cr_attr conv[] = {
        {.name = "kernel_shape", .type = CR_ATTR_INTS, .count = 2, .ints = ones},
        {.name = "strides", .type = CR_ATTR_INTS, .count = 2, .ints = ones},
        {.name = "pads", .type = CR_ATTR_INTS, .count = 4, .ints = none}};
    x = cr_arch_reshape(net, place, x, apart, 4);
    x = cr_arch_node(net, place, CR_OP_Transpose, &x, 1, &turn, 1);
    x = cr_arch_node(net, place, CR_OP_Softmax, &x, 1, &axis, 1);
    const char *at = cr_arch_place(net, "%s/conv", place);
    cr_tensor *bins = cr_arch_const(net, cr_arch_place(net, "%s/bins", place),
                                    (cr_shape){4, {1, CR_ARCH_BINS, 1, 1}});
    for (int i = 0; bins && i < CR_ARCH_BINS; i++) ((float *)bins->data)[i] = (float)i;
    x = cr_arch_node(net, at, CR_OP_Conv, (cr_tensor *[]){x, bins}, 2, conv, 3);
    return cr_arch_reshape(net, place, x, sides, 3);
}

/* Centre and size in pixels. */
static cr_tensor *boxes(cr_arch_net *net, const char *place, cr_tensor *sides, const grid *g)
{
    cr_tensor *low = cr_arch_pair(net, place, CR_OP_Sub, g->centres,
                                  cr_arch_slice(net, place, sides, 1, 0, 2));
    cr_tensor *high = cr_arch_pair(net, place, CR_OP_Add, g->centres,
                                   cr_arch_slice(net, place, sides, 1, 2, 4));
    cr_tensor *parts[2];
    parts[0] =
        cr_arch_scalar(net, place, CR_OP_Div, cr_arch_pair(net, place, CR_OP_Add, low, high), 2);
    parts[1] = cr_arch_pair(net, place, CR_OP_Sub, high, low);
    cr_tensor *both = cr_arch_concat(net, place, 1, parts, 2);
    return cr_arch_pair(net, place, CR_OP_Mul, both, g->strides);
}

/* [1, K * dims, A]: x and y are (2 value + centre - .5) strides, visibility a sigmoid. */
static cr_tensor *keypoints(cr_arch_net *net, const cr_arch_head *h, cr_tensor *x, const grid *g)
{
    const char *place = h->place;
    const int64_t k = h->o->keypoints, dims = h->o->keypoint_dims;
    const int64_t apart[4] = {1, k, dims, g->cells}, flat[3] = {1, k * dims, g->cells};
    cr_tensor *parts[2];
    x = cr_arch_reshape(net, place, x, apart, 4);
    cr_tensor *xy = cr_arch_slice(net, place, x, 2, 0, 2);
    xy = cr_arch_scalar(net, place, CR_OP_Mul, xy, 2);
    cr_tensor *corner = cr_arch_scalar(net, place, CR_OP_Sub, g->centres, .5f);
    xy = cr_arch_pair(net, place, CR_OP_Add, xy, corner);
    parts[0] = cr_arch_pair(net, place, CR_OP_Mul, xy, g->strides);
    if (dims == 3) {
        cr_tensor *seen = cr_arch_slice(net, place, x, 2, 2, 3);
        parts[1] = cr_arch_unary(net, place, CR_OP_Sigmoid, seen);
        parts[0] = cr_arch_concat(net, place, 2, parts, 2);
    }
    return cr_arch_reshape(net, place, parts[0], flat, 3);
}

cr_tensor *cr_arch_decode(cr_arch_net *net, const cr_arch_head *h)
{
    const int64_t sizes[2] = {4 * CR_ARCH_BINS, h->o->classes};
    const grid g = make_grid(net, h);
    cr_tensor *both[CR_ARCH_LEVELS], *parts[3];
    int n = 2;
    for (int i = 0; i < h->levels; i++) {
        cr_tensor *pair[2] = {h->box[i], h->score[i]};
        both[i] = cr_arch_concat(net, h->place, 1, pair, 2);
    }
    cr_arch_split(net, h->place, gather(net, h->place, both, h->levels), sizes, 2, parts);
    parts[0] = boxes(net, h->place, expect(net, h->place, parts[0], g.cells), &g);
    parts[1] = cr_arch_unary(net, h->place, CR_OP_Sigmoid, parts[1]);
    if (h->extras) {
        cr_tensor *x = gather(net, h->place, h->extra, h->levels);
        parts[n++] = h->task == CR_ARCH_POSE ? keypoints(net, h, x, &g) : x;
    }
    return cr_arch_concat(net, h->place, 1, parts, n);
}
