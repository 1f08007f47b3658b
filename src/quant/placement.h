/* Which tensors get an entry. */
#ifndef CR_QUANT_PLACEMENT_H
#define CR_QUANT_PLACEMENT_H

#include "crayon/quantize.h"
#include "graph/graph.h"
#include "quant/roles.h"

typedef struct cr_placement_map {
    bool *node;            /* by node index: runs on integers (its input 0 and its weight) */
    const cr_tensor **source; /* by tensor id: NULL (float), or the tensor whose scale it takes:
                                 itself, or the source it is passed through from */
    bool *by_channel;      /* by tensor id: its entry has one scale per channel (axis 1) */
    const char **why;      /* by tensor id: a few words for the recipe's note */
    bool *wide;            /* by tensor id, of sources: a layer reads it in 16 bits */
    cr_layer_precision *precision; /* by node index: as the options say */
    size_t excluded;
} cr_placement_map;

/* One filter per channel: out and in channels and groups are equal in number. */
bool cr_is_depthwise(const cr_node *n);

/* Has every activation one scale, whoever reads it? */
bool cr_has_one_scale(const cr_quantize_options *o);

/* Can single layers read 16 bits where others read 8? */
bool cr_target_has_wide_layers(cr_target t);

/* Do depthwise convolutions alone read t? Parts of one of a single channel count as such. */
bool cr_only_depthwise_reads(const cr_graph *g, const cr_tensor *t);

/* barred: by node index, those that stay float whatever the options say; NULL: none. */
cr_status cr_placement_find(const cr_graph *g, const cr_role *roles, const cr_quantize_options *o,
                            const bool *barred, cr_placement_map *out, cr_error *err);
/* Integers in, the same integers out (perhaps fewer, or in another order), from input 0 alone. */
bool cr_passes_integers(const cr_node *n);
void cr_placement_release(cr_placement_map *m);

#endif
