/* A session: one block for activations, one for scratch, a pool, and the loop over steps. */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "runtime/program.h"

static void point_values(cr_session *s)
{
    const cr_program *p = s->program;
    for (size_t i = 0; i < p->value_count; i++) {
        const cr_value *v = &p->values[i], *root = &p->values[v->root];
        unsigned char *base = root->fixed ? (unsigned char *)root->fixed : s->block + root->place;
        s->data[i] = v->dynamic ? NULL : base + (size_t)v->offset * cr_dtype_size(v->dtype);
        s->shells[i] = *v->tensor;
        s->shells[i].dtype = v->dtype;
        s->shells[i].data = v->nhwc ? NULL : s->data[i];
    }
}

static void clear_block(cr_session *s)
{
    if (s->program->block_bytes) memset(s->block, 0, s->program->block_bytes);
}

cr_status cr_session_open(const cr_program *p, cr_pool *pool, cr_session **out, cr_error *err)
{
    cr_status st = CR_OK;
    *out = NULL;
    CR_CHECK(cr_pool_threads(pool) <= p->threads, err, CR_ERR_ARGUMENT,
             "%d threads, but the program was compiled for %d", cr_pool_threads(pool), p->threads);
    cr_session *s = cr_calloc(1, sizeof *s);
    if (!s) return CR_NOMEM(err);
    s->program = p;
    s->pool = pool;
    if (!pool) {
        CR_TRY_GOTO(cr_pool_create(p->threads, &s->pool, err), done);
        s->owns_pool = true;
    }
    s->block = cr_aligned_alloc(p->block_bytes);
    s->scratch = cr_aligned_alloc(p->scratch_bytes);
    s->data = cr_calloc(p->value_count, sizeof *s->data);
    s->shells = cr_calloc(p->value_count, sizeof *s->shells);
    if (!s->block || !s->scratch || !s->data || !s->shells) {
        st = CR_NOMEM(err);
        goto done;
    }
    clear_block(s);
    point_values(s);
    *out = s;
    s = NULL;
done:
    cr_session_close(&s);
    return st;
}

void cr_session_close(cr_session **sp)
{
    if (!sp || !*sp) return;
    cr_session *s = *sp;
    for (size_t i = 0; s->shells && i < s->program->value_count; i++)
        if (s->program->values[i].dynamic && !s->program->values[i].fixed)
            cr_tensor_drop_data(&s->shells[i]);
    if (s->owns_pool) cr_pool_free(&s->pool);
    cr_aligned_free(s->block);
    cr_aligned_free(s->scratch);
    cr_free(s->data);
    cr_free(s->shells);
    cr_profile_free(&s->profile);
    cr_free(s);
    *sp = NULL;
}

void *cr_session_input_data(cr_session *s, size_t i) { return s->data[s->program->inputs[i]]; }

const cr_tensor *cr_session_output_tensor(const cr_session *s, size_t i)
{
    return &s->shells[s->program->outputs[i]];
}

void cr_session_set_observer(cr_session *s, const cr_observer *o) { s->observer = o; }

static void show(cr_session *s, int index)
{
    const cr_value *v = &s->program->values[index];
    const bool floats = v->dtype == CR_DT_F32 || (v->dtype == CR_DT_BF16 && v->nhwc);
    if ((!floats && !v->quantized) || v->dynamic) return;
    if (s->program->early[v->tensor->id]) return;
    const cr_view view = {v->tensor, v->dtype, s->data[index], v->rows,  v->cols,
                          v->ld,     v->nhwc,  v->scale,       v->zero_point,
                          v->scales, v->zeros};
    s->observer->see(s->observer->user, &view);
}

/* Layout changes show nothing new; quantization does. */
static bool worth_showing(const cr_session *s, const cr_step *step)
{
    if (step->node) return true;
    return s->program->values[step->out[0]].dtype != s->program->values[step->in[0]].dtype &&
           s->program->values[step->out[0]].quantized;
}

void cr_session_cancel(cr_session *s) { atomic_store(&s->cancel, true); }

