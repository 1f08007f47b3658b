/* Conversions between representations of one tensor: float <-> codes, NCHW <-> NHWC, and fake
 * quantization for entries that no byte storage exists for (16 bit or per channel of what is no
 * picture). */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "kernels/pool.h"
#include "kernels/rows_bf16.h"
#include "runtime/program.h"

enum { PIECE = 4096 }; /* elements of a row-major tensor that are handled as one row */

typedef struct row_view {
    int64_t rows, cols, ld_in, ld_out;
} row_view;

/* Rows of both sides; contiguous data are cut into pieces of PIECE elements. */
static row_view pair_rows(const cr_value *a, const cr_value *b)
{
    if (a->ld == a->cols && b->ld == b->cols && !a->scales && !b->scales) {
        const int64_t n = a->rows * a->cols;
        return (row_view){(n + PIECE - 1) / PIECE, n, PIECE, PIECE};
    }
    return (row_view){a->rows, 0, a->ld, b->ld};
}

typedef struct type_job {
    const cr_value *in, *out;
    const unsigned char *src;
    unsigned char *dst;
    row_view v;
    const cr_rows *k;
    const cr_rows_bf16 *bf16;
} type_job;

static void convert_row(const type_job *j, unsigned char *y, const unsigned char *x, size_t n)
{
    const cr_rows_bf16 *half = j->bf16;
    if (j->out->dtype == CR_DT_BF16)
        half->from_f32((cr_bf16 *)(void *)y, (const float *)(const void *)x, n);
    else if (j->in->dtype == CR_DT_BF16)
        half->to_f32((float *)(void *)y, (const cr_bf16 *)(const void *)x, n);
    else if (j->out->dtype == CR_DT_U16)
        j->k->quantize_wide(y, j->out->rows * j->out->ld, (const float *)(const void *)x, n,
                            j->out->scales, j->out->zeros);
    else if (j->in->dtype == CR_DT_U16)
        j->k->dequantize_wide((float *)(void *)y, x, j->in->rows * j->in->ld, n, j->in->scales,
                              j->in->zeros);
    else if (j->out->scales)
        j->k->quantize_each(y, (const float *)(const void *)x, n, j->out->scales, j->out->zeros);
    else if (j->in->scales)
        j->k->dequantize_each((float *)(void *)y, x, n, j->in->scales, j->in->zeros);
    else if (j->in->dtype == CR_DT_F32)
        j->k->quantize(y, (const float *)(const void *)x, n, j->out->scale, j->out->zero_point);
    else
        j->k->dequantize((float *)(void *)y, x, n, j->in->scale, j->in->zero_point);
}

/* Bytes from an element of a row to the next one: wide codes are in planes of bytes. */
static size_t row_element(const cr_value *v)
{
    return v->dtype == CR_DT_U16 ? 1 : cr_dtype_size(v->dtype);
}

static void convert_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const type_job *j = ctx;
    const size_t size_in = row_element(j->in), size_out = row_element(j->out);
    for (int64_t r = first; r < first + count; r++) {
        int64_t n = j->in->cols;
        if (j->v.cols) n = j->v.cols - r * PIECE < PIECE ? j->v.cols - r * PIECE : PIECE;
        convert_row(j, j->dst + (size_t)(r * j->v.ld_out) * size_out,
                    j->src + (size_t)(r * j->v.ld_in) * size_in, (size_t)n);
    }
}

static cr_status run_type(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    type_job j = {in, out, session->data[s->in[0]], session->data[s->out[0]], pair_rows(in, out),
                  cr_rows_get(session->program->cpu), cr_rows_bf16_get(session->program->cpu)};
    cr_session_rows(session, j.v.rows, j.v.cols ? 4 : 1 + 16384 / (in->cols + 1), convert_rows, &j);
    return CR_OK;
}

const cr_picture *cr_session_picture(const cr_session *session, int value)
{
    const cr_program *p = session->program;
    const bool reads_it = p->values[value].root == p->values[p->inputs[0]].root;
    return reads_it && session->picture.pixels ? &session->picture : NULL;
}

/* ---- bytes of a picture ---- */

void cr_picture_values(const cr_picture *p, float values[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 256; b++) values[c][b] = ((float)b - p->mean[c]) / p->div[c];
}

typedef struct float_job {
    const uint8_t *pixels;
    float *rows;
    int64_t ld;
    float table[3][256];
} float_job;

