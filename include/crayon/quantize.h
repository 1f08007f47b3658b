/* Quantization: calibrate on pictures, plan a recipe, export.
 *
 *     cr_quantize_options o = cr_quantize_options_default();
 *     cr_stats *stats;
 *     cr_calibrate(model, &pictures, &o, NULL, &stats, &err);      statistics of a float model
 *     cr_quantize(model, stats, &o, &report, &err);                the model now has a recipe
 *     cr_model_export(model, "int8.onnx", NULL, &err);             QDQ
 *
 * Statistics do not depend on the plan: record them once, plan again with other bits or exclusions. */
#ifndef CRAYON_QUANTIZE_H
#define CRAYON_QUANTIZE_H

#include "crayon/image.h"
#include "crayon/model.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a range is chosen from what an activation held. */
typedef enum cr_calibration {
    CR_CALIB_MINMAX,         /* everything seen */
    CR_CALIB_MOVING_AVERAGE, /* the average of each picture's extremes */
    CR_CALIB_PERCENTILE,     /* all but a share of the values, half of it at each end */
    CR_CALIB_MSE,            /* least squared error of quantization */
    CR_CALIB_ENTROPY,        /* least Kullback-Leibler divergence (Migacz 2017) */
    CR_CALIB_LP,             /* least mean |error|^norm */
    CR_CALIB_AUTO            /* per tensor the one of these with the least measured error */
} cr_calibration;

/* Signed types are symmetric (zero point 0). int2 is ternary: codes -1, 0, 1 (Li & Liu 2016); int1
 * binary: -1, +1 (Rastegari et al. 2016). */
typedef enum cr_weight_type {
    CR_WEIGHTS_INT8,
    CR_WEIGHTS_UINT8,
    CR_WEIGHTS_INT16,
    CR_WEIGHTS_INT4,
    CR_WEIGHTS_UINT4,
    CR_WEIGHTS_INT2,
    CR_WEIGHTS_UINT2,
    CR_WEIGHTS_INT1,
    CR_WEIGHTS_PALETTE8, /* these three are cr_model_to_palette's, not cr_quantize's */
    CR_WEIGHTS_PALETTE6,
    CR_WEIGHTS_PALETTE4
} cr_weight_type;

/* 16 bits hold everything that was seen, whatever `calibration` says; int16 is symmetric. */
typedef enum cr_activation_type {
    CR_ACTIVATIONS_UINT8,
    CR_ACTIVATIONS_INT8,
    CR_ACTIVATIONS_INT16,
    CR_ACTIVATIONS_UINT16,
    CR_ACTIVATIONS_FLOAT   /* only weights are quantized */
} cr_activation_type;

typedef enum cr_quantize_mode {
    CR_MODE_STATIC,  /* weights and activations, with statistics */
    CR_MODE_WEIGHTS, /* weights alone; needs neither pictures nor statistics */
    CR_MODE_DYNAMIC  /* ranges of activations are found in each run, per tensor, uint8; weights int8 or
                        uint8. Needs neither either. ConvTranspose stays float */
} cr_quantize_mode;

/* How the scale of a group of weights is found. */
typedef enum cr_weight_scales_method {
    CR_SCALES_AUTO, /* max with 8 bits and more, mse with fewer */
    CR_SCALES_MAX,  /* the largest magnitude is the last code */
    CR_SCALES_MSE   /* least squared error of rounding, clipping included */
} cr_weight_scales_method;

/* Weights of the first and the last convolutions, where `weights` has fewer than 8 bits. */
typedef enum cr_first_last { CR_FIRST_LAST_INT8, CR_FIRST_LAST_SAME } cr_first_last;

typedef enum cr_granularity { CR_PER_CHANNEL, CR_PER_TENSOR } cr_granularity;

