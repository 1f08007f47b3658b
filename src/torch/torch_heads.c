/* The anchor-free heads of YOLOv8 and its relatives: Detect, Segment, Pose, OBB.
 *
 * On each map one branch gives box distances, one class scores, and by task a third one mask
 * coefficients, keypoints or angles; cells of all maps stand side by side. A box side is the
 * expectation of a distribution over reg_max bins (DFL), or a number (reg_max 1), in units of the
 * map's stride, counted from the cell's centre:
 *   corner = (centre -+ distance) * stride.
 * The graph is that of Ultralytics' own export, operator by operator.
 *
 * YOLOv10 and YOLO26 have two sets of branches. The one-to-many set needs suppression of
 * duplicates; the one-to-one set does not, and gives the best 300. As Ultralytics does by default
 * since 8.4, the first is used unless the checkpoint says otherwise or has only the second. */
#include "torch/torch_heads.h"

#include <string.h>

typedef struct branches {
    const char *box, *score, *extra; /* names of the lists of branches */
} branches;

typedef struct grid {
    cr_tensor *anchors, *strides; /* [1, 2, A], [1, A] */
} grid;

bool cr_torch_head_end2end(const cr_mod *m)
{
    if (!cr_mod_has(m, "one2one_cv2")) return false;
    return cr_mod_int(m, "_end2end", 0) != 0 || !cr_mod_has(m, "cv2");
}

bool cr_torch_head_strides(cr_net *net, const cr_mod *m, float *strides, size_t n)
{
    if (cr_mod_floats(net, m, "stride", strides, CR_HEAD_MAX_LEVELS) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!(strides[i] >= 1 && strides[i] <= 1 << 12)) return false;
    return true;
}

static branches choose(const cr_mod *m)
{
    return cr_torch_head_end2end(m) ? (branches){"one2one_cv2", "one2one_cv3", "one2one_cv4"}
                                    : (branches){"cv2", "cv3", "cv4"};
}

/* Each level's branch, its cells in a row, levels side by side: [1, channels, A]. `last` (NULL:
 * none) is a list of one more convolution each. */
static cr_tensor *gather(cr_net *net, const cr_mod *m, const char *list, const char *last,
                         cr_tensor *const *x, size_t n)
{
    cr_tensor *rows[CR_HEAD_MAX_LEVELS];
    for (size_t i = 0; i < n; i++) {
        cr_tensor *y = cr_net_run_item(net, m, list, i, x[i]);
        if (last) y = cr_net_run_item(net, m, last, i, y);
        const int64_t dims[3] = {1, cr_net_dim(y, 1), cr_net_dim(y, 2) * cr_net_dim(y, 3)};
        rows[i] = cr_net_reshape(net, m, y, dims, 3);
    }
    return cr_net_concat(net, m, -1, rows, n);
}

/* Centres of cells, in units of their level's stride. */
static grid make_grid(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n)
{
    float strides[CR_HEAD_MAX_LEVELS];
    int64_t total = 0, at = 0;
    grid g = {0};
    if (!cr_torch_head_strides(net, m, strides, n)) {
        cr_net_fail(net, CR_ERR_FORMAT, "%s: no stride for each of its %zu maps", m->path, n);
        return g;
    }
    for (size_t i = 0; i < n; i++) total += cr_net_dim(x[i], 2) * cr_net_dim(x[i], 3);
    g.anchors = cr_net_const_f32(net, m, (cr_shape){3, {1, 2, total}});
    g.strides = cr_net_const_f32(net, m, (cr_shape){2, {1, total}});
    if (!g.anchors || !g.strides) return g;
    float *centre = g.anchors->data, *stride = g.strides->data;
    for (size_t i = 0; i < n; i++) {
        const int64_t w = cr_net_dim(x[i], 3), cells = w * cr_net_dim(x[i], 2);
        for (int64_t k = 0; k < cells; k++, at++) {
            centre[at] = (float)(k % w) + 0.5f;
            centre[total + at] = (float)(k / w) + 0.5f;
            stride[at] = strides[i];
        }
    }
    return g;
}

