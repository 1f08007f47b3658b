/* YOLOv5's head with anchors, and the choice of the best rows that ends an end-to-end head.
 *
 * With anchors, each cell has `na` boxes of typical sizes; from sigmoids s of the raw numbers,
 *   centre = (2 s_xy - 1/2 + cell) * stride,  size = (2 s_wh)^2 * anchor * stride,
 * then objectness and class scores; a segmentation head's mask coefficients stay raw. Rows of all
 * levels stand below each other: [1, rows, 5 + classes + coefficients]. Formula: YOLOv5's
 * models/yolo.py. */
#include <string.h>

#include "torch/torch_heads.h"

enum { MAX_ANCHORS = 16 };

typedef struct anchor_level {
    int64_t boxes, numbers, h, w; /* per cell; of a box; of the map */
    float stride;
    const float *anchor; /* [boxes][2], in strides */
} anchor_level;

bool cr_torch_head_anchored(const cr_mod *m)
{
    return cr_mod_has(m, "m") && cr_mod_tensor(m, "anchors") && cr_mod_int(m, "na", 0) > 0;
}

/* [1, boxes, h, w, 2]: cell minus 1/2, or anchor times stride. */
static cr_tensor *level_grid(cr_net *net, const cr_mod *m, const anchor_level *l, bool sizes)
{
    cr_tensor *t = cr_net_const_f32(net, m, (cr_shape){5, {1, l->boxes, l->h, l->w, 2}});
    float *out = t ? t->data : NULL;
    for (int64_t i = 0; out && i < l->boxes * l->h * l->w; i++, out += 2) {
        const int64_t cell = i % (l->h * l->w), box = i / (l->h * l->w);
        out[0] = sizes ? l->anchor[2 * box] * l->stride : (float)(cell % l->w) - 0.5f;
        out[1] = sizes ? l->anchor[2 * box + 1] * l->stride : (float)(cell / l->w) - 0.5f;
    }
    return t;
}

static cr_tensor *decode_level(cr_net *net, const cr_mod *m, cr_tensor *x, const anchor_level *l,
                               int64_t masks)
{
    static const int64_t numbers_last[5] = {0, 1, 3, 4, 2};
    const int64_t apart[5] = {1, l->boxes, l->numbers, l->h, l->w},
                  rows[3] = {1, l->boxes * l->h * l->w, l->numbers};
    const int64_t sizes[4] = {2, 2, l->numbers - 4 - masks, masks};
    cr_tensor *p[4];
    x = cr_net_transpose(net, m, cr_net_reshape(net, m, x, apart, 5), numbers_last, 5);
    if (!masks) x = cr_net_unary(net, m, CR_OP_Sigmoid, x);
    if (!cr_net_split(net, m, 4, x, sizes, masks ? 4 : 3, p)) return NULL;
    for (int i = 0; masks && i < 3; i++) p[i] = cr_net_unary(net, m, CR_OP_Sigmoid, p[i]);
    cr_tensor *at = level_grid(net, m, l, false), *size = level_grid(net, m, l, true);
    cr_tensor *xy = cr_net_binary(net, m, CR_OP_Add, cr_net_scalar(net, m, CR_OP_Mul, p[0], 2), at);
    cr_tensor *wh = cr_net_scalar(net, m, CR_OP_Mul, p[1], 2);
    p[0] = cr_net_scalar(net, m, CR_OP_Mul, xy, l->stride);
    p[1] = cr_net_binary(net, m, CR_OP_Mul, cr_net_scalar(net, m, CR_OP_Pow, wh, 2), size);
    return cr_net_reshape(net, m, cr_net_concat(net, m, 4, p, masks ? 4 : 3), rows, 3);
}

static bool read_level(cr_net *net, const cr_mod *m, const cr_tensor *x, int64_t masks,
                       anchor_level *l)
{
    l->h = cr_net_dim(x, 2);
    l->w = cr_net_dim(x, 3);
    l->numbers = x ? cr_net_dim(x, 1) / l->boxes : 0;
    if (!x || (l->numbers >= 6 + masks && cr_net_dim(x, 1) == l->numbers * l->boxes))
        return x != NULL;
    cr_net_fail(net, CR_ERR_FORMAT, "%s: %lld channels do not fit %lld anchors", m->path,
                (long long)cr_net_dim(x, 1), (long long)l->boxes);
    return false;
}

