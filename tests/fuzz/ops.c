/* fuzz-ops N [SEED]: throws N random nodes at shape inference and at the reference operators.
 * Types, ranks, sizes (0 among them), attribute values and data are drawn so that most nodes are
 * nearly right: one in a few is accepted and evaluated. What counts is that nothing crashes, reads
 * or writes outside its buffers (run it under the sanitizers) and that every refusal has a text.
 * Prints how many nodes each operator accepted, so that a generator gone blind shows. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/graph.h"
#include "ops/ref.h"

enum { MAX_BYTES = 1 << 20, MAX_INPUTS = 9 };

typedef struct fuzz_case {
    cr_graph *graph;
    cr_node *node;
    cr_dtype dtype; /* the one that most inputs have */
} fuzz_case;

static cr_rng rng;

static int64_t pick(int64_t from, int64_t to)
{
    return from + (int64_t)(cr_rng_u64(&rng) % (uint64_t)(to - from + 1));
}

static bool chance(int one_in)
{
    return pick(1, one_in) == 1;
}

static int64_t pick_int(void)
{
    static const int64_t odd[] = {INT64_MAX, INT64_MIN,        INT32_MAX, INT32_MIN,
                                  64,        (int64_t)1 << 40, 255,       1000};
    if (chance(12)) return odd[pick(0, 7)];
    return chance(3) ? pick(-4, 9) : pick(0, 3);
}

static float pick_float(void)
{
    static const float odd[] = {0.0f, -0.0f, 1e38f, -1e38f, 1e-40f, 1.0f / 3};
    if (chance(12)) return chance(2) ? odd[pick(0, 5)] : 1e38f * 1e38f * (chance(2) ? 1 : 0);
    return (float)pick(-40, 40) / 8;
}

static cr_dtype pick_dtype(void)
{
    static const cr_dtype common[] = {CR_DT_F32, CR_DT_F32, CR_DT_I64, CR_DT_U8, CR_DT_I8};
    return chance(2) ? common[pick(0, 4)] : (cr_dtype)pick(1, CR_DT_COUNT - 1);
}

static cr_shape pick_shape(void)
{
    cr_shape s = {.rank = chance(4) ? 4 : chance(8) ? (int)pick(0, CR_MAX_RANK) : (int)pick(1, 4)};
    const int64_t same = pick(1, 4);
    for (int i = 0; i < s.rank; i++) s.dim[i] = chance(2) ? same : chance(15) ? 0 : pick(1, 6);
    return s;
}

static void fill(cr_tensor *t, bool small)
{
    const int64_t n = cr_shape_count(&t->shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t whole = small ? pick(chance(3) ? -2 : 0, 3) : pick_int();
        const float real = pick_float();
        char *p = (char *)t->data + (size_t)i * cr_dtype_size(t->dtype);
        if (t->dtype == CR_DT_F32)
            memcpy(p, &real, sizeof real);
        else if (t->dtype == CR_DT_F64)
            memcpy(p, &(double){real}, sizeof(double));
        else if (t->dtype == CR_DT_F16)
            memcpy(p, &(uint16_t){cr_f32_to_f16(real)}, 2);
        else if (t->dtype == CR_DT_BF16)
            memcpy(p, &(uint16_t){cr_f32_to_bf16(real)}, 2);
        else
            memcpy(p, &whole, cr_dtype_size(t->dtype)); /* the low bytes */
    }
}

/* A shape close to what the last ones were, so that inputs often fit together. */
static cr_shape vary(cr_shape s)
{
    if (chance(5)) return pick_shape();
    if (chance(4) && s.rank) s.rank--;
    if (chance(4) && s.rank) s.dim[pick(0, s.rank - 1)] = pick(1, 4);
    if (chance(5)) s = (cr_shape){.rank = 0};
    return s;
}

static cr_tensor *pick_input(fuzz_case *c, int i, cr_shape like)
{
    char name[16];
    const bool list = i > 0 && chance(2); /* shapes, axes, indices and their kind */
    snprintf(name, sizeof name, "in%d", i);
    cr_dtype dtype = list ? (chance(6) ? CR_DT_I32 : CR_DT_I64) : c->dtype;
    cr_shape shape = i == 0 ? like : vary(like);
    if (list && chance(2)) shape = (cr_shape){1, {chance(4) ? pick(0, 8) : like.rank}};
    if (chance(12)) dtype = pick_dtype();
    cr_tensor *t = cr_graph_add_const(c->graph, name, dtype, shape);
    if (t) fill(t, list);
    return t;
}

