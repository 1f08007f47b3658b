/* How well does a detector see: labels, COCO's numbers, agreement between two models, and
 * signal-to-noise ratios between two tensors.
 *
 *     cr_labels *truth = NULL;
 *     cr_coco_metrics m;
 *     if (cr_labels_load("instances.json", &truth, &err) == CR_OK &&
 *         cr_coco_evaluate(truth, boxes, count, NULL, 0, &m, &err) == CR_OK)
 *         printf("mAP50-95 %.4f\n", m.ap);
 *     cr_labels_free(&truth);
 *
 * Boxes are in pixels of the source picture: x, y is the left top corner, w and h the extent. */
#ifndef CRAYON_EVAL_H
#define CRAYON_EVAL_H

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- labels ---------------------------------------------------------------------------------- */

typedef struct cr_labels cr_labels;

/* The pixels of an object in its picture. */
typedef struct cr_coco_mask {
    int height, width;  /* of the picture */
    const char *counts; /* COCO's compressed run lengths, ended by 0 */
} cr_coco_mask;

typedef struct cr_label_image {
    int64_t id;
    const char *file_name; /* as written in COCO form; below the picture folder in data.yaml form */
    const char *path;      /* where the labels say that the picture lies; NULL in COCO form */
    int width, height;     /* pixels, upright (EXIF applied); 0 when a COCO file leaves them out */
} cr_label_image;

typedef struct cr_label_category {
    int64_t id; /* >= 0; in data.yaml form the class index */
    const char *name;
} cr_label_category;

typedef struct cr_label_box {
    int64_t id, image_id, category_id;
    double x, y, w, h;
    double area; /* of the object (COCO: of its mask); w*h when the file does not say */
    bool crowd;  /* a region of many objects: detections inside it are neither right nor wrong */
    bool ignored; /* one object that need not be found: who finds it is neither right nor wrong */
    const cr_coco_mask *mask; /* NULL: not labelled or not loaded */
    const double *keypoints;  /* [keypoint_count, 3] x, y, 0: not labelled, 1: hidden, 2: visible */
    size_t keypoint_count;    /* 0: not labelled or not loaded */
    const double *corners; /* [4, 2] x, y in turn of the box as it lies; NULL: not labelled or not loaded */
} cr_label_box;

/* Reads ground truth; the ending of `path` decides the form.
 *  - .yaml, .yml: an Ultralytics data.yaml. Its `val` split is used, else `test`, else `train`; the
 *    label files lie in labels/ beside images/ and hold "class cx cy w h" or polygons, normalised.
 *    Only JPEG and PNG pictures are known; of each the header alone is read, for its size. A
 * picture without a label file has no objects. Images get the ids 1..n in order of their paths.
 *  - a folder with .xml files: Pascal VOC annotations. Categories are the names in alphabetical
 *    order, from 1 on; difficult objects are `ignored`.
 *  - any other folder: ImageNet's form, a folder of pictures per class; categories from 0 on in the
 *    order of the names, one object per picture.
 *  - everything else: COCO instances JSON, at most 1 GiB. "id", "image_id", "category_id" and
 * "bbox" of an annotation are needed, "iscrowd" (0) and "area" (w*h) are not. CR_ERR_FORMAT: not
 * JSON or YAML, wrong types, missing keys, numbers that are not finite, repeated ids, an annotation
 * of an unknown image or category. The caller owns *out; it is NULL on failure. */
CR_API cr_status cr_labels_load(const char *path, cr_labels **out, cr_error *err);

/* The same with more than boxes. CR_LABEL_MASKS: polygons and run lengths become masks, the pixels
 * that pycocotools makes of them; a picture without width and height is then CR_ERR_FORMAT; `area`
 * is the mask's where the file does not say. CR_LABEL_KEYPOINTS: keypoints as well; `area` is then
 * CR_COCO_BODY_SHARE of the box where the file does not say. What is not asked for is not looked
 * at. CR_LABEL_TRAIN: of a data.yaml the `train` split, and a picture whose size cannot be read is one
 * of 0x0 pixels without objects. CR_LABEL_CORNERS: boxes that lie at an angle, which are polygons of
 * four corners (DOTA's objects in either form); `area` is theirs where the file does not say. */
