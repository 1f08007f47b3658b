/* Programs in bfloat16: which tensors are kept so, and the operators that have kernels for it.
 *
 * Convolutions take nearly all the time, so a tensor is worth having in bfloat16 when one reads it,
 * straight or through operators that only move, compare or add values. Everything else (heads,
 * attention, whatever runs by reference) stays float32, and so do the results of the convolutions
 * in front of it. One backward pass over the nodes marks the tensors; lowerings ask for the mark,
 * and where a guess is wrong cr_program_need converts, so a mark is about speed, never about
 * correctness. Rejected: all tensors in bfloat16, which rounds boxes of 640 pixels to whole ones.
 */
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "kernels/conv_bf16.h"
#include "kernels/conv_bf16_tile.h"
#include "kernels/rows_bf16.h"
#include "runtime/program.h"

enum { LEAST_CHANNELS = 8 };

bool cr_program_bf16_native(void)
{
    return cr_conv_bf16_select(cr_cpu_flags())->layout != CR_BF16_FLOATS;
}

/* ---- marks ---- */

static bool is_picture(const cr_tensor *t)
{
    return t && !t->data && t->dtype == CR_DT_F32 && t->shape.rank == 4 &&
           cr_shape_known(&t->shape);
}

static bool along_channels(const cr_node *n)
{
    const int64_t axis = cr_attr_int(n, "axis", 0);
    return axis == 1 || axis == -3;
}

/* Does a bfloat16 result of this node make its inputs worth having in bfloat16? */
static bool passes_on(const cr_node *n)
{
    cr_act act;
    switch (n->op->kind) {
    case CR_OP_MaxPool:
    case CR_OP_Resize:
    case CR_OP_Slice:
        return true;
    case CR_OP_Split:
    case CR_OP_Concat:
        return along_channels(n);
    case CR_OP_Add:
        return is_picture(n->in[0]) && is_picture(n->in[1]);
    default:
        return (n->op->flags & CR_OPF_UNARY) && cr_node_activation(n, &act);
    }
}

static bool any_marked(const cr_program *p, const cr_node *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && p->bf16[n->out[k]->id]) return true;
    return false;
}

/* A few channels out are what decodes a head (the distribution of YOLOv8's boxes: 16 to 1), and a
 * vector of sums would be mostly empty. */
static bool worth_it(const cr_program *p, const cr_node *n)
{
    return cr_conv_is_fast(p, n) && n->out[0]->shape.dim[1] >= LEAST_CHANNELS;
}

cr_status cr_program_mark_bf16(cr_program *p, cr_error *err)
{
    p->bf16 = cr_arena_alloc(&p->arena, (p->graph->tensor_count + 1) * sizeof *p->bf16);
    if (!p->bf16) return CR_NOMEM(err);
    for (size_t i = p->graph->node_count; i-- > 0;) {
        const cr_node *n = p->graph->nodes[i];
        const bool conv = worth_it(p, n);
        if (!conv && !(passes_on(n) && any_marked(p, n))) continue;
        for (int k = 0; k < (conv ? 1 : n->n_in); k++)
            if (is_picture(n->in[k])) p->bf16[n->in[k]->id] = true;
    }
    return CR_OK;
}

cr_dtype cr_float_form(const cr_program *p, const cr_tensor *t)
{
    return p->bf16 && p->bf16[t->id] ? CR_DT_BF16 : CR_DT_F32;
}

/* ---- convolution ---- */

static void free_conv(void *op)
{
    cr_conv_bf16_free(op);
}

/* A picture for the first layer, rounded as planes are. */
static void run_bytes(const cr_step *s, const cr_picture *picture, cr_session *session)
{
    const cr_rows_bf16 *k = cr_rows_bf16_get(session->program->cpu);
    float values[3][256];
    cr_bf16 table[3][256];
    cr_picture_values(picture, values);
    for (int c = 0; c < 3; c++) k->from_f32(table[c], values[c], 256);
    cr_conv_bf16_run_bytes(s->op, picture->pixels, (const cr_bf16(*)[256])table,
                           session->data[s->out[0]], session->program->values[s->out[0]].ld,
                           session->scratch, session->pool);
}

