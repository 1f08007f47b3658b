/* Is one weight another one rounded, perhaps with its channels scaled (equalize.h)? */
#ifndef CR_QUANT_WEIGHT_MATCH_H
#define CR_QUANT_WEIGHT_MATCH_H

#include "graph/graph.h"

typedef enum cr_match {
    CR_MATCH_NONE,   /* another weight */
    CR_MATCH_SCALED, /* rounded, and channels scaled */
    CR_MATCH_ROUNDED /* rounded only */
} cr_match;

/* Compares n's constant weight with `original` (same shape, float32). `unrounded` [elements] becomes the
 * original with the factors of n's channels, as it was before it was rounded; unless NONE. */
cr_status cr_match_weights(const cr_node *n, const cr_tensor *original, float *unrounded,
                           cr_match *match, cr_error *err);

#endif