/* Distances [1, 4 * bins, A] -> [1, 4, A]: the expectation of each side's distribution. */
static cr_tensor *expect(cr_net *net, const cr_mod *head, cr_tensor *x)
{
    static const int64_t bins_first[4] = {0, 2, 1, 3};
    const cr_mod m = cr_mod_child(net, head, "dfl");
    if (strcmp(cr_pkl_class(m.v), "DFL")) return x;
    const int64_t bins = cr_net_dim(x, 1) / 4, cells = cr_net_dim(x, 2);
    const int64_t apart[4] = {1, 4, bins, cells}, sides[3] = {1, 4, cells};
    x = cr_net_transpose(net, &m, cr_net_reshape(net, &m, x, apart, 4), bins_first, 4);
    x = cr_net_run_child(net, &m, "conv", cr_net_softmax(net, &m, x, 1));
    return cr_net_reshape(net, &m, x, sides, 3);
}

/* [1, 4, A] distances left, top, right, bottom -> centre and size, or corners. */
static cr_tensor *boxes(cr_net *net, const cr_mod *m, cr_tensor *x, const grid *g, bool corners)
{
    cr_tensor *lt = cr_net_slice(net, m, x, 1, 0, 2, 1), *rb = cr_net_slice(net, m, x, 1, 2, 4, 1);
    cr_tensor *p[2] = {cr_net_binary(net, m, CR_OP_Sub, g->anchors, lt),
                       cr_net_binary(net, m, CR_OP_Add, g->anchors, rb)};
    if (!corners) {
        cr_tensor *sum = cr_net_binary(net, m, CR_OP_Add, p[0], p[1]);
        p[1] = cr_net_binary(net, m, CR_OP_Sub, p[1], p[0]);
        p[0] = cr_net_scalar(net, m, CR_OP_Div, sum, 2);
    }
    return cr_net_binary(net, m, CR_OP_Mul, cr_net_concat(net, m, 1, p, 2), g->strides);
}

/* The same for boxes turned by `angle` [1, 1, A]: the centre's offset turns with the box. */
static cr_tensor *turned_boxes(cr_net *net, const cr_mod *m, cr_tensor *x, cr_tensor *angle,
                               const grid *g)
{
    cr_tensor *lt = cr_net_slice(net, m, x, 1, 0, 2, 1), *rb = cr_net_slice(net, m, x, 1, 2, 4, 1);
    cr_tensor *c = cr_net_unary(net, m, CR_OP_Cos, angle),
              *s = cr_net_unary(net, m, CR_OP_Sin, angle);
    cr_tensor *off = cr_net_scalar(net, m, CR_OP_Div, cr_net_binary(net, m, CR_OP_Sub, rb, lt), 2);
    cr_tensor *dx = cr_net_slice(net, m, off, 1, 0, 1, 1),
              *dy = cr_net_slice(net, m, off, 1, 1, 2, 1);
    cr_tensor *xc = cr_net_binary(net, m, CR_OP_Mul, dx, c),
              *ys = cr_net_binary(net, m, CR_OP_Mul, dy, s);
    cr_tensor *xs = cr_net_binary(net, m, CR_OP_Mul, dx, s),
              *yc = cr_net_binary(net, m, CR_OP_Mul, dy, c);
    cr_tensor *xy[2] = {cr_net_binary(net, m, CR_OP_Sub, xc, ys),
                        cr_net_binary(net, m, CR_OP_Add, xs, yc)};
    cr_tensor *parts[2] = {
        cr_net_binary(net, m, CR_OP_Add, cr_net_concat(net, m, 1, xy, 2), g->anchors),
        cr_net_binary(net, m, CR_OP_Add, lt, rb)};
    return cr_net_binary(net, m, CR_OP_Mul, cr_net_concat(net, m, 1, parts, 2), g->strides);
}

