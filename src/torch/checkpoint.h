/* What torch.save wrote: a pickle and the raw elements of the tensors that it names.
 *
 * Two containers: a zip archive (torch 1.6 and newer) and the older stream of pickles. The zip's
 * entries must be stored, as torch stores them: a compressed one could unpack to anything. */
#ifndef CR_TORCH_CHECKPOINT_H
#define CR_TORCH_CHECKPOINT_H

#include "torch/pickle.h"

typedef struct cr_checkpoint cr_checkpoint;

bool cr_checkpoint_is(const unsigned char *bytes, size_t size); /* by its first bytes */

/* Opens bytes, which must outlive it. Tensors are read when they are asked for. */
cr_status cr_checkpoint_open(const unsigned char *bytes, size_t size, cr_checkpoint **out,
                             cr_error *err);
void cr_checkpoint_close(cr_checkpoint **c);
const cr_pkl *cr_checkpoint_root(const cr_checkpoint *c);

/* Elements of a view, row-major, as float32 (any stored type is converted). `out` has room for the
 * product of its sizes. */
cr_status cr_checkpoint_floats(cr_checkpoint *c, const cr_pkl_tensor *t, float *out, cr_error *err);

#endif
