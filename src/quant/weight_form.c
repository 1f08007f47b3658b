#include "quant/weight_form.h"

#include <stdlib.h>

#include "base/error.h"

enum { AUTO_BLOCK = 64 };
static const double AUTO_SHARE = 10, AUTO_SHARE_FLOAT = 30;
static const double POINTWISE = 3; /* what a weight of a kernel of one tap counts for */

static int channel_axis(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    switch (n->op->kind) {
    case CR_OP_Conv: return 0;
    case CR_OP_ConvTranspose: return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 0 : 1;
    case CR_OP_MatMul: return w->rank == 2 ? 1 : -1;
    default: return -1;
    }
}

/* The weights' axis of input channels, -1: unknown. */
static int input_axis(const cr_node *n)
{
    const int rank = n->in[1]->shape.rank;
    switch (n->op->kind) {
    case CR_OP_Conv: return 1;
    case CR_OP_ConvTranspose: return 0;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 1 : 0;
    case CR_OP_MatMul: return rank >= 2 ? rank - 2 : -1;
    default: return -1;
    }
}

static cr_dtype type_of(cr_weight_type t)
{
    static const cr_dtype types[] = {
        [CR_WEIGHTS_INT8] = CR_DT_I8,   [CR_WEIGHTS_UINT8] = CR_DT_U8, [CR_WEIGHTS_INT16] = CR_DT_I16,
        [CR_WEIGHTS_INT4] = CR_DT_I4,   [CR_WEIGHTS_UINT4] = CR_DT_U4, [CR_WEIGHTS_INT2] = CR_DT_I2,
        [CR_WEIGHTS_UINT2] = CR_DT_U2,  [CR_WEIGHTS_INT1] = CR_DT_I1};
    return types[t];
}

static bool is_small(cr_dtype t)
{
    return t == CR_DT_I4 || t == CR_DT_U4 || t == CR_DT_I2 || t == CR_DT_U2 || t == CR_DT_I1;
}

/* A layer whose precision is given has that precision; the others follow `weights`. */
static cr_dtype layer_type(const cr_quantize_options *o, cr_layer_precision precision, bool precious)
{
    const cr_dtype asked = type_of(o->weights);
    if (precision == CR_LAYER_INT4) return asked == CR_DT_U4 ? CR_DT_U4 : CR_DT_I4;
    const bool eight =
        precision == CR_LAYER_INT8 || precision == CR_LAYER_INT16 || precious;
    return eight && is_small(asked) ? CR_DT_I8 : asked;
}

static bool has_float_activations(const cr_quantize_options *o)
{
    return o->mode == CR_MODE_WEIGHTS || o->activations == CR_ACTIVATIONS_FLOAT;
}

static int64_t block_of(const cr_quantize_options *o)
{
    if (o->block != CR_BLOCK_AUTO) return o->block;
    return has_float_activations(o) && o->granularity == CR_PER_CHANNEL ? AUTO_BLOCK : 0;
}

/* As many blocks as the longest allowed give, but of equal length where that is possible: OpenVINO's ONNX
 * reader takes no others (80 channels: 40 and 40, not 64 and 16). */
static int64_t even_block(int64_t length, int64_t block)
{
    const int64_t parts = (length + block - 1) / block;
    return length % parts ? block : length / parts;
}

cr_weight_form cr_weight_form_of(const cr_node *n, const cr_quantize_options *o,
                                 cr_layer_precision precision, bool precious)
{
    const int64_t block = block_of(o);
    cr_weight_form f = {.type = layer_type(o, precision, precious), .reduced = o->reduce_range};
    const int along = input_axis(n);
    f.axis = o->granularity == CR_PER_CHANNEL ? channel_axis(n) : -1;
    f.least_error = o->weight_scales == CR_SCALES_MSE ||
                    (o->weight_scales == CR_SCALES_AUTO && is_small(f.type));
    if (block && is_small(f.type) && along >= 0 && n->in[1]->shape.dim[along] >= block) {
        f.axis = along;
        f.block = o->block == CR_BLOCK_AUTO ? even_block(n->in[1]->shape.dim[along], block) : block;
    }
    return f;
}

/* ---- small layers ---- */

typedef struct sized {
    int64_t weights;
    double rank;
    int node;
} sized;

static int by_rank(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

/* Weights of a kernel's taps see much the same values, so rounding makes up for one by its neighbours:
 * a weight of a layer that has none costs some three times as much. */
static double rank_of(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    int64_t taps = 1;
    for (int d = 2; d < w->rank; d++) taps *= w->dim[d];
    return (double)cr_shape_count(w) / (taps == 1 ? POINTWISE : 1);
}

static double share_of(const cr_quantize_options *o)
{
    if (o->small_layers != CR_SMALL_LAYERS_AUTO) return o->small_layers;
    return has_float_activations(o) ? AUTO_SHARE_FLOAT : AUTO_SHARE;
}

cr_status cr_small_layers(const cr_graph *g, const bool *planned, const cr_quantize_options *o,
                          bool **small, cr_error *err)
{
    size_t n = 0;
    double all = 0, taken = 0;
    *small = cr_calloc(g->node_count + 1, sizeof **small);
    sized *list = cr_calloc(g->node_count + 1, sizeof *list);
    if (!*small || !list) {
        cr_free(list);
        return CR_NOMEM(err);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        if (!planned[i]) continue;
        list[n] = (sized){cr_shape_count(&g->nodes[i]->in[1]->shape), rank_of(g->nodes[i]), (int)i};
        all += (double)list[n++].weights;
    }
    if (n) qsort(list, n, sizeof *list, by_rank);
    for (size_t i = 0; i < n; i++) {
        taken += (double)list[i].weights;
        if (taken > all * share_of(o) / 100) break;
        (*small)[list[i].node] = true;
    }
    cr_free(list);
    return CR_OK;
}