static const char *const int_names[] = {"axis",
                                        "keepdims",
                                        "to",
                                        "blocksize",
                                        "k",
                                        "fmod",
                                        "batch_dims",
                                        "num_outputs",
                                        "allowzero",
                                        "start",
                                        "end",
                                        "largest",
                                        "upper",
                                        "exclusive",
                                        "reverse",
                                        "time_axis",
                                        "batch_axis",
                                        "group",
                                        "ceil_mode",
                                        "count_include_pad",
                                        "p",
                                        "size",
                                        "num_groups",
                                        "transA",
                                        "transB",
                                        "antialias",
                                        "noop_with_empty_axes",
                                        "block_size",
                                        "output_dtype",
                                        "select_last_index",
                                        "dtype",
                                        "sorted",
                                        "align_corners",
                                        "center_point_box",
                                        "storage_order",
                                        "stash_type",
                                        "exclude_outside"};
static const char *const list_names[] = {"perm",         "pads",      "strides",
                                         "kernel_shape", "dilations", "output_padding",
                                         "output_shape", "axes"};
static const char *const word_names[] = {"mode",
                                         "direction",
                                         "reduction",
                                         "auto_pad",
                                         "approximate",
                                         "equation",
                                         "coordinate_transformation_mode",
                                         "nearest_mode",
                                         "padding_mode",
                                         "keep_aspect_ratio_policy"};
static const char *const words[] = {"constant",      "reflect",
                                    "edge",          "wrap",
                                    "DCR",           "CRD",
                                    "LEFT",          "RIGHT",
                                    "add",           "mul",
                                    "max",           "min",
                                    "none",          "tanh",
                                    "SAME_UPPER",    "SAME_LOWER",
                                    "VALID",         "linear",
                                    "cubic",         "nearest",
                                    "bilinear",      "bicubic",
                                    "ij,jk->ik",     "...i->i...",
                                    "ii->",          "asymmetric",
                                    "align_corners", "floor",
                                    "zeros",         "border",
                                    "reflection",    "tf_crop_and_resize",
                                    "not_larger",    "pytorch_half_pixel",
                                    "half_pixel",    "half_pixel_symmetric"};

#define COUNT(a) ((int64_t)(sizeof(a) / sizeof *(a)))

static void pick_attr(fuzz_case *c, cr_attr *a)
{
    static const char *const reals[] = {"alpha", "beta", "gamma", "epsilon", "bias", "lambd"};
    static const char *const tensors[] = {"value"};
    int64_t list[8];
    switch (pick(0, 9)) {
    case 0:
        cr_attr_set_float(a, reals[pick(0, COUNT(reals) - 1)], pick_float());
        return;
    case 1:
    case 2:
        for (int i = 0; i < 8; i++) list[i] = pick_int();
        cr_attr_set_ints(c->graph, a, list_names[pick(0, COUNT(list_names) - 1)], list,
                         (size_t)pick(0, 6));
        return;
    case 3:
    case 4:
    case 5:
        cr_attr_set_string(c->graph, a, word_names[pick(0, COUNT(word_names) - 1)],
                           words[pick(0, COUNT(words) - 1)]);
        return;
    case 6:
        *a = (cr_attr){.name = tensors[0], .type = CR_ATTR_TENSOR};
        a->tensor = cr_graph_new_const(c->graph, "value", pick_dtype(), pick_shape());
        return;
    default:
        cr_attr_set_int(a, int_names[pick(0, COUNT(int_names) - 1)], pick_int());
        return;
    }
}

/* The attribute without which an operator refuses everything. */
static void pick_needed(fuzz_case *c, cr_op_kind kind, cr_attr *a)
{
    switch (kind) {
    case CR_OP_Concat:
        cr_attr_set_int(a, "axis", pick(-1, 2));
        break;
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
        cr_attr_set_int(a, "blocksize", pick(1, 2));
        break;
    case CR_OP_BitShift:
        cr_attr_set_string(c->graph, a, "direction", chance(2) ? "LEFT" : "RIGHT");
        break;
    case CR_OP_Cast:
        cr_attr_set_int(a, "to", pick(1, 22));
        break;
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
    case CR_OP_LpPool:
        cr_attr_set_ints(c->graph, a, "kernel_shape", (int64_t[]){pick(1, 3), pick(1, 3)}, 2);
        break;
    case CR_OP_Einsum:
        cr_attr_set_string(c->graph, a, "equation", chance(2) ? "...i->i..." : "ij,jk->ik");
        break;
    default:
        break;
    }
}

