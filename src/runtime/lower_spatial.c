/* Operators on pictures of channels that keep NHWC: pooling, nearest Resize, and Concat, Split and
 * Slice along the channels. Split and Slice are views (an offset into the rows of their source);
 * Concat has its inputs written straight into its columns where nothing must be converted, else it
 * copies them there, changing scales on the way. */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/nn_rules.h"
#include "kernels/pool.h"
#include "kernels/rows.h"
#include "ops/ref.h"
#include "runtime/program.h"

static bool is_picture(const cr_tensor *t)
{
    return t && t->shape.rank == 4 && t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) > 0;
}

/* Opens input and output for an operator that passes values of x's channels from `first` on: codes
 * if both sides mean the same by them. */
static cr_status open_form(cr_program *p, const cr_tensor *x, const cr_tensor *y, int64_t first,
                           int *in, int *out, cr_error *err)
{
    const bool codes = cr_program_same_codes(p, x, y, first);
    const cr_dtype type = codes ? CR_DT_U8 : cr_float_form(p, y);
    CR_TRY(cr_program_need(p, x, type, true, in, err));
    return codes ? cr_program_output_u8(p, y, true, out, err)
                 : cr_program_output(p, y, type, true, out, err);
}

static cr_status close_step(cr_program *p, const cr_node *n, const char *what, cr_step_fn run,
                            void *op, int in, int out, cr_error *err)
{
    cr_step *s = cr_program_add_step(p, run, what, n, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = in;
    s->out[0] = out;
    s->op = op;
    return cr_program_finish(p, n->out[0], out, err);
}

/* ---- pooling ---- */

static cr_status run_pool(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    const cr_rows *k = cr_rows_get(session->program->cpu);
    cr_pool_geometry g = *(const cr_pool_geometry *)s->op;
    g.ld_in = in->ld;
    g.ld_out = out->ld;
    void *from = session->data[s->in[0]], *to = session->data[s->out[0]];
    const cr_rows_bf16 *half = cr_rows_bf16_get(session->program->cpu);
    if (in->dtype == CR_DT_U8) cr_max_pool_u8(&g, k, from, to, session->pool);
    else if (in->dtype == CR_DT_BF16) cr_max_pool_bf16(&g, half, from, to, session->pool);
    else cr_max_pool_f32(&g, k, from, to, session->pool);
    return CR_OK;
}

static bool every_window_inside(const cr_window *w)
{
    for (int d = 0; d < CR_WINDOW_DIMS; d++) {
        const int64_t reach = (w->kernel[d] - 1) * w->dilation[d];
        if (w->pad_lo[d] > reach || (w->out[d] - 1) * w->stride[d] - w->pad_lo[d] >= w->in[d])
            return false;
        /* a dilated window may straddle the picture without touching it */
        if (w->dilation[d] >= w->in[d] && w->dilation[d] > 1) return false;
    }
    return true;
}

static cr_status lower_max_pool(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_window w;
    if (n->n_out > 1 && n->out[1]) return CR_OK;
    CR_TRY(cr_window_pool(&call, &w, err));
    if (w.n != 2 || !every_window_inside(&w)) return CR_OK;
    cr_pool_geometry *g = cr_arena_alloc(&p->arena, sizeof *g);
    if (!g) return CR_NOMEM(err);
    *g = (cr_pool_geometry){.n = x->shape.dim[0], .h = w.in[1], .w = w.in[2], .c = x->shape.dim[1],
                            .oh = w.out[1], .ow = w.out[2], .kh = w.kernel[1], .kw = w.kernel[2],
                            .stride_h = w.stride[1], .stride_w = w.stride[2],
                            .dil_h = w.dilation[1], .dil_w = w.dilation[2],
                            .pad_top = w.pad_lo[1], .pad_left = w.pad_lo[2]};
    int in, out;
    *done = true;
    CR_TRY(open_form(p, x, y, 0, &in, &out, err));
    return close_step(p, n, "max_pool", run_pool, g, in, out, err);
}

/* Global average: one sum per channel in double, as the reference has it. */
typedef struct mean_job {
    const float *in;
    float *out;
    int64_t pixels, channels, ld, ld_out;
} mean_job;

static void mean_channels(void *ctx, int64_t first, int64_t count, int worker)
{
    const mean_job *j = ctx;
    for (int64_t i = first; i < first + count; i++) {
        const int64_t n = i / j->channels, c = i % j->channels;
        double sum = 0;
        for (int64_t p = 0; p < j->pixels; p++)
            sum += (double)j->in[(n * j->pixels + p) * j->ld + c];
        j->out[n * j->ld_out + c] = (float)(sum / (double)j->pixels);
    }
}

static cr_status run_global_mean(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const int64_t n = in->tensor->shape.dim[0];
    mean_job j = {session->data[s->in[0]], session->data[s->out[0]], in->rows / n, in->cols, in->ld,
                  session->program->values[s->out[0]].ld};
    cr_session_rows(session, n * in->cols, 64, mean_channels, &j);
    return CR_OK;
}

static cr_status lower_global_mean(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    int in, out;
    *done = true;
    CR_TRY(cr_program_need(p, n->in[0], CR_DT_F32, true, &in, err));
    CR_TRY(cr_program_output(p, n->out[0], CR_DT_F32, true, &out, err));
    return close_step(p, n, "global_average", run_global_mean, NULL, in, out, err);
}

/* ---- nearest Resize: a map from output to input pixels, made by the reference operator ---- */

typedef struct resize_job {
    const int32_t *map;
    const unsigned char *in;
    unsigned char *out;
    int64_t in_pixels, out_pixels;
    size_t row_in, row_out, bytes;
} resize_job;

static void resize_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const resize_job *j = ctx;
    for (int64_t p = first; p < first + count; p++) {
        const int64_t n = p / j->out_pixels, from = j->map[p % j->out_pixels] + n * j->in_pixels;
        memcpy(j->out + (size_t)p * j->row_out, j->in + (size_t)from * j->row_in, j->bytes);
    }
}

