/* How the options want the weights of one layer stored. */
#ifndef CR_QUANT_WEIGHT_FORM_H
#define CR_QUANT_WEIGHT_FORM_H

#include "crayon/quantize.h"
#include "quant/weight_scales.h"

/* The form of the constant weights of n, whose layer precision is `precision`; precious: where others
 * have fewer than 8 bits, this layer keeps 8 unless `precision` says otherwise. */
cr_weight_form cr_weight_form_of(const cr_node *n, const cr_quantize_options *o,
                                 cr_layer_precision precision, bool precious);

/* small[node index], of the planned layers (by node index): the smallest ones, up to the share that the
 * options give (in order of size, where weights of one tap count a third, then of the graph). The caller frees *small
 * with cr_free.
 *
 * A layer's share of the error hardly depends on its size, so 8 bits are cheapest where there are few
 * weights: on YOLOv8n with int4 weights a layer of 1,000 weights costs as much as one of 100,000. */
cr_status cr_small_layers(const cr_graph *g, const bool *planned, const cr_quantize_options *o,
                          bool **small, cr_error *err);

#endif
