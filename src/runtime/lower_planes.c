/* Where a detector's head leaves the rows of channels: the last convolutions' NHWC floats, scale by
 * scale, are reshaped to [N,C,pixels] and concatenated along the pixels; scores go through a sigmoid
 * behind that. Step by step this is a transposition, a copy and an activation of some megabytes.
 * Here it is one pass: a piece of pixels is transposed straight into its columns of the output and
 * activated while it is in the cache. */
#include <string.h>

#include "base/error.h"
#include "kernels/rows.h"
#include "runtime/program.h"

enum { PIECE = 64 }; /* pixels: with 80 channels 20 KB */

typedef struct planes_op {
    int64_t channels, row;       /* row: elements of an output row, of all inputs together */
    int64_t *first;              /* per input: its first element in an output row */
    int64_t pictures;
    cr_act act;
} planes_op;

typedef struct planes_job {
    const planes_op *op;
    const cr_value *in;
    const float *x;
    float *y; /* of this input's columns */
    int64_t pixels;
    const cr_rows *k;
} planes_job;

static void planes_pieces(void *ctx, int64_t first, int64_t count, int worker)
{
    const planes_job *j = ctx;
    const int64_t channels = j->op->channels, pieces = (j->pixels + PIECE - 1) / PIECE;
    for (int64_t r = first; r < first + count; r++) {
        const int64_t n = r / pieces, at = r % pieces * PIECE, left = j->pixels - at;
        const int64_t width = left < PIECE ? left : PIECE;
        float *y = j->y + n * channels * j->op->row + at;
        j->k->planes(y, j->op->row, j->x + (n * j->pixels + at) * j->in->ld, j->in->ld, width,
                     channels);
        if (j->op->act.kind == CR_ACT_NONE) continue;
        for (int64_t c = 0; c < channels; c++, y += j->op->row)
            j->k->act(y, y, (size_t)width, &j->op->act);
    }
}

static cr_status run_planes(const cr_step *s, cr_session *session, cr_error *err)
{
    const planes_op *op = s->op;
    float *out = session->data[s->out[0]];
    for (int i = 0; i < s->n_in; i++) {
        const cr_value *in = &session->program->values[s->in[i]];
        planes_job j = {op, in, session->data[s->in[i]], out + op->first[i],
                        in->rows / op->pictures, cr_rows_get(session->program->cpu)};
        cr_session_rows(session, op->pictures * ((j.pixels + PIECE - 1) / PIECE), 2, planes_pieces,
                        &j);
    }
    return CR_OK;
}

/* The NHWC floats that the whole of a row-major value was made from by a change of layout; -1. */
static int rows_behind(const cr_program *p, int value)
{
    const cr_value *v = &p->values[value], *root = &p->values[v->root];
    if (v->nhwc || v->offset || root->fixed || root->dynamic || v->cols != root->cols) return -1;
    const int from = cr_layout_source(p, v->root);
    return from >= 0 && p->values[from].dtype == CR_DT_F32 && p->values[from].nhwc ? from : -1;
}

/* Every input's rows, if all are [N,C,...] in NHWC with N * C rows in front of the axis. */
static cr_status find_rows(cr_program *p, const cr_node *n, int64_t outer, int *in, bool *all,
                           cr_error *err)
{
    *all = false;
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i]->data || cr_program_entry(p, n->in[i])) return CR_OK;
        if (cr_program_primary(p, n->in[i]) < 0 || cr_prefers_nhwc(p, n->in[i])) return CR_OK;
        int plain;
        CR_TRY(cr_program_need(p, n->in[i], CR_DT_F32, false, &plain, err));
        in[i] = rows_behind(p, plain);
        if (in[i] < 0) return CR_OK;
        const cr_value *v = &p->values[in[i]];
        const cr_shape *s = &v->tensor->shape, *first = &p->values[in[0]].tensor->shape;
        if (s->dim[0] * s->dim[1] != outer || s->dim[1] != first->dim[1]) return CR_OK;
    }
    *all = true;
    return CR_OK;
}

cr_status cr_lower_planes(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->op->kind != CR_OP_Concat || n->n_in < 1) return CR_OK;
    const cr_tensor *y = n->out[0];
    if (y->dtype != CR_DT_F32 || !cr_shape_known(&y->shape) || cr_program_entry(p, y)) return CR_OK;
    int64_t axis = cr_attr_int(n, "axis", 0), outer = 1, row = 0;
    if (axis < 0) axis += y->shape.rank;
    for (int d = 0; d < axis; d++) outer *= y->shape.dim[d];
    int *in = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *in), out;
    planes_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    bool all;
    if (!in || !op) return CR_NOMEM(err);
    CR_TRY(find_rows(p, n, outer, in, &all, err));
    if (!all) return CR_OK;
    op->first = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *op->first);
    if (!op->first) return CR_NOMEM(err);
    op->pictures = p->values[in[0]].tensor->shape.dim[0];
    op->channels = outer / op->pictures;
    for (int i = 0; i < n->n_in; i++) {
        op->first[i] = row;
        row += p->values[in[i]].rows / op->pictures;
    }
    op->row = row;
    *done = true;
    y = cr_program_fuse_activation(p, y, &op->act);
    CR_TRY(cr_program_output(p, y, CR_DT_F32, false, &out, err));
    cr_step *s = cr_program_add_step(p, run_planes, "planes", n, n->n_in, 1);
    if (!s) return CR_NOMEM(err);
    memcpy(s->in, in, (size_t)n->n_in * sizeof *in);
    s->out[0] = out;
    s->op = op;
    return cr_program_finish(p, y, out, err);
}
