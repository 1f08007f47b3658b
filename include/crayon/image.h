/* Pictures: reading, writing, finding, and turning them into network inputs.
 *
 * Pixels are 8-bit R,G,B triples, [height, width, 3], tightly packed, top row first. Everything
 * that decides what a network sees equals OpenCV's result byte for byte (checked against
 * opencv-python-headless 5.0.0.93), so a float model gives the same detections as in the usual
 * Python pipeline:
 *
 *     cr_image img;
 *     cr_placement place;
 *     cr_preprocess pre = cr_preprocess_default(640, 640);
 *     float *input = malloc(3 * 640 * 640 * sizeof *input);
 *     if (cr_image_read("bus.jpg", &img, &err) == CR_OK &&
 *         cr_preprocess_run(&pre, &img, input, &place, &err) == CR_OK)
 *         ...
 *     cr_image_free(&img); */
#ifndef CRAYON_IMAGE_H
#define CRAYON_IMAGE_H

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* At most this many pixels per picture, and this many bytes per file. */
#define CR_IMAGE_MAX_PIXELS ((size_t)1 << 28)
#define CR_IMAGE_MAX_BYTES  ((size_t)1 << 30)

typedef struct cr_image {
    int width, height; /* pixels, >= 1 in a valid picture */
    uint8_t *rgb;      /* [height, width, 3], owned */
} cr_image;

/* Allocates black pixels. CR_ERR_ARGUMENT for sizes < 1, CR_ERR_LIMIT above CR_IMAGE_MAX_PIXELS. */
CR_API cr_status cr_image_create(int width, int height, cr_image *out, cr_error *err);

/* Frees the pixels and zeroes *img; NULL and an already freed picture are fine. */
CR_API void cr_image_free(cr_image *img);

/* Reads a JPEG or PNG file, a member of a zip archive ("a.zip#x/b.jpg") or a frame of a video
 * ("street.webm#3.200": the first one at or after 3.2 seconds), as cv2.imread(path, IMREAD_COLOR) does after BGR -> RGB: EXIF
 * orientation applied, alpha dropped, 16 bits cut to 8, grey and palette expanded, CMYK converted
 * by OpenCV's formula. Damage that OpenCV papers over with grey (a cut file) is CR_ERR_FORMAT. On
 * failure *out is empty. */
CR_API cr_status cr_image_read(const char *path, cr_image *out, cr_error *err);

/* The same from memory; `name` is used in messages only. */
CR_API cr_status cr_image_decode(const void *bytes, size_t size, const char *name, cr_image *out,
                                 cr_error *err);

/* Writes .jpg/.jpeg (quality 92, 4:2:0) or .png, by the ending of `path`; a failure leaves an
 * existing file as it was. */
CR_API cr_status cr_image_write(const char *path, const cr_image *img, cr_error *err);

/* A list of pictures by name, in the order in which they will be processed. */
typedef struct cr_image_list {
    char **paths; /* owned */
    size_t count;
} cr_image_list;

/* `spec` is a folder (its .jpg/.jpeg/.png files sorted by name; if it has none but a sub-folder
 * `images` has, those), one picture, a .txt file of paths (one per line; relative ones are looked
 * for beside the list, then from here), a zip archive (its pictures sorted by name), a video (at
 * most 256 frames, evenly spaced), a member or frame of such, or a glob pattern. Finding nothing is CR_ERR_IO. */
CR_API cr_status cr_image_list_open(const char *spec, cr_image_list *out, cr_error *err);
CR_API void cr_image_list_free(cr_image_list *list);

/* cr_image_read for many pictures of a list: a video stays open, so that frames in order cost one
 * pass over it. Any number of threads may read; frames of videos wait for each other. */
typedef struct cr_image_reader cr_image_reader;
CR_API cr_status cr_image_reader_create(cr_image_reader **out, cr_error *err);
CR_API cr_status cr_image_reader_read(cr_image_reader *reader, const char *name, cr_image *out,
                                      cr_error *err);
CR_API void cr_image_reader_free(cr_image_reader **reader);

/* How a picture is fitted into the network's input. */
typedef enum cr_fit {
    CR_FIT_LETTERBOX, /* Ultralytics LetterBox(auto=False, scaleup=True, center=True) */
    CR_FIT_STRETCH,   /* cv2.resize to the input size, aspect ratio ignored */
    CR_FIT_TOPLEFT,   /* YOLOX preproc: scaled to fit, at the top left, rest padded */
    CR_FIT_CENTERCROP /* largest centred square, then cv2.resize: the CenterCrop class of
                         ultralytics.data.augment and YOLOv5's classifier. Not torchvision's
                         Resize, which filters with antialiasing */
} cr_fit;

CR_API const char *cr_fit_name(cr_fit fit); /* "letterbox", "stretch", "topleft", "centercrop" */

/* Bilinear resize of packed 8-bit pixels, [sh, sw, channels] -> [dh, dw, channels], equal to
 * cv2.resize(..., INTER_LINEAR) byte for byte. channels 1..4; all sizes >= 1. CR_ERR_MEMORY is the
 * only failure besides CR_ERR_ARGUMENT. */
CR_API cr_status cr_resize_linear_u8(const uint8_t *src, int sw, int sh, int channels, uint8_t *dst,
                                     int dw, int dh, cr_error *err);

typedef struct cr_preprocess {
    cr_fit fit;
    int width, height; /* network input, pixels */
    bool bgr;          /* plane order B,G,R instead of R,G,B */
    float mean[3];     /* per output plane, in 0..255 units */
    float div[3];      /* value = (pixel - mean) / div in float32; never 0 */
    uint8_t pad;       /* what fills the border, all channels */
} cr_preprocess;

/* Letterbox, RGB, pixel / 255, pad 114: YOLOv5, YOLOv8 and their successors. */
CR_API cr_preprocess cr_preprocess_default(int width, int height);

/* Where the picture landed: x_input = x_source * gain_x + pad_x, likewise y. */
typedef struct cr_placement {
    int src_width, src_height; /* source picture, pixels */
    float gain_x, gain_y;      /* > 0 */
    float pad_x, pad_y;        /* input pixels; whole numbers, negative for a crop */
} cr_placement;

/* The fitted and padded picture, out[height, width, 3] in the network's channel order (B,G,R if
 * pre->bgr); `place` may be NULL. */
CR_API cr_status cr_preprocess_pixels(const cr_preprocess *pre, const cr_image *img, uint8_t *out,
                                      cr_placement *place, cr_error *err);

/* What is left to do: pixels[height, width, 3] of cr_preprocess_pixels to out[3, height, width],
 * (pixel - mean) / div plane by plane. */
CR_API cr_status cr_preprocess_normalize(const cr_preprocess *pre, const uint8_t *pixels, float *out,
                                         cr_error *err);

/* Both steps in one, the same bits: fills out[3, height, width]; `place` may be NULL. */
CR_API cr_status cr_preprocess_run(const cr_preprocess *pre, const cr_image *img, float *out,
                                   cr_placement *place, cr_error *err);

/* box = x1,y1,x2,y2 from input pixels to source pixels, clipped to the picture. Equal to
 * Ultralytics' scale_boxes with ratio_pad None. */
CR_API void cr_placement_box(const cr_placement *place, float box[4]);

#ifdef __cplusplus
}
#endif
#endif
