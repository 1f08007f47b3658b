/* The recipe: for each tensor that is quantized, how. The planner writes it; compiler, reference
 * and exporters only read it. It lies beside the graph (not in quant/) because every format reader
 * and writer needs it and must not depend on the planner.
 *
 * Meaning of an entry on an activation T: T is stored as integers when it is produced, and every
 * reader sees dequantize(quantize(T)). No entry: T is float. Meaning of an entry on a weight: the
 * operator uses dequantize(quantize(W)). The bias of a convolution or Gemm whose input and weight
 * have entries is rounded at scale sa*sw[c] to int32; it needs no entry. Arithmetic: crayon/arith.h.
 *
 * A dynamic entry on T concerns only the convolutions and gemms that read T and have an 8-bit weight
 * entry: those read codes and add their bias as a float behind the product of scales. All other
 * readers see T as it is. */
#ifndef CR_GRAPH_RECIPE_H
#define CR_GRAPH_RECIPE_H

#include "graph/graph.h"

typedef struct cr_qparams {
    cr_dtype type;        /* I8, U8, I16, U16; weights also I4, U4, I2, U2 and I1 (-1 and +1) */
    int axis;             /* -1: one scale for all; else the axis that the scales run along */
    size_t count;         /* scales: 1, or the size of that axis, or see block */
    float *scale;         /* > 0, finite */
    int32_t *zero_point;  /* within the codes' range; 0 for I1 */
    int64_t block;        /* weights: 0, or so many neighbours along `axis` share a scale. Scales then
                             have the tensor's shape with that axis divided by block, rounded up
                             (row-major; ONNX's blocked form, opset 21) */
    int32_t lo, hi;       /* weights: the codes that rounding may give; both 0: all of the type.
                             -1..1 of I2 is ternary, -63..63 of I8 has seven bits. A file does not
                             tell it: entries read from one have 0, 0 */
    bool dynamic;         /* activations: scale and zero point follow from the values of each run as
                             ONNX's DynamicQuantizeLinear says; type U8, one scale, which is 1 here */
} cr_qparams;

typedef struct cr_recipe_entry {
    const char *tensor;
    bool is_weight;
    cr_qparams q;
    const char *note;     /* why, in a few words ("conv input, mse"); may be "" */
} cr_recipe_entry;

/* A constant of the float graph whose values the plan replaced: weights rounded by a better rule than
 * to the nearest, corrected biases, equalized weights. Where the tensor has an entry the values lie
 * on its grid, so that plain quantization of them gives the chosen codes. */
typedef struct cr_recipe_value {
    const char *tensor;
    cr_shape shape;       /* equal to the tensor's */
    float *data;          /* row-major, finite */
} cr_recipe_value;

/* A change of the float graph that keeps the function which it computes (but for rounding). Steps
 * are replayed in order (rewrite.c), values are put in afterwards, so both may name tensors that an
 * earlier step made. */
typedef enum cr_rewrite_kind {
    CR_REWRITE_BRANCH, /* result = tensor * factor[c] along axis 1, or tensor itself without factors */
    CR_REWRITE_SPLIT,  /* result = tensor with the listed channels once more at the end (axis 1), for
                          one convolution: its weights of these channels are halved and repeated */
    CR_REWRITE_RESTORE, /* tensor = result * factor[c] along an axis: what made it makes `result` */
    CR_REWRITE_GROUPS, /* what depthwise convolutions read falls into tensors of like channels
                          (channel_groups.h); `result` is a word for people */
    CR_REWRITE_OUTPUTS /* the graph ends at the tensors `readers` (the first is `tensor`); `result` is
                          a description of them, which goes into the metadata CR_META_BRANCHES */
} cr_rewrite_kind;

#define CR_META_BRANCHES "crayon.branches"

typedef struct cr_rewrite {
    cr_rewrite_kind kind;
    const char *tensor, *result;
    const char **readers;  /* first outputs of the nodes that read `result` from now on; none: all */
    size_t reader_count;
    float *factor;         /* BRANCH, RESTORE: by channel, finite and not 0 */
    size_t factor_count;
    int64_t *channel;      /* SPLIT; RESTORE: the axis, one number; GROUPS: how many, their sizes, and the
                              channels of each */
    size_t channel_count;
} cr_rewrite;

/* What is to be said of a tensor's place in the plan, for people (quant/explain.h); an entry says its own
 * reason. Nothing that runs reads it. */
typedef struct cr_recipe_place {
    const char *tensor;
    bool is_weight;
    const char *shape;    /* "1x64x80x80" */
    const char *op, *node; /* what makes it; of a weight: what reads it; "" for an input of the graph */
    const char *role;     /* of that node: "input", "body", "decode", what a last convolution gives */
    const char *why;      /* it has no entry; "" if it has one */
} cr_recipe_place;

