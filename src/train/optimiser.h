/* Optimisers: SGD with momentum, AdamW and Muon, a learning rate that warms up and then falls along a
 * cosine, clipping by the norm of all gradients together, an exponential average of the weights.
 * Everything follows from the numbers alone: no random choice, no dependence on threads. */
#ifndef CR_TRAIN_OPTIMISER_H
#define CR_TRAIN_OPTIMISER_H

#include "base/threads.h"

/* CR_MUON: Muon (muon.h) for parameters that are matrices, AdamW for the others. */
typedef enum cr_optimiser_kind { CR_SGD, CR_ADAMW, CR_MUON } cr_optimiser_kind;

typedef struct cr_optimiser_options {
    cr_optimiser_kind kind;
    double rate;         /* learning rate at the top of the schedule, > 0 */
    double final_rate;   /* at its end, as a fraction of `rate`, 0..1 */
    int64_t warm_up;     /* steps of linear rise, 0: none */
    int64_t steps;       /* of the whole schedule, warm-up included; 0: the rate stays */
    double momentum;     /* SGD, Muon, 0..1 */
    bool nesterov;       /* SGD, Muon */
    double beta1, beta2; /* AdamW, 0..1 */
    double epsilon;      /* AdamW, > 0 */
    double weight_decay; /* SGD: part of the gradient (L2); others: decoupled; only where asked */
    double clip_norm;    /* 0: none */
    double average;      /* decay of the average of the weights, 0: none */
    double average_ramp; /* steps; the decay is average * (1 - exp(-step / ramp)), 0: no ramp */
} cr_optimiser_options;

/* SGD .01, momentum .937, Nesterov, decay 5e-4, clip 10, average .9999 over a ramp of 2000: what
 * YOLOv8 is trained with. */
cr_optimiser_options cr_optimiser_options_default(void);

/* Weights and their gradient, the caller's, of `count` elements. */
typedef struct cr_parameter {
    float *value;
    const float *grad; /* NULL: statistics that forward tracks: averaged, never stepped */
    int64_t count;
    bool decays;       /* weight decay applies: weights of convolutions, not biases or norms */
    double rate;       /* its part of the learning rate; 0 (left out): 1 */
    int64_t rows;      /* Muon: a matrix of so many rows; 0: none */
} cr_parameter;

typedef struct cr_optimiser cr_optimiser;

/* The list is copied; what it points to must outlive the optimiser. */
cr_status cr_optimiser_create(const cr_parameter *parameters, size_t n,
                              const cr_optimiser_options *options, cr_pool *pool,
                              cr_optimiser **out, cr_error *err);
void cr_optimiser_free(cr_optimiser **optimiser);

/* One step. A gradient that is not finite is an error, and then nothing has changed. */
cr_status cr_optimiser_step(cr_optimiser *o, cr_error *err);

/* Sets the length of the schedule (cr_optimiser_options.steps) after the first steps have shown how
 * many there is time for; harmless before the end of the warm-up. */
void cr_optimiser_set_length(cr_optimiser *o, int64_t steps);

/* Everything a later process needs to go on with the same bits, beside the parameters' values:
 * blocks of `count` floats, NULL where the method has none, and the steps done. Read it to save it;
 * to go on, write into the blocks and give the steps to cr_optimiser_resume. */
typedef struct cr_optimiser_state {
    float *first, *second, *average;
    int64_t count;
} cr_optimiser_state;
cr_optimiser_state cr_optimiser_state_of(const cr_optimiser *o);
void cr_optimiser_resume(cr_optimiser *o, int64_t steps);

/* The learning rate of step 0, 1, ... */
double cr_learning_rate(const cr_optimiser_options *options, int64_t step);
int64_t cr_optimiser_steps(const cr_optimiser *o); /* done so far */
double cr_optimiser_norm(const cr_optimiser *o);   /* of the last step's gradient, unclipped */
/* The averaged weights of parameter i; NULL without averaging. */
const float *cr_optimiser_average(const cr_optimiser *o, size_t i);

#endif