static cr_status run_resize(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    const size_t size = cr_dtype_size(in->dtype);
    const cr_shape *x = &in->tensor->shape, *y = &out->tensor->shape;
    resize_job j = {s->op, session->data[s->in[0]], session->data[s->out[0]],
                    x->dim[2] * x->dim[3], y->dim[2] * y->dim[3], (size_t)in->ld * size,
                    (size_t)out->ld * size, (size_t)in->cols * size};
    cr_session_rows(session, out->rows, 64, resize_rows, &j);
    return CR_OK;
}

/* Runs the node on a picture whose values are its own pixel numbers (exact in float32 to 2^24); one
 * channel tells as much as all, unless the node has the output's size instead of scales. */
static cr_status pixel_map(cr_program *p, const cr_node *n, int32_t **map, cr_error *err)
{
    *map = NULL;
    const cr_shape *x = &n->in[0]->shape, *y = &n->out[0]->shape;
    const int64_t pixels = x->dim[2] * x->dim[3], wanted = y->dim[2] * y->dim[3];
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1] || pixels >= 1 << 24) return CR_OK;
    cr_status st = CR_OK;
    cr_tensor ramp = *n->in[0], out = {.name = "map"};
    ramp.data = NULL;
    if (n->n_in < 4 || !n->in[3]) ramp.shape.dim[1] = 1;
    const cr_tensor *in[4] = {&ramp, n->n_in > 1 ? n->in[1] : NULL, n->n_in > 2 ? n->in[2] : NULL,
                              n->n_in > 3 ? n->in[3] : NULL};
    cr_tensor *outs[1] = {&out};
    if (!cr_tensor_alloc(&ramp)) return CR_NOMEM(err);
    for (int64_t i = 0; i < cr_shape_count(&ramp.shape); i++) ((float *)ramp.data)[i] = (float)(i % pixels);
    const cr_op_call call = {n, in, outs, n->n_in, 1};
    CR_TRY_GOTO(cr_op_run(&call, err), done);
    *map = cr_arena_alloc(&p->arena, (size_t)wanted * sizeof **map);
    if (!*map) st = CR_NOMEM(err);
    for (int64_t i = 0; *map && i < wanted; i++) (*map)[i] = (int32_t)((const float *)out.data)[i];