int cr_torch_anchor_head(cr_net *net, const cr_mod *m, cr_tensor *const *x, size_t n,
                         cr_tensor *out[2])
{
    float strides[CR_HEAD_MAX_LEVELS], anchors[CR_HEAD_MAX_LEVELS * MAX_ANCHORS * 2];
    cr_tensor *rows[CR_HEAD_MAX_LEVELS];
    const int64_t na = cr_mod_int(m, "na", 0),
                  masks = cr_mod_has(m, "proto") ? cr_mod_int(m, "nm", 0) : 0;
    if (na < 1 || na > MAX_ANCHORS || masks < 0 || masks > 4096 ||
        !cr_torch_head_strides(net, m, strides, n) ||
        cr_mod_floats(net, m, "anchors", anchors, sizeof anchors / sizeof *anchors) !=
            n * (size_t)na * 2) {
        cr_net_fail(net, CR_ERR_FORMAT, "%s: anchors and strides do not fit its %zu maps", m->path,
                    n);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        anchor_level l = {
            .boxes = na, .stride = strides[i], .anchor = anchors + i * (size_t)na * 2};
        cr_tensor *y = cr_net_run_item(net, m, "m", i, x[i]);
        rows[i] = read_level(net, m, y, masks, &l) ? decode_level(net, m, y, &l, masks) : NULL;
    }
    out[0] = cr_net_concat(net, m, 1, rows, n);
    if (!masks) return out[0] ? 1 : 0;
    out[1] = cr_net_run_child(net, m, "proto", x[0]);
    return out[0] && out[1] ? 2 : 0;
}

/* ---- the best rows ---- */

/* Values and places of the k largest along `axis`. */
static bool largest(cr_net *net, const cr_mod *m, cr_tensor *x, int64_t k, int64_t axis,
                    cr_tensor *out[2])
{
    cr_tensor *in[2] = {x, cr_net_const_i64(net, m, &k, 1)};
    return cr_net_node(net, m, CR_OP_TopK, in, 2, &CR_A_INT("axis", axis), 1, out, 2);
}

/* Rows of x [1, n, c] at index [1, k] -> [1, k, c]. */
static cr_tensor *pick_rows(cr_net *net, const cr_mod *m, cr_tensor *x, cr_tensor *index)
{
    const int64_t k = cr_net_dim(index, 1), column[3] = {1, k, 1},
                  repeats[3] = {1, 1, cr_net_dim(x, 2)};
    cr_tensor *tiled[2] = {cr_net_reshape(net, m, index, column, 3),
                           cr_net_const_i64(net, m, repeats, 3)};
    cr_tensor *in[2] = {x, cr_net_op(net, m, CR_OP_Tile, tiled, 2, NULL, 0)};
    return cr_net_op(net, m, CR_OP_GatherElements, in, 2, &CR_A_INT("axis", 1), 1);
}

static cr_tensor *int_scalar(cr_net *net, const cr_mod *m, int64_t value)
{
    return cr_net_const_i64(net, m, &value, 1);
}

static cr_tensor *column_of(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const int64_t dims[3] = {1, cr_net_dim(x, 1), 1};
    return cr_net_reshape(net, m, x, dims, 3);
}

/* First the cells with the best class, then the best (cell, class) pairs among them: the same pairs
 * as of all, since no more than k cells can hold the k best. */
cr_tensor *cr_torch_head_best(cr_net *net, const cr_mod *m, cr_tensor *rows, int64_t classes)
{
    const int64_t cells = cr_net_dim(rows, 1), extra = cr_net_dim(rows, 2) - 4 - classes;
    const int64_t wanted = cr_mod_int(m, "max_det", 300), k = wanted < cells ? wanted : cells;
    const int64_t sizes[3] = {4, classes, extra}, last = -1, flat[2] = {1, k * classes};
    cr_tensor *p[3] = {NULL, NULL, NULL}, *top[2], *best[2];
    if (!rows) return NULL;
    if (k < 1 || k > 100000)
        return cr_net_fail(net, CR_ERR_FORMAT, "%s: max_det %lld", m->path, (long long)wanted);
    if (!cr_net_split(net, m, 2, rows, sizes, extra ? 3 : 2, p)) return NULL;
    cr_tensor *in[2] = {p[1], cr_net_const_i64(net, m, &last, 1)};
    cr_tensor *highest = cr_net_op(net, m, CR_OP_ReduceMax, in, 2, &CR_A_INT("keepdims", 0), 1);
    if (!largest(net, m, highest, k, 1, top)) return NULL;
    cr_tensor *scores = cr_net_reshape(net, m, pick_rows(net, m, p[1], top[1]), flat, 2);
    if (!largest(net, m, scores, k, 1, best)) return NULL;
    cr_tensor *cls = cr_net_binary(net, m, CR_OP_Mod, best[1], int_scalar(net, m, classes));
    cr_tensor *among = cr_net_binary(net, m, CR_OP_Div, best[1], int_scalar(net, m, classes));
    cr_tensor *from[2] = {top[1], among};
    cr_tensor *cell = cr_net_op(net, m, CR_OP_GatherElements, from, 2, &CR_A_INT("axis", 1), 1);
    cr_tensor *number = cr_net_op(net, m, CR_OP_Cast, &cls, 1, &CR_A_INT("to", 1), 1);
    cr_tensor *parts[4] = {pick_rows(net, m, p[0], cell), column_of(net, m, best[0]),
                           column_of(net, m, number), extra ? pick_rows(net, m, p[2], cell) : NULL};
    return cr_net_concat(net, m, 2, parts, extra ? 4 : 3);
}
