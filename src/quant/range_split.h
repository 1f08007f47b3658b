/* Tensors that depthwise convolutions read, divided into groups of channels of like range, for formats that
 * have one scale per tensor. */
#ifndef CR_QUANT_RANGE_SPLIT_H
#define CR_QUANT_RANGE_SPLIT_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/placement.h"
#include "quant/stats.h"

typedef struct cr_range_split_report {
    size_t tensors, parts; /* how many were divided, and into how many */
} cr_range_split_report;

/* Adds the steps to r and gives statistics of the graph that results, which borrow from `stats`.
 * Nothing to gain: r stays as it is and *parted is NULL. */
cr_status cr_range_split(const cr_graph *g, const cr_role *roles, const cr_placement_map *map,
                         const cr_stats *stats, const cr_quantize_options *o, cr_recipe *r,
                         cr_stats **parted, cr_range_split_report *report, cr_error *err);

/* The least sum over channels of (width of the channel's group / its own width)^2, on the average: channels
 * [n] in groups, at most `most` (but n). order[n]: the channels, group by group, narrow ones first;
 * size[most]: of each group. A width of 0 counts as nothing. The number of groups is the least whose cost
 * is at most `enough`. Returns it, 0: no memory. */
int cr_range_groups(const double *width, int64_t n, int most, double enough, int64_t *order,
                    int64_t *size, double *cost);

#endif