done:
    cr_tensor_drop_data(&ramp);
    cr_tensor_drop_data(&out);
    return st;
}

static cr_status lower_resize(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (strcmp(cr_attr_string(n, "mode", "nearest"), "nearest")) return CR_OK;
    if (!strcmp(cr_attr_string(n, "coordinate_transformation_mode", ""), "tf_crop_and_resize"))
        return CR_OK;
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->data) return CR_OK;
    int32_t *map;
    CR_TRY(pixel_map(p, n, &map, err));
    if (!map) return CR_OK;
    int in, out;
    *done = true;
    CR_TRY(open_form(p, n->in[0], n->out[0], 0, &in, &out, err));
    return close_step(p, n, "resize", run_resize, map, in, out, err);
}

/* ---- Split and Slice along channels: views ---- */

static cr_status channel_view(cr_program *p, const cr_tensor *x, const cr_tensor *y, int64_t first,
                              cr_error *err)
{
    int in, out;
    CR_TRY(open_form(p, x, y, first, &in, &out, err));
    cr_value *v = &p->values[out];
    v->root = p->values[in].root;
    v->offset = p->values[in].offset + first;
    v->ld = p->values[in].ld;
    return cr_program_finish(p, y, out, err);
}

static cr_status lower_split(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const int64_t axis = cr_attr_int(n, "axis", 0);
    if ((axis != 1 && axis != -3) || !cr_prefers_nhwc(p, n->in[0])) return CR_OK;
    int64_t at = 0;
    for (int k = 0; k < n->n_out; k++)
        if (!is_picture(n->out[k])) return CR_OK;
    *done = true;
    for (int k = 0; k < n->n_out; k++) {
        CR_TRY(channel_view(p, n->in[0], n->out[k], at, err));
        at += n->out[k]->shape.dim[1];
    }
    return CR_OK;
}

/* One axis, the channels, step 1. */
static bool slices_channels(const cr_node *n, int64_t *first)
{
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] && (!n->in[i]->data || cr_shape_count(&n->in[i]->shape) != 1)) return false;
    const int64_t axis = n->n_in > 3 && n->in[3] ? cr_tensor_get_i64(n->in[3], 0) : 0;
    const int64_t step = n->n_in > 4 && n->in[4] ? cr_tensor_get_i64(n->in[4], 0) : 1;
    *first = cr_tensor_get_i64(n->in[1], 0);
    if (*first < 0) *first += n->in[0]->shape.dim[1];
    return (axis == 1 || axis == -3) && step == 1 && *first >= 0 &&
           *first + n->out[0]->shape.dim[1] <= n->in[0]->shape.dim[1];
}

static cr_status lower_slice(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    int64_t first;
    if (!cr_prefers_nhwc(p, n->in[0]) || !slices_channels(n, &first)) return CR_OK;
    *done = true;
    return channel_view(p, n->in[0], n->out[0], first, err);
}

/* ---- Concat along channels ---- */

/* MOVE_NONE: the input was written in its place already. */
typedef enum move_kind {
    MOVE_COPY, MOVE_TABLE, MOVE_QUANTIZE, MOVE_DEQUANTIZE, MOVE_NONE
} move_kind;

typedef struct part {
    move_kind kind;
    int64_t at; /* the output's channel that it begins at */
    uint8_t table[256];
} part;

typedef struct part_job {
    const part *op;
    const cr_value *in, *out;
    const unsigned char *src;
    unsigned char *dst;
    const cr_rows *k;
} part_job;