static void fill_floats(void *ctx, int64_t first, int64_t count, int worker)
{
    const float_job *j = ctx;
    const uint8_t *x = j->pixels + first * 3;
    float *y = j->rows + first * j->ld;
    for (int64_t i = 0; i < count; i++, x += 3, y += j->ld) {
        y[0] = j->table[0][x[0]];
        y[1] = j->table[1][x[1]];
        y[2] = j->table[2][x[2]];
    }
}

static bool makes_float_rows(const cr_program *p, const cr_step *s)
{
    const cr_value *out = &p->values[s->out[0]];
    return out->nhwc && out->dtype == CR_DT_F32;
}

static cr_status run_layout(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_picture *picture = cr_session_picture(session, s->in[0]);
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    const cr_shape *shape = &in->tensor->shape;
    const cr_layout_args a = {.n = shape->dim[0], .channels = shape->dim[1],
                              .pixels = shape->dim[2] * shape->dim[3],
                              .ld = in->nhwc ? in->ld : out->ld,
                              .element = cr_dtype_size(in->dtype)};
    if (picture) {
        float_job j = {picture->pixels, session->data[s->out[0]], out->ld, {{0}}};
        cr_picture_values(picture, j.table);
        cr_session_rows(session, out->rows, PIECE, fill_floats, &j);
        return CR_OK;
    }
    if (in->nhwc) cr_nhwc_to_nchw(&a, session->data[s->in[0]], session->data[s->out[0]], session->pool);
    else cr_nchw_to_nhwc(&a, session->data[s->in[0]], session->data[s->out[0]], session->pool);
    return CR_OK;
}

int cr_layout_source(const cr_program *p, int root)
{
    for (size_t i = p->step_count; i-- > 0;)
        if (p->steps[i].n_out == 1 && p->steps[i].out[0] == root)
            return p->steps[i].run == run_layout ? p->steps[i].in[0] : -1;
    return -1;
}

typedef struct pixel_job {
    const float *planes;
    uint8_t *pixels;
    int64_t channels, plane; /* plane: pixels of one */
    const cr_value *out;
    const cr_rows *k;
} pixel_job;

/* A row is PIECE pixels of one picture (the last one has fewer). */
static void convert_pixels(void *ctx, int64_t first, int64_t count, int worker)
{
    const pixel_job *j = ctx;
    const int64_t pieces = (j->plane + PIECE - 1) / PIECE;
    for (int64_t r = first; r < first + count; r++) {
        const int64_t n = r / pieces, at = r % pieces * PIECE;
        const int64_t left = j->plane - at, pixels = left < PIECE ? left : PIECE;
        const float *planes[4] = {NULL};
        for (int64_t c = 0; c < j->channels; c++)
            planes[c] = j->planes + (n * j->channels + c) * j->plane + at;
        j->k->quantize_pixels(j->pixels + (n * j->plane + at) * CR_PIXEL, planes, (size_t)pixels,
                              j->out->scale, j->out->zero_point);
    }
}

/* Bytes of a picture to codes. */
typedef struct picture_job {
    const uint8_t *pixels;
    uint8_t *codes;
    int64_t count;
    uint8_t table[3][256];
    const cr_rows *k;
} picture_job;

static void convert_picture(void *ctx, int64_t first, int64_t count, int worker)
{
    const picture_job *j = ctx;
    const int64_t at = first * PIECE, left = j->count - at;
    const int64_t n = count * PIECE < left ? count * PIECE : left;
    j->k->code_pixels(j->codes + at * CR_PIXEL, j->pixels + at * 3, (size_t)n,
                      (const uint8_t(*)[256])j->table);
}

static void run_picture(cr_session *session, const cr_picture *p, const cr_value *out,
                        uint8_t *codes)
{
    picture_job j = {.pixels = p->pixels,
                     .codes = codes,
                     .count = out->rows,
                     .k = cr_rows_get(session->program->cpu)};
    float values[3][256];
    cr_picture_values(p, values);
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 256; b++)
            j.table[c][b] = cr_quantize_u8(values[c][b], out->scale, out->zero_point);
    cr_session_rows(session, (j.count + PIECE - 1) / PIECE, 4, convert_picture, &j);
}

static cr_status run_pixels(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_value *out = &session->program->values[s->out[0]];
    const cr_picture *picture = cr_session_picture(session, s->in[0]);
    if (picture) {
        run_picture(session, picture, out, session->data[s->out[0]]);
        return CR_OK;
    }
    const cr_shape *shape = &out->tensor->shape;
    pixel_job j = {session->data[s->in[0]],       session->data[s->out[0]], shape->dim[1],
                   shape->dim[2] * shape->dim[3], out,                      cr_rows_get(session->program->cpu)};
    cr_session_rows(session, shape->dim[0] * ((j.plane + PIECE - 1) / PIECE), 2, convert_pixels, &j);
    return CR_OK;
}