/* What happens to the head: everything behind the last convolutions. */
typedef enum cr_head_mode {
    CR_HEAD_AUTO,     /* last convolutions read integers and give floats; what follows is float */
    CR_HEAD_QUANTIZE, /* everything is quantized; boxes and scores never share a scale, positions in
                         the picture take 16 bits (quant/head_plan.c) */
    CR_HEAD_FLOAT,    /* the last convolutions stay float, too */
    CR_HEAD_DETACH    /* the model ends at its branches; decoding is the host's (cr_branches) */
} cr_head_mode;

/* Of one layer (a convolution or gemm): the types of its weights and of the activations that it reads.
 * Layers that read one tensor share its entry: the widest of their activations. */
typedef enum cr_layer_precision {
    CR_LAYER_PLANNED, /* as `weights` and `activations` say */
    CR_LAYER_FLOAT,
    CR_LAYER_INT4,    /* int4 weights, 8-bit activations */
    CR_LAYER_INT8,    /* 8-bit weights, 8-bit activations */
    CR_LAYER_INT16    /* 8-bit weights, int16 activations */
} cr_layer_precision;

typedef struct cr_layer_choice {
    const char *nodes;            /* glob pattern (* ? [) of node names */
    cr_layer_precision precision;
} cr_layer_choice;

/* How weights are rounded (cr_tune). */
typedef enum cr_rounding {
    CR_ROUNDING_NEAREST,
    CR_ROUNDING_GPTQ,   /* by what inputs look like: second-order, errors fed forward */
    CR_ROUNDING_LEARNED, /* the same, then code by code as long as the output's error falls */
    CR_ROUNDING_SUMS     /* without pictures: so that errors cancel in the sums of kernels and outputs
                            (SQuant, Guo et al. 2022) */
} cr_rounding;

/* Scaling of channels so that those which share a scale use it alike (quant/equalize.c). */
typedef enum cr_equalize_mode {
    CR_EQUALIZE_OFF,
    CR_EQUALIZE_FOLD, /* where convolutions take the factors up: behind ReLU, LeakyReLU, pooling, Add ... */
    CR_EQUALIZE_ALL   /* behind SiLU and the like, too: a Mul with powers of two. The statistics must have
                         been recorded with it; without, it is fold there */
} cr_equalize_mode;

/* What a plan is for. Targets that compute with integers alone get an entry on every tensor
 * (quant/full_plan.c), and the model has to be in their form first: cr_model_set_target. */
typedef enum cr_target {
    CR_TARGET_CRAYON,  /* this library, and runtimes of ONNX */
    CR_TARGET_TFLITE,  /* full integer; decoding in 16 bits */
    CR_TARGET_EDGETPU, /* Coral: 8 bits alone; ends at the branches unless `head` says otherwise */
    CR_TARGET_NPU_NXP, /* i.MX 8M Plus: likewise */
    CR_TARGET_ORT,     /* ONNX Runtime: entries wherever it fuses Q/DQ into integer kernels, that is around
                        * each operator of the body; one scale per activation; decoding in float */
    CR_TARGET_OPENVINO, /* as CRAYON: OpenVINO fuses what follows a convolution itself */
    CR_TARGET_NCNN     /* as CRAYON, but activations are int8 with zero point 0 and one scale per tensor */
} cr_target;
/* Where activations are float, so that no integer kernel minds blocks: 64, and 30 per cent (granularity
 * per channel). Else none, and 10 per cent. */
#define CR_BLOCK_AUTO        (-1)
#define CR_SMALL_LAYERS_AUTO (-1.0)

/* Values of split_channels; others are the most groups that a tensor falls into. */
#define CR_SPLIT_AUTO (-1) /* 4, where a scale is one per tensor: granularity TENSOR, or a target that wants it */
#define CR_SPLIT_OFF  0