static void part_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const part_job *j = ctx;
    if (j->op->kind == MOVE_TABLE) {
        const cr_finish_area area = {count, j->in->cols, j->in->ld, j->out->ld};
        j->k->table(j->dst + first * j->out->ld, j->src + first * j->in->ld, &area, j->op->table);
        return;
    }
    const size_t n = (size_t)j->in->cols, size_in = cr_dtype_size(j->in->dtype);
    const size_t size_out = cr_dtype_size(j->out->dtype);
    for (int64_t r = first; r < first + count; r++) {
        const unsigned char *x = j->src + (size_t)(r * j->in->ld) * size_in;
        unsigned char *y = j->dst + (size_t)(r * j->out->ld) * size_out;
        switch (j->op->kind) {
        case MOVE_COPY: memcpy(y, x, n * size_in); break;
        case MOVE_QUANTIZE:
            if (j->out->scales) {
                j->k->quantize_each(y, (const float *)(const void *)x, n, j->out->scales + j->op->at,
                                    j->out->zeros + j->op->at);
                break;
            }
            j->k->quantize(y, (const float *)(const void *)x, n, j->out->scale, j->out->zero_point);
            break;
        case MOVE_DEQUANTIZE:
            j->k->dequantize((float *)(void *)y, x, n, j->in->scale, j->in->zero_point);
            break;
        default: break;
        }
    }
}

static cr_status run_concat(const cr_step *s, cr_session *session, cr_error *err)
{
    const part *parts = s->op;
    const cr_value *values = session->program->values, *out = &values[s->out[0]];
    unsigned char *dst = session->data[s->out[0]];
    for (int i = 0; i < s->n_in; i++) {
        const cr_value *in = &values[s->in[i]];
        part_job j = {&parts[i], in, out, session->data[s->in[i]], dst,
                      cr_rows_get(session->program->cpu)};
        if (parts[i].kind != MOVE_NONE)
            cr_session_rows(session, in->rows, 1 + 8192 / (in->cols + 1), part_rows, &j);
        dst += (size_t)in->cols * cr_dtype_size(out->dtype);
    }
    return CR_OK;
}

static void choose_move(const cr_value *in, const cr_value *out, part *m)
{
    if (in->quantized && out->scales) {
        m->kind = MOVE_COPY; /* or it would have come as floats */
    } else if (in->quantized && out->quantized) {
        m->kind = in->scale == out->scale && in->zero_point == out->zero_point ? MOVE_COPY : MOVE_TABLE;
        for (int q = 0; q < 256; q++)
            m->table[q] = cr_quantize_u8(cr_dequantize(q, in->scale, in->zero_point), out->scale,
                                         out->zero_point);
    } else if (in->quantized) {
        m->kind = MOVE_DEQUANTIZE;
    } else {
        m->kind = out->quantized ? MOVE_QUANTIZE : MOVE_COPY;
    }
}

/* Can root R, of which concat input `i` is a view, be laid into the output's columns from `base` on?
 * Only if every input that would share those columns is the same view of R. */
static bool root_fits(const cr_program *p, const int *in, int n_in, int root, int64_t base, int out)
{
    const cr_value *r = &p->values[root], *o = &p->values[out];
    if (r->root != root || !r->nhwc || r->fixed || r->dynamic || r->ld != r->cols) return false;
    if (base < 0 || base + r->cols > o->cols || r->dtype != o->dtype || r->rows != o->rows)
        return false;
    int64_t at = 0;
    for (int k = 0; k < n_in; k++) {
        const cr_value *v = &p->values[in[k]];
        const bool overlaps = at < base + r->cols && base < at + v->cols;
        if (overlaps && (v->root != root || at - v->offset != base)) return false;
        at += v->cols;
    }
    return true;
}

/* R and all its views move into the output's memory: no copy is left to do. */
static void move_root(cr_program *p, int root, int64_t base, int out)
{
    for (size_t v = 0; v < p->value_count; v++) {
        if (p->values[v].root != root) continue;
        p->values[v].root = out;
        p->values[v].offset += base;
        p->values[v].ld = p->values[out].ld;
    }
}