/* Draws a node of the given kind; false when memory ran out. */
static bool make_case(fuzz_case *c, cr_op_kind kind)
{
    const cr_op_def *op = cr_op_get(kind);
    const int max_in = op->max_in < 0 ? op->min_in + 3 : op->max_in;
    const int max_out = op->max_out < 0 ? 4 : op->max_out;
    const int n_in = (int)pick(op->min_in, max_in), n_out = (int)pick(op->min_out, max_out);
    c->dtype = pick_dtype();
    if (cr_graph_create(&c->graph, NULL) != CR_OK) return false;
    c->node = cr_graph_add_node(c->graph, kind, "n", n_in, n_out, (int)pick(chance(4) ? 0 : 1, 5));
    if (!c->node) return false;
    const cr_shape like = pick_shape();
    for (int i = 0; i < n_in; i++) {
        if (i >= op->min_in && chance(5)) continue;
        c->node->in[i] = pick_input(c, i, like);
        if (!c->node->in[i]) return false;
    }
    for (int i = 0; i < n_out; i++) {
        if (chance(20)) continue;
        c->node->out[i] = cr_graph_new_tensor(c->graph, "out", CR_DT_NONE, cr_shape_unknown());
    }
    for (int i = 0; i < c->node->n_attrs; i++) pick_attr(c, &c->node->attrs[i]);
    if (c->node->n_attrs && !chance(8)) pick_needed(c, kind, &c->node->attrs[0]);
    return true;
}

static size_t out_bytes(const cr_node *n)
{
    size_t sum = 0;
    for (int i = 0; i < n->n_out; i++) sum += n->out[i] ? cr_tensor_bytes(n->out[i]) : 0;
    return sum;
}

static bool ready(const cr_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] && cr_shape_count(&n->out[i]->shape) < 0) return false;
    return out_bytes(n) <= MAX_BYTES;
}

/* First without data (what a loader does), then with them, then the evaluation. */
static cr_status run_case(const fuzz_case *c, cr_error *err)
{
    cr_node *n = c->node;
    void *data[MAX_INPUTS];
    for (int i = 0; i < n->n_in; i++) {
        data[i] = n->in[i] ? n->in[i]->data : NULL;
        if (n->in[i] && chance(2)) n->in[i]->data = NULL;
    }
    (void)cr_node_infer(n, err);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i]) n->in[i]->data = data[i];
    const cr_status st = cr_node_infer(n, err);
    if (st != CR_OK) return st;
    if (!ready(n)) return CR_ERR_CANCELLED; /* not wrong, only large */
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] && !cr_tensor_alloc(n->out[i])) return CR_ERR_MEMORY;
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    return cr_op_eval(&call, err);
}

int main(int argc, char **argv)
{
    const long count = argc > 1 ? atol(argv[1]) : 20000;
    static long accepted[CR_OP_COUNT];
    long silent = 0, total = 0;
    cr_rng_seed(&rng, argc > 2 ? (uint64_t)atoll(argv[2]) : 1);
    for (long i = 0; i < count; i++) {
        const cr_op_kind kind = (cr_op_kind)(1 + i % (CR_OP_COUNT - 1));
        fuzz_case c = {0};
        cr_error err = {0};
        if (make_case(&c, kind)) {
            const cr_status st = run_case(&c, &err);
            accepted[kind] += st == CR_OK;
            total += st == CR_OK;
            if (st != CR_OK && st != CR_ERR_CANCELLED && !err.message[0]) {
                printf("%s: status %d without a message\n", c.node->op->name, (int)st);
                silent++;
            }
        }
        cr_graph_free(&c.graph);
    }
    for (int k = 1; k < CR_OP_COUNT; k++)
        if (!accepted[k]) printf("never accepted: %s\n", cr_op_get((cr_op_kind)k)->name);
    printf("%ld nodes, %ld accepted, %ld refused without a text\n", count, total, silent);
    return silent != 0;
}