enum { CR_LABEL_MASKS = 1, CR_LABEL_KEYPOINTS = 2, CR_LABEL_TRAIN = 4, CR_LABEL_CORNERS = 8 };
CR_API cr_status cr_labels_load_parts(const char *path, unsigned parts, cr_labels **out,
                                      cr_error *err);

/* Which of them were loaded: masks or corners if every object has them, keypoints if any object has
 * some. */
CR_API unsigned cr_labels_parts(const cr_labels *labels);
/* Which keypoint stands in the place of which in a mirrored picture, [*count]: where keypoints were
 * loaded, the names of COCO's keypoints say left and right; with CR_LABEL_TRAIN the `flip_idx` of a
 * data.yaml. NULL: not known, or not the same for all categories. */
CR_API const int *cr_labels_keypoint_pairs(const cr_labels *labels, size_t *count);
CR_API void cr_labels_free(cr_labels **labels); /* NULL is fine; nulls the handle */

/* Everything that these return lives as long as the labels; NULL beyond the count. Images and boxes
 * are in the file's order, categories in order of their ids. */
CR_API size_t cr_labels_image_count(const cr_labels *labels);
CR_API const cr_label_image *cr_labels_image(const cr_labels *labels, size_t index);
CR_API size_t cr_labels_category_count(const cr_labels *labels);
CR_API const cr_label_category *cr_labels_category(const cr_labels *labels, size_t index);
CR_API size_t cr_labels_box_count(const cr_labels *labels);
CR_API const cr_label_box *cr_labels_box(const cr_labels *labels, size_t index);

/* The image of that name: the whole file_name if one is equal, else the only image whose last path
 * component equals that of `file_name`. NULL: none, or more than one. O(log n). */
CR_API const cr_label_image *cr_labels_find_image(const cr_labels *labels, const char *file_name);
CR_API const cr_label_image *cr_labels_find_id(const cr_labels *labels, int64_t image_id);

/* A class of the model that the labels do not know. */
#define CR_NO_CATEGORY (-1)

/* Gives each of the model's n classes its category: category_ids[k] for class k (caller's array of
 * n). With as many categories as classes, class k is the k-th category by id, unless the names say
 * otherwise. With other counts, or when a name is found at another place, classes go by name (ASCII
 * case is ignored, '_' equals ' '), and those without a namesake get CR_NO_CATEGORY, which
 * evaluation ignores. names: n strings, NULL (or NULL entries) where the model has none.
 * CR_ERR_ARGUMENT: nothing matches. */
CR_API cr_status cr_labels_map_classes(const cr_labels *labels, const char *const *names, size_t n,
                                       int64_t *category_ids, cr_error *err);

/* ---- detections ------------------------------------------------------------------------------ */

typedef struct cr_coco_box {
    int64_t image_id, category_id;
    double x, y, w, h; /* pixels */
    double score;      /* higher is better; any finite number */
} cr_coco_box;

/* COCO results form: [{"image_id":1,"category_id":3,"bbox":[x,y,w,h],"score":0.5}, ...]. Numbers
 * are written so that reading gives the same doubles back. Read: at most 4 GiB; free *out with
 * cr_coco_boxes_free (it is NULL on failure and may be NULL for an empty list). */
CR_API cr_status cr_coco_boxes_read(const char *path, cr_coco_box **out, size_t *n, cr_error *err);
CR_API cr_status cr_coco_boxes_write(const char *path, const cr_coco_box *boxes, size_t n,
                                     cr_error *err);
CR_API void cr_coco_boxes_free(cr_coco_box **boxes);

/* ---- COCO metrics ---------------------------------------------------------------------------- */

