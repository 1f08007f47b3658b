/* Heads that flatten their pictures: YOLOX, NanoDet and their kin end in
 *
 *     [1,C,h,w] each -> Reshape [1,C,h*w] -> Concat over pixels -> Transpose (0,2,1) -> [1,pixels,C]
 *
 * which in rows of channels (NHWC) is one picture's rows behind the other's: what convolutions write
 * anyway. The pictures become views into the result and nothing moves at all; a picture that has to
 * stay where it is is copied. Without this every value is transposed twice. Only in programs with a
 * recipe: the statistics of a float program want to see the concatenated tensor.
 *
 * The three operators are lowered as one at the Transpose; each of them asks the same question of
 * the graph alone, so that the answers agree. */
#include <string.h>

#include "base/error.h"
#include "runtime/program.h"

static bool has_recipe(const cr_program *p)
{
    for (size_t i = 0; i < p->graph->tensor_count; i++)
        if (p->entries[i]) return true;
    return false;
}

/* A float tensor between two of the operators: nobody else reads it, the recipe leaves it alone. */
static bool is_between(const cr_program *p, const cr_tensor *t)
{
    return t->dtype == CR_DT_F32 && !t->data && t->shape.rank == 3 && t->shape.dim[0] == 1 &&
           cr_shape_known(&t->shape) && !cr_program_entry(p, t) && cr_program_only_reader(p, t);
}

static bool flattens_picture(const cr_program *p, const cr_tensor *t)
{
    if (!is_between(p, t) || !t->producer || t->producer->op->kind != CR_OP_Reshape) return false;
    const cr_tensor *x = t->producer->in[0];
    const int64_t *dim = x->shape.dim;
    return x->shape.rank == 4 && !x->data && x->dtype == CR_DT_F32 && cr_shape_known(&x->shape) &&
           dim[0] == 1 && dim[1] == t->shape.dim[1] && dim[2] * dim[3] == t->shape.dim[2] &&
           cr_shape_count(&x->shape) > 0;
}

static bool swaps_last(const cr_node *n)
{
    size_t count;
    const int64_t *perm = cr_attr_ints(n, "perm", &count);
    return n->op->kind == CR_OP_Transpose && perm && count == 3 && perm[0] == 0 && perm[1] == 2;
}

static bool joins_pictures(const cr_program *p, const cr_node *concat)
{
    if (concat->op->kind != CR_OP_Concat || !is_between(p, concat->out[0])) return false;
    const int64_t axis = cr_attr_int(concat, "axis", 0);
    if (axis != 2 && axis != -1) return false;
    for (int i = 0; i < concat->n_in; i++)
        if (!flattens_picture(p, concat->in[i])) return false;
    return swaps_last(cr_program_only_reader(p, concat->out[0])) && has_recipe(p);
}

/* ---- running: pictures that were not moved ---- */

typedef struct copy_job {
    const cr_value *in;
    const float *from;
    float *to;
} copy_job;

static void copy_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const copy_job *j = ctx;
    const size_t cols = (size_t)j->in->cols;
    for (int64_t r = first; r < first + count; r++)
        memcpy(j->to + (size_t)r * cols, j->from + r * j->in->ld, cols * sizeof *j->to);
}

static cr_status run_flatten(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *values = session->program->values;
    float *to = session->data[s->out[0]];
    for (int i = 0; i < s->n_in; i++) {
        copy_job j = {&values[s->in[i]], session->data[s->in[i]], to};
        if (j.from != to) /* else moved; the same picture may come twice */
            cr_session_rows(session, j.in->rows, 1 + 8192 / (j.in->cols + 1), copy_rows, &j);
        to += j.in->rows * j.in->cols;
    }
    return CR_OK;
}

/* ---- lowering ---- */

/* The value and all its views move to element `base` of the output's memory, if they are free to. */
static void move_into(cr_program *p, int value, int out, int64_t base)
{
    const cr_value *v = &p->values[value];
    if (v->root != value || v->fixed || v->dynamic || v->ld != v->cols) return;
    for (size_t i = 0; i < p->value_count; i++) {
        if (p->values[i].root != value) continue;
        p->values[i].root = out;
        p->values[i].offset += base;
    }
}

static cr_status lower_join(cr_program *p, const cr_node *concat, const cr_node *transpose,
                            cr_error *err)
{
    const cr_tensor *y = transpose->out[0];
    int out;
    int *in = cr_arena_alloc(&p->arena, (size_t)concat->n_in * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (int i = 0; i < concat->n_in; i++)
        CR_TRY(cr_program_need(p, concat->in[i]->producer->in[0], CR_DT_F32, true, &in[i], err));
    CR_TRY(cr_program_output(p, y, CR_DT_F32, false, &out, err));
    int64_t base = 0;
    for (int i = 0; i < concat->n_in; i++) {
        move_into(p, in[i], out, base);
        base += p->values[in[i]].rows * p->values[in[i]].cols;
    }
    cr_step *s = cr_program_add_step(p, run_flatten, "flatten", transpose, concat->n_in, 1);
    if (!s) return CR_NOMEM(err);
    memcpy(s->in, in, (size_t)concat->n_in * sizeof *in);
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}

cr_status cr_lower_flatten(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->n_in < 1) return CR_OK;
    const cr_node *concat = n;
    if (n->op->kind == CR_OP_Reshape) concat = cr_program_only_reader(p, n->out[0]);
    if (n->op->kind == CR_OP_Transpose) concat = n->in[0]->producer;
    if (!concat || !joins_pictures(p, concat)) return CR_OK;
    *done = true;
    return n->op->kind == CR_OP_Transpose ? lower_join(p, concat, n, err) : CR_OK;
}
