/* Where the elements of a mover's outputs come from: its reference, run on positions. Float64 holds
 * every position exactly (a tensor has at most 2^40 elements, 2^44 of all inputs together). */
#include <string.h>

#include "base/mem.h"
#include "ops/ref.h"
#include "train/grad.h"

enum { MAX_FIELDS = 4096 }; /* inputs of a Concat */

/* Copies of a call's float tensors in float64; integers (shapes, axes) stay what they are. */
typedef struct mirror {
    cr_tensor *copy;
    const cr_tensor **in;
    cr_tensor **out;
    int64_t *start; /* position of the first element of each input */
} mirror;

static bool mirror_one(cr_tensor *copy, const cr_tensor *t)
{
    *copy = *t;
    copy->dtype = CR_DT_F64;
    copy->data = NULL;
    return cr_tensor_alloc(copy);
}

static bool mirror_fill(mirror *m, const cr_op_call *op)
{
    int64_t position = 0;
    for (int i = 0; i < op->n_in; i++) {
        m->in[i] = op->in[i];
        m->start[i] = position;
        if (!op->in[i] || !cr_dtype_is_float(op->in[i]->dtype)) continue;
        if (!mirror_one(&m->copy[i], op->in[i])) return false;
        double *d = m->copy[i].data;
        const int64_t n = cr_shape_count(&op->in[i]->shape);
        for (int64_t k = 0; k < n; k++) d[k] = (double)position++;
        m->in[i] = &m->copy[i];
    }
    for (int i = 0; i < op->n_out; i++) {
        if (!op->out[i]) continue;
        if (!mirror_one(&m->copy[op->n_in + i], op->out[i])) return false;
        m->out[i] = &m->copy[op->n_in + i];
    }
    return true;
}

/* The input that a position lies in: the last one that starts at or before it and has elements. */
static int input_of(const mirror *m, const cr_op_call *op, int64_t position)
{
    int i = op->n_in - 1;
    while (i > 0 && (m->in[i] != &m->copy[i] || m->start[i] > position)) i--;
    return i;
}

static bool runs_of(const mirror *m, const cr_op_call *op, const cr_tensor *out, cr_runs *runs)
{
    const double *seen = out->data;
    const int64_t n = cr_shape_count(&out->shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t position = (int64_t)seen[i];
        const int input = input_of(m, op, position);
        const int64_t from = position - m->start[input];
        cr_run *last = runs->count ? &runs->run[runs->count - 1] : NULL;
        if (last && last->input == input && last->from + last->length == from) {
            last->length++;
            continue;
        }
        if (!cr_grow((void **)&runs->run, &runs->cap, runs->count, sizeof *runs->run)) return false;
        runs->run[runs->count++] = (cr_run){from, i, 1, input};
    }
    return true;
}

/* Whether elements of inputs are moved once each; false: no memory. */
static bool count_uses(const mirror *m, const cr_op_call *op, cr_runs *runs)
{
    int64_t total = 0, moved = 0;
    for (int i = 0; i < op->n_in; i++)
        if (m->in[i] && m->in[i] == &m->copy[i]) total += cr_shape_count(&m->in[i]->shape);
    unsigned char *seen = cr_calloc((size_t)total + 1, 1);
    if (!seen) return false;
    bool once = true;
    for (int o = 0; o < op->n_out; o++)
        for (size_t r = 0; m->out[o] && r < runs[o].count; r++) {
            const cr_run *run = &runs[o].run[r];
            moved += run->length;
            for (int64_t k = 0; k < run->length; k++)
                once &= !seen[m->start[run->input] + run->from + k]++;
        }
    for (int o = 0; o < op->n_out; o++) {
        runs[o].once = once;
        runs[o].all = once && moved == total;
    }
    cr_free(seen);
    return true;
}

cr_status cr_grad_trace(const cr_op_call *op, cr_runs *runs, cr_error *err)
{
    cr_status st = CR_OK;
    const size_t n_in = (size_t)op->n_in, n_out = (size_t)op->n_out;
    CR_CHECK(op->n_in <= MAX_FIELDS && op->n_out <= MAX_FIELDS, err, CR_ERR_LIMIT,
             "node '%s': more than %d inputs or outputs", op->node->name, MAX_FIELDS);
    mirror m = {cr_calloc(n_in + n_out, sizeof *m.copy), cr_calloc(n_in, sizeof *m.in),
                cr_calloc(n_out, sizeof *m.out), cr_calloc(n_in, sizeof *m.start)};
    if (!m.copy || !m.in || !m.out || !m.start || !mirror_fill(&m, op)) {
        st = CR_NOMEM(err);
        goto done;
    }
    const cr_op_call call = {op->node, m.in, m.out, op->n_in, op->n_out};
    CR_TRY_GOTO(cr_op_eval(&call, err), done);
    for (size_t i = 0; i < n_out; i++)
        if (m.out[i] && !runs_of(&m, op, m.out[i], &runs[i])) st = CR_NOMEM(err);
    if (st == CR_OK && !count_uses(&m, op, runs)) st = CR_NOMEM(err);
done:
    for (size_t i = 0; m.copy && i < n_in + n_out; i++) cr_tensor_drop_data(&m.copy[i]);
    cr_free(m.copy);
    cr_free(m.in);
    cr_free(m.out);
    cr_free(m.start);
    return st;
}
