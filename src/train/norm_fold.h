/* BatchNormalization at the end of a training: its statistics anew, from the weights as they have
 * become, and into the convolutions in front of it, with the recipe if there is one. */
#ifndef CR_TRAIN_NORM_FOLD_H
#define CR_TRAIN_NORM_FOLD_H

#include "graph/recipe.h"
#include "train/tape.h"

/* Writes batch `i` into the tape's inputs. */
typedef cr_status (*cr_norm_load_fn)(void *ctx, cr_tape *tape, int64_t i, cr_error *err);

/* Replaces the running statistics on a tape with batch_stats (float32) by those of `n` batches
 * taken together: the mean of their means, the mean of their variances plus the variance of their
 * means. Weights stay. What a training leaves there lags behind the weights, and with rounding in
 * the loop it jumps with every code that flips (Sun et al. 2019; Jin et al. 2020).
 * CR_ERR_UNSUPPORTED: a momentum of 1 hides the statistics of a batch. */
cr_status cr_norm_reestimate(const cr_graph *g, cr_tape *tape, int64_t n, cr_norm_load_fn load,
                             void *ctx, cr_error *err);

/* The graph that r speaks of (its steps and values put in) with every BatchNormalization behind a
 * convolution folded, and the recipe of that: scales times the magnitude of a channel's gain, codes
 * mirrored where it is negative (fake_quant.h keeps them to a range that allows it), so that the
 * convolutions multiply the very codes that were trained. What training has not seen is that the
 * bias, which the fold makes, is rounded to int32. The caller owns both; r NULL: *out is NULL.
 * CR_ERR_UNSUPPORTED: scales of weights that output channels share along another axis. */
cr_status cr_norm_fold(const cr_graph *g, const cr_recipe *r, cr_graph **folded, cr_recipe **out,
                       cr_error *err);

#endif