typedef struct cr_quantize_options {
    cr_target target;                /* default CRAYON */
    bool byte_ports;                 /* TFLITE: outputs are 8 bits wide, too; false */
    cr_quantize_mode mode;           /* default static */
    cr_weight_type weights;          /* default int8 */
    cr_weight_scales_method weight_scales; /* default auto */
    int64_t block;                   /* weights of fewer than 8 bits: so many neighbours along the
                                      * input channels share a scale, in layers that have as many;
                                      * 0: none, as granularity says. Default CR_BLOCK_AUTO */
    double small_layers;             /* 0..100: where others have fewer than 8 bits, weights of the
                                      * smallest layers keep 8, as many as together have at most so
                                      * many per cent of all. Default CR_SMALL_LAYERS_AUTO */
    cr_first_last first_last;        /* default int8 */
    cr_activation_type activations;  /* default uint8 */
    cr_granularity granularity;      /* of weights; default per output channel */
    bool symmetric;                  /* activations with the zero point in the middle; false */
    bool reduce_range;               /* 7-bit weights, for CPUs whose int8 sums saturate; false */
    cr_calibration calibration;      /* default auto */
    double percentile;               /* 50..100; default 99.999 */
    double norm;                     /* of lp: 1..16; default 4 */
    cr_head_mode head;               /* default auto */
    cr_equalize_mode equalize;       /* static mode, weights per channel; default fold */
    int split_channels;              /* static mode, 8-bit activations: what depthwise convolutions read
                                      * falls into tensors of channels of like range, each with a scale
                                      * of its own (quant/range_split.c). 2 to 64, OFF or AUTO; default
                                      * AUTO. Statistics must have been recorded with the same target */
    const char *const *keep_float;   /* glob patterns (* ? [) of node names that stay float */
    size_t keep_float_count;
    const char *const *only;         /* if any: only nodes that match are quantized */
    size_t only_count;
    const cr_layer_choice *layers;   /* precision of single layers; a later choice overrides */
    size_t layer_count;
    size_t samples;                  /* pictures used at most; 0: all. Default 128 */
    bool all_samples;                /* do not stop early when ranges have converged; false */
    uint64_t seed;                   /* which of them, when there are more; default 0 */
    int threads;                     /* 0: all cores */
    cr_rounding rounding;            /* of weights; default learned */
    bool bias_correction;            /* let biases make up for the mean error of outputs; false */
} cr_quantize_options;

CR_API cr_quantize_options cr_quantize_options_default(void);

typedef struct cr_stats cr_stats;
CR_API void cr_stats_free(cr_stats **s);
CR_API cr_status cr_stats_save(const cr_stats *s, const char *path, cr_error *err);
CR_API cr_status cr_stats_load(const char *path, cr_stats **out, cr_error *err);
CR_API uint64_t cr_stats_pictures(const cr_stats *s);
/* Calibration ended before its pictures did, as ranges no longer moved. */
CR_API bool cr_stats_converged(const cr_stats *s);

/* Draws the histogram of one tensor's values (counts on a log scale) with the intervals that minmax,
 * moving-average, percentile 99.999 and mse choose for unsigned 8 bits, and their steps. `path` ends
 * in .svg (960 x 620) or .png (twice that). CR_ERR_ARGUMENT: another ending, or a tensor that the
 * statistics do not have (the message names three near ones). */
CR_API cr_status cr_stats_plot(const cr_stats *s, const char *tensor, const char *path,
                               cr_error *err);

/* Runs the float model over the pictures (a seeded choice of options->samples of them, in order) and
 * records what flows through every activation. Memory does not grow with their number. */
CR_API cr_status cr_calibrate(const cr_model *model, const cr_image_list *pictures,
                              const cr_quantize_options *options, const cr_progress *progress,
                              cr_stats **out, cr_error *err);

/* Writes sample `index`, row-major float32 in the shape of the only input, into `input`. Called from
 * several threads at once. */
typedef cr_status (*cr_fill_fn)(void *user, size_t index, float *input, cr_error *err);

/* The same from `count` tensors of the caller's, in order: for pictures that were prepared elsewhere,
 * and for models whose input is no picture. */
