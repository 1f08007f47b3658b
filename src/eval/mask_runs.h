/* Masks as run lengths: made of polygons, united, measured, compared. */
#ifndef CR_EVAL_MASK_RUNS_H
#define CR_EVAL_MASK_RUNS_H

#include "base/runs.h"
#include "crayon/eval.h"

enum { CR_MASK_SIDE_MAX = 65535, CR_MASK_COORDINATE_MAX = 100000000 };

/* Can a mask have this size? At least a pixel, at most 2^31. */
cr_status cr_mask_check_size(int width, int height, cr_error *err);

/* The pixels inside a polygon of n corners, xy[2 n] in pixels; *out must be empty. Corners may lie
 * outside the picture. CR_ERR_FORMAT: a corner that is not finite or absurdly far away; fewer than
 * three. */
cr_status cr_runs_from_polygon(const double *xy, size_t n, int width, int height, cr_runs *out,
                               cr_error *err);

/* *a becomes the union of both, which are of one size. */
cr_status cr_runs_unite(cr_runs *a, const cr_runs *b, cr_error *err);

uint64_t cr_runs_area(const cr_runs *r);

/* The smallest box around what is on: x, y, w, h; all 0 if nothing is. */
void cr_runs_box(const cr_runs *r, int height, double out[4]);

/* Intersection over union; with a crowd, over a's area. */
double cr_runs_overlap(const cr_runs *a, const cr_runs *b, bool crowd);

/* The mask's runs; *out must be empty. `what` and `index` name it in messages. */
cr_status cr_mask_runs(const cr_coco_mask *m, const char *what, size_t index, cr_runs *out,
                       cr_error *err);

#endif