bool cr_reads_pixels(const cr_program *p, int input)
{
    const int root = p->values[p->inputs[input]].root;
    bool any = false;
    for (size_t i = 0; i < p->step_count; i++)
        for (int k = 0; k < p->steps[i].n_in; k++) {
            const int v = p->steps[i].in[k];
            if (v < 0 || p->values[v].root != root) continue;
            const cr_step *s = &p->steps[i];
            const bool takes = s->run == run_pixels || cr_conv_bf16_takes_bytes(s) ||
                               (s->run == run_layout && makes_float_rows(p, s));
            if (!takes) return false;
            any = true;
        }
    for (size_t i = 0; i < p->graph->output_count; i++)
        if (p->values[p->outputs[i]].root == root) return false;
    return any;
}

/* Planes of floats straight to pixels of codes. */
static bool makes_pixels(const cr_value *a, const cr_value *b)
{
    return a->dtype == CR_DT_F32 && !a->nhwc && b->quantized && b->nhwc && b->cols < CR_PIXEL;
}

cr_status cr_lower_convert(cr_program *p, int from, int to, cr_error *err)
{
    const cr_value *a = &p->values[from], *b = &p->values[to];
    const bool pixels = makes_pixels(a, b);
    CR_CHECK(pixels || a->dtype == b->dtype || a->nhwc == b->nhwc, err, CR_ERR_INTERNAL,
             "tensor '%s': two conversions at once", a->tensor->name);
    const bool layout = a->nhwc != b->nhwc;
    cr_step *s = cr_program_add_step(p, pixels ? run_pixels : layout ? run_layout : run_type,
                                     pixels                    ? "pixels"
                                     : layout                    ? "layout"
                                     : b->dtype == CR_DT_BF16 ? "float32 to bfloat16"
                                     : a->dtype == CR_DT_BF16 ? "bfloat16 to float32"
                                     : a->dtype == CR_DT_F32 ? "quantize"
                                                               : "dequantize",
                                     NULL, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = from;
    s->out[0] = to;
    return CR_OK;
}

/* ---- fake quantization ---- */

typedef struct fake_job {
    const cr_qparams *q;
    const cr_value *v;
    const float *src;
    float *dst;
    int64_t ld_in, ld_out, inner;
    int32_t lo, hi;
} fake_job;

static void fake_rows(void *ctx, int64_t first, int64_t count, int worker)
{
    const fake_job *j = ctx;
    const cr_qparams *q = j->q;
    for (int64_t r = first; r < first + count; r++)
        for (int64_t c = 0; c < j->v->cols; c++) {
            const size_t k = q->count == 1 ? 0 : (size_t)(c / j->inner) % q->count;
            const int32_t code = cr_quantize_value(j->src[r * j->ld_in + c], q->scale[k],
                                             q->zero_point[k], j->lo, j->hi);
            j->dst[r * j->ld_out + c] = cr_dequantize(code, q->scale[k], q->zero_point[k]);
        }
}

static cr_status run_fake(const cr_step *s, cr_session *session, cr_error *err)
{
    const cr_recipe_entry *e = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    fake_job j = {&e->q, in, session->data[s->in[0]], session->data[s->out[0]], in->ld,
                  session->program->values[s->out[0]].ld, 1, 0, 0};
    cr_qtype_range(e->q.type, &j.lo, &j.hi);
    for (int d = e->q.axis + 1; e->q.axis >= 0 && !in->nhwc && d < in->tensor->shape.rank; d++)
        j.inner *= in->tensor->shape.dim[d];
    cr_session_rows(session, in->rows, 1 + 4096 / (in->cols + 1), fake_rows, &j);
    return CR_OK;
}

cr_status cr_lower_fake_quantize(cr_program *p, int from, int to, const cr_recipe_entry *e,
                                 cr_error *err)
{
    CR_CHECK(!p->values[from].nhwc || cr_q_per_tensor(&e->q) || e->q.axis == 1, err,
             CR_ERR_UNSUPPORTED, "tensor '%s': scales along axis %d of a picture tensor", e->tensor,
             e->q.axis);
    cr_step *s = cr_program_add_step(p, run_fake, "fake quantize", NULL, 1, 1);
    if (!s) return CR_NOMEM(err);
    s->in[0] = from;
    s->out[0] = to;
    s->op = (void *)e;
    return CR_OK;
}