static void place_in_output(cr_program *p, const int *in, int n_in, int out, part *parts)
{
    int64_t at = 0;
    for (int i = 0; i < n_in; i++) {
        const cr_value *v = &p->values[in[i]];
        const int64_t base = at - v->offset;
        at += v->cols;
        if (parts[i].kind != MOVE_COPY) continue;
        if (v->root == out) {
            if (base == 0) parts[i].kind = MOVE_NONE; /* moved with an earlier input */
        } else if (root_fits(p, in, n_in, v->root, base, out)) {
            move_root(p, v->root, base, out);
            parts[i].kind = MOVE_NONE;
        }
    }
}

/* Bytes with one scale change it by a table; those with a scale per channel either pass or come as
 * floats. */
static cr_dtype part_form(const cr_program *p, const cr_tensor *x, const cr_tensor *y, int64_t at)
{
    const bool columns = cr_program_codes_entry(p, y) && !cr_program_byte_entry(p, y);
    if (columns ? cr_program_same_codes(p, y, x, at) : cr_program_byte_entry(p, x) != NULL)
        return CR_DT_U8;
    return cr_float_form(p, y);
}

static cr_status lower_concat(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    const int64_t axis = cr_attr_int(n, "axis", 0);
    bool any = false;
    for (int i = 0; i < n->n_in; i++) {
        if (!is_picture(n->in[i]) || n->in[i]->data) return CR_OK;
        any |= cr_prefers_nhwc(p, n->in[i]);
    }
    if ((axis != 1 && axis != -3) || !any) return CR_OK;
    const cr_tensor *y = n->out[0];
    const cr_dtype form = cr_float_form(p, y);
    int out;
    *done = true;
    part *parts = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *parts);
    int *in = cr_arena_alloc(&p->arena, (size_t)n->n_in * sizeof *in);
    if (!parts || !in) return CR_NOMEM(err);
    int64_t at = 0;
    for (int i = 0; i < n->n_in; at += n->in[i++]->shape.dim[1]) {
        parts[i].at = at;
        CR_TRY(cr_program_need(p, n->in[i], part_form(p, n->in[i], y, at), true, &in[i], err));
    }
    if (cr_program_codes_entry(p, y)) CR_TRY(cr_program_output_u8(p, y, true, &out, err));
    else CR_TRY(cr_program_output(p, y, form, true, &out, err));
    for (int i = 0; i < n->n_in; i++) choose_move(&p->values[in[i]], &p->values[out], &parts[i]);
    place_in_output(p, in, n->n_in, out, parts);
    cr_step *s = cr_program_add_step(p, run_concat, "concat", n, n->n_in, 1);
    if (!s) return CR_NOMEM(err);
    memcpy(s->in, in, (size_t)n->n_in * sizeof *in);
    s->out[0] = out;
    s->op = parts;
    return cr_program_finish(p, y, out, err);
}

/* What a plan puts before readers that want codes of their own: the same rows. */
static cr_status lower_identity(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (!cr_prefers_nhwc(p, n->in[0])) return CR_OK;
    *done = true;
    return channel_view(p, n->in[0], n->out[0], 0, err);
}

cr_status cr_lower_spatial(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (n->n_in < 1 || !is_picture(n->in[0]) || !is_picture(n->out[0]) || n->in[0]->data)
        return CR_OK;
    switch (n->op->kind) {
    case CR_OP_MaxPool: return lower_max_pool(p, n, done, err);
    case CR_OP_GlobalAveragePool: return lower_global_mean(p, n, done, err);
    case CR_OP_Resize: return lower_resize(p, n, done, err);
    case CR_OP_Split: return lower_split(p, n, done, err);
    case CR_OP_Slice: return lower_slice(p, n, done, err);
    case CR_OP_Concat: return lower_concat(p, n, done, err);
    case CR_OP_Identity: return lower_identity(p, n, done, err);
    default: return CR_OK;
    }
}
