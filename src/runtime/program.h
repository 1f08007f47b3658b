/* Internal structures of compile and session; the design is told at the head of compile.c. */
#ifndef CR_RUNTIME_PROGRAM_H
#define CR_RUNTIME_PROGRAM_H

#include <stdatomic.h>

#include "base/threads.h"
#include "graph/graph.h"
#include "graph/recipe.h"
#include "kernels/act.h"
#include "kernels/conv.h"
#include "runtime/runtime.h"

enum { CR_PIXEL = 4 }; /* bytes of an NHWC pixel of 1 to 3 codes; the spare ones hold anything */

/* One representation of one tensor in memory. A tensor may have several (float and uint8, NCHW and
 * NHWC); conversion steps make one from another when a step asks for it. */
typedef struct cr_value {
    const cr_tensor *tensor;
    cr_dtype dtype;      /* element type in memory: F32, U8 (quantized), U16 (quantized, nhwc only, two
                            planes of bytes: kernels/rows.h), BF16 (nhwc only) or its own */
    bool nhwc;           /* rank 4 in rows of channels; else row-major as in ONNX */
    bool quantized;      /* codes: value = (code - zero_point) * scale */
    const void *fixed;   /* constants: where their data are; else NULL */
    bool dynamic;        /* shape known only at run time: lives on the heap, reference ops only */
    float scale;
    int32_t zero_point;  /* 0..255 (int8 tensors are kept shifted by 128) */
    const float *scales; /* by channel instead of those (nhwc only; U16: always); NULL: one for all */
    const int32_t *zeros;
    int root;            /* value that owns the memory (itself, or the one this is a view into) */
    int64_t offset;      /* elements from the root's start */
    int64_t rows, cols;  /* nhwc: pixels x channels; else 1 x elements */
    int64_t ld;          /* elements between rows */
    size_t bytes;        /* roots: size in the block */
    size_t place;        /* roots: offset in the block */
    int first, last;     /* roots: steps between which the memory is in use */
    int next;            /* next representation of the same tensor, or -1 */
} cr_value;

struct cr_session;
struct cr_step;
typedef cr_status (*cr_step_fn)(const struct cr_step *s, struct cr_session *session, cr_error *err);

typedef struct cr_step {
    cr_step_fn run;
    const char *what;       /* kernel or operator name for profiles: "conv_f32 avx512" */
    const cr_node *node;    /* NULL for conversions */
    int *in, *out;          /* value indices; -1 where absent */
    int n_in, n_out;
    void *op;               /* the step's own data */
    void (*free_op)(void *op);
    size_t scratch;         /* bytes of scratch it wants while running */
} cr_step;

struct cr_program {
    const cr_graph *graph;
    const cr_recipe_entry **entries; /* by tensor id */
    const cr_recipe_entry **live;    /* the dynamic ones, which are not among the entries */
    struct cr_live_codes *live_codes; /* made so far (lower_live.c) */
    size_t live_count, live_cap;
    cr_arena arena;
    cr_value *values;
    size_t value_count, value_cap;
    cr_step *steps;
    size_t step_count, step_cap;
    int *first_value;       /* by tensor id: head of its list of representations, or -1 */
    int *inputs, *outputs;  /* values of graph inputs (plain float32) and outputs (plain) */
    size_t block_bytes, scratch_bytes;
    int threads;            /* that scratch sizes were computed for */
    unsigned cpu;           /* flags that kernels were chosen by */
    bool *early;            /* by tensor id: has the entry of the Concat behind it; no observer sees it */
    bool *bf16;             /* by tensor id: float values are kept in bfloat16; NULL: none are */
    bool *packed;           /* by tensor id: a constant whose data no step reads any more */
    bool *fused;            /* by node index: swallowed by an earlier step */
};

/* ---- compile.c: what the lowering files use ---- */

