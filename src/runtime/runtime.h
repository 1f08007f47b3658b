/* The runtime as the rest of the library sees it: compile a graph with a recipe, run it, look at
 * what flows through. */
#ifndef CR_RUNTIME_RUNTIME_H
#define CR_RUNTIME_RUNTIME_H

#include "base/threads.h"
#include "crayon/profile.h"
#include "graph/graph.h"
#include "graph/recipe.h"

typedef struct cr_program cr_program;
typedef struct cr_session cr_session;

/* Compiles for `threads` threads (0: all cores) and the CPU levels in use. Graph and recipe (may be NULL: float)
 * must outlive the program. */
cr_status cr_program_create(const cr_graph *g, const cr_recipe *r, int threads, cr_program **out,
                            cr_error *err);

/* The same with options. bf16: floats between convolutions are kept in bfloat16 and multiplied so
 * (lower_bf16.c); no effect where anything is quantized. */
typedef struct cr_program_options {
    int threads;
    bool bf16;
    bool take_weights; /* constants that only a convolution reads, which has packed them, lose their
                          data in the end; the graph is good for nothing else then */
} cr_program_options;
cr_status cr_program_compile(const cr_graph *g, const cr_recipe *r, const cr_program_options *o,
                             cr_program **out, cr_error *err);
/* Has this CPU (as limited) instructions for bfloat16, so that such programs are faster? */
bool cr_program_bf16_native(void);
void cr_program_free(cr_program **p);

/* What a step has just written: `rows` rows of `cols` elements, `ld` elements apart. nhwc: a row is
 * a pixel [N*H*W] and its columns are channels; else one row holds the tensor in row-major order.
 * F32, BF16, or U8 codes with value = (code - zero_point) * scale, or U16 codes: rows of their high bytes,
 * and rows * ld bytes behind them those of their low bytes. */
typedef struct cr_view {
    const cr_tensor *tensor;
    cr_dtype dtype;
    const void *data;
    int64_t rows, cols, ld;
    bool nhwc;
    float scale;
    int32_t zero_point;
    const float *scales;  /* by column instead of those; NULL: one for all */
    const int32_t *zeros;
} cr_view;

typedef struct cr_observer {
    void (*see)(void *user, const cr_view *view);
    void *user;
} cr_observer;

/* A session is memory for one run at a time. The program must outlive it. pool NULL: the session
 * makes its own with as many threads as the program was compiled for; one that is given may not
 * have more. */
cr_status cr_session_open(const cr_program *p, cr_pool *pool, cr_session **out, cr_error *err);
/* Lets a picture, packed bytes [H,W,3], stand for the only input [1,3,H,W] in the next run: element
 * (c,y,x) is (byte - mean[c]) / div[c]. false if this program has no use for bytes (its first nodes
 * are no convolution, or it shows its values to an observer): fill the input then. The bytes are read while it runs. */
bool cr_session_put_picture(cr_session *s, const uint8_t *pixels, const float mean[3],
                            const float div[3]);

void cr_session_close(cr_session **s);

/* Input i: row-major, in the tensor's own type (float32 for pictures), to be filled before a run;
 * it keeps its content between runs. */
void *cr_session_input_data(cr_session *s, size_t i);
cr_status cr_session_execute(cr_session *s, cr_error *err);
/* Ends the run in progress, or the next one, with CR_ERR_CANCELLED between two steps. From any
 * thread or a signal handler. */
void cr_session_cancel(cr_session *s);
/* Output i after a run: a tensor owned by the session, valid until the next run. */
const cr_tensor *cr_session_output_tensor(const cr_session *s, size_t i);
/* Called after each step of later runs; NULL turns it off. Not copied. */
void cr_session_set_observer(cr_session *s, const cr_observer *o);
/* Copies what a view shows into `out` as float32 in the tensor's own (NCHW) order. */
void cr_view_to_f32(const cr_view *v, float *out);

/* Profiling (profile.c): later runs are timed step by step; the last `runs` of them are kept. */
cr_status cr_session_profile(cr_session *s, size_t runs, cr_error *err);
size_t cr_session_step_count(const cr_session *s);
/* Of step i; ns is the median over the runs kept, 0 before the first. */
cr_step_time cr_session_step(const cr_session *s, size_t i);
size_t cr_session_bytes(const cr_session *s); /* planned memory: activations and scratch */

/* The reference: runs node after node through the reference operators on row-major tensors, with
 * integer arithmetic where the recipe says so. Slow; defines what a session must give. `see` gets
 * every tensor that a node writes (as float32, entries applied). inputs[i]: row-major float32 for
 * graph input i. outputs[i]: caller's tensors (zeroed structs), freed with cr_tensor_drop_data. */
cr_status cr_reference_run(const cr_graph *g, const cr_recipe *r, const float *const *inputs,
                           cr_tensor *outputs, const cr_observer *observer, cr_error *err);

/* One float tensor that the reference has computed: before and after its entry's rounding. Whoever looks
 * may write other values over `values`; they are what its readers get. */
typedef struct cr_computed {
    const cr_tensor *tensor;
    const cr_recipe_entry *entry; /* NULL: none; then raw is values */
    const float *raw;
    float *values;
    int64_t count;
} cr_computed;

typedef struct cr_layer_probe {
    void (*judge)(void *user, const cr_computed *c);
    void *user;
} cr_layer_probe;

/* The reference for its layers' sake: every node, each result shown to the probe. */
cr_status cr_reference_layers(const cr_graph *g, const cr_recipe *r, const float *const *inputs,
                              const cr_layer_probe *probe, cr_error *err);

#endif
