/* The picture formats behind crayon/image.h: one decoder and one encoder per format. */
#ifndef CR_VISION_IMAGE_CODEC_H
#define CR_VISION_IMAGE_CODEC_H

#include <stdio.h>

#include "crayon/image.h"

/* Decoders leave the pixels as stored; *orientation is the EXIF value 1..8 (1 when absent). */
cr_status cr_jpeg_decode(const uint8_t *bytes, size_t size, const char *name, cr_image *out,
                         int *orientation, cr_error *err);
cr_status cr_png_decode(const uint8_t *bytes, size_t size, const char *name, cr_image *out,
                        int *orientation, cr_error *err);

cr_status cr_jpeg_encode(FILE *f, const char *name, const cr_image *img, cr_error *err);
cr_status cr_png_encode(FILE *f, const char *name, const cr_image *img, cr_error *err);

/* Orientation (tag 0x0112 of the first directory) of a TIFF block; 1 unless it says 2..8. */
int cr_exif_orientation(const uint8_t *tiff, size_t size);

/* cr_image_create with pixels that hold anything: for a decoder that writes all of them. */
cr_status cr_image_alloc(int width, int height, cr_image *out, cr_error *err);

/* Turns the pixels upright in place of the old ones. */
cr_status cr_image_orient(cr_image *img, int orientation, cr_error *err);

/* False and a failure in *err when a header promises too much: "NAME: 70000x70000 pixels, ...". */
cr_status cr_image_check_size(const char *name, uint64_t width, uint64_t height, cr_error *err);

#endif
