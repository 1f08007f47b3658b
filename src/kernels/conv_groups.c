#include "kernels/conv_groups.h"

#include <string.h>

int64_t cr_conv_groups_merge(const cr_conv_geometry *g, int lanes)
{
    const int64_t cin = g->cin / g->groups, cout = g->cout / g->groups,
                  products = cin * g->kh * g->kw;
    if (g->groups == 1 || (cin == 1 && cout == 1)) return 1; /* depthwise has its own kernels */
    for (int64_t m = lanes / cout; m > 1; m--)
        if (g->groups % m == 0 && m * products <= CR_CONV_WIDE_PRODUCTS) return m;
    return 1;
}

cr_conv_geometry cr_conv_groups_geometry(const cr_conv_geometry *g, int64_t merge)
{
    cr_conv_geometry merged = *g;
    merged.groups /= merge;
    return merged;
}

const void *cr_conv_groups_weights(cr_arena *arena, const cr_conv_geometry *g, int64_t merge,
                                   size_t element, const void *weights)
{
    const size_t cout = (size_t)(g->cout / g->groups);
    const size_t own = (size_t)(g->cin / g->groups * g->kh * g->kw) * element; /* of an output */
    size_t bytes;
    if (!cr_mul_size((size_t)g->cout, own * (size_t)merge, &bytes)) return NULL;
    unsigned char *to = cr_arena_alloc(arena, bytes); /* zeroed */
    for (size_t o = 0; to && o < (size_t)g->cout; o++)
        memcpy(to + (o * (size_t)merge + o / cout % (size_t)merge) * own,
               (const unsigned char *)weights + o * own, own);
    return to;
}
