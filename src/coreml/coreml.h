/* Core ML packages (.mlpackage): an ML Program and its weights.
 *
 *     OUT.mlpackage/Manifest.json
 *                   Data/com.apple.CoreML/model.mlmodel        protobuf: description, program
 *                   Data/com.apple.CoreML/weights/weight.bin   coreml/weight_blob.h
 *
 * The program is written for the oldest system that has what the model needs: float32 from iOS 15
 * (specification 6), float16, 8-bit weights and palettes from iOS 16, 8-bit activations from iOS
 * 17, 4 bits, 2 bits, blocks and scaled palettes from iOS 18. From iOS 16 on, large float32 constants that float16
 * holds exactly (tables of cells and strides) are stored so. */
#ifndef CR_COREML_COREML_H
#define CR_COREML_COREML_H

#include "graph/graph.h"
#include "graph/palette_scales.h"

enum {
    CR_COREML_LARGE = 512
}; /* elements of the smallest constant that is stored in another form */

typedef struct cr_coreml_options { /* all zero: the defaults */
    const bool *float32; /* by node index: these compute in float32, the others in float16;
                            NULL: all in float32 */
    int palette_bits;    /* 1, 2, 4, 6 or 8: float constants that have no more than 2^bits values
                            are stored as a palette and indices; 0: none */
    const cr_palette_scales *scales; /* constants that have so few when divided by them */
    size_t scale_count;

    bool image; /* input 0 [1, 3, H, W] takes pictures; value = (pixel - mean) / div */
    bool bgr;
    float mean[3], div[3];

    const char *const *labels; /* class names; label_count 0: none */
    size_t label_count;
    bool classifier; /* output 0 holds label_count probabilities: the model gives a label too */
    bool suppress;   /* outputs 0 and 1 are "confidence" [N, classes] and "coordinates" [N, 4]
                        (x, y of the centre, width, height, as parts of the picture):
                        non-maximum suppression follows */
    double confidence, iou; /* its thresholds, which a program may override */

    const char *description, *author, *version, *license; /* NULL: from the graph's metadata */
} cr_coreml_options;

/* Writes a graph (indexed, shapes inferred; QDQ form where it is quantized) as a package at `path`,
 * which appears complete or not at all. A package that is there already is replaced; any other
 * non-empty folder or file is not. Same graph and options: same bytes.
 * Errors: UNSUPPORTED names the node or tensor that Core ML has no form for, ARGUMENT, IO, MEMORY.
 */
cr_status cr_coreml_write(const cr_graph *g, const cr_coreml_options *o, const char *path,
                          cr_error *err);

/* The two files' bytes, each freed with cr_free; *level (may be NULL) is 5 to 8: iOS 15 to 18. */
cr_status cr_coreml_serialize(const cr_graph *g, const cr_coreml_options *o, unsigned char **model,
                              size_t *model_size, unsigned char **weights, size_t *weights_size,
                              int *level, cr_error *err);

/* Writes the package of these two files. `probe`: only tries whether it could be written. */
cr_status cr_coreml_package(const char *path, const void *model, size_t model_size,
                            const void *weights, size_t weights_size, cr_error *err);

#endif
