/* Graph and recipe to a TFLite file.
 *
 * Pictures are NHWC in the file, and so is everything that is computed from them: tensors are
 * stored with their channels last and transposed only where an operator or an output of rank other
 * than 4 needs ONNX's order (tflite_layout.c). Outputs of rank 4 stay NHWC.
 *
 * What an entry of the recipe makes integer is integer in the file. An operator runs on integers
 * where its output and its inputs have entries and TFLite has a kernel for it; where TFLite fixes
 * the output's scale (LOGISTIC, SOFTMAX: 1/256) or wants equal scales (CONCATENATION, pads, pools),
 * a QUANTIZE stands in between. Every other operator computes in float32 between DEQUANTIZE and
 * QUANTIZE, which is what the recipe says. Constants of elementwise integer operators have no
 * entry: they get the finest scale that holds them. */
#ifndef CR_TFLITE_TFLITE_WRITE_H
#define CR_TFLITE_TFLITE_WRITE_H

#include "graph/recipe.h"

typedef enum cr_tfl_port { CR_TFL_PORT_FLOAT, CR_TFL_PORT_INT8, CR_TFL_PORT_UINT8 } cr_tfl_port;

typedef struct cr_tfl_write_options { /* all zero: the defaults */
    cr_tfl_port ports;    /* type of inputs and outputs that have entries of 8 bits (outputs: of 16
                             bits too). FLOAT: float32 */
    bool half;            /* without a recipe: weights as float16 */
    bool whole_bytes;     /* 4-bit weights take a byte each, as accelerators want; false: half of one */
    const char *metadata; /* text of metadata.json, appended as a zip; NULL: none */
    const char *description;
} cr_tfl_write_options;

/* g is indexed and inferred; r may be NULL. CR_ERR_UNSUPPORTED names the first node that TFLite has
 * no operator for; nothing is written then. */
cr_status cr_tflite_write(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *o,
                          const char *path, cr_error *err);

/* The same into memory; free *bytes with cr_free. */
cr_status cr_tflite_serialize(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *o,
                              unsigned char **bytes, size_t *size, cr_error *err);

/* ---- accelerators ---- */

typedef enum cr_tfl_device { CR_TFL_EDGETPU, CR_TFL_VX } cr_tfl_device; /* Coral; i.MX 8M Plus */

typedef struct cr_tfl_device_row {
    const char *op; /* "CONV_2D" */
    int count, mapped;
    const char *why; /* the first that stays on the CPU does so for this; NULL: none does */
} cr_tfl_device_row;

enum { CR_TFL_MAX_ROWS = 96 };

/* Which operators of the file that cr_tflite_write would write run on the device, by kind, in the
 * order in which they occur (tflite_devices.c). */
cr_status cr_tflite_devices(const cr_graph *g, const cr_recipe *r, const cr_tfl_write_options *o,
                            cr_tfl_device device, cr_tfl_device_row rows[CR_TFL_MAX_ROWS],
                            size_t *count, cr_error *err);

#endif