CR_API cr_status cr_calibrate_tensors(const cr_model *model, size_t count, cr_fill_fn fill,
                                      void *user, const cr_quantize_options *options,
                                      const cr_progress *progress, cr_stats **out, cr_error *err);

/* What a plan did, for the five lines that a user reads. */
typedef struct cr_quantize_report {
    size_t convs, convs_quantized;      /* convolutions, gemms */
    size_t head_nodes, last_convs;      /* nodes kept float behind the last convolutions; how many */
    size_t activations, weights;        /* entries in the recipe */
    size_t excluded;                    /* by keep_float / only */
    size_t wider_weights;               /* that keep 8 bits where others have fewer */
    size_t kept_activations, kept_weights; /* entries taken over from before cr_model_unquantize */
    size_t equalized;                   /* channels with a factor */
    size_t divided, parts;              /* tensors that fall into parts by range; into how many */
} cr_quantize_report;

/* Activations in place of SiLU (Swish), for accelerators that have none. LEAKY_RELU has the slope .1. */
typedef enum cr_activation {
    CR_ACTIVATION_KEEP,
    CR_ACTIVATION_RELU6,
    CR_ACTIVATION_RELU,
    CR_ACTIVATION_LEAKY_RELU,
    CR_ACTIVATION_HARD_SWISH
} cr_activation;

/* Swaps every SiLU of a float model: another function, which costs accuracy (docs/results/activations.md)
 * that cr_qat wins back. *count: how many. Before cr_model_set_target. CR_ERR_ARGUMENT: the model has
 * no SiLU, or a recipe. */
CR_API cr_status cr_model_swap_activation(cr_model *model, cr_activation activation, size_t *count,
                                          cr_error *err);

/* Gives a float model the form that the target computes in, before it is calibrated: SiLU in two
 * nodes, no division, boxes as fractions of the picture. Nothing for CRAYON. What it detects stays the same.
 * CR_ERR_ARGUMENT: the model has a recipe. */
CR_API cr_status cr_model_set_target(cr_model *model, cr_target target, cr_error *err);

/* Plans a recipe for the model from statistics and attaches it (replacing one that it has).
 * `stats` may be NULL in modes weights and dynamic.
 * CR_ERR_ARGUMENT: the statistics lack a tensor (made with another model), a glob matches nothing
 * (the message has the nearest names). */
CR_API cr_status cr_quantize(cr_model *model, const cr_stats *stats,
                             const cr_quantize_options *options, cr_quantize_report *report,
                             cr_error *err);

/* ---- 16-bit floats ---- */

typedef enum cr_half_type { CR_HALF_FLOAT16, CR_HALF_BFLOAT16 } cr_half_type;

typedef struct cr_half_options {
    cr_half_type type;             /* default float16 */
    bool whole_graph;              /* all arithmetic in that type, inputs and outputs float32;
                                    * false: only weights are stored in it, a Cast behind each */
    cr_head_mode head;             /* whole graph: auto keeps what decodes boxes in float32, float the
                                    * last convolutions too, quantize nothing. Default auto */
    const char *const *keep_float; /* as in cr_quantize_options */
    size_t keep_float_count;
    const char *const *only;
    size_t only_count;
} cr_half_options;

CR_API cr_half_options cr_half_options_default(void);

typedef struct cr_half_report {
    size_t weights;        /* constants stored in 16 bits */
    size_t nodes;          /* whole graph: nodes that compute in 16 bits */
    size_t kept;           /* weights (whole graph: nodes) that stay float32 */
    size_t too_large;      /* of these, for a value beyond the type's range */
    const char *largest;   /* the first such tensor, owned by the model; NULL: none */
} cr_half_report;

/* Rounds the model's constants to 16-bit floats (nearest, ties to even), here and in what
 * cr_model_export writes from now on. It runs as before, in float32 (or CR_PRECISION_BF16), as do
 * such files when they are opened. Needs no pictures. CR_ERR_ARGUMENT: the model has a recipe, or a
 * glob matches nothing; the model is unchanged then. */
