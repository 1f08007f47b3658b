/* Has calibration seen enough pictures?
 *
 * Regret. After each block of pictures the mse range of every tensor (8 bits, asymmetric) is chosen
 * anew from everything seen. Had the range of the block before been kept, squared error on
 * everything seen would be larger by a factor: its excess over 1 is the tensor's regret. Ranges may
 * creep on for ever, as extremes do, at no cost; regret says when more pictures stop to pay.
 * Converged: the mean regret over all tensors is at most 1/2 % in two blocks one after the other
 * (one alone may be luck: pictures of one kind). The rule looks at the statistics alone, never at
 * the plan or the clock, so that they stay independent of both.
 *
 * Rejected: movement of the ends, which for yolov8n is 1 to 2 % per block at 16 pictures as at 100,
 * and follows single pixels; the largest regret of any tensor, which is that of its rarest values. */
#ifndef CR_QUANT_CONVERGENCE_H
#define CR_QUANT_CONVERGENCE_H

#include "quant/stats.h"

typedef struct cr_convergence cr_convergence;
cr_status cr_convergence_create(cr_convergence **out, cr_error *err);
void cr_convergence_free(cr_convergence **c);

/* To be called after each block of pictures with everything seen so far. NaN or infinite values are
 * left for the plan to refuse. */
cr_status cr_convergence_check(cr_convergence *c, const cr_stats *s, bool *converged,
                               cr_error *err);

#endif
