/* Which channels of which tensors can only be scaled together.
 *
 * If one output channel of a convolution is multiplied by f, everything behind it that is
 * homogeneous (ReLU, LeakyReLU, pooling, nearest and linear resize, shuffles, Split, Concat, Add) hands f on to
 * channels of its own, and the next convolutions can divide their weights of these channels by f:
 * the network computes what it computed (Nagel et al. 2019, cross-layer equalization). Channels that
 * meet in an Add must have one factor. A class is a set of channels that share their factor; class 0
 * is fixed at 1: what reaches an operator that is not homogeneous, or an output of the graph. */
#ifndef CR_QUANT_CHANNEL_CLASSES_H
#define CR_QUANT_CHANNEL_CLASSES_H

#include "graph/graph.h"
#include "quant/roles.h"

typedef struct cr_channel_classes {
    cr_arena arena;
    int **slot;    /* by tensor id: [lead], NULL: a tensor without channels to follow. Channels that
                      carry the same values have the same slot */
    int64_t *lead; /* by tensor id: elements of one picture without its last two dimensions */
    int *parent;   /* by slot: the way to the class's name */
    int count, cap;
} cr_channel_classes;

/* restorable (by tensor id, may be NULL): tensors that get a factor of their own behind the operator
 * that makes them, although that is not homogeneous. */
cr_status cr_channel_classes_find(const cr_graph *g, const cr_role *roles, const bool *restorable,
                                  cr_channel_classes *out, cr_error *err);
void cr_channel_classes_release(cr_channel_classes *c);

/* The class of a slot. */
int cr_channel_class(const cr_channel_classes *c, int slot);
/* The class of a tensor's channel; 0 where nothing is known. */
int cr_class_of(const cr_channel_classes *c, const cr_tensor *t, int64_t channel);
/* Fixes all channels of t. */
void cr_channel_classes_fix(cr_channel_classes *c, const cr_tensor *t);

/* Can n's weights take factors of its inputs, and (with its bias) of its outputs? */
bool cr_takes_factors(const cr_node *n);
/* f(a x) = a f(x) for a > 0, channel by channel, of one input. */
bool cr_is_homogeneous(const cr_node *n);

#endif