/* 0..1, or -1 where undefined (no truth of that kind), as pycocotools has it. */
typedef struct cr_coco_metrics {
    double ap, ap50,
        ap75; /* precision, mean over IoU .50:.05:.95 (or at .50, .75), 100 detections */
    double ap_small, ap_medium, ap_large; /* area < 32^2, 32^2..96^2, > 96^2 pixels */
    double ar1, ar10, ar100; /* recall with 1, 10, 100 detections per image and class */
    double ar_small, ar_medium, ar_large; /* recall with 100 */
    double ar50, ar75; /* recall with 100 at IoU .50, .75: COCO's keypoint evaluation names them */
} cr_coco_metrics;

typedef struct cr_coco_class {
    int64_t category_id;
    double ap, ap50; /* -1: no truth of this category */
    size_t truth;    /* boxes that could be found: not crowds */
} cr_coco_class;

/* The twelve numbers of pycocotools' COCOeval with iouType "bbox" and its default parameters, equal
 * to it on the same detections (its `accumulate`, and `bbIou` in its maskApi.c, are the
 * definition). dets: n boxes in any order; equal scores keep their order. Boxes of categories that
 * the labels lack are ignored. image_ids: evaluate these image_count images only (COCOeval's
 * params.imgIds), or NULL for all; boxes of other known images are ignored. One quirk is kept for
 * equality's sake: an annotation whose id is 0 never counts as found, so number annotations from 1.
 * CR_ERR_ARGUMENT: a box that is not finite, or an image id that the labels do not have. */
CR_API cr_status cr_coco_evaluate(const cr_labels *truth, const cr_coco_box *dets, size_t n,
                                  const int64_t *image_ids, size_t image_count,
                                  cr_coco_metrics *out, cr_error *err);

/* The same for each category: classes[k] belongs to cr_labels_category(truth, k); the caller's
 * array has cr_labels_category_count(truth) elements. out (may be NULL) gets the metrics over all.
 */
CR_API cr_status cr_coco_evaluate_classes(const cr_labels *truth, const cr_coco_box *dets, size_t n,
                                          const int64_t *image_ids, size_t image_count,
                                          cr_coco_class *classes, cr_coco_metrics *out,
                                          cr_error *err);

/* ---- masks, keypoints, oriented boxes -------------------------------------------------------- */

typedef enum cr_coco_metric {
    CR_COCO_BOXES,
    CR_COCO_MASKS,
    CR_COCO_KEYPOINTS,
    CR_COCO_ORIENTED
} cr_coco_metric;

/* Detections with more than boxes. */
typedef struct cr_coco_results {
    cr_coco_box *boxes;
    size_t count;
    cr_coco_mask *masks; /* [count], or NULL */
    double *points;      /* [count, keypoints, 3] x, y, score in pixels, or NULL */
    size_t keypoints;
    double *corners; /* [count, 4, 2] x, y in pixels, in turn, or NULL */
} cr_coco_results;

/* The numbers of COCOeval with iouType "bbox", "segm" or "keypoints", equal to it on the same
 * results file. Masks: overlap of pixels; areas are those of the masks. Keypoints: object keypoint
 * similarity with COCO's sigmas for 17 points (1 / K for K others), the best 20 detections per image
 * and category; a detection's area is that of its keypoints' extent, truth without a labelled
 * keypoint is ignored. Oriented boxes: the exact overlap of both as polygons, which is what DOTA's
 * evaluation compares by; the rest is COCO's. The labels must have what is compared (cr_labels_load_parts). classes: as for
 * cr_coco_evaluate_classes, or NULL. CR_ERR_ARGUMENT also: a mask that is none or not of its
 * picture's size; keypoints that are not finite; truth with more keypoints than the results. */
CR_API cr_status cr_coco_evaluate_results(const cr_labels *truth, const cr_coco_results *results,
                                          cr_coco_metric metric, const int64_t *image_ids,
                                          size_t image_count, cr_coco_class *classes,
                                          cr_coco_metrics *out, cr_error *err);

/* Precision over recall, mean over the categories with truth (-1: there is none), area "all", 100
 * detections: at[t][r] at an overlap of .5 + .05 t and a recall of r / 100; the mean of all is AP. */
