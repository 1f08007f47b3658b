/* The graph: tensors, nodes, weights, metadata. No trace of quantization (that is the recipe).
 *
 * A graph is in SSA form: every tensor is written by at most one node, and `nodes` is a topological
 * order. Tensors and nodes live in the graph's arena, so pointers to them stay valid until
 * cr_graph_free; weight data are aligned blocks owned by their tensor.
 *
 * Nodes are canonical: whatever opset a file has, its reader rewrites each node to the newest form
 * of its operator (what was an attribute in opset 7 and is an input today, is an input here), so
 * that shape inference, the reference operators and the compiler know one form only. */
#ifndef CR_GRAPH_GRAPH_H
#define CR_GRAPH_GRAPH_H

#include "base/mem.h"
#include "crayon/status.h"

enum { CR_MAX_RANK = 8 };

typedef enum cr_dtype {
    CR_DT_NONE = 0,
#define CR_DTYPE(name, key, onnx, bytes, is_float, is_signed) CR_DT_##name,
#include "graph/dtypes.inc"
#undef CR_DTYPE
    CR_DT_COUNT
} cr_dtype;

const char *cr_dtype_key(cr_dtype t);           /* "float32"; "?" for none */
size_t cr_dtype_size(cr_dtype t);               /* bytes per element; 0 for none */
bool cr_dtype_is_float(cr_dtype t);
bool cr_dtype_is_signed(cr_dtype t);
int cr_dtype_to_onnx(cr_dtype t);               /* TensorProto.DataType */
cr_dtype cr_dtype_from_onnx(int number);        /* CR_DT_NONE if we do not have it */
cr_dtype cr_dtype_from_key(const char *key);    /* CR_DT_NONE if unknown */

/* rank -1: nothing is known. dim -1: that one is unknown. Rank 0: a scalar. */
typedef struct cr_shape {
    int rank;
    int64_t dim[CR_MAX_RANK];
} cr_shape;

static inline cr_shape cr_shape_unknown(void) { return (cr_shape){.rank = -1}; }
bool cr_shape_known(const cr_shape *s);                       /* rank and all dims known */
/* Elements; -1 when unknown, when a dim is negative or when the product exceeds 2^40. */
int64_t cr_shape_count(const cr_shape *s);
bool cr_shape_equal(const cr_shape *a, const cr_shape *b);
/* "1x3x640x640", "?" for unknown dims, "scalar", "unknown"; writes at most n bytes, returns buf. */
const char *cr_shape_text(const cr_shape *s, char *buf, size_t n);

typedef struct cr_node cr_node;

typedef struct cr_tensor {
    const char *name;    /* never NULL, unique in the graph */
    cr_dtype dtype;      /* CR_DT_NONE until inferred */
    cr_shape shape;
    void *data;          /* constant payload, row-major, aligned; NULL for activations */
    int id;              /* index in graph->tensors */
    cr_node *producer;   /* NULL for graph inputs and constants; kept by cr_graph_index */
    int uses;            /* consuming node inputs plus graph outputs; kept by cr_graph_index */
} cr_tensor;

static inline bool cr_tensor_is_const(const cr_tensor *t) { return t->data != NULL; }

typedef enum cr_attr_type {
    CR_ATTR_INT, CR_ATTR_FLOAT, CR_ATTR_STRING, CR_ATTR_INTS, CR_ATTR_FLOATS, CR_ATTR_STRINGS,
    CR_ATTR_TENSOR
} cr_attr_type;

typedef struct cr_attr {
    const char *name;
    cr_attr_type type;
    size_t count;        /* of ints, floats, strings; length of a string */
    union {
        int64_t i;
        float f;
        const char *s;   /* 0-terminated copy */
        int64_t *ints;
        float *floats;
        const char **strings;
        cr_tensor *tensor; /* constant that is not listed in graph->tensors */
    };
} cr_attr;

/* One line per operator in ops.inc. */
typedef enum cr_op_kind {
    CR_OP_NONE = 0,
#define CR_OP(name, domain, stem, min_in, max_in, min_out, max_out, flags) CR_OP_##name,
#include "graph/ops.inc"
#undef CR_OP
    CR_OP_COUNT
} cr_op_kind;

enum {
    CR_OPF_NONE = 0,
    CR_OPF_UNARY = 1,    /* one tensor in, each element mapped alone: can become a table */
    CR_OPF_MATH = 2,     /* elementwise math on one or more tensors */
    CR_OPF_MOVE = 4,     /* moves or selects values of input 0 (Concat: all inputs) unchanged */
    CR_OPF_HEAVY = 8,    /* has weights: convolutions, gemm, matmul */
    CR_OPF_QUANT = 16,   /* speaks integers: Q/DQ, QLinear..., ...Integer */
    CR_OPF_REDUCE = 32   /* reductions, softmax, pooling by average, norms, sorting */
};

struct cr_op_call;
typedef struct cr_op_def {
    cr_op_kind kind;
    const char *name, *domain;  /* domain "" is ai.onnx; "crayon" are our own fused ones */
    int min_in, max_in, min_out, max_out; /* max -1: any number */
    unsigned flags;
    cr_status (*infer)(const struct cr_op_call *call, cr_error *err);
} cr_op_def;

const cr_op_def *cr_op_find(const char *domain, const char *name); /* NULL if we do not have it */
const cr_op_def *cr_op_get(cr_op_kind kind);

struct cr_node {
    const char *name;    /* never NULL; may be "" only before cr_graph_index names it */
    const cr_op_def *op;
    cr_tensor **in;      /* n_in; NULL where an optional input is absent */
    cr_tensor **out;     /* n_out; NULL where an optional output is absent */
    int n_in, n_out;
    cr_attr *attrs;
    int n_attrs;
    int index;           /* position in graph->nodes */
};

