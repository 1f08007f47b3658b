/* Checkpoints of Ultralytics' models (.pt: YOLOv5 to YOLO26, by torch.save) to graphs.
 *
 * A checkpoint holds the trained modules as Python objects: classes by name, attributes, weights.
 * It is read without Python and without executing anything of it (pickle.h), and the modules'
 * forward passes are known here by class (torch_net.h). What comes out is what Ultralytics' own
 * ONNX export of the file would be: the same operators, names and metadata, BatchNormalization not
 * yet fused.
 *
 * Like that export: the averaged model (`ema`) where there is one, weights widened to float32. */
#ifndef CR_TORCH_TORCH_H
#define CR_TORCH_TORCH_H

#include "graph/graph.h"

typedef struct cr_torch_options { /* all zero: the defaults */
    size_t max_bytes;             /* largest file; 0: 2 GiB */
    int64_t height, width;        /* of the picture; 0: what it was trained with, else 640 */
} cr_torch_options;

/* Reads a model. The graph is indexed, shapes are inferred. On failure *out is NULL and the message
 * begins with the path. Errors: IO, FORMAT, UNSUPPORTED (a name or call that no checkpoint needs, a
 * module class that is not known), ARGUMENT (a picture size that does not fit the strides), LIMIT,
 * MEMORY. */
cr_status cr_torch_read(const char *path, const cr_torch_options *options, cr_graph **out,
                        cr_error *err);

/* The same from memory; `label` stands for the file in messages. */
cr_status cr_torch_parse(const unsigned char *bytes, size_t size, const char *label,
                         const cr_torch_options *options, cr_graph **out, cr_error *err);

#endif
