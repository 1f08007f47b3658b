/* Rewrites that every model goes through before it is calibrated or compiled. Each leaves a graph
 * that computes the same function; cr_graph_prepare runs them in the right order. */
#ifndef CR_GRAPH_PASSES_H
#define CR_GRAPH_PASSES_H

#include "graph/graph.h"

/* How constant folding runs a node: infer + allocate + evaluate (cr_op_run). The graph does not
 * depend on the operators, so it is handed in. */
typedef cr_status (*cr_run_fn)(const cr_op_call *call, cr_error *err);

/* Shape inference and constant folding in one sweep: a node whose inputs are all known is run and
 * becomes constants; Shape and Size of a known shape too. Results above 64 MiB stay nodes, and so
 * does what would exceed the sweep's budget of memory and work (fold.c). */
cr_status cr_graph_fold(cr_graph *g, cr_run_fn run, cr_error *err);

/* Removes Identity, Dropout, no-op Reshape/Cast/..., nodes and tensors that no output depends on. */
cr_status cr_graph_tidy(cr_graph *g, cr_error *err);

/* BatchNormalization behind a Conv (or ConvTranspose without groups) moves into its weights and bias. */
cr_status cr_graph_fuse_norm(cr_graph *g, cr_error *err);

/* x*Sigmoid(x) -> Swish; x*HardSigmoid(x), x*Clip(x+3,0,6)/6 (or *1/6, at any place) -> HardSwish. */
cr_status cr_graph_fuse_activations(cr_graph *g, cr_error *err);

/* Swish, HardSigmoid, Div by constants and squares in operators that every target has
 * (split_activations.c). */
cr_status cr_graph_split_activations(cr_graph *g, cr_error *err);

/* Every Swish becomes another activation, which is another function and costs accuracy that training
 * has to win back (swap_activation.c): Relu, Clip 0..6 (kind CR_OP_Clip), LeakyRelu with slope .1 or
 * HardSwish. *count: how many. Nodes and tensors keep their names. */
cr_status cr_graph_swap_activation(cr_graph *g, cr_op_kind kind, size_t *count, cr_error *err);

/* Multiplies output `index` along an axis by factors (as many as it is long), inside the graph, where
 * constants take them up (push_factor.c). */
cr_status cr_graph_scale_output(cr_graph *g, size_t index, int axis, const float *factor,
                                cr_error *err);

/* index, fold, tidy, fuse_norm, fuse_activations, tidy. CR_ERR_LIMIT above CR_MAX_NODES nodes (some
 * passes look for a tensor's readers by plain search). */
enum { CR_MAX_NODES = 1 << 16 };
cr_status cr_graph_prepare(cr_graph *g, cr_run_fn run, cr_error *err);

/* Makes the leading 1 of every input n (1 to 1024), if each node provably treats the pictures of a
 * batch apart (batch.c); CR_ERR_UNSUPPORTED names the one that does not, and the graph is then only
 * good for being freed. */
cr_status cr_graph_set_batch(cr_graph *g, int64_t n, cr_error *err);

/* Deep copy; the caller owns *out. `from` must be indexed. */
cr_status cr_graph_clone(const cr_graph *from, cr_graph **out, cr_error *err);

/* The nodes with run[index] alone, and what they read, as a graph from the tensors `inputs` to `outputs`
 * (ids of `from`). */
cr_status cr_graph_clone_part(const cr_graph *from, const bool *run, const int *inputs, size_t n_in,
                              const int *outputs, size_t n_out, cr_graph **out, cr_error *err);

/* Every reader of `from` (graph outputs too) reads `to` instead. */
void cr_graph_replace_uses(cr_graph *g, const cr_tensor *from, cr_tensor *to);
/* Marks a node for removal; cr_graph_compact drops marked nodes and unused tensors, then indexes. */
void cr_graph_kill(cr_node *n);
cr_status cr_graph_compact(cr_graph *g, cr_error *err);

#endif