typedef struct cr_recipe {
    cr_arena arena;
    cr_recipe_entry *entries;
    size_t count, cap;
    cr_recipe_value *values;
    size_t value_count, value_cap;
    cr_rewrite *rewrites;
    size_t rewrite_count, rewrite_cap;
    cr_recipe_place *places; /* in the order of the graph */
    size_t place_count, place_cap;
    const char **facts;   /* provenance: key, value, ... ("calibration", "mse", ...) */
    size_t fact_count;    /* pairs */
} cr_recipe;

cr_status cr_recipe_create(cr_recipe **out, cr_error *err);
void cr_recipe_release(cr_recipe **r);

/* Adds an entry (strings and arrays are copied). A second one for the same tensor is an error, as
 * are scales that are not positive and finite and zero points outside the type. */
cr_status cr_recipe_add(cr_recipe *r, const char *tensor, bool is_weight, const cr_qparams *q,
                        const char *note, cr_error *err);
/* Appends a copy; NULL strings become "". false: no memory. */
bool cr_recipe_add_place(cr_recipe *r, const cr_recipe_place *place);
bool cr_recipe_set_fact(cr_recipe *r, const char *key, const char *value);

/* Replaces the values of a constant (a second time too). `data` is copied.
 * CR_ERR_FORMAT: a value is not finite. */
cr_status cr_recipe_set_value(cr_recipe *r, const char *tensor, const cr_shape *shape,
                              const float *data, cr_error *err);
const cr_recipe_value *cr_recipe_find_value(const cr_recipe *r, const char *tensor);
/* Appends a step (everything is copied); checks what can be checked without a graph. */
cr_status cr_recipe_add_rewrite(cr_recipe *r, const cr_rewrite *step, cr_error *err);
/* Does the recipe speak of a graph other than the float one: has it steps or values? */
bool cr_recipe_changes_graph(const cr_recipe *r);
/* A copy of the float graph g with the recipe's steps replayed and its values put in: the graph that
 * the entries speak of. Steps and values that do not fit g are CR_ERR_ARGUMENT and name the tensor.
 * The caller owns *out. */
cr_status cr_recipe_apply(const cr_recipe *r, const cr_graph *g, cr_graph **out, cr_error *err);

/* entries by tensor id of g: found[t->id] is the tensor's entry or NULL. The caller frees the array
 * with cr_free. Checks each entry against its tensor (float32, constant or not, axis, count); names
 * that are not in the graph are an error. r may be NULL: all NULL. */
cr_status cr_recipe_bind(const cr_recipe *r, const cr_graph *g, const cr_recipe_entry ***found,
                         cr_error *err);

/* Smallest and largest value of an integer type; false if it cannot be a quantized type. */
bool cr_qtype_range(cr_dtype type, int32_t *lo, int32_t *hi);
/* The codes that rounding may give: q->lo..hi, or the type's range. */
void cr_q_range(const cr_qparams *q, int32_t *lo, int32_t *hi);

/* Products per output up to which convolutions of 16-bit codes run on integers. */
enum { CR_Q_WIDE_PRODUCTS = 32768 };

static inline bool cr_q_per_tensor(const cr_qparams *q) { return q->axis < 0 || q->count == 1; }
/* Do the codes of a weight fit int8: I8, I4, I2, I1? */
static inline bool cr_q_int8_codes(cr_dtype type)
{
    return type == CR_DT_I8 || type == CR_DT_I4 || type == CR_DT_I2 || type == CR_DT_I1;
}
/* Do they fit a byte, signed or not? */
static inline bool cr_q_byte_codes(cr_dtype type)
{
    return cr_q_int8_codes(type) || type == CR_DT_U8 || type == CR_DT_U4 || type == CR_DT_U2;
}
/* Does an entry of this form fit a tensor of this shape (axis, number of scales)? */
bool cr_q_fits(const cr_qparams *q, const cr_shape *s);

/* Where the scales of a tensor's elements are: element [o][a][i] of outer x length x inner (row-major
 * around the axis) has scale `a`; with blocks, scale (o * blocks + a / block) * inner + i. */
typedef struct cr_q_grain {
    int64_t outer, length, inner, block, blocks;
} cr_q_grain;

/* q fits s. */
cr_q_grain cr_q_grain_of(const cr_qparams *q, const cr_shape *s);
/* The scale of the first element of run [o][a]; the others have the same, or with blocks the next. */
static inline size_t cr_q_first_scale(const cr_q_grain *g, int64_t o, int64_t a)
{
    return (size_t)(g->block ? (o * g->blocks + a / g->block) * g->inner : a);
}

/* Code of x at scale k: clamp(round_half_even(x / s) + z), the sign for I1. */
int32_t cr_q_code(const cr_qparams *q, size_t k, float x);

/* Integer codes of a float tensor, row-major, one int32 per element (any type), by cr_q_code.
 * `codes` has room for the tensor's elements. */
void cr_quantize_tensor(const cr_tensor *t, const cr_qparams *q, int32_t *codes);
/* out[i] = dequantize(quantize(x[i])); out may be the tensor's own data. */
void cr_fake_quantize(const cr_tensor *t, const cr_qparams *q, float *out);

#endif