enum { CR_COCO_CURVES = 10, CR_COCO_RECALLS = 101 };
typedef struct cr_coco_curves {
    double at[CR_COCO_CURVES][CR_COCO_RECALLS];
} cr_coco_curves;

/* cr_coco_evaluate_results with these as well; classes, curves and out may be NULL. */
CR_API cr_status cr_coco_evaluate_curves(const cr_labels *truth, const cr_coco_results *results,
                                         cr_coco_metric metric, const int64_t *image_ids,
                                         size_t image_count, cr_coco_class *classes,
                                         cr_coco_curves *curves, cr_coco_metrics *out,
                                         cr_error *err);

/* Results form with "bbox", "segmentation" {"size", "counts"}, "keypoints" or "poly" (four corners, x
 * and y, as Ultralytics writes oriented boxes); what the first element has, all must have. A missing
 * bbox is the extent of the mask, the keypoints or the corners. */
CR_API cr_status cr_coco_results_read(const char *path, cr_coco_results *out, cr_error *err);
CR_API void cr_coco_results_free(cr_coco_results *results);
/* Writes what the metric compares and nothing else: pycocotools takes areas from a bbox where there
 * is one. */
CR_API cr_status cr_coco_results_write(const char *path, const cr_coco_results *results,
                                       cr_coco_metric metric, cr_error *err);

/* ---- agreement ------------------------------------------------------------------------------- */

#define CR_AGREEMENT_CONF 0.25

/* Does the candidate (a quantized model) see what the reference (the float model) saw? The COCO
 * metric with the reference's detections of score >= conf as the truth (area w*h, no crowds) and
 * all of the candidate's detections, on the images that occur in either; out->ap is "the
 * agreement". No label is needed. -1: the reference saw nothing. conf: finite, usually
 * CR_AGREEMENT_CONF. CR_ERR_ARGUMENT: a box or conf is not finite. */
CR_API cr_status cr_coco_agreement(const cr_coco_box *reference, size_t reference_count,
                                   const cr_coco_box *candidate, size_t candidate_count,
                                   double conf, cr_coco_metrics *out, cr_error *err);

/* The share of an upright person's box that the person covers: OKS is measured in an object's area. */
#define CR_COCO_BODY_SHARE 0.53

/* The same for poses: detections are compared by object keypoint similarity (OKS) of their keypoints
 * in place of the overlap of their boxes, as COCO's keypoint evaluation does (20 detections per
 * image; ap_small is not part of it). points: [count, keypoints, 3] x, y, score, in pixels; element i
 * belongs to box i. The truth are the reference's detections of score >= conf with an area of
 * CR_COCO_BODY_SHARE of their box and those of their keypoints whose score is at least .5; a
 * detection without any is ignored. */
CR_API cr_status cr_coco_agreement_keypoints(
    const cr_coco_box *reference, const float *reference_points, size_t reference_count,
    const cr_coco_box *candidate, const float *candidate_points, size_t candidate_count,
    size_t keypoints, double conf, cr_coco_metrics *out, cr_error *err);

/* The same of whatever the metric compares; masks: their overlap, and their areas. Keypoints have as
 * many in both. */
CR_API cr_status cr_coco_agreement_results(const cr_coco_results *reference,
                                           const cr_coco_results *candidate, cr_coco_metric metric,
                                           double conf, cr_coco_metrics *out, cr_error *err);

/* ---- tensors --------------------------------------------------------------------------------- */

/* Signal to quantization noise, 10 log10(sum ref^2 / sum (ref - test)^2) in dB, summed in double.
 * No noise (also for n 0 or two zero signals): +infinity. Noise on a zero reference: -infinity.
 * NaN if an element of either is NaN or infinite. */
CR_API double cr_sqnr_db(const float *ref, const float *test, size_t n);

/* Cosine of the angle between two vectors, -1..1, summed in double. Two zero vectors (also n 0): 1;
 * one zero vector: 0. NaN if an element of either is NaN or infinite. */
CR_API double cr_cosine(const float *a, const float *b, size_t n);

#ifdef __cplusplus
}
#endif
#endif
