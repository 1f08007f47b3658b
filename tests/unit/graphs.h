/* Graphs for tests, built node by node: shapes are inferred at once, names are given in order. */
#ifndef CR_TESTS_GRAPHS_H
#define CR_TESTS_GRAPHS_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "graph/passes.h"

enum { GRAPH_ATTRS = 8, GRAPH_IO = 64 };

static inline void graph_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    abort();
}

static inline cr_graph *graph_new(void)
{
    cr_graph *g;
    cr_error err;
    if (cr_graph_create(&g, &err) != CR_OK) graph_fail("graph", err.message);
    g->inputs = cr_arena_alloc(&g->arena, GRAPH_IO * sizeof *g->inputs);
    g->outputs = cr_arena_alloc(&g->arena, GRAPH_IO * sizeof *g->outputs);
    g->source_opset = 17;
    return g;
}

/* rank, then the sizes. */
static inline cr_shape shape_of(int rank, ...)
{
    cr_shape s = {.rank = rank};
    va_list args;
    va_start(args, rank);
    for (int i = 0; i < rank; i++) s.dim[i] = va_arg(args, int);
    va_end(args);
    return s;
}

static inline cr_tensor *graph_input(cr_graph *g, const char *name, cr_shape shape)
{
    cr_tensor *t = cr_graph_add_tensor(g, name, CR_DT_F32, shape);
    g->inputs[g->input_count++] = t;
    return t;
}

static inline void graph_output(cr_graph *g, cr_tensor *t)
{
    if (g->output_count == GRAPH_IO) graph_fail(t->name, "too many outputs");
    g->outputs[g->output_count++] = t;
}

/* A node with room for attributes (none yet) and n_out new outputs named NAME_k. */
static inline cr_node *graph_node(cr_graph *g, cr_op_kind kind, int n_out, int n_in, ...)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%zu", cr_op_get(kind)->name, g->node_count);
    cr_node *n = cr_graph_add_node(g, kind, name, n_in, n_out, GRAPH_ATTRS);
    n->n_attrs = 0;
    va_list args;
    va_start(args, n_in);
    for (int i = 0; i < n_in; i++) n->in[i] = va_arg(args, cr_tensor *);
    va_end(args);
    for (int k = 0; k < n_out; k++) {
        snprintf(name, sizeof name, "%s_%zu_out%d", cr_op_get(kind)->name, g->node_count - 1, k);
        n->out[k] = cr_graph_add_tensor(g, name, CR_DT_NONE, cr_shape_unknown());
    }
    return n;
}

static inline void attr_int(cr_node *n, const char *name, int64_t v)
{
    cr_attr_set_int(&n->attrs[n->n_attrs++], name, v);
}

static inline void attr_float(cr_node *n, const char *name, float v)
{
    cr_attr_set_float(&n->attrs[n->n_attrs++], name, v);
}

static inline void attr_string(cr_graph *g, cr_node *n, const char *name, const char *v)
{
    cr_attr_set_string(g, &n->attrs[n->n_attrs++], name, v);
}

static inline void attr_ints(cr_graph *g, cr_node *n, const char *name, int count, ...)
{
    int64_t v[16];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++) v[i] = va_arg(args, int);
    va_end(args);
    cr_attr_set_ints(g, &n->attrs[n->n_attrs++], name, v, (size_t)count);
}

/* Infers the node and gives its output 0. */
static inline cr_tensor *done(cr_node *n)
{
    cr_error err;
    if (cr_node_infer(n, &err) != CR_OK) graph_fail(n->name, err.message);
    return n->out[0];
}

static inline cr_tensor *const_random(cr_graph *g, cr_rng *r, const char *stem, cr_shape s,
                                      double lo, double hi)
{
    cr_tensor *t = cr_graph_new_const(g, stem, CR_DT_F32, s);
    const int64_t n = cr_shape_count(&s);
    for (int64_t i = 0; i < n; i++) ((float *)t->data)[i] = (float)cr_rng_range(r, lo, hi);
    return t;
}

static inline cr_tensor *const_ints(cr_graph *g, int count, ...)
{
    int64_t v[16];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++) v[i] = va_arg(args, int);
    va_end(args);
    return cr_graph_const_i64(g, "ints", v, (size_t)count);
}

static inline cr_tensor *apply1(cr_graph *g, cr_op_kind kind, cr_tensor *x)
{
    return done(graph_node(g, kind, 1, 1, x));
}

static inline cr_tensor *apply2(cr_graph *g, cr_op_kind kind, cr_tensor *a, cr_tensor *b)
{
    return done(graph_node(g, kind, 1, 2, a, b));
}

static inline void graph_ready(cr_graph *g)
{
    cr_error err;
    if (cr_graph_index(g, &err) != CR_OK) graph_fail("index", err.message);
    if (cr_graph_infer(g, &err) != CR_OK) graph_fail("infer", err.message);
}

#endif