/* Adds a representation of t; -1 without memory. Fills rows, cols, ld; it owns its memory. */
int cr_program_add_value(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc);
/* The first (primary) representation of t: the one its producer wrote. -1 if none yet. */
int cr_program_primary(const cr_program *p, const cr_tensor *t);
/* Takes `value` out of t's representations: nobody finds it by its tensor any more. */
void cr_program_hide_value(cr_program *p, const cr_tensor *t, int value);
/* Index of a representation in exactly this form; adds conversion steps if it must be made. `dtype`
 * F32 or U8, or the tensor's own for other types. */
cr_status cr_program_need(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc, int *value,
                          cr_error *err);
/* Appends a step with room for inputs and outputs (all -1); NULL without memory. */
cr_step *cr_program_add_step(cr_program *p, cr_step_fn run, const char *what, const cr_node *node,
                             int n_in, int n_out);
/* Declares what a step has just produced for t (float or own type), and quantizes it if the recipe
 * has an entry. To be called for every output of a lowered node. */
cr_status cr_program_finish(cr_program *p, const cr_tensor *t, int value, cr_error *err);
/* A new value for output tensor t in the form that a float step writes. */
cr_status cr_program_output(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc, int *value,
                            cr_error *err);
/* A U8 value for tensor t by its recipe entry (which cr_program_codes_entry gives). One scale per
 * channel wants nhwc. */
cr_status cr_program_output_u8(cr_program *p, const cr_tensor *t, bool nhwc, int *value,
                               cr_error *err);
const cr_recipe_entry *cr_program_entry(const cr_program *p, const cr_tensor *t);
/* The entry of t if it can be stored as bytes: per tensor, int8 or uint8; else NULL. */
const cr_recipe_entry *cr_program_byte_entry(const cr_program *p, const cr_tensor *t);
/* The same, or an entry with a scale per channel of a picture: bytes too, but in rows of channels and
 * only for those who know (depthwise convolutions; others ask for floats and get them dequantized). */
const cr_recipe_entry *cr_program_codes_entry(const cr_program *p, const cr_tensor *t);
/* The entry of a picture t if its codes are kept as U16: int16 or uint16, per tensor or per channel. */
const cr_recipe_entry *cr_program_wide_entry(const cr_program *p, const cr_tensor *t);
/* A value of t as the recipe wants it, in rows of channels: codes of 8 or 16 bits, or floats. */
cr_status cr_program_output_rows(cr_program *p, const cr_tensor *t, int *value, cr_error *err);
/* Do y's codes mean what those of x's channels from `first` on do? Then they pass as they are. */
bool cr_program_same_codes(const cr_program *p, const cr_tensor *x, const cr_tensor *y,
                           int64_t first);
/* Scale and zero point of a byte entry in the uint8 domain. */
void cr_byte_params(const cr_recipe_entry *e, float *scale, int32_t *zero_point);
/* The single reader of t when it is one node input and no graph output; else NULL. */
const cr_node *cr_program_only_reader(const cr_program *p, const cr_tensor *t);
/* t's float data with its weight entry applied (dequantize(quantize(W))), in the arena. */
cr_status cr_program_weights(cr_program *p, const cr_tensor *t, const float **out, cr_error *err);
bool cr_prefers_nhwc(const cr_program *p, const cr_tensor *t);
/* The kernels' name for what an activation node does; false if they have none. */
bool cr_node_activation(const cr_node *n, cr_act *act);

