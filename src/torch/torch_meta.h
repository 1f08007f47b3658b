/* What a checkpoint says about its model beside the weights, as the metadata that Ultralytics'
 * export writes: Python literals in strings. */
#ifndef CR_TORCH_TORCH_META_H
#define CR_TORCH_TORCH_META_H

#include "torch/torch_heads.h"

/* Puts author, version, task, names, stride, imgsz, kpt_shape ... into the graph. */
cr_status cr_torch_meta(cr_net *net, const cr_pkl *root, const cr_mod *model, const cr_mod *head,
                        const char *task, const int64_t size[2], int64_t stride);

/* imgsz of the training, 0 where it is not said. */
void cr_torch_trained_size(const cr_pkl *root, const cr_mod *model, int64_t size[2]);

#endif
