/* Masks and keypoints on their way into labels. */
#ifndef CR_EVAL_LABEL_SHAPES_H
#define CR_EVAL_LABEL_SHAPES_H

#include "base/runs.h"
#include "eval/json_walk.h"
#include "eval/label_store.h"

/* Gives the box the union of the polygons as its mask and, if take_area, the mask's area. */
cr_status cr_labels_polygons(cr_labels *l, const cr_polygons *p, int width, int height,
                             cr_label_box *box, bool take_area, cr_error *err);

/* An annotation's "segmentation", if there is one; called before the box is added. */
cr_status cr_labels_read_segmentation(cr_labels *l, const cr_json_item *item, cr_label_box *box,
                                      bool take_area, cr_error *err);

/* Gives the box these corners and, if take_area, their area. CR_ERR_FORMAT (without a file's name): a
 * corner that is not finite or absurdly far away. */
cr_status cr_labels_corners(cr_labels *l, const double xy[8], cr_label_box *box, bool take_area,
                            cr_error *err);

/* The same of an annotation whose "segmentation" is one polygon of four corners. */
cr_status cr_labels_read_corners(cr_labels *l, const cr_json_item *item, cr_label_box *box,
                                 bool take_area, cr_error *err);

/* Makes masks of the polygons that wait, and checks the sizes of all. Once, when images and boxes
 * have been checked. */
cr_status cr_labels_make_masks(cr_labels *l, const char *path, cr_error *err);

/* {"size": [h, w], "counts": TEXT or [run, ...]}; *out must be empty. */
cr_status cr_json_mask(const cr_json_item *item, const json_t *mask, cr_runs *out, int *width,
                       int *height, cr_error *err);

/* An item's "keypoints", [n, 3] in the arena; n 0 if there are none. */
cr_status cr_json_points(const cr_json_item *item, cr_arena *arena, const double **out, size_t *n,
                         cr_error *err);

#endif
