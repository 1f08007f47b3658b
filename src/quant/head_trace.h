/* Where every channel of the last convolutions goes, and what is done to it on the way. */
#ifndef CR_QUANT_HEAD_TRACE_H
#define CR_QUANT_HEAD_TRACE_H

#include "graph/graph.h"
#include "quant/roles.h"

/* What decoding did to a channel. */
enum {
    CR_FACT_SIGMOID = 1,
    CR_FACT_SOFTMAX = 2,
    CR_FACT_MEAN = 4,      /* summed over bins, with weights */
    CR_FACT_GRID = 8,      /* a summand that differs from cell to cell */
    CR_FACT_EXP = 16,
    CR_FACT_SQUARE = 32,
    CR_FACT_ANGLE = 64,    /* sine or cosine */
    CR_FACT_PAIR = 128,    /* added to another channel */
    CR_FACT_BOXES = 256,   /* input 0 of a suppression inside the graph */
    CR_FACT_SCORES = 512,  /* input 1 of it */
    CR_FACT_COORDINATE = CR_FACT_GRID | CR_FACT_EXP | CR_FACT_SQUARE | CR_FACT_ANGLE |
                         CR_FACT_PAIR | CR_FACT_BOXES
};

typedef struct cr_source { /* a last convolution */
    const cr_node *node;
    size_t first, channels; /* its channels are first .. first + channels - 1 of all channels */
    int64_t cells;          /* positions per channel */
} cr_source;

typedef struct cr_channel {
    unsigned facts;
    int output;  /* graph output that it reaches, or -1 */
    int column;  /* there, along the axis that tells channels apart */
    int columns; /* length of that axis */
} cr_channel;

typedef struct cr_head_trace {
    cr_source *sources;
    size_t source_count;
    cr_channel *channels;
    size_t channel_count;
    float **labels;   /* by tensor id: 1 + channel of each element, 0: of none; NULL: no element has one */
    bool *absolute;   /* by tensor id: holds sums with a grid, or what was made of such */
    size_t tensor_count;
} cr_head_trace;

cr_status cr_head_trace_run(const cr_graph *g, const cr_role *roles, cr_head_trace *out,
                            cr_error *err);
void cr_head_trace_release(cr_head_trace *t);

#endif