static cr_status run_conv(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *values = session->program->values;
    const cr_picture *picture = cr_session_picture(session, s->in[0]);
    if (picture) {
        run_bytes(s, picture, session);
        return CR_OK;
    }
    cr_conv_bf16_run(s->op, session->data[s->in[0]], values[s->in[0]].ld, session->data[s->out[0]],
                     values[s->out[0]].ld, session->scratch, session->pool);
    return CR_OK;
}

bool cr_conv_bf16_takes_bytes(const cr_step *s) { return s->run == run_conv; }

cr_status cr_lower_conv_bf16(cr_program *p, const cr_node *n, const cr_conv_geometry *g,
                             const cr_act *act, const cr_tensor *y, cr_error *err)
{
    int in, out;
    const int primary = cr_program_primary(p, n->in[0]);
    const bool planes = primary >= 0 && p->values[primary].dtype == CR_DT_F32 &&
                        !p->values[primary].nhwc && cr_conv_bf16_takes_planes(g);
    CR_TRY(cr_program_need(p, n->in[0], planes ? CR_DT_F32 : CR_DT_BF16, !planes, &in, err));
    CR_TRY(cr_program_output(p, y, cr_float_form(p, y), true, &out, err));
    cr_conv_bf16_params params = {.act = *act,
                                  .bias = n->n_in > 2 && n->in[2] ? n->in[2]->data : NULL,
                                  .float_out = p->values[out].dtype == CR_DT_F32,
                                  .planes_in = planes};
    CR_TRY(cr_program_weights(p, n->in[1], &params.weights, err));
    cr_conv_bf16 *conv;
    CR_TRY(cr_conv_bf16_create(g, &params, p->cpu, &conv, err));
    cr_step *s = cr_program_add_step(p, run_conv, cr_conv_bf16_name(conv), n, 1, 1);
    if (!s) {
        cr_conv_bf16_free(conv);
        return CR_NOMEM(err);
    }
    s->in[0] = in;
    s->out[0] = out;
    s->op = conv;
    s->free_op = free_conv;
    s->scratch = cr_conv_bf16_scratch(conv, p->threads);
    return cr_program_finish(p, y, out, err);
}

/* ---- addition ---- */

typedef struct add_job {
    const cr_bf16 *a, *b;
    cr_bf16 *y;
    int64_t cols, ld_a, ld_b, ld_y;
    const cr_rows_bf16 *k;
} add_job;

static void add_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const add_job *j = ctx;
    for (int64_t r = first; r < first + count; r++)
        j->k->add(j->y + r * j->ld_y, j->a + r * j->ld_a, j->b + r * j->ld_b, (size_t)j->cols);
}

static cr_status run_add(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *values = session->program->values, *y = &values[s->out[0]];
    add_job j = {.a = session->data[s->in[0]],
                 .b = session->data[s->in[1]],
                 .y = session->data[s->out[0]],
                 .cols = y->cols,
                 .ld_a = values[s->in[0]].ld,
                 .ld_b = values[s->in[1]].ld,
                 .ld_y = y->ld,
                 .k = cr_rows_bf16_get(session->program->cpu)};
    cr_session_rows(session, y->rows, 1 + 16384 / (y->cols + 1), add_rows, &j);
    return CR_OK;
}

cr_status cr_lower_add_bf16(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *y = n->out[0];
    int in[2], out;
    for (int i = 0; i < 2; i++)
        if (!is_picture(n->in[i]) || !cr_shape_equal(&n->in[i]->shape, &y->shape)) return CR_OK;
    *done = true;
    for (int i = 0; i < 2; i++) CR_TRY(cr_program_need(p, n->in[i], CR_DT_BF16, true, &in[i], err));
    CR_TRY(cr_program_output(p, y, CR_DT_BF16, true, &out, err));
    cr_step *s = cr_program_add_step(p, run_add, "add_bf16", n, 2, 1);
    if (!s) return CR_NOMEM(err);
    memcpy(s->in, in, sizeof in);
    s->out[0] = out;
    return cr_program_finish(p, y, out, err);
}