CR_API cr_status cr_model_to_half(cr_model *model, const cr_half_options *options,
                                  cr_half_report *report, cr_error *err);

/* ---- palettes ---- */

typedef struct cr_palette_report {
    size_t weights, kept; /* stored as palettes; left as they are, as asked or for their size */
    double error;         /* squared, in parts of the weights' sum of squares */
} cr_palette_report;

/* Gives each weight of 512 elements or more 2^bits different values (bits: 1, 2, 4, 6, 8), the centres
 * of k-means, rounded to float16; with fewer than 8 bits times a scale per output, unless options have
 * granularity per tensor. Of two near ones a weight takes the one that lets an output's errors cancel. The
 * model runs with them; cr_model_export stores them as indices where the format can (Core ML; ncnn
 * without scales), else as floats. Of options (may be NULL) keep_float, only and granularity count.
 * CR_ERR_ARGUMENT: the model is quantized already, or a glob matches nothing; it is unchanged then. */
CR_API cr_status cr_model_to_palette(cr_model *model, int bits, const cr_quantize_options *options,
                                     cr_palette_report *report, cr_error *err);

/* What tuning did: layers with weights that it could fit, how many of them are better for it on the
 * pictures that check, and the mean of their outputs' squared error there, in parts of the outputs'
 * energy, before and after. */
typedef struct cr_tune_report {
    size_t layers, better;
    double before, after;
} cr_tune_report;

/* Rounds the weights of a model that cr_quantize has planned (options->rounding; nothing to do for
 * nearest) by running the float and the quantized network side by side over pictures: those of
 * calibration. Types stay as planned, and scales of 8 bits. Without pictures (NULL or an empty list)
 * CR_ROUNDING_SUMS takes the place of gptq and learned, with nothing measured. report may be NULL. */
CR_API cr_status cr_tune(cr_model *model, const cr_image_list *pictures,
                         const cr_quantize_options *options, const cr_progress *progress,
                         cr_tune_report *report, cr_error *err);

/* How many logits pass the confidence .25, on pictures that had no part in fitting `shift`. */
typedef struct cr_score_match {
    float shift;                  /* added to the logits; 0: it would not have helped */
    double wanted, before, after; /* of the float model; of the quantized one without and with it */
} cr_score_match;

/* Shifts the logits of class scores and of objectness (both may be 0) so that the same confidence
 * threshold finds as many objects as in the float model; the biases in the recipe take it up
 * (pipeline/match_scores.c). At most 48 of the pictures are used, none needs a label. The model has a
 * recipe with the head auto or float (CR_ERR_ARGUMENT else). */
CR_API cr_status cr_match_scores(cr_model *model, const cr_image_list *pictures, int threads,
                                 cr_score_match *scores, cr_score_match *objects, cr_error *err);

/* Recipes on disk; loading attaches it to the model and checks that it fits. */
CR_API cr_status cr_model_save_recipe(const cr_model *model, const char *path, cr_error *err);
CR_API cr_status cr_model_load_recipe(cr_model *model, const char *path, cr_error *err);
CR_API void cr_model_drop_recipe(cr_model *model);

/* One tensor's place in a recipe. Strings are "" where the recipe does not tell. */
typedef struct cr_recipe_row {
    const char *tensor;
    bool is_weight;        /* else an activation */
    const char *shape;     /* "1x64x80x80" */
    const char *op, *node; /* what makes it (of a weight: what reads it); "" for an input */
    const char *role;      /* of that node: "input", "body", "decode", or what a last convolution gives:
                              "box", "score", "box + objectness", ... */
    const char *type;      /* "uint8"; "float32" without an entry */
    const char *why;       /* why it is so, and how it was rounded */
    bool quantized, dynamic;
    bool replaced;         /* a weight: its values are in the recipe, and not the float model's */
    int axis;              /* -1: one scale */
    size_t scales;         /* how many; the rest is 0 without an entry */
    long long block;       /* 0: none */
    double scale_min, scale_max;
    int zero_min, zero_max; /* zero points */
    double lo, hi;          /* what the codes reach: the widest over the scales */
} cr_recipe_row;

