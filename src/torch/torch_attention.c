/* The forward passes of the attention blocks of YOLOv10 (PSA), YOLO11 (C2PSA) and YOLO12 (areas).
 *
 * Position-sensitive attention lets every cell of the last, smallest map look at every other one:
 * with queries, keys [heads, key_dim, N] and values [heads, head_dim, N] of N cells,
 * v (softmax(q^T k / sqrt(key_dim)))^T, plus a depthwise convolution of v that tells where a cell
 * is. */
#include <math.h>

#include "torch/torch_net.h"

static cr_tensor *run(cr_net *net, const cr_mod *m, const char *child, cr_tensor *x)
{
    return cr_net_run_child(net, m, child, x);
}

static cr_tensor *add(cr_net *net, const cr_mod *m, cr_tensor *a, cr_tensor *b)
{
    return cr_net_binary(net, m, CR_OP_Add, a, b);
}

static cr_tensor *last_two_swapped(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    static const int64_t perm[4] = {0, 1, 3, 2};
    return cr_net_transpose(net, m, x, perm, 4);
}

/* x [B, heads, d, N] each; the values, weighted by how queries and keys agree. */
static cr_tensor *attend(cr_net *net, const cr_mod *m, cr_tensor *q, cr_tensor *k, cr_tensor *v,
                         double scale)
{
    cr_tensor *scaled = cr_net_scalar(net, m, CR_OP_Mul, q, (float)scale);
    cr_tensor *scores = cr_net_binary(net, m, CR_OP_MatMul, last_two_swapped(net, m, scaled), k);
    cr_tensor *weights = cr_net_softmax(net, m, scores, -1);
    return cr_net_binary(net, m, CR_OP_MatMul, v, last_two_swapped(net, m, weights));
}

static bool sane(cr_net *net, const cr_mod *m, const int64_t *numbers, int n)
{
    for (int i = 0; i < n; i++)
        if (numbers[i] < 1 || numbers[i] > 1 << 16) {
            cr_net_fail(net, CR_ERR_FORMAT, "%s: its numbers of heads or areas make no sense",
                        m->path);
            return false;
        }
    return true;
}

static cr_tensor *attention(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const int64_t h = cr_net_dim(x, 2), w = cr_net_dim(x, 3), c = cr_net_dim(x, 1);
    const int64_t heads = cr_mod_int(m, "num_heads", 0), key = cr_mod_int(m, "key_dim", 0),
                  head = cr_mod_int(m, "head_dim", 0);
    cr_tensor *qkv[3];
    if (!sane(net, m, (int64_t[]){heads, key, head}, 3)) return NULL;
    const int64_t split[4] = {1, heads, 2 * key + head, h * w}, sizes[3] = {key, key, head},
                  back[4] = {1, c, h, w};
    cr_tensor *all = cr_net_reshape(net, m, run(net, m, "qkv", x), split, 4);
    if (!cr_net_split(net, m, 2, all, sizes, 3, qkv)) return NULL;
    const double scale = cr_mod_float(m, "scale", 1 / sqrt((double)key));
    cr_tensor *y = attend(net, m, qkv[0], qkv[1], qkv[2], scale);
    cr_tensor *where = run(net, m, "pe", cr_net_reshape(net, m, qkv[2], back, 4));
    return run(net, m, "proj", add(net, m, cr_net_reshape(net, m, y, back, 4), where));
}

/* [areas, heads, d, n] -> [1, heads * d, H, W]: areas are bands of consecutive cells. */
static cr_tensor *from_areas(cr_net *net, const cr_mod *m, cr_tensor *x, const int64_t hwc[3])
{
    static const int64_t cells_first[4] = {0, 3, 1, 2}, channels_first[4] = {0, 3, 1, 2};
    const int64_t dims[4] = {1, hwc[0], hwc[1], hwc[2]};
    x = cr_net_reshape(net, m, cr_net_transpose(net, m, x, cells_first, 4), dims, 4);
    return cr_net_transpose(net, m, x, channels_first, 4);
}

/* Area attention: cells look only at those of their own band. */
static cr_tensor *area_attention(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    static const int64_t flat[3] = {0, 2, 1}, heads_first[4] = {0, 2, 3, 1};
    const int64_t h = cr_net_dim(x, 2), w = cr_net_dim(x, 3), cells = h * w;
    const int64_t heads = cr_mod_int(m, "num_heads", 0), head = cr_mod_int(m, "head_dim", 0),
                  areas = cr_mod_int(m, "area", 1);
    cr_tensor *qkv[3];
    if (!sane(net, m, (int64_t[]){heads, head, areas}, 3)) return NULL;
    if (cells % areas)
        return cr_net_fail(net, CR_ERR_ARGUMENT,
                           "%s: %lld cells in %lld areas: choose another --imgsz", m->path,
                           (long long)cells, (long long)areas);
    const int64_t all = heads * head, hwc[3] = {h, w, all}, sizes[3] = {head, head, head},
                  joined[3] = {1, 3 * all, cells},
                  apart[4] = {areas, cells / areas, heads, 3 * head};
    cr_tensor *y = cr_net_reshape(net, m, run(net, m, "qkv", x), joined, 3);
    y = cr_net_reshape(net, m, cr_net_transpose(net, m, y, flat, 3), apart, 4);
    y = cr_net_transpose(net, m, y, heads_first, 4);
    if (!cr_net_split(net, m, 2, y, sizes, 3, qkv)) return NULL;
    y = attend(net, m, qkv[0], qkv[1], qkv[2], 1 / sqrt((double)head));
    cr_tensor *v = from_areas(net, m, qkv[2], hwc);
    y = add(net, m, from_areas(net, m, y, hwc), run(net, m, "pe", v));
    return run(net, m, "proj", y);
}

static cr_tensor *area_block(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    x = add(net, m, x, run(net, m, "attn", x));
    return add(net, m, x, run(net, m, "mlp", x));
}

static cr_tensor *psa_block(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    const bool residual = cr_mod_int(m, "add", 1) != 0;
    cr_tensor *y = run(net, m, "attn", x);
    if (residual) y = add(net, m, x, y);
    cr_tensor *z = run(net, m, "ffn", y);
    return residual ? add(net, m, y, z) : z;
}

static cr_tensor *psa(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2];
    if (!cr_net_halves(net, m, run(net, m, "cv1", x), parts)) return NULL;
    parts[1] = add(net, m, parts[1], run(net, m, "attn", parts[1]));
    parts[1] = add(net, m, parts[1], run(net, m, "ffn", parts[1]));
    return run(net, m, "cv2", cr_net_concat(net, m, 1, parts, 2));
}

static cr_tensor *c2psa(cr_net *net, const cr_mod *m, cr_tensor *x)
{
    cr_tensor *parts[2];
    if (!cr_net_halves(net, m, run(net, m, "cv1", x), parts)) return NULL;
    parts[1] = run(net, m, "m", parts[1]);
    return run(net, m, "cv2", cr_net_concat(net, m, 1, parts, 2));
}

cr_forward cr_torch_attention(const char *name)
{
    static const cr_module_class classes[] = {
        {"AAttn", area_attention}, {"ABlock", area_block}, {"Attention", attention},
        {"C2PSA", c2psa},          {"PSA", psa},           {"PSABlock", psa_block},
    };
    return cr_torch_find(classes, sizeof classes / sizeof *classes, name);
}
