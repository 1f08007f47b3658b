/* What an operator brings to training: its forward on the tape's numbers and its gradient.
 *
 * The shape of every operator is its rule in graph/infer_*.c. Bodies are written once over `real`
 * (grad_*_body.h) and compiled twice, grad_f32.c and grad_f64.c: float32 trains, float64 exists so
 * that gradients can be held against finite differences, which float32 is too coarse for. An
 * operator whose forward is not worth code of its own runs its reference (ops/ref.h), which takes
 * either type.
 *
 * Results do not depend on the number of threads: a task owns what it writes, and every sum has one
 * order that follows from the shapes alone. */
#ifndef CR_TRAIN_GRAD_H
#define CR_TRAIN_GRAD_H

#include "base/error.h"
#include "base/threads.h"
#include "graph/graph.h"

/* Where the elements of an output come from, for operators that only move values: runs of
 * consecutive elements of one input, in the order of the output. */
typedef struct cr_run {
    int64_t from, to, length; /* to: in the output */
    int input;
} cr_run;

typedef struct cr_runs {
    cr_run *run;
    size_t count, cap;
    bool once; /* no element of an input is in any output of the node twice */
    bool all;  /* once, and each is in one */
} cr_runs;

/* in, out: values, of the tape's type where they are floats. d_in[i]: the gradient to add to, NULL
 * where none is wanted; d_out[i]: the gradient of an output, NULL where it is an integer or absent.
 * Both NULL in forward. */
typedef struct cr_grad_call {
    cr_op_call op;
    void *const *d_in, *const *d_out;
    const bool *first;   /* per input: d_in[i] holds nothing yet; see CR_GRAD_SETS */
    void *scratch;       /* as many bytes as the operator asked for, 64-byte aligned */
    const cr_runs *runs; /* per output; movers only */
    cr_op_kind kind;     /* the node's, or that of what was fused into it */
    bool batch_stats;    /* BatchNormalization uses and tracks the statistics of the batch */
    bool again;          /* forward: the same values once more; nothing but outputs may change */
    cr_pool *pool;
} cr_grad_call;

enum {
    CR_GRAD_MOVES = 1, /* needs cr_grad_call.runs */
    CR_GRAD_SETS = 2,  /* backward writes d_in[i] where first[i], instead of adding to zeros; inputs
                          are taken in order, so that one that occurs twice is added the second time */
    CR_GRAD_NO_IN = 4,  /* backward reads no value of an input */
    CR_GRAD_NO_OUT = 8, /* backward reads no value of an output */
    CR_GRAD_PURE = 16,  /* forward may be run again */
    CR_GRAD_CHEAP = 32  /* pure, and forward costs little more than reading and writing values */
};

typedef struct cr_grad_op {
    unsigned inputs; /* bit per input that has a gradient; inputs above 30 are as input 30 */
    unsigned flags;
    cr_status (*scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err);
    cr_status (*forward)(const cr_grad_call *c, cr_error *err);
    cr_status (*backward)(const cr_grad_call *c, cr_error *err);
} cr_grad_op;

/* NULL: the operator has no gradient. */
const cr_grad_op *cr_grad_find_f32(cr_op_kind kind);
const cr_grad_op *cr_grad_find_f64(cr_op_kind kind);

/* Finds the runs of every output of a mover by running its reference on the positions of its
 * elements. runs: n_out of them, the caller frees their `run`. */
cr_status cr_grad_trace(const cr_op_call *op, cr_runs *runs, cr_error *err);

#endif
