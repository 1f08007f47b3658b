/* A report that people look at: one HTML file with everything in it, no network needed.
 *
 *     cr_report_page *page = NULL;
 *     if (cr_report_open("a.onnx", "crayon quantize a.onnx ...", &page, &err) == CR_OK) {
 *         cr_report_cards(page, cards, card_count);
 *         cr_report_graph(page, model, &err);
 *         cr_report_save(page, "report.html", &err);
 *     }
 *     cr_report_close(&page);
 *
 * Sections appear in the order of the calls; each has a link at the top. Strings are borrowed during
 * the call only and may hold anything: what is not UTF-8 becomes U+FFFD, nothing becomes markup.
 * Sections without anything to show are left out. */
#ifndef CRAYON_REPORT_H
#define CRAYON_REPORT_H

#include "crayon/eval.h"
#include "crayon/model.h"
#include "crayon/quantize.h"
#include "crayon/runtime.h"
#include "crayon/search.h"
#include "crayon/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_report_page cr_report_page;

/* command: what was typed, shown as it is. The caller owns *out. */
CR_API cr_status cr_report_open(const char *title, const char *command, cr_report_page **out,
                                cr_error *err);
CR_API void cr_report_close(cr_report_page **page);
/* Writes the page, whole or not at all. CR_ERR_MEMORY here if anything before ran out of it. */
CR_API cr_status cr_report_save(cr_report_page *page, const char *path, cr_error *err);

/* A figure before and after, at the top of the page. */
typedef struct cr_report_card {
    const char *name, *unit; /* "Size", "MB" */
    double before, after;    /* NaN: there is none */
    int digits;              /* behind the point */
    bool smaller_is_better;
    const char *note;        /* a line below; may be "" */
} cr_report_card;
CR_API void cr_report_cards(cr_report_page *page, const cr_report_card *cards, size_t count);

typedef struct cr_report_fact {
    const char *name, *value;
} cr_report_fact;
CR_API void cr_report_facts(cr_report_page *page, const char *title, const cr_report_fact *facts,
                            size_t count);

/* What one model scored on labelled pictures. */
typedef struct cr_report_score {
    const char *name; /* "int8" */
    const cr_coco_metrics *metrics;
    const cr_coco_curves *curves;
    const cr_coco_class *classes; /* one per category of the labels */
} cr_report_score;
/* The twelve numbers, precision over recall, and a row per class: the evaluated model first, the one
 * that it is compared with (count 2) behind it. */
CR_API void cr_report_scores(cr_report_page *page, const cr_labels *labels,
                             const cr_report_score *scores, size_t count);

/* Two lists of detections on the same pictures. category_id is an index into `names`. */
typedef struct cr_report_views {
    char *const *paths;
    const int64_t *ids; /* image_id of picture i; NULL: i + 1 */
    size_t count;
    const char *left_name, *right_name; /* "float32", "int8" */
    const cr_coco_results *left, *right; /* left is the truth where they are compared */
    cr_coco_metric metric;               /* what they are compared by; both have it */
    const char *const *names;
    size_t name_count;
} cr_report_views;
/* The pictures (at most `most`) on which they agree least, side by side, JPEG of at most 640 pixels.
 * Boxes, masks, keypoints and oriented boxes are drawn where there are some, nothing of a confidence
 * below .25. Reads those pictures again. */
CR_API cr_status cr_report_pictures(cr_report_page *page, const cr_report_views *views, size_t most,
                                    cr_error *err);

/* The classes that a classifier names beside the labels' or another model's. */
typedef struct cr_report_answers {
    char *const *paths;
    size_t count;                       /* of pictures */
    const char *left_name, *right_name; /* "labels", "int8" */
    const int *left, *right;            /* [count] index into `names`; other numbers: none of them */
    const float *left_score, *right_score; /* [count] or NULL: how sure */
    const char *const *names;
    size_t name_count;
} cr_report_answers;
/* Which class is taken for which (as a square up to 24 classes), recall and precision of each, and at
 * most `most` pictures on which the two differ, the surest first. Reads those pictures again. */
CR_API cr_status cr_report_confusion(cr_report_page *page, const cr_report_answers *answers,
                                     size_t most, cr_error *err);

/* Signal to noise of each activation, and what each layer costs at the output. costs may be NULL. */
CR_API void cr_report_layers(cr_report_page *page, const cr_layer_diff *diffs, size_t count,
                             const cr_layer_costs *costs);

/* Of each quantized activation what calibration saw, and the range that was chosen. */
CR_API void cr_report_ranges(cr_report_page *page, const cr_model *model, const cr_stats *stats);

/* Of each quantized weight the distribution in every output channel, and what its codes reach. */
CR_API cr_status cr_report_weights(cr_report_page *page, const cr_model *model, cr_error *err);

/* Where a run's time goes. peaks may be NULL. */
CR_API void cr_report_times(cr_report_page *page, const cr_step_time *steps, size_t count,
                            const cr_peaks *peaks);

/* How a training went: losses and scores over its steps. */
CR_API void cr_report_training(cr_report_page *page, const cr_train_result *result);

/* The graph, drawn in layers from the input down, a colour per precision; it zooms and pans. */
CR_API cr_status cr_report_graph(cr_report_page *page, const cr_model *model, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
