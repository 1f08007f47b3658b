/* The loop that every training goes round: items (passes over the tape) whose gradients add up to
 * one step of the optimiser; progress, cancelling, checkpoints, a curve, steps whose numbers are
 * not finite.
 *
 *     cr_trained *list; size_t n;
 *     cr_trained_of_tape(g, tape, 0, &list, &n, &err);    parameters and tracked statistics
 *     cr_trainer_create(tape, list, n, &calls, &options, pool, &t, &err);
 *     cr_trainer_run(t, &err);
 *     cr_trained_write_back(g, tape);                     the graph's constants are the new ones
 *
 * What a step does is a function of (values before it, seed, step): callbacks draw random numbers
 * from cr_rng_seed_at(rng, seed, step, item) and keep nothing else from step to step but what they
 * name in `states`. A run that is killed at any moment and resumed therefore ends with the same
 * bits as one that was left alone, on any number of threads.
 *
 * Each item begins where the step began, statistics included; gradients and moves of statistics are
 * added by the number of the item. Several processes (crayon/cluster.h) therefore divide the items
 * and end with the bits of one. All of them must be given the same; each judges for itself.
 *
 * A step whose loss or gradient is not finite is told to `warn` with its item and part, and left
 * out: weights, moments and tracked statistics stay as they were. Several in a row are an error. */
#ifndef CR_TRAIN_TRAINER_H
#define CR_TRAIN_TRAINER_H

#include "base/rng.h"
#include "train/optimiser.h"
#include "train/tape.h"

enum { CR_LOSS_PARTS = 8 };

/* Numbers that training changes; p.grad NULL: that the forward pass changes (running statistics of
 * BatchNormalization), which are saved and averaged with the others. */
typedef struct cr_trained {
    const char *name; /* in messages; outlives the trainer */
    cr_parameter p;
} cr_trained;

/* Memory of the callbacks that goes into a checkpoint as it is (a best score, a best model). */
typedef struct cr_trained_state {
    void *data;
    size_t bytes;
} cr_trained_state;

typedef struct cr_trainer cr_trainer;

typedef struct cr_trainer_calls {
    void *ctx;
    /* Writes the tape's inputs for item `item` (0..items-1) of step `step`. */
    cr_status (*load)(void *ctx, cr_tape *tape, int64_t step, int item, cr_error *err);
    /* After forward: adds the item's share of every part of the loss to parts[] (zero at first) and
     * writes the gradient of their sum into the gradient of EVERY output of the tape (zeros where
     * there is none). Shares: parts and gradients of all items of a step add up, nothing divides
     * them afterwards. */
    cr_status (*loss)(void *ctx, cr_tape *tape, int64_t step, int item, double *parts,
                      cr_error *err);
    /* After the optimiser's step, to keep values where they belong (scales above a floor); or
     * NULL. */
    void (*stepped)(void *ctx, int64_t step);
    /* After `done` steps (every judge_every, and the last): validate, keep the best, set *stop to
     * end early; or NULL. May use the tape and cr_trainer_swap_average. */
    cr_status (*judge)(void *ctx, cr_trainer *t, int64_t done, bool *stop, cr_error *err);
    /* One line about something survived; or NULL. */
    void (*warn)(void *ctx, const char *line);
} cr_trainer_calls;

typedef struct cr_trainer_options {
    uint64_t seed;
    uint64_t task;  /* a number that differs when the model, data or options do; a checkpoint of
                       another task is refused */
    int64_t steps;  /* 0: as many as `seconds` hold, from the pace of the first ones */
    double seconds; /* 0: no limit; with `steps`: the end, whichever comes first */
    int items;      /* passes over the tape per step, >= 1 */
    cr_optimiser_options optimiser; /* its `steps` is set by the trainer */
    int max_bad;                    /* steps left out in a row before giving up, >= 1 */
    int64_t judge_every;            /* 0: after the last step only */
    const char *const *part_names;  /* names of the loss's parts, part_count <= CR_LOSS_PARTS */
    int part_count;
    const char *checkpoint;   /* file, or NULL */
    int64_t checkpoint_every; /* steps, besides once a minute and at the end; 0: none besides */
    bool resume;              /* go on from `checkpoint` if that file is there */
    const char *curve;        /* file of tab-separated lines, one per step, or NULL */
    const cr_trained_state *states;
    size_t state_count;
    cr_progress progress; /* "training", steps done of all; false: a checkpoint, then CANCELLED */
} cr_trainer_options;

/* Steps must be set; one item, five bad steps, cr_optimiser_options_default(). */
cr_trainer_options cr_trainer_options_default(void);

/* What is kept of a step. norm: of the gradient; NAN where the step was left out. */
typedef struct cr_curve_point {
    double rate, norm, seconds; /* seconds: since the start, pauses between runs not counted */
    double parts[CR_LOSS_PARTS];
} cr_curve_point;

/* Float constants of the graph that have a gradient on the tape, and with `batch_stats` the running
 * statistics of BatchNormalization. Decay: on those of rank 2 and more. `extra`: room for so many
 * more entries at the end of *list, which is freed with cr_free. */
cr_status cr_trained_of_tape(const cr_graph *g, const cr_tape *tape, bool batch_stats, size_t extra,
                             cr_trained **list, size_t *n, cr_error *err);
/* Copies the tape's values of all float32 constants into the graph. */
void cr_trained_write_back(cr_graph *g, const cr_tape *tape);

/* Tape (float32), list, calls' ctx, strings and states must outlive the trainer; `list` is copied.
 * With `resume` and a file, every value is then that of the checkpoint. Errors: an option that
 * makes no sense; a checkpoint of another task, cut or damaged (CR_ERR_FORMAT). */
cr_status cr_trainer_create(cr_tape *tape, const cr_trained *list, size_t n,
                            const cr_trainer_calls *calls, const cr_trainer_options *options,
                            cr_pool *pool, cr_trainer **out, cr_error *err);
void cr_trainer_free(cr_trainer **t);

/* Trains to the end (or goes on to it). */
cr_status cr_trainer_run(cr_trainer *t, cr_error *err);

int64_t cr_trainer_done(const cr_trainer *t);  /* steps behind it, left out ones included */
int64_t cr_trainer_steps(const cr_trainer *t); /* of the whole run; 0: not known yet */
int64_t cr_trainer_left_out(const cr_trainer *t);
const cr_curve_point *cr_trainer_curve(const cr_trainer *t, size_t *n);
/* Exchanges values and averages; call it again to go back. Without averaging it does nothing. */
void cr_trainer_swap_average(cr_trainer *t);

#endif
