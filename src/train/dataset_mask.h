/* Masks of training pictures: where what is left of an object lies, and its pixels in small. */
#ifndef CR_TRAIN_DATASET_MASK_H
#define CR_TRAIN_DATASET_MASK_H

#include "crayon/eval.h"
#include "train/augment.h"

/* Draws the box (in the input, before it is turned) in to what the mask shows inside the tile's
 * clip: a crop through a star leaves less than the crop of its box. Sides that are at most a pixel
 * of the source off stay, as labels know them better than masks do. *empty: nothing is left. */
cr_status cr_mask_tighten(const cr_coco_mask *mask, const cr_tile *tile, double box[4], bool *empty,
                          cr_error *err);

/* The mask in cells of an input of width x height pixels: out[rows, columns], zero at first. A cell
 * is on where at least half of four points in it are, a quarter of its side off its middle. Only
 * cells that the box reaches into are looked at. */
typedef struct cr_mask_grid {
    int width, height, columns, rows;
} cr_mask_grid;
cr_status cr_mask_place(const cr_coco_mask *mask, const cr_tile *tile, const cr_mask_grid *grid,
                        const double box[4], uint8_t *out, cr_error *err);

#endif
