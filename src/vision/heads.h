/* Between the decoders of the head families and what they share. */
#ifndef CR_VISION_HEADS_H
#define CR_VISION_HEADS_H

#include "crayon/detect.h"

enum { CR_MAX_LEVELS = 6 };

/* A box that may become a detection, in network input pixels. */
typedef struct cr_candidate {
    float box[4]; /* x1, y1, x2, y2 */
    float score;
    int class_id;
    int index;
} cr_candidate;

typedef struct cr_candidates {
    cr_candidate *items; /* owned; rows ascending, classes ascending within a row */
    size_t count, cap;
} cr_candidates;

/* Each appends the candidates that pass conf and the class filter. */
cr_status cr_decode_yolo(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                         cr_candidates *list, cr_error *err);
cr_status cr_decode_nanodet(const cr_head *h, const cr_output *outs, size_t n,
                            const cr_detect_options *o, cr_candidates *list, cr_error *err);
cr_status cr_decode_end2end(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                            cr_candidates *list, cr_error *err);

cr_status cr_decode_branches(const cr_head *h, const cr_output *outs, size_t n,
                             const cr_detect_options *o, cr_candidates *list, cr_error *err);
void cr_branch_keypoints(const cr_head *h, const cr_output *outs, int index, float *keypoints);

/* Appends one row's candidates: scores[k * step] * weight of class k, against conf. */
cr_status cr_emit_row(const cr_head *h, const cr_detect_options *o, const float box[4],
                      const float *scores, size_t step, float weight, int index,
                      cr_candidates *list, cr_error *err);
cr_status cr_emit(const cr_detect_options *o, const cr_candidate *c, cr_candidates *list,
                  cr_error *err);

/* keypoints[K, 3] of a candidate's row, in input pixels. */
void cr_head_keypoints(const cr_head *h, const cr_output *out, int index, float *keypoints);

/* Centre x, y, width, height in input pixels and angle of an oriented head's row. */
void cr_head_turned(const cr_head *h, const cr_output *out, int index, float turned[5]);

/* The coefficients of a row: coefficients[h->masks], `step` floats apart; false: the output has another
 * shape. */
bool cr_head_coefficients(const cr_head *h, const cr_output *out, int index, const float **first,
                          size_t *step);
/* Masks of all detections, from output 1. */
cr_status cr_head_masks(const cr_head *h, const cr_output *outs, size_t n,
                        const cr_placement *place, cr_detections *found, cr_error *err);

/* Number of cells of an input at strides first, 2*first, ... (count of them). */
int64_t cr_grid_cells(int width, int height, int first, int count);

/* The run of strides (each twice the one before, within 4..64) whose cells sum to `cells`; false
 * if none does. The usual 8,16,32 is preferred. */
bool cr_find_strides(int width, int height, int64_t cells, int *first, int *count);

/* The two dims of an output [1, a, b] or [a, b]; false for another shape. */
bool cr_output_matrix(const cr_output *out, int64_t *a, int64_t *b);

/* For NanoDet: columns of the score and the distance outputs; false if the outputs do not pair up.
 */
bool cr_nanodet_columns(const cr_output *outs, size_t n, int classes, int width, int height,
                        int64_t *score_columns, int64_t *distance_columns);

/* Is it NanoDet-Plus' single output [1, N, nc + 4 * bins] for strides 8, 16, 32 (, 64)? With an
 * unknown class count only nc 80 of 8 bins is taken for it. */
bool cr_nanodet_joined(const cr_output *outs, size_t n, int classes, int width, int height,
                       int64_t *score_columns);

#endif
