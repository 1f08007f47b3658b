/* Where the tape's values and gradients lie, and what is computed twice to need less of them.
 *
 * Time is 0..n-1, the forward steps, then n..2n-1, the backward ones (step i at 2n-1-i). A value
 * lives from its step to its last reader. What backward reads is either stored, and lives until
 * then, or replayed: its step is run again just before the first backward step that wants it, from
 * what is stored or replayed itself, and it lives from there to the last that wants it, in a second
 * place. A gradient lives from the backward of its last reader to that of its producer. All share
 * one block (grad_plan.h).
 *
 * Steps that cost little more than reading and writing their values (activations, sums, movers) are
 * always replayed: a convolution's output is stored, what comes behind it is not. With `recompute`
 * convolutions are replayed too: the network is cut into pieces, only what crosses a cut is stored
 * (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), and every piece is run again
 * once. Cuts lie where little crosses; how many there are is tried out, the smallest block wins. */
#ifndef CR_TRAIN_TAPE_PLAN_H
#define CR_TRAIN_TAPE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "crayon/status.h"
#include "graph/graph.h"

typedef struct cr_plan_step {
    const cr_tensor *const *in;
    cr_tensor *const *out; /* the graph's tensors */
    int n_in, n_out;
    bool runs, backward;      /* the step has a forward, a backward */
    bool reads_in, reads_out; /* values that backward reads */
    bool cheap, replays;      /* worth running again; may be run again */
} cr_plan_step;

typedef struct cr_tape_plan {
    size_t bytes;                        /* of the block */
    size_t *value, *replayed, *gradient; /* [tensor] places in it */
    int *replay;                         /* those of the last step first */
    size_t *replay_from, replay_count;   /* replay_from: [steps] */
} cr_tape_plan;

/* values, gradients: [tensors] bytes in the block, 0: none, or a place of its own. */
cr_status cr_tape_plan_make(const cr_plan_step *steps, size_t step_count, const size_t *values,
                            const size_t *gradients, size_t tensors, bool recompute,
                            cr_tape_plan *out, cr_error *err);
void cr_tape_plan_free(cr_tape_plan *p);

/* Steps to be run again before backward of a step, in their order. */
const int *cr_tape_plan_replays(const cr_tape_plan *p, size_t step, size_t *count);

#endif
