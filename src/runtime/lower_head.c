/* The distribution head of YOLO detectors (Li et al. 2020, "Generalized Focal Loss": a box side is
 * the mean of a distribution over K bins) as one step. Exports spell it in three nodes,
 *
 *     x [N,S,K,A] -> Transpose (0,2,1,3) -> Softmax over K -> Conv 1x1 with weights [1,K,1,1]
 *
 * with S sides and A anchors. The K values of a side and anchor lie A elements apart in x; a piece
 * of anchors goes through maximum, exponentials, their sum and their weighted sum while it is in the
 * L1 cache, and one division ends it: sum(e w) / sum(e), where the nodes have sum((e / sum(e)) w).
 * Rejected: reading the last convolutions' NHWC rows, where the K values are neighbours: that needs
 * sums across lanes. */
#include <string.h>

#include "base/error.h"
#include "kernels/rows.h"
#include "runtime/program.h"

enum { PIECE = 512 }; /* anchors: 16 bins of them are 32 KB */

typedef struct mean_op {
    int64_t lines, bins, anchors; /* lines: N * S */
    const float *weights;         /* [bins] */
} mean_op;

typedef struct mean_job {
    const mean_op *op;
    const float *in;
    float *out;
    const cr_rows *k;
} mean_job;

static void mean_piece(const mean_job *j, const float *x, float *y, size_t n)
{
    float top[PIECE], sum[PIECE] = {0};
    const int64_t step = j->op->anchors;
    memcpy(top, x, n * sizeof *top);
    for (int64_t b = 1; b < j->op->bins; b++) j->k->max_f32(top, x + b * step, n);
    memset(y, 0, n * sizeof *y);
    for (int64_t b = 0; b < j->op->bins; b++)
        j->k->exp_mean(x + b * step, top, j->op->weights[b], sum, y, n);
    for (size_t i = 0; i < n; i++) y[i] /= sum[i];
}

/* Row r: piece r % pieces of line r / pieces. */
static void mean_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const mean_job *j = ctx;
    const mean_op *op = j->op;
    const int64_t pieces = (op->anchors + PIECE - 1) / PIECE;
    for (int64_t r = first; r < first + count; r++) {
        const int64_t line = r / pieces, at = r % pieces * PIECE, left = op->anchors - at;
        mean_piece(j, j->in + line * op->bins * op->anchors + at, j->out + line * op->anchors + at,
                   (size_t)(left < PIECE ? left : PIECE));
    }
}

static cr_status run_mean(const cr_step *s, cr_session *session, cr_error *err)
{
    const mean_op *op = s->op;
    mean_job j = {op, session->data[s->in[0]], session->data[s->out[0]],
                  cr_rows_get(session->program->cpu)};
    cr_session_rows(session, op->lines * ((op->anchors + PIECE - 1) / PIECE), 1, mean_rows, &j);
    return CR_OK;
}

static bool swaps_middle(const cr_node *n)
{
    static const int64_t want[4] = {0, 2, 1, 3};
    size_t count = 0;
    const int64_t *perm = cr_attr_ints(n, "perm", &count);
    return count == 4 && !memcmp(perm, want, sizeof want);
}

/* The reader of a float tensor without an entry that nobody else sees, if it is of this kind. */
static const cr_node *next_of_kind(const cr_program *p, const cr_tensor *t, cr_op_kind kind)
{
    const cr_node *next = cr_program_entry(p, t) ? NULL : cr_program_only_reader(p, t);
    return next && next->op->kind == kind && next->in[0] == t ? next : NULL;
}

/* One output channel, 1x1, stride 1, no bias: sum over channels of value times weight. */
static bool is_weighted_sum(const cr_program *p, const cr_node *n, int64_t bins)
{
    const cr_tensor *w = n->in[1];
    const cr_shape *s = &w->shape, *x = &n->in[0]->shape, *y = &n->out[0]->shape;
    if ((n->n_in > 2 && n->in[2]) || !w->data || w->dtype != CR_DT_F32) return false;
    if (cr_program_entry(p, w) || s->rank != 4 || s->dim[0] != 1 || s->dim[1] != bins) return false;
    return s->dim[2] == 1 && s->dim[3] == 1 && y->rank == 4 && y->dim[2] == x->dim[2] &&
           y->dim[3] == x->dim[3];
}

cr_status cr_lower_head(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->n_in ? n->in[0] : NULL;
    if (n->op->kind != CR_OP_Transpose || !x || x->data || x->dtype != CR_DT_F32) return CR_OK;
    if (x->shape.rank != 4 || cr_shape_count(&x->shape) <= 0 || !swaps_middle(n)) return CR_OK;
    const cr_node *softmax = next_of_kind(p, n->out[0], CR_OP_Softmax);
    if (!softmax) return CR_OK;
    const int64_t axis = cr_attr_int(softmax, "axis", -1), *dim = x->shape.dim;
    const cr_node *conv = next_of_kind(p, softmax->out[0], CR_OP_Conv);
    if ((axis != 1 && axis != -3) || !conv || !is_weighted_sum(p, conv, dim[2])) return CR_OK;
    mean_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    int in, out;
    if (!op) return CR_NOMEM(err);
    *op = (mean_op){dim[0] * dim[1], dim[2], dim[3], conv->in[1]->data};
    *done = true;
    p->fused[softmax->index] = p->fused[conv->index] = true;
    CR_TRY(cr_program_need(p, x, CR_DT_F32, false, &in, err));
    CR_TRY(cr_program_output(p, conv->out[0], CR_DT_F32, false, &out, err));
    cr_step *s = cr_program_add_step(p, run_mean, "distribution mean", conv, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    return cr_program_finish(p, conv->out[0], out, err);
}
