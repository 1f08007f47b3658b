/* How the options want the weights of one layer stored. */
#ifndef CR_QUANT_WEIGHT_FORM_H
#define CR_QUANT_WEIGHT_FORM_H

#include "crayon/quantize.h"
#include "quant/weight_scales.h"

/* The form of the constant weights of n, whose layer precision is `precision`; is_end: n is a first
 * or a last convolution. */
cr_weight_form cr_weight_form_of(const cr_node *n, const cr_quantize_options *o,
                                 cr_layer_precision precision, bool is_end);

#endif
