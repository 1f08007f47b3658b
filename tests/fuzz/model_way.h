/* The way of a model that was read, for fuzzers: prepare, take the recipe out, compile, and (if it is
 * small) run. */
#ifndef CR_TESTS_FUZZ_MODEL_WAY_H
#define CR_TESTS_FUZZ_MODEL_WAY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "onnx/qdq.h"
#include "onnx/qop.h"
#include "ops/ref.h"
#include "pipeline/findings.h"
#include "runtime/runtime.h"

typedef struct tally {
    size_t read, inferred, folded, written, prepared, compiled, run;
} tally;

/* A mutation may legally ask for a model that is large or slow: those are not compiled or not run.
 */
static const double compile_bytes = 64e6, run_bytes = 16e6, run_macs = 50e6;

static inline bool is_one_line(const cr_error *err)
{
    const size_t n = strlen(err->message);
    return n > 0 && n < sizeof err->message && !strchr(err->message, '\n');
}

static inline double activation_bytes(const cr_graph *g)
{
    double sum = 0;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (!g->tensors[i]->data) sum += (double)cr_tensor_bytes(g->tensors[i]);
    return sum;
}

/* Multiplications, too many rather than too few: each output of a node with weights meets each
 * element of its second input at most once. */
static inline double multiplications(const cr_graph *g)
{
    double sum = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!(n->op->flags & CR_OPF_HEAVY) || n->n_in < 2 || !n->in[1] || !n->out[0]) continue;
        const cr_shape *w = &n->in[1]->shape;
        const double per =
            (double)cr_shape_count(w) / (w->rank > 1 && w->dim[0] > 0 ? (double)w->dim[0] : 1);
        sum += (double)cr_shape_count(&n->out[0]->shape) * per;
    }
    return sum;
}

static inline void check_status(cr_status st, const cr_error *err)
{
    if (st != CR_OK && (!is_one_line(err) || st == CR_ERR_INTERNAL)) {
        fprintf(stderr, "status %d: %s\n", st, err->message);
        abort();
    }
}

static inline void try_run(const cr_program *p, const cr_graph *g, tally *t)
{
    cr_error err = {0};
    cr_session *s;
    cr_status st = cr_session_open(p, NULL, &s, &err);
    check_status(st, &err);
    if (st != CR_OK) return;
    for (size_t i = 0; i < g->input_count; i++) {
        unsigned char *x = cr_session_input_data(s, i);
        const size_t n = cr_tensor_bytes(g->inputs[i]);
        for (size_t k = 0; k < n; k++) x[k] = k % 4 == 3 ? 0x3e : (unsigned char)(k * 37);
    }
    st = cr_session_execute(s, &err);
    check_status(st, &err);
    if (st == CR_OK) t->run++;
    cr_session_close(&s);
}

static inline void try_compile(const cr_graph *g, const cr_recipe *r, tally *t)
{
    cr_error err = {0};
    cr_program *p;
    const double bytes = activation_bytes(g);
    if (bytes > compile_bytes) return;
    const cr_status st = cr_program_create(g, r, 1, &p, &err);
    check_status(st, &err);
    if (st != CR_OK) return;
    t->compiled++;
    if (bytes <= run_bytes && multiplications(g) <= run_macs) try_run(p, g, t);
    cr_program_free(&p);
}

/* What cr_model_open does, and what detect does with it. */
static inline void go_the_whole_way(cr_graph *g, tally *t)
{
    cr_error err = {0};
    cr_recipe *r = NULL;
    cr_arena arena = {0};
    cr_findings found = {.arena = &arena};
    cr_status st = cr_doctor_file(g, t->read & 1, &found, &err);
    if (st == CR_OK) st = cr_qop_read(g, &err);
    if (st == CR_OK) st = cr_graph_prepare(g, cr_op_run, &err);
    if (st == CR_OK) st = cr_qdq_read(g, &r, &err);
    if (st == CR_OK) st = cr_graph_infer(g, &err);
    check_status(st, &err);
    if (st == CR_OK) {
        t->prepared++;
        try_compile(g, r, t);
        if (r && activation_bytes(g) <= compile_bytes)
            check_status(cr_doctor_recipe(g, r, g->source_opset, &found, &err), &err);
    }
    cr_free(found.list);
    cr_arena_free(&arena);
    cr_recipe_release(&r);
}

#endif