static cr_status stop_if_cancelled(cr_session *s, cr_error *err)
{
    if (!atomic_load_explicit(&s->cancel, memory_order_relaxed)) return CR_OK;
    atomic_store(&s->cancel, false);
    return cr_fail(err, CR_ERR_CANCELLED, "the run was cancelled");
}

bool cr_session_put_picture(cr_session *s, const uint8_t *pixels, const float mean[3],
                            const float div[3])
{
    const cr_graph *g = s->program->graph;
    if (s->observer || g->input_count != 1 || g->inputs[0]->shape.rank != 4) return false;
    if (g->inputs[0]->shape.dim[0] != 1 || g->inputs[0]->shape.dim[1] != 3) return false;
    if (!cr_reads_pixels(s->program, 0)) return false;
    s->picture.pixels = pixels;
    memcpy(s->picture.mean, mean, sizeof s->picture.mean);
    memcpy(s->picture.div, div, sizeof s->picture.div);
    return true;
}

static cr_status run_steps(cr_session *s, cr_error *err)
{
    const cr_program *p = s->program;
    for (size_t i = 0; s->observer && i < p->graph->input_count; i++) show(s, p->inputs[i]);
    for (size_t i = 0; i < p->step_count; i++) {
        const cr_step *step = &p->steps[i];
        CR_TRY(stop_if_cancelled(s, err));
        const uint64_t begin = s->profile ? cr_profile_now() : 0;
        CR_TRY(step->run(step, s, err));
        if (s->profile) cr_profile_note(s->profile, i, cr_profile_now() - begin);
        if (!s->observer || !worth_showing(s, step)) continue;
        for (int k = 0; k < step->n_out; k++)
            if (step->out[k] >= 0) show(s, step->out[k]);
    }
    if (s->profile) cr_profile_end_run(s->profile);
    return CR_OK;
}

cr_status cr_session_execute(cr_session *s, cr_error *err)
{
    const cr_status st = run_steps(s, err);
    s->picture.pixels = NULL;
    return st;
}

size_t cr_session_bytes(const cr_session *s)
{
    return s->program->block_bytes + s->program->scratch_bytes;
}

static float view_at(const cr_view *v, int64_t i)
{
    if (v->dtype == CR_DT_F32) return ((const float *)v->data)[i];
    if (v->dtype == CR_DT_BF16) return cr_bf16_to_f32(((const uint16_t *)v->data)[i]);
    const uint8_t *codes = v->data;
    const int32_t code = v->dtype == CR_DT_U16 ? codes[i] << 8 | codes[i + v->rows * v->ld] : codes[i];
    if (v->scales) return cr_dequantize(code, v->scales[i % v->ld], v->zeros[i % v->ld]);
    return cr_dequantize(code, v->scale, v->zero_point);
}

void cr_view_to_f32(const cr_view *v, float *out)
{
    if (!v->nhwc) {
        for (int64_t i = 0; i < v->cols; i++) out[i] = view_at(v, i);
        return;
    }
    const int64_t pixels = v->tensor->shape.dim[2] * v->tensor->shape.dim[3];
    for (int64_t r = 0; r < v->rows; r++)
        for (int64_t c = 0; c < v->cols; c++)
            out[(r / pixels * v->cols + c) * pixels + r % pixels] = view_at(v, r * v->ld + c);
}

typedef struct piece_ctx {
    cr_rows_fn fn;
    void *ctx;
    int64_t rows, per;
} piece_ctx;

static void run_piece(void *ctx, size_t index, int worker)
{
    const piece_ctx *c = ctx;
    const int64_t first = (int64_t)index * c->per;
    const int64_t left = c->rows - first;
    c->fn(c->ctx, first, left < c->per ? left : c->per, worker);
}

void cr_session_rows(cr_session *s, int64_t rows, int64_t grain, cr_rows_fn fn, void *ctx)
{
    const int64_t threads = cr_pool_threads(s->pool);
    int64_t per = (rows + threads * 4 - 1) / (threads * 4);
    if (per < grain) per = grain;
    if (per < 1) per = 1;
    piece_ctx c = {fn, ctx, rows, per};
    cr_pool_run(s->pool, (size_t)((rows + per - 1) / per), run_piece, &c);
}