/* What shape inference and the reference operators get: the node's attributes, its inputs and its
 * outputs. Infer: an input's `data` is set if it is known (constant, or at run time); set dtype and
 * shape of every non-NULL output (shape.rank = -1 when it depends on data that is not there); check
 * everything that a hostile file could get wrong (ranks, axes, counts, dtypes, overflow), because
 * eval trusts what infer accepted. Eval: every input has data and a known shape, every output has
 * the dtype and shape that infer gave WITH these data, and room for its elements. */
typedef struct cr_op_call {
    const cr_node *node;
    const cr_tensor *const *in;
    cr_tensor *const *out;
    int n_in, n_out;
} cr_op_call;

typedef struct cr_graph {
    cr_arena arena;
    const char *name;
    cr_tensor **tensors;
    size_t tensor_count, tensor_cap;
    cr_node **nodes;
    size_t node_count, node_cap;
    cr_tensor **inputs, **outputs;
    size_t input_count, output_count;
    int source_opset;    /* ai.onnx opset of the file it came from; 0 if none */
    int source_ir;
    const char *producer;
    const char **meta;   /* key, value, key, value ... */
    size_t meta_count;   /* pairs */
    bool weights_given;  /* to a program (cr_program_options.take_weights): constants lack their data */
} cr_graph;

/* CR_ERR_ARGUMENT for a graph whose weights were given away. */
cr_status cr_graph_has_weights(const cr_graph *g, cr_error *err);

cr_status cr_graph_create(cr_graph **out, cr_error *err);
void cr_graph_free(cr_graph **g);

/* All of these return NULL when memory runs out. Names are copied. */
cr_tensor *cr_graph_add_tensor(cr_graph *g, const char *name, cr_dtype dtype, cr_shape shape);
/* A constant with room for its elements (zeroed); shape must be known. */
cr_tensor *cr_graph_add_const(cr_graph *g, const char *name, cr_dtype dtype, cr_shape shape);
/* A tensor whose name is made unique from `stem`. */
cr_tensor *cr_graph_new_tensor(cr_graph *g, const char *stem, cr_dtype dtype, cr_shape shape);
cr_tensor *cr_graph_new_const(cr_graph *g, const char *stem, cr_dtype dtype, cr_shape shape);
cr_tensor *cr_graph_const_i64(cr_graph *g, const char *stem, const int64_t *values, size_t n); /* [n] */
cr_tensor *cr_graph_const_f32(cr_graph *g, const char *stem, float value);                     /* scalar */
/* Appends a node with room for inputs/outputs (NULLs) and n_attrs attributes (zeroed). */
cr_node *cr_graph_add_node(cr_graph *g, cr_op_kind kind, const char *name, int n_in, int n_out,
                           int n_attrs);
cr_tensor *cr_graph_find(const cr_graph *g, const char *name); /* linear; NULL if absent */
const char *cr_graph_meta(const cr_graph *g, const char *key); /* NULL if absent */
bool cr_graph_set_meta(cr_graph *g, const char *key, const char *value);

/* Gives a tensor a data block (zeroed) for its dtype and shape. False: no memory or unknown shape. */
bool cr_tensor_alloc(cr_tensor *t);
void cr_tensor_drop_data(cr_tensor *t);
size_t cr_tensor_bytes(const cr_tensor *t); /* 0 when the shape is unknown */

/* Recomputes producer, uses and node->index, sorts nodes topologically (stable: file order is kept
 * where it is one), names nodes without a name. Fails on cycles, on a tensor written twice and on
 * one that is read but never written. */
cr_status cr_graph_index(cr_graph *g, cr_error *err);

/* Runs shape inference over all nodes; data of constants are visible to it. */
cr_status cr_graph_infer(cr_graph *g, cr_error *err);
/* The same for one node: argument counts, operator rule, limits on what it gave. */
cr_status cr_node_infer(const cr_node *n, cr_error *err);

/* Multiply-adds of a convolution, gemm or matrix product; 0 for other nodes and unknown shapes. */
uint64_t cr_node_macs(const cr_node *n);

/* Attribute access with a default; the type must fit, else the default is returned. */
const cr_attr *cr_attr_find(const cr_node *n, const char *name);
int64_t cr_attr_int(const cr_node *n, const char *name, int64_t fallback);
float cr_attr_float(const cr_node *n, const char *name, float fallback);
const char *cr_attr_string(const cr_node *n, const char *name, const char *fallback);
/* The list and its length; NULL and 0 if absent. */
const int64_t *cr_attr_ints(const cr_node *n, const char *name, size_t *count);
const float *cr_attr_floats(const cr_node *n, const char *name, size_t *count);

/* Building attributes (for readers and passes); a is one of node->attrs. False: no memory. */
void cr_attr_set_int(cr_attr *a, const char *name, int64_t value);
void cr_attr_set_float(cr_attr *a, const char *name, float value);
bool cr_attr_set_string(cr_graph *g, cr_attr *a, const char *name, const char *value);
bool cr_attr_set_ints(cr_graph *g, cr_attr *a, const char *name, const int64_t *v, size_t count);

/* float16 / bfloat16 conversions, round to nearest even. */
float cr_f16_to_f32(uint16_t h);
uint16_t cr_f32_to_f16(float f);
float cr_bf16_to_f32(uint16_t h);
uint16_t cr_f32_to_bf16(float f);

/* Element i of a constant, converted; for shapes, axes, scales. */
int64_t cr_tensor_get_i64(const cr_tensor *t, size_t i);
double cr_tensor_get_f64(const cr_tensor *t, size_t i);

#endif
