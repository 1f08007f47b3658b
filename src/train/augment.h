/* Training pictures out of labelled ones: mosaic, scale, shift, mirrors, quarter turns, colour.
 *
 *     cr_augment_draw(&options, square, &rng, &a);            what will be done, from the lot
 *     tile = cr_augment_place(&a, &pre, k, width, height);    where picture k of the mosaic lies
 *     cr_augment_paint(&tile, &picture, &pre, pixels, ...);   its pixels
 *     cr_augment_colour(&a, pixels, n, pool);
 *     cr_augment_turn(a.turn, pixels, 3, width, height);
 *
 * and points, boxes and masks take the same way. Every random number is drawn before a picture is
 * read, so what is done depends on the generator alone.
 *
 * A tile is a picture's map into the network's input, per axis: out = source * gain + shift, in
 * pixels whose corners (not centres) are whole numbers, as the runtime's letterbox has it.
 * Letterbox, mosaic, scale and shift are one such map, so pixels are interpolated once (bilinear,
 * as OpenCV's INTER_LINEAR); the usual way resizes, pastes into a picture of twice the size and
 * warps that. Other angles, shear and perspective are left out: YOLOv8 trains without. */
#ifndef CR_TRAIN_AUGMENT_H
#define CR_TRAIN_AUGMENT_H

#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "crayon/image.h"

enum { CR_MOSAIC = 4 };

/* Turns, applied in this order: x and y change places, then x is mirrored, then y. All eight
 * symmetries of the square are sums of these. */
enum { CR_TURN_SWAP = 1, CR_TURN_X = 2, CR_TURN_Y = 4 };

typedef struct cr_augment_options {
    double mosaic;    /* probability of four pictures in one; 0 where a picture has one class */
    double scale;     /* size times 1 - scale .. 1 + scale */
    double translate; /* shift by up to this part of the input's sides */
    double flip;      /* probability of a mirrored picture */
    bool symmetries;  /* any of the eight symmetries instead; of a picture that is not square,
                         those without CR_TURN_SWAP */
    bool no_mirror;   /* turns alone: what is written in the picture, or keypoints without pairs */
    double hue;       /* up to this part of the colour circle */
    double saturation, value; /* times 1 - x .. 1 + x */
} cr_augment_options;

/* Mosaic always, scale .5, translate .1, flip .5, hue .015, saturation .7, value .4: what YOLOv8 is
 * trained with. */
cr_augment_options cr_augment_options_default(void);
/* CR_ERR_ARGUMENT names a number that is out of range (0..1; scale below 1). */
cr_status cr_augment_check(const cr_augment_options *options, cr_error *err);

/* What will be done to one training picture. */
typedef struct cr_augmentation {
    int tiles;             /* 1 or CR_MOSAIC */
    double cross[2];       /* mosaic: where the four meet, .5..1.5 sides */
    double gain, shift[2]; /* shift: parts of a side */
    unsigned turn;
    double hue, saturation, value; /* hue: to add, in circles; others: factors */
} cr_augmentation;

void cr_augment_draw(const cr_augment_options *options, bool square, cr_rng *rng,
                     cr_augmentation *out);

typedef struct cr_tile {
    double gain[2], shift[2];
    double clip[4]; /* x1, y1, x2, y2 of the input that it may cover: inside the input, and inside
                       its quarter of a mosaic */
} cr_tile;

/* Picture k of width x height pixels. Fits pictures as `pre` says, without rounding. */
cr_tile cr_augment_place(const cr_augmentation *a, const cr_preprocess *pre, int k, int width,
                         int height);

/* Writes the pixels that the tile covers: centres inside its clip. out: [pre->height, pre->width,
 * 3], R, G, B. */
cr_status cr_augment_paint(const cr_tile *tile, const cr_image *picture, const cr_preprocess *pre,
                           uint8_t *out, cr_pool *pool, cr_error *err);

/* In HSV, in float32, rounded to nearest; n pixels R, G, B. */
void cr_augment_colour(const cr_augmentation *a, uint8_t *rgb, size_t n, cr_pool *pool);

/* Turns an image of any number of interleaved channels in place; CR_TURN_SWAP needs a square one.
 */
void cr_augment_turn(unsigned turn, uint8_t *pixels, int channels, int width, int height);
void cr_augment_turn_point(unsigned turn, double width, double height, double xy[2]);
bool cr_augment_is_mirror(unsigned turn);

#endif
