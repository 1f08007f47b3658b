/* A model: what was read from a file, what it is for, and its recipe if it is quantized.
 *
 *     cr_model *model = NULL;
 *     if (cr_model_open("yolov8n.onnx", NULL, &model, &err) == CR_OK) {
 *         const cr_model_info *info = cr_model_get_info(model);
 *         printf("%s, %zu classes\n", info->family, info->name_count);
 *     }
 *     cr_model_free(&model);
 *
 * Opening prepares the graph: constants are folded, batch norms go into convolutions, activations
 * that were exported in pieces become one node. A quantized file (QDQ) gives the float graph and the
 * recipe that reproduces its integers. */
#ifndef CRAYON_MODEL_H
#define CRAYON_MODEL_H

#include "crayon/detect.h"
#include "crayon/image.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_model cr_model;

/* Arithmetic of float models. BF16 keeps what flows between convolutions in bfloat16 and sums in
 * float32 (8 bits of mantissa: some 0.4 % per value), which is about twice as fast where the CPU
 * has instructions for it and slower than float32 where it has not; AUTO is BF16 in the first case
 * only. Heads stay float32. A model with anything quantized runs as its file says. */
typedef enum cr_precision {
    CR_PRECISION_FLOAT32,
    CR_PRECISION_BF16,
    CR_PRECISION_AUTO
} cr_precision;

typedef struct cr_model_options {
    int height, width;   /* of the input, where the file leaves it open; 0: by metadata */
    size_t max_bytes;    /* largest file; default 2 GiB */
    int batch;           /* pictures per run, for a file with one; 0: as the file says */
    cr_precision precision;
    bool mend;           /* read quantized files that nothing can run: scales along the axis that fits,
                            pairs with impossible scales dropped (crayon/doctor.h names them) */
} cr_model_options;

CR_API cr_model_options cr_model_options_default(void);

/* options NULL: the defaults. The caller owns *out. CR_ERR_UNSUPPORTED names the first operators that
 * are missing, each with its node; nothing is ever skipped. */
CR_API cr_status cr_model_open(const char *path, const cr_model_options *options, cr_model **out,
                               cr_error *err);
CR_API void cr_model_free(cr_model **model);
/* The next runner or detector that is made from the model takes its weights: they are packed for it,
 * and their memory is given back (13 of 33 MB for yolov8n in INT8). After that the model tells about
 * itself as ever and its runners can be shared (cr_runner_share), but making others, quantizing and
 * saving fail with CR_ERR_ARGUMENT. */
CR_API void cr_model_give_weights(cr_model *model);

typedef struct cr_op_count {
    const char *op;
    size_t count;
} cr_op_count;

/* Everything here is owned by the model. */
typedef struct cr_model_info {
    const char *path, *producer;
    const char *format;          /* of the file: "ONNX" */
    int opset, ir_version;       /* 0 where the format has none */
    uint64_t file_bytes;
    const char *family;          /* "YOLOv8 detect", "YOLOX", "classifier", "unknown", ... */
    const char *task;            /* metadata's task or a guess; "" if unknown */
    const char *preprocess_why;  /* where the preprocessing comes from: "metadata", "family" ... */
    cr_preprocess preprocess;    /* picture -> input 0 */
    cr_head head;                /* outputs -> detections; kind CR_HEAD_NONE if unknown */
    const char *const *names;    /* class names; name_count 0 if the file has none */
    size_t name_count;
    int batch;                   /* of input 0 */
    size_t nodes, tensors;       /* of the prepared graph */
    uint64_t parameters;         /* elements of constants that are weights */
    uint64_t macs;               /* multiply-adds of convolutions and gemms per run */
    const cr_op_count *ops;      /* of the prepared graph, most frequent first */
    size_t op_count;
    bool quantized;              /* has a recipe */
    size_t activation_entries, weight_entries;
    const char *precision;       /* "float32", "bfloat16", "int8", "int8 (per tensor)", ... */
} cr_model_info;

CR_API const cr_model_info *cr_model_get_info(const cr_model *model);

/* The preprocessing may be overridden (a model without metadata that the guess does not fit). */
CR_API void cr_model_set_preprocess(cr_model *model, const cr_preprocess *pre);

typedef enum cr_port { CR_PORT_INPUT, CR_PORT_OUTPUT } cr_port;
typedef struct cr_port_info {
    const char *name, *dtype;    /* "float32", ... */
    int rank;                    /* -1: unknown */
    int64_t dim[8];              /* -1: unknown until it runs */
} cr_port_info;
CR_API size_t cr_model_port_count(const cr_model *model, cr_port port);
CR_API cr_port_info cr_model_port(const cr_model *model, cr_port port, size_t index);

/* One line per node of the prepared graph, for `inspect --layers`. */
typedef struct cr_layer_info {
    const char *name, *op;
    const char *output;          /* name of output 0 */
    char shape[96];              /* of output 0: "1x64x80x80" */
    uint64_t parameters, macs;
    const char *role;            /* "body", "last", "decode" */
    const char *input_type;      /* "uint8" where the recipe quantizes input 0, else "float32" */
    const char *weight_type;     /* "int8", "float32" or "" without weights */
    const char *output_type;
} cr_layer_info;
/* CR_ERR_ARGUMENT if index is not below info->nodes. */
CR_API cr_status cr_model_layer(const cr_model *model, size_t index, cr_layer_info *out,
                                cr_error *err);

/* What the last convolutions give, by role. Neighbouring channels of one convolution with one meaning
 * are one part. Found from the graph's structure and values, never from names. */
typedef struct cr_head_part_info {
    const char *node;  /* the convolution (gemm) */
    const char *shape; /* of its output: "1x64x80x80" */
    const char *role;  /* "box", "box distribution", "score", "objectness", "keypoint",
                          "mask coefficient", "prototype" or "other" */
    int first, count;  /* channels */
} cr_head_part_info;

/* *out is an array of *count parts, in the order of nodes; the caller frees it with free(). The
 * strings stay the model's. Takes some ten milliseconds: heads are followed cell by cell. */
CR_API cr_status cr_model_head_parts(cr_model *model, cr_head_part_info **out, size_t *count,
                                     cr_error *err);

/* The nodes that the file has, in its order: preparing fuses and folds some of them away. For
 * checking names that people take from a viewer or from another tool's script. */
typedef struct cr_file_node {
    const char *name, *op;
} cr_file_node;
CR_API const cr_file_node *cr_model_file_nodes(const cr_model *model, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