typedef struct cr_recipe_view {
    const cr_recipe_row *rows; /* weights and activations in the order of the graph */
    size_t row_count;
    const char *const *facts;  /* "calibration", "mse", ...: pairs */
    size_t fact_count;         /* of pairs */
    const char *const *steps;  /* what it changes in the graph, a line each */
    size_t step_count;
} cr_recipe_view;

/* What a recipe says, without its model; *out is the caller's (cr_recipe_view_free). */
CR_API cr_status cr_recipe_view_file(const char *path, cr_recipe_view **out, cr_error *err);
/* The same of a quantized model, whoever quantized it. CR_ERR_ARGUMENT: it is not quantized. */
CR_API cr_status cr_recipe_view_model(const cr_model *model, cr_recipe_view **out, cr_error *err);
CR_API void cr_recipe_view_free(cr_recipe_view **view);

/* TFLite: the type of inputs and outputs of what is integer inside. */
typedef enum cr_port_type { CR_PORTS_FLOAT, CR_PORTS_INT8, CR_PORTS_UINT8 } cr_port_type;

typedef enum cr_export_floats {
    CR_FLOATS_AUTO, /* Core ML: float16 where weights are quantized, else what the model computes in */
    CR_FLOATS_32,
    CR_FLOATS_16    /* but for what decodes boxes */
} cr_export_floats;

typedef struct cr_export_options {
    const char *format; /* "qdq", "tflite", "openvino", "ncnn", "coreml"; NULL: from the path's ending */
    cr_port_type ports; /* default float */
    /* Core ML only. */
    cr_export_floats floats; /* arithmetic */
    bool array_input;        /* the input takes numbers as the network does; false: a picture */
    bool suppress;           /* boxes and scores go through non-maximum suppression */
    double confidence, iou;  /* its thresholds; .25, .7 */
} cr_export_options;
CR_API cr_export_options cr_export_options_default(void);

/* Writes the model; options NULL: the defaults. The file appears complete or not at all.
 * ONNX: float without a recipe (16-bit floats as cr_model_to_half chose), QDQ with one, at opset
 * max(source opset, 13) (21 for int16, int4 and blocks, 25 for 2 bits and fewer).
 * CR_ERR_ARGUMENT: no such format, or an ending that names none. */
CR_API cr_status cr_model_export(const cr_model *model, const char *path,
                                 const cr_export_options *options, cr_error *err);

/* Operators of one kind in a TFLite file, and how many of them an accelerator runs. */
typedef struct cr_target_row {
    const char *op;  /* "CONV_2D" */
    int count, mapped;
    const char *why; /* the first that stays on the CPU does so for this; NULL: none does */
} cr_target_row;

enum { CR_MAX_TARGET_ROWS = 96 };

/* What the model's target (EDGETPU, NPU_NXP) will run of the file that cr_model_export writes with
 * these options: one row per kind of operator. By the makers' published lists; their compilers decide.
 * *count 0: the target is no accelerator. */
CR_API cr_status cr_model_target_rows(const cr_model *model, const cr_export_options *options,
                                      cr_target_row rows[CR_MAX_TARGET_ROWS], size_t *count,
                                      cr_error *err);

/* Can a file of that name be written so? For checks before the work. Errors as cr_model_export's. */
CR_API cr_status cr_export_check(const char *path, const cr_export_options *options, cr_error *err);
/* The format that it would have, as options->format names it ("qdq", "tflite", ...); NULL: there is none. */
CR_API const char *cr_export_format(const char *path, const cr_export_options *options);

#ifdef __cplusplus
}
#endif
#endif
