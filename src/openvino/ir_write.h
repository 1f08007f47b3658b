/* Writing OpenVINO IR, version 11: PATH.xml and PATH.bin beside it.
 *
 *     activation with an entry   T ─ FakeQuantize ─ readers: 256 levels (65536 of 16 bits), one range
 *                                or one per channel; none where values are only moved between tensors
 *                                of one entry (Concat, MaxPool, ...), as the reader takes it
 *     weight with an entry       codes ─ Convert ─ (Subtract) ─ Multiply: int8, uint8, int4 or uint4;
 *                                blocks behind a Reshape. One and two bits are stored in four
 *     weight in 16 bits          float16 or bfloat16 ─ Convert, marked as decompression
 *     bias                       an Add behind the convolution, in float32
 *
 * The weights' form is the one in which OpenVINO itself saves quantized models: its transformations
 * make integer convolutions of it where a FakeQuantize stands at the other input, and compressed
 * weights where none does. (Rejected: FakeQuantize on float weights, which runs the same and takes
 * four times the bytes.)
 *
 * Reading such a file gives the graph and the recipe back, but for what the format does not tell:
 * names of constants; the sign of 8-bit activations (the grid is the same); the last bit of their
 * scales, since FakeQuantize has the ends of its range as float32; GlobalAveragePool, Gemm and
 * Flatten come back as ReduceMean, MatMul with Add, and Reshape. */
#ifndef CR_OPENVINO_IR_WRITE_H
#define CR_OPENVINO_IR_WRITE_H

#include "graph/graph.h"
#include "graph/recipe.h"

typedef struct cr_openvino_write_options { /* all zero: the defaults */
    cr_dtype half;          /* CR_DT_F16, CR_DT_BF16: float constants that lose nothing so are stored so */
    const char *const *info; /* of rt_info's model_info: key, value, ...; keys are XML names */
    size_t info_count;       /* pairs */
} cr_openvino_write_options;

/* g: indexed, all shapes known; r: a recipe for it, or NULL. Both files appear complete or not at all.
 * Errors: UNSUPPORTED names the node that IR (opset13) has no layer for, or a dynamic entry; IO,
 * MEMORY. */
cr_status cr_openvino_write(const cr_graph *g, const cr_recipe *r,
                            const cr_openvino_write_options *o, const char *path, cr_error *err);

#endif