/* [1, 4 + classes + extra, A], or its best rows. `decoded` are the boxes, `extra` may be NULL. */
static cr_tensor *finish(cr_net *net, const cr_mod *m, cr_tensor *decoded, cr_tensor *scores,
                         cr_tensor *extra)
{
    static const int64_t rows_first[3] = {0, 2, 1};
    cr_tensor *parts[3] = {decoded, cr_net_unary(net, m, CR_OP_Sigmoid, scores), extra};
    const int64_t classes = cr_net_dim(scores, 1);
    cr_tensor *y = cr_net_concat(net, m, 1, parts, extra ? 3 : 2);
    if (!cr_torch_head_end2end(m)) return y;
    return cr_torch_head_best(net, m, cr_net_transpose(net, m, y, rows_first, 3), classes);
}

static bool levels(cr_net *net, const cr_mod *m, size_t n)
{
    if (n >= 1 && n <= CR_HEAD_MAX_LEVELS) return true;
    cr_net_fail(net, CR_ERR_LIMIT, "%s: %zu maps, 1 to %d are read", m->path, n,
                CR_HEAD_MAX_LEVELS);
    return false;
}

/* ---- tasks ---- */

static int detect(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n, cr_tensor *out[2])
{
    if (!levels(net, m, n)) return 0;
    if (cr_torch_head_anchored(m)) return cr_torch_anchor_head(net, m, x, n, out);
    const branches b = choose(m);
    const grid g = make_grid(net, m, x, n);
    cr_tensor *sides = gather(net, m, b.box, NULL, x, n),
              *scores = gather(net, m, b.score, NULL, x, n);
    cr_tensor *decoded = boxes(net, m, expect(net, m, sides), &g, cr_torch_head_end2end(m));
    out[0] = finish(net, m, decoded, scores, NULL);
    return out[0] ? 1 : 0;
}

/* YOLO26's prototypes come from all maps: the smaller ones are enlarged and added. */
static cr_tensor *prototypes(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n)
{
    const cr_mod p = cr_mod_child(net, m, "proto");
    if (strcmp(cr_pkl_class(p.v), "Proto26")) return cr_net_run(net, p, x[0]);
    cr_tensor *sum = x[0];
    for (size_t i = 1; i < n; i++) {
        cr_tensor *y = cr_net_run_item(net, &p, "feat_refine", i - 1, x[i]);
        cr_tensor *scales = cr_net_const_f32(net, &p, (cr_shape){1, {4}});
        if (!scales) return NULL;
        float *s = scales->data;
        s[0] = s[1] = 1;
        s[2] = s[3] = (float)(1 << i);
        cr_tensor *in[3] = {y, NULL, scales};
        const cr_attr attrs[] = {CR_A_STRING("coordinate_transformation_mode", "asymmetric"),
                                 CR_A_STRING("mode", "nearest"),
                                 CR_A_STRING("nearest_mode", "floor")};
        sum = cr_net_binary(net, &p, CR_OP_Add, sum,
                            cr_net_op(net, &p, CR_OP_Resize, in, 3, attrs, 3));
    }
    cr_tensor *y = cr_net_run_child(net, &p, "feat_fuse", sum);
    cr_forward proto = cr_torch_block("Proto");
    return proto(net, &p, y);
}

static int segment(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n, cr_tensor *out[2])
{
    if (!levels(net, m, n)) return 0;
    if (cr_torch_head_anchored(m)) return cr_torch_anchor_head(net, m, x, n, out);
    const branches b = choose(m);
    const grid g = make_grid(net, m, x, n);
    cr_tensor *sides = gather(net, m, b.box, NULL, x, n),
              *scores = gather(net, m, b.score, NULL, x, n),
              *coefficients = gather(net, m, b.extra, NULL, x, n);
    cr_tensor *decoded = boxes(net, m, expect(net, m, sides), &g, cr_torch_head_end2end(m));
    out[0] = finish(net, m, decoded, scores, coefficients);
    out[1] = prototypes(net, m, x, n);
    return out[0] && out[1] ? 2 : 0;
}

/* Keypoints [1, points * values, A]: x and y in strides from the cell, then a score. YOLOv8 doubles
 * the offset and counts from the cell's corner, YOLO26 takes it as it is, from the centre. */
