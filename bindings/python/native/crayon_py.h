/* What the Python package calls besides the library's own functions: flat, so that Python (ctypes)
 * knows no struct but cr_error and the small ones below. Structs of the library change; here the
 * compiler keeps up with them. */
#ifndef CRAYON_PY_H
#define CRAYON_PY_H

#include "crayon/quantize.h"
#include "crayon/runtime.h"

/* A cr_port_info or cr_raw_output with fixed places. */
typedef struct cr_py_tensor {
    const char *name, *dtype;
    const void *data;
    size_t bytes;
    int64_t rank, dim[8];
} cr_py_tensor;

CR_API int cr_py_open(const char *path, int height, int width, int batch, int precision,
                      cr_model **out, cr_error *err);
/* which: 0 family, 1 task, 2 precision, 3 how pictures are fitted, 4 why so. */
CR_API const char *cr_py_text(const cr_model *model, int which);
CR_API const char *cr_py_class_name(const cr_model *model, size_t index); /* NULL: no more */
CR_API int cr_py_quantized(const cr_model *model);
CR_API size_t cr_py_ports(const cr_model *model, int outputs);
CR_API void cr_py_port(const cr_model *model, int outputs, size_t index, cr_py_tensor *out);
/* Node of the file (of_file) or of the prepared graph; 0: no more. */
CR_API int cr_py_node(const cr_model *model, int of_file, size_t index, const char **name,
                      const char **op);

CR_API int cr_py_output(const cr_runner *runner, size_t index, cr_py_tensor *out, cr_error *err);

/* Width and height of the network's picture; 0: its input is no picture. */
CR_API int cr_py_picture_size(const cr_model *model, int *height, int *width);
/* rgb[height,width,3] to out[3,H,W] as the network wants it. */
CR_API int cr_py_preprocess(const cr_model *model, const uint8_t *rgb, int height, int width,
                            float *out, cr_error *err);

/* An image file as packed RGB; the caller copies *rgb and frees it. */
CR_API int cr_py_read_image(const char *path, cr_image **out, const uint8_t **rgb, int *height,
                            int *width, cr_error *err);
CR_API void cr_py_free_image(cr_image **image);

typedef struct cr_py_detect {
    float conf, iou;
    int max_detections, class_agnostic, multi_label;
    const int *classes;
    size_t class_count;
} cr_py_detect;
typedef struct cr_py_found cr_py_found;
CR_API int cr_py_detect_run(cr_detector *detector, const uint8_t *rgb, int height, int width,
                            const cr_py_detect *options, cr_py_found **out, size_t *count,
                            int *keypoints, cr_error *err);
/* boxes [count,4], scores [count], classes [count], points [count,keypoints,3] or NULL. */
CR_API void cr_py_found_copy(const cr_py_found *found, float *boxes, float *scores, int *classes,
                             float *points);
CR_API void cr_py_found_free(cr_py_found **found);

/* Options of a plan, by the names that `crayon quantize` has for them (cli/plan_options.c). */
typedef struct cr_py_plan cr_py_plan;
CR_API cr_py_plan *cr_py_plan_create(void);
CR_API void cr_py_plan_free(cr_py_plan **plan);
/* value NULL: a flag. CR_ERR_ARGUMENT with what is wrong. */
CR_API int cr_py_plan_set(cr_py_plan *plan, const char *option, const char *value, cr_error *err);
/* 1: an option without a value, 0: with one, -1: there is no such option. */
CR_API int cr_py_plan_kind(const char *option);
/* Name of option `index`; NULL: no more. */
CR_API const char *cr_py_plan_name(size_t index);
/* Nodes by exact name that stay float (only = 0), or that alone are quantized (1). */
CR_API int cr_py_plan_nodes(cr_py_plan *plan, int only, const char *const *names, size_t count,
                            cr_error *err);
CR_API void cr_py_plan_mode(cr_py_plan *plan, int mode); /* a cr_quantize_mode */
CR_API void cr_py_plan_threads(cr_py_plan *plan, int threads);

CR_API int cr_py_calibrate_images(const cr_model *model, const char *const *paths, size_t count,
                                  const cr_py_plan *plan, cr_progress_fn progress, cr_stats **out,
                                  cr_error *err);
CR_API int cr_py_calibrate_folder(const cr_model *model, const char *spec, const cr_py_plan *plan,
                                  cr_progress_fn progress, cr_stats **out, cr_error *err);
/* Behind cr_py_quantize, with the same pictures: cr_tune. */
CR_API int cr_py_tune_images(cr_model *model, const char *const *paths, size_t count,
                             const cr_py_plan *plan, cr_progress_fn progress, cr_error *err);
CR_API int cr_py_tune_folder(cr_model *model, const char *spec, const cr_py_plan *plan,
                             cr_progress_fn progress, cr_error *err);
/* Samples of the only input lie one behind the other in an open file. */
CR_API int cr_py_calibrate_file(const cr_model *model, int file, size_t count,
                                const cr_py_plan *plan, cr_progress_fn progress, cr_stats **out,
                                cr_error *err);

/* convs, convs quantized, head nodes, last convolutions, activations, weights, excluded */
CR_API int cr_py_quantize(cr_model *model, const cr_stats *stats, const cr_py_plan *plan,
                          size_t report[7], cr_error *err);

#endif
