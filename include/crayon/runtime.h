/* Running a model: raw tensors with cr_runner, pictures to detections with cr_detector.
 *
 *     cr_detector *d = NULL;
 *     cr_detections found = {0};
 *     if (cr_detector_create(model, 0, &d, &err) == CR_OK &&
 *         cr_detector_run(d, &picture, &options, &found, &err) == CR_OK)
 *         for (size_t i = 0; i < found.count; i++) ...
 *     cr_detections_free(&found);
 *     cr_detector_free(&d);
 *
 * A model with a recipe runs on integers. Results are the same for any number of threads. The model
 * must outlive what is made from it; several runners may run one model at the same time. */
#ifndef CRAYON_RUNTIME_H
#define CRAYON_RUNTIME_H

#include "crayon/model.h"
#include "crayon/profile.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_runner cr_runner;

/* threads 0: all cores. */
CR_API cr_status cr_runner_create(const cr_model *model, int threads, cr_runner **out,
                                  cr_error *err);
/* Another runner of the same compiled model: weights are packed once and shared, memory for a run
 * (cr_runner_memory) and threads are its own, so that both may run at the same time, each on one
 * thread of the caller. threads: at most as many as the first was made with; 0: as many. Runners may
 * be freed in any order. */
CR_API cr_status cr_runner_share(const cr_runner *with, int threads, cr_runner **out, cr_error *err);
CR_API void cr_runner_free(cr_runner **runner);

/* Input `index`, row-major in the port's type (float32 for pictures: [N,3,H,W]), to be filled before
 * a run; it keeps its content. *bytes (may be NULL) is its size. NULL beyond the last input. */
CR_API void *cr_runner_input(cr_runner *runner, size_t index, size_t *bytes);
/* Instead of filling the only input [1,3,H,W]: packed bytes pixels[H,W,3] whose normalised values
 * (byte - mean[c]) / div[c] it would hold (cr_preprocess_pixels makes them). An INT8 model's first
 * layer reads such bytes without floats in between; results are the same bits. The pixels must live
 * until the next cr_runner_run, which alone uses them. false: this model has no use for bytes, so
 * the input must be filled. */
CR_API bool cr_runner_put_picture(cr_runner *runner, const uint8_t *pixels, const float mean[3],
                                  const float div[3]);
CR_API cr_status cr_runner_run(cr_runner *runner, cr_error *err);
/* Ends the run in progress after the step that it is in, or else the next run before its first: that
 * run returns CR_ERR_CANCELLED, the ones after it are as ever. May be called from any thread and
 * from a signal handler. */
CR_API void cr_runner_cancel(cr_runner *runner);
/* Output `index` after a run, float32 (CR_ERR_UNSUPPORTED for other types); valid until the next. */
CR_API cr_status cr_runner_output(const cr_runner *runner, size_t index, cr_output *out,
                                  cr_error *err);
/* The same for outputs of any type. */
typedef struct cr_raw_output {
    const void *data;  /* row-major; NULL if it has no elements */
    const char *dtype; /* "float32", "int64", ... */
    size_t bytes;
    int rank;
    int64_t dim[8];
} cr_raw_output;
CR_API cr_status cr_runner_output_raw(const cr_runner *runner, size_t index, cr_raw_output *out,
                                      cr_error *err);
/* Bytes of planned memory: activations and scratch. */
CR_API size_t cr_runner_memory(const cr_runner *runner);

/* Times later runs step by step (which costs them two clock readings a step) and keeps the last
 * `runs` of them, at least 1. */
CR_API cr_status cr_runner_profile(cr_runner *runner, size_t runs, cr_error *err);
/* Steps in the order in which they run. */
CR_API size_t cr_runner_step_count(const cr_runner *runner);
CR_API cr_step_time cr_runner_step(const cr_runner *runner, size_t index);

typedef struct cr_detector cr_detector;

/* CR_ERR_UNSUPPORTED if the model's head is unknown or its input is not one picture. */
CR_API cr_status cr_detector_create(const cr_model *model, int threads, cr_detector **out,
                                    cr_error *err);
/* As cr_runner_share and cr_runner_cancel. */
CR_API cr_status cr_detector_share(const cr_detector *with, int threads, cr_detector **out,
                                   cr_error *err);
CR_API void cr_detector_cancel(cr_detector *detector);
CR_API void cr_detector_free(cr_detector **detector);
/* options NULL: the defaults. Free *out with cr_detections_free. */
CR_API cr_status cr_detector_run(cr_detector *detector, const cr_image *picture,
                                 const cr_detect_options *options, cr_detections *out,
                                 cr_error *err);
/* The same from a picture that cr_preprocess_pixels fitted for cr_model_get_info(model)->preprocess:
 * another thread may prepare the next one while this one runs. */
CR_API cr_status cr_detector_run_pixels(cr_detector *detector, const uint8_t *pixels,
                                        const cr_placement *place,
                                        const cr_detect_options *options, cr_detections *out,
                                        cr_error *err);
/* Milliseconds of the last run's parts. */
typedef struct cr_detect_times {
    double preprocess_ms, run_ms, decode_ms;
} cr_detect_times;
CR_API cr_detect_times cr_detector_times(const cr_detector *detector);

/* Layer by layer comparison of two models on one picture: same graph, two recipes (or none). */
typedef struct cr_layer_diff {
    const char *tensor;          /* owned by model a */
    double sqnr_db, cosine;      /* of b against a, over all pictures compared */
    uint64_t elements;
} cr_layer_diff;
/* Calls see() for every activation that both models have under the same name, in execution order.
 * CR_ERR_ARGUMENT if they share none. */
CR_API cr_status cr_compare_layers(const cr_model *a, const cr_model *b,
                                   const cr_image_list *pictures, size_t limit, int threads,
                                   const cr_progress *progress,
                                   void (*see)(void *user, const cr_layer_diff *diff), void *user,
                                   cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
