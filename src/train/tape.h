/* Gradients of a graph: a tape holds the values of one forward pass and the gradients of one
 * backward pass over them. The graph is a prepared one (graph/passes.h) with every shape known,
 * BatchNormalization folded or kept; the tape never changes it.
 *
 *     cr_tape_create(g, &options, &tape, &err);
 *     memcpy(cr_tape_value(tape, g->inputs[0]), picture, ...);
 *     cr_tape_forward(tape, &err);
 *     cr_tape_zero(tape);
 *     ... write the loss's gradient into cr_tape_grad(tape, g->outputs[i]), every output ...
 *     cr_tape_backward(tape, &err);
 *     ... cr_tape_grad(tape, weight) ...
 *
 * Memory is planned once (tape_plan.h). Inputs, constants and outputs, gradients of what the caller
 * asked for and of outputs have places of their own. Values and gradients of activations share one
 * block, each for as long as it is read; activations behind convolutions are computed again in
 * backward. x * Sigmoid(x) is one step. Hence one backward per forward. */
#ifndef CR_TRAIN_TAPE_H
#define CR_TRAIN_TAPE_H

#include "base/threads.h"
#include "graph/graph.h"

typedef struct cr_tape cr_tape;

typedef struct cr_tape_options {
    cr_dtype real;    /* CR_DT_F32 or CR_DT_F64: the type of every value and gradient */
    cr_pool *pool;    /* NULL: this thread alone; results do not depend on it */
    bool batch_stats; /* BatchNormalization by the batch's statistics, running ones follow */
    const bool
        *wanted; /* [tensor_count] whose gradient is asked for; NULL: every float constant that
                    a convolution, matrix product or BatchNormalization has as a parameter */
    bool recompute;   /* convolutions too are computed again where that saves memory: about half of
                         it for a third more time */
    bool keep_values; /* every value stays readable; takes several times the memory */
} cr_tape_options;

/* The graph (indexed, inferred) and the pool must outlive the tape. CR_ERR_UNSUPPORTED names a node
 * without a gradient between what is wanted and the outputs; nodes elsewhere need none. */
cr_status cr_tape_create(const cr_graph *g, const cr_tape_options *options, cr_tape **out,
                         cr_error *err);
void cr_tape_free(cr_tape **tape);

/* Values of a float tensor, [shape] of the tape's type: inputs to be written, parameters (copied
 * from the graph; optimisers change them here), outputs after forward; NULL for other activations
 * unless they are kept (keep_values). */
void *cr_tape_value(const cr_tape *tape, const cr_tensor *t);
/* NULL when the tensor has no gradient. Of activations it means something for outputs alone. */
void *cr_tape_grad(const cr_tape *tape, const cr_tensor *t);

cr_status cr_tape_forward(cr_tape *tape, cr_error *err);
/* Adds to the gradients of what was wanted. What was written into the outputs' gradients is used
 * up: write them anew each time (several pictures before a cr_tape_zero: their gradients add up).
 */
cr_status cr_tape_backward(cr_tape *tape, cr_error *err);
/* Clears the gradients that stay: what was wanted, and outputs. */
void cr_tape_zero(cr_tape *tape);

/* Bytes of values and gradients that stay, of what activations share, of scratch. */
typedef struct cr_tape_memory {
    size_t values, kept, shared, scratch;
} cr_tape_memory;
cr_tape_memory cr_tape_memory_of(const cr_tape *tape);

#endif