/* ---- one lowering per family; each sets *done when it has taken the node ---- */
cr_status cr_lower_conv(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_live(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_planes(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_head(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_flatten(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_spatial(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_elementwise(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_plain(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_convtranspose(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_gelu(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_math(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_matmul(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_pictures(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_reduce(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_sample(cr_program *p, const cr_node *n, bool *done, cr_error *err);
cr_status cr_lower_reference(cr_program *p, const cr_node *n, cr_error *err);
cr_status cr_lower_convert(cr_program *p, int from, int to, cr_error *err);
/* Do steps read this input only to change its type or layout, which they can do with a picture too? */
bool cr_reads_pixels(const cr_program *p, int input);
/* The value that a change of layout made this root value from; -1 if something else made it. */
int cr_layout_source(const cr_program *p, int root);
cr_status cr_lower_fake_quantize(cr_program *p, int from, int to, const cr_recipe_entry *e,
                                 cr_error *err);

/* The activation behind y, if nothing else needs what lies between: *act, and the tensor that is
 * written then. Else y. */
const cr_tensor *cr_program_fuse_activation(cr_program *p, const cr_tensor *y, cr_act *act);
/* Will a MatMul, the only reader of this Transpose, read its source instead? Then it is no step. */
bool cr_matmul_reads_transposed(const cr_program *p, const cr_node *transpose);

/* The geometry of a 2-D convolution of known shape; false for others. */
bool cr_conv_read_geometry(const cr_node *n, cr_conv_geometry *g);
/* Is n a 2-D convolution of floats with constant weights, which kernels take? */
bool cr_conv_is_fast(const cr_program *p, const cr_node *n);

/* ---- lower_bf16.c ---- */
/* Decides which tensors of a float program are kept in bfloat16. */
cr_status cr_program_mark_bf16(cr_program *p, cr_error *err);
/* How operators that move or make floats should write t in NHWC: F32 or BF16. */
cr_dtype cr_float_form(const cr_program *p, const cr_tensor *t);
/* y: what the step writes, behind the activation. */
cr_status cr_lower_conv_bf16(cr_program *p, const cr_node *n, const cr_conv_geometry *g,
                             const cr_act *act, const cr_tensor *y, cr_error *err);
/* Is it a first layer that rounds its pixels itself? */
bool cr_conv_bf16_takes_bytes(const cr_step *s);
cr_status cr_lower_add_bf16(cr_program *p, const cr_node *n, bool *done, cr_error *err);

/* ---- plan_memory.c ---- */
/* Gives every root value a place in one block so that values alive at the same time are apart. */
cr_status cr_program_plan(cr_program *p, cr_error *err);

/* ---- session.c: what steps use ---- */
/* A picture that stands for an input [1,3,H,W]; pixels NULL: none does. */
typedef struct cr_picture {
    const uint8_t *pixels; /* [H,W,3] */
    float mean[3], div[3]; /* value = (byte - mean) / div */
} cr_picture;

struct cr_session {
    cr_picture picture;   /* of input 0, for the next run */
    const cr_program *program;
    cr_pool *pool;
    unsigned char *block, *scratch;
    void **data;          /* by value: start of its elements */
    cr_tensor *shells;    /* by value: what reference operators see */
    const cr_observer *observer;
    struct cr_profile *profile; /* NULL: runs are not timed */
    bool owns_pool;
    atomic_bool cancel;   /* asked for; the run that sees it takes it back */
};

/* What its bytes mean: the subtraction and division that preprocessing does, in tables. */
void cr_picture_values(const cr_picture *p, float values[3][256]);
/* The picture that stands for this value in the run in progress; NULL: the value is what is read. */
const cr_picture *cr_session_picture(const cr_session *session, int value);

/* ---- profile.c: what the loop over steps uses ---- */
uint64_t cr_profile_now(void); /* nanoseconds */
void cr_profile_note(struct cr_profile *profile, size_t step, uint64_t ns);
void cr_profile_end_run(struct cr_profile *profile);
void cr_profile_free(struct cr_profile **profile);

/* Splits `rows` into pieces of at least `grain` rows and runs fn(ctx, first, count, worker). */
typedef void (*cr_rows_fn)(void *ctx, int64_t first, int64_t count, int worker);
void cr_session_rows(cr_session *s, int64_t rows, int64_t grain, cr_rows_fn fn, void *ctx);

#endif
