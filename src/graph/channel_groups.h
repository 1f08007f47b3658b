/* Dividing the channels that depthwise convolutions read into groups.
 *
 * A format with one scale per tensor gives all channels of a tensor the step of the widest one. Where
 * depthwise convolutions alone read it, the tensor can fall into several tensors, each with a scale
 * of its own, and the network computes the same sums with as many products:
 *
 *     maker ─ x ─ SiLU ─ y ─ depthwise ─ z ─ ...           (dense; any depthwise readers of y)
 *
 *     maker0 ─ x0 ─ SiLU ─ y0 ─ depthwise ─ z0 ┐
 *     maker1 ─ x1 ─ SiLU ─ y1 ─ depthwise ─ z1 ┴ Concat ─ z ─ ...
 *
 * The channels of a group need not be neighbours, so those of z come in another order: the dense
 * convolutions behind take it up in their weights. An activation alone behind a depthwise convolution is
 * divided with it.
 *
 * Rejected: groups in the order of the channels (they would be many), a Gather that brings z back to
 * its order (a copy), parts made by a Slice of x (what is wanted is that x has a scale per part,
 * too). */
#ifndef CR_GRAPH_CHANNEL_GROUPS_H
#define CR_GRAPH_CHANNEL_GROUPS_H

#include "graph/recipe.h"

enum { CR_GROUP_MOST = 12 }; /* nodes of each kind; readers behind count 4 times as many */

typedef struct cr_group_site {
    const cr_tensor *tensor; /* y */
    int64_t channels;
    cr_node *maker;          /* dense convolution with constant weights */
    cr_node *between[CR_GROUP_MOST];   /* elementwise, from the maker's output to y */
    cr_node *readers[CR_GROUP_MOST];   /* depthwise convolutions, all that read y */
    cr_node *tails[CR_GROUP_MOST];     /* the activation alone behind readers[i], or NULL */
    const cr_tensor *joints[CR_GROUP_MOST];     /* what parts of readers[i] are joined to */
    const cr_tensor *divided[3 * CR_GROUP_MOST]; /* tensors that fall into parts: y, what leads to it, and
                                         what lies between a reader and its joint */
    const cr_tensor *permuted[4 * CR_GROUP_MOST]; /* joints, and what has their order of channels */
    cr_node *behind[4 * CR_GROUP_MOST]; /* convolutions whose weights take the order up */
    int between_count, reader_count, divided_count, permuted_count, behind_count;
} cr_group_site;

/* Can the channels of y be divided so? *site says how; g is indexed. */
bool cr_group_site_find(const cr_graph *g, const cr_tensor *y, cr_group_site *site);

#define CR_PART_MARK "_part"

/* The name of the part of a divided tensor or node; NULL: no memory. */
const char *cr_group_part_name(cr_arena *a, const char *name, int part);

/* Does the step's list have the form [groups, sizes..., channels of the groups one after another]? */
bool cr_groups_valid(const int64_t *list, size_t count);

/* Replays a step of kind CR_REWRITE_GROUPS on its tensor. */
cr_status cr_groups_replay(cr_graph *g, const cr_rewrite *s, const cr_tensor *y, cr_error *err);

#endif