static cr_tensor *keypoints(cr_net *net, const cr_mod *m, cr_tensor *x, const grid *g, bool doubled)
{
    int64_t shape[2];
    if (cr_mod_ints(m, "kpt_shape", shape, 2) != 2 || shape[0] < 1 || shape[0] > 1000 ||
        shape[1] < 2 || shape[1] > 3)
        return cr_net_fail(net, CR_ERR_FORMAT, "%s: its kpt_shape makes no sense", m->path);
    const int64_t cells = cr_net_dim(x, 2), apart[4] = {1, shape[0], shape[1], cells},
                  joined[3] = {1, shape[0] * shape[1], cells};
    cr_tensor *y = cr_net_reshape(net, m, x, apart, 4), *from = g->anchors;
    cr_tensor *xy = cr_net_slice(net, m, y, 2, 0, 2, 1);
    if (doubled) {
        xy = cr_net_scalar(net, m, CR_OP_Mul, xy, 2);
        from = from ? cr_net_const_f32(net, m, from->shape) : NULL;
        for (int64_t i = 0; from && i < 2 * cells; i++)
            ((float *)from->data)[i] = ((const float *)g->anchors->data)[i] - 0.5f;
    }
    xy = cr_net_binary(net, m, CR_OP_Mul, cr_net_binary(net, m, CR_OP_Add, xy, from), g->strides);
    if (shape[1] == 2) return cr_net_reshape(net, m, xy, joined, 3);
    cr_tensor *score = cr_net_unary(net, m, CR_OP_Sigmoid, cr_net_slice(net, m, y, 2, 2, 3, 1));
    cr_tensor *both[2] = {xy, score};
    return cr_net_reshape(net, m, cr_net_concat(net, m, 2, both, 2), joined, 3);
}

static int pose(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n, cr_tensor *out[2])
{
    if (!levels(net, m, n)) return 0;
    const branches b = choose(m);
    const bool newer = !strcmp(cr_pkl_class(m->v), "Pose26"), e2e = cr_torch_head_end2end(m);
    const char *last = !newer ? NULL : e2e ? "one2one_cv4_kpts" : "cv4_kpts";
    const grid g = make_grid(net, m, x, n);
    cr_tensor *sides = gather(net, m, b.box, NULL, x, n),
              *scores = gather(net, m, b.score, NULL, x, n),
              *points = gather(net, m, b.extra, last, x, n);
    cr_tensor *decoded = boxes(net, m, expect(net, m, sides), &g, e2e);
    out[0] = finish(net, m, decoded, scores, keypoints(net, m, points, &g, !newer));
    return out[0] ? 1 : 0;
}

/* An angle is (sigmoid - 1/4) pi, in [-pi/4, 3 pi/4); YOLO26 gives it as it is. */
static int oriented(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n, cr_tensor *out[2])
{
    if (!levels(net, m, n)) return 0;
    const branches b = choose(m);
    const grid g = make_grid(net, m, x, n);
    cr_tensor *sides = gather(net, m, b.box, NULL, x, n),
              *scores = gather(net, m, b.score, NULL, x, n),
              *angle = gather(net, m, b.extra, NULL, x, n);
    if (strcmp(cr_pkl_class(m->v), "OBB26")) {
        angle = cr_net_scalar(net, m, CR_OP_Sub, cr_net_unary(net, m, CR_OP_Sigmoid, angle), 0.25f);
        angle = cr_net_scalar(net, m, CR_OP_Mul, angle, 3.14159265f);
    }
    out[0] = finish(net, m, turned_boxes(net, m, expect(net, m, sides), angle, &g), scores, angle);
    return out[0] ? 1 : 0;
}

const cr_torch_head *cr_torch_head_find(const char *class_name)
{
    static const cr_torch_head heads[] = {
        {"Detect", "detect", detect},    {"v10Detect", "detect", detect},
        {"Segment", "segment", segment}, {"Segment26", "segment", segment},
        {"Pose", "pose", pose},          {"Pose26", "pose", pose},
        {"OBB", "obb", oriented},        {"OBB26", "obb", oriented},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (!strcmp(class_name, heads[i].class_name)) return &heads[i];
    return NULL;
}
