/* ONNX files: reading into a canonical graph, and writing one back.
 *
 * Read: opset 7 to 28 of domain ai.onnx; every node is rewritten to the newest form of its operator
 * (upgrade.c). Written: opset 13 to 22; newer forms are lowered (lower.c). The bytes of a model are
 * untrusted: every length is checked before it is used, and what a file makes us allocate is
 * bounded by its own size. */
#ifndef CR_ONNX_ONNX_H
#define CR_ONNX_ONNX_H

#include "graph/graph.h"

enum {
    CR_ONNX_MIN_OPSET = 7,
    CR_ONNX_MAX_OPSET = 28,       /* the newest whose forms of our operators have been checked */
    CR_ONNX_MIN_WRITE_OPSET = 13, /* per-channel QuantizeLinear begins there */
    CR_ONNX_USUAL_OPSET = 22,     /* the newest that is written unasked: older runtimes end there */
    CR_ONNX_MAX_WRITE_OPSET = 25  /* 2-bit types begin there */
};

typedef struct cr_onnx_options { /* all zero: the defaults */
    size_t max_bytes;            /* largest file; 0: 2 GiB, the format's own limit */
    int64_t batch;               /* for a symbolic first dimension; 0: 1 */
    int64_t height, width; /* for symbolic spatial dimensions; 0: metadata `imgsz`, else an error */
    bool keep_half;        /* leave float16 and bfloat16 tensors as they are */
    bool keep_symbolic;    /* symbolic dimensions stay -1 instead of being fixed */
} cr_onnx_options;

/* Reads a model. The graph is indexed (cr_graph_index), shapes are not inferred yet. External data
 * is taken from files inside the model's folder only. On failure *out is NULL and the message
 * begins with the path. Errors: IO, FORMAT, UNSUPPORTED (up to five missing operators are named),
 * ARGUMENT (a symbolic size that nothing fixes), LIMIT, MEMORY. */
cr_status cr_onnx_read(const char *path, const cr_onnx_options *options, cr_graph **out,
                       cr_error *err);

/* The same from memory. `folder` is where external data lies (NULL: refuse such tensors), `label`
 * stands for the file in messages. The bytes are not kept. */
cr_status cr_onnx_parse(const void *bytes, size_t size, const char *folder, const char *label,
                        const cr_onnx_options *options, cr_graph **out, cr_error *err);

/* Decodes one serialised TensorProto into *out (name: the tensor's own, cut to 63 bytes, in
 * `name_buffer`); free its data with cr_tensor_drop_data. */
cr_status cr_onnx_parse_tensor(const void *bytes, size_t size, char name_buffer[64], cr_tensor *out,
                               cr_error *err);

/* Makes a model compute in float32: float16 and bfloat16 constants are widened, casts to them
 * become casts to float32, graph inputs and outputs become float32. */
cr_status cr_graph_widen_half(cr_graph *g, cr_error *err);

typedef struct cr_onnx_write_options { /* all zero: the defaults */
    int opset;                         /* 13..22; 0: the source's, moved into that range */
    int ir_version;                    /* 0: the one that came with the opset */
    const char *producer_name;         /* NULL: "crayon" */
    const char *producer_version;      /* NULL: the library's version */
    bool lean; /* no types of inner tensors, no names of Q/DQ nodes: 1.3 and .5 % of yolov8n in 8 bits */
} cr_onnx_write_options;

/* Writes a graph (indexed, shapes inferred as far as possible). The file appears complete or not at
 * all. Same graph and options: same bytes. Errors: UNSUPPORTED when an operator, attribute or type
 * has no equivalent in the wanted opset, ARGUMENT, IO, MEMORY. */
cr_status cr_onnx_write(const cr_graph *g, const cr_onnx_write_options *options, const char *path,
                        cr_error *err);

/* The same into memory; free *bytes with cr_free. */
cr_status cr_onnx_serialize(const cr_graph *g, const cr_onnx_write_options *options,
                            unsigned char **bytes, size_t *size, cr_error *err);

#endif
