/* Convolutions. A Conv with the activation behind it (if nothing else reads what lies between and
 * the recipe has no entry there) is one step: float kernel, or the int8 kernel when both input and
 * weight have entries that bytes can hold. The int8 kernel's epilogue gives codes when the output
 * has an entry, else floats; a residual Add behind it is part of the epilogue, and so is a Mul by powers
 * of two. Other convolutions (1-D, 3-D, computed weights) run by reference. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/nn_rules.h"
#include "kernels/conv.h"
#include "runtime/focus.h"
#include "runtime/integer_conv.h"
#include "runtime/program.h"

enum { MAX_TAPS = 1024 }; /* what the kernels take */

typedef struct conv_op {
    cr_conv_f32 *f32;
    cr_conv_s8 *s8;
} conv_op;

static void free_conv(void *op)
{
    conv_op *c = op;
    cr_conv_f32_free(c->f32);
    cr_conv_s8_free(c->s8);
}

static cr_status run_conv(const cr_step *s, cr_session *session, cr_error *err)
{
    const conv_op *c = s->op;
    const cr_value *in = &session->program->values[s->in[0]];
    const cr_value *out = &session->program->values[s->out[0]];
    void *x = session->data[s->in[0]], *y = session->data[s->out[0]];
    if (s->n_in > 1)
        cr_conv_s8_run_add(c->s8, x, in->ld, session->data[s->in[1]],
                           session->program->values[s->in[1]].ld, y, out->ld, session->scratch,
                           session->pool);
    else if (c->s8) cr_conv_s8_run(c->s8, x, in->ld, y, out->ld, session->scratch, session->pool);
    else cr_conv_f32_run(c->f32, x, in->ld, y, out->ld, session->scratch, session->pool);
    return CR_OK;
}

bool cr_conv_read_geometry(const cr_node *n, cr_conv_geometry *g)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_conv_shape c;
    if (cr_conv_read(&call, 1, &c, NULL) != CR_OK || c.win.n != 2) return false;
    *g = (cr_conv_geometry){.n = c.batch, .h = c.win.in[1], .w = c.win.in[2], .cin = c.in_channels,
                            .oh = c.win.out[1], .ow = c.win.out[2], .cout = c.out_channels,
                            .ld_in = c.in_channels, .ld_out = c.out_channels,
                            .kh = c.win.kernel[1], .kw = c.win.kernel[2],
                            .stride_h = c.win.stride[1], .stride_w = c.win.stride[2],
                            .dil_h = c.win.dilation[1], .dil_w = c.win.dilation[2],
                            .pad_top = c.win.pad_lo[1], .pad_left = c.win.pad_lo[2],
                            .groups = c.groups};
    return g->kh * g->kw <= MAX_TAPS && cr_shape_count(&n->out[0]->shape) > 0;
}

bool cr_conv_is_fast(const cr_program *p, const cr_node *n)
{
    const cr_tensor *x = n->in[0], *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    if (n->op->kind != CR_OP_Conv || x->dtype != CR_DT_F32 || x->shape.rank != 4) return false;
    if (x->data || !w->data || w->dtype != CR_DT_F32 || !cr_shape_known(&x->shape)) return false;
    return !b || (b->data && b->dtype == CR_DT_F32 && !cr_program_entry(p, b));
}

/* An Add behind an integer convolution whose other operand is there in codes and whose sum has an
 * entry is swallowed too: the sum of floats is never stored. Gives the operand, or NULL. */
static const cr_tensor *fuse_residual(cr_program *p, const cr_tensor **y)
{
    const cr_node *add = cr_program_entry(p, *y) ? NULL : cr_program_only_reader(p, *y);
    if (!add || add->op->kind != CR_OP_Add || add->in[0] == add->in[1]) return NULL;
    const cr_tensor *other = add->in[add->in[0] == *y ? 1 : 0], *sum = add->out[0];
    if (!cr_program_byte_entry(p, other) || !cr_program_codes_entry(p, sum)) return NULL;
    if (cr_program_primary(p, other) < 0 || !cr_shape_equal(&other->shape, &(*y)->shape)) return NULL;
    p->fused[add->index] = true;
    *y = sum;
    return other;
}

/* Is f one of the powers of two that move an exponent and nothing else, whatever it meets here? */
static bool is_exact_factor(float f)
{
    int exponent;
    return f > 0 && frexpf(f, &exponent) == 0.5f && exponent > -30 && exponent < 30;
}

/* The constant operand of a Mul of y as one factor per channel of y, if it is that. */
static const float *channel_factors(const cr_program *p, const cr_node *mul, const cr_tensor *y,
                                    bool *one)
{
    const cr_tensor *f = mul->in[mul->in[0] == y ? 1 : 0];
    const int64_t n = cr_shape_count(&f->shape), channels = y->shape.dim[1];
    const int rank = f->shape.rank;
    if (!f->data || f->dtype != CR_DT_F32 || cr_program_entry(p, f) || rank > 4) return NULL;
    if (!cr_shape_equal(&mul->out[0]->shape, &y->shape)) return NULL;
    *one = n == 1;
    if (!*one && (n != channels || rank < 3 || f->shape.dim[rank - 3] != channels)) return NULL;
    for (int64_t i = 0; i < n; i++)
        if (!is_exact_factor(((const float *)f->data)[i])) return NULL;
    return f->data;
}

/* A Mul by powers of two per channel behind an integer convolution (what a plan puts there to even
 * its channels out) is swallowed if its product has an entry: *factors then are its constants.
 * quantize(v * 2^k) at scale s is quantize(v) at scale s * 2^-k: both products are exact, so both
 * quotients round the same real number. (Where v * 2^k leaves float32's normal range the code is at
 * an end of its range or the zero point either way: s is checked to lie well inside.) */
typedef struct scaling {
    const float *factors; /* NULL: none */
    bool one;             /* the same for all channels */
} scaling;

static scaling fuse_scaling(cr_program *p, const cr_tensor **y)
{
    scaling s = {NULL, false};
    const cr_node *mul = cr_program_entry(p, *y) ? NULL : cr_program_only_reader(p, *y);
    if (!mul || mul->op->kind != CR_OP_Mul || mul->in[0] == mul->in[1]) return s;
    const cr_recipe_entry *e = cr_program_codes_entry(p, mul->out[0]);
    if (!e) e = cr_program_wide_entry(p, mul->out[0]);
    for (size_t i = 0; e && i < e->q.count; i++)
        if (e->q.scale[i] < 0x1p-60f || e->q.scale[i] > 0x1p60f) return s;
    if (e) s.factors = channel_factors(p, mul, *y, &s.one);
    if (!s.factors) return s;
    p->fused[mul->index] = true;
    *y = mul->out[0];
    return s;
}

/* The int8 kernel multiplies four channels at a time: of an input whose pixels have room for four
 * (CR_PIXEL) it may read the spare ones, if the weights there are 0. */
static int64_t readable_channels(const cr_conv_geometry *g, const cr_value *in)
{
    const bool spare = g->groups == 1 && g->cin < CR_PIXEL && in->ld == CR_PIXEL;
    return spare && !in->scales ? CR_PIXEL : g->cin;
}

/* Weights [cout][cin][taps] as bytes, with zero points for channels from cin to `channels`. */
static void byte_weights(const int32_t *codes, const cr_qparams *q, const cr_conv_geometry *g,
                         int64_t channels, int8_t *bytes, int32_t *zeros)
{
    const int64_t cin = g->cin / g->groups, taps = g->kh * g->kw;
    const int32_t shift = cr_weight_shift(q->type);
    for (int64_t o = 0; o < g->cout; o++) {
        zeros[o] = cr_weight_zero(q, o);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++)
                *bytes++ = (int8_t)(c < cin ? codes[(o * cin + c) * taps + t] - shift : zeros[o]);
    }
}

/* A convolution as it will run; with focus its input is the picture that its input was cut from. */
typedef struct conv_shape {
    cr_conv_geometry own, g; /* the node's; what runs */
    cr_focus focus;
    bool focused;
} conv_shape;

/* What stands behind the sums. */
typedef struct epilogue {
    cr_act act;
    scaling scaling;
    const cr_value *added; /* NULL: no residual */
    const cr_value *out;
} epilogue;

static float value_scale(const cr_value *v, int64_t channel)
{
    return v->scales ? v->scales[channel] : v->scale;
}

/* The output's scales by channel, with the factors of a swallowed Mul taken off them; NULL if one
 * serves all. */
static cr_status output_columns(const epilogue *e, int64_t channels, cr_arena *arena,
                                const float **scales, const int32_t **zeros, cr_error *err)
{
    *scales = NULL;
    *zeros = NULL;
    if (!e->scaling.factors && !e->out->scales) return CR_OK;
    float *s = cr_arena_alloc(arena, (size_t)channels * sizeof *s);
    int32_t *z = cr_arena_alloc(arena, (size_t)channels * sizeof *z);
    if (!s || !z) return CR_NOMEM(err);
    for (int64_t c = 0; c < channels; c++) {
        const float *f = e->scaling.factors;
        s[c] = value_scale(e->out, c) / (f ? f[e->scaling.one ? 0 : c] : 1);
        z[c] = e->out->zeros ? e->out->zeros[c] : e->out->zero_point;
    }
    *scales = s;
    *zeros = z;
    return CR_OK;
}

static cr_status create_s8(cr_program *p, const cr_node *n, const conv_shape *shape,
                           const cr_value *in, const epilogue *e, cr_conv_s8 **conv, cr_error *err)
{
    const cr_value *out = e->out, *added = e->added;
    const cr_recipe_entry *w = cr_program_entry(p, n->in[1]);
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    const cr_conv_geometry *g = &shape->g;
    const int64_t count = cr_shape_count(&n->in[1]->shape);
    const int64_t readable = readable_channels(g, in), channels = readable / g->groups;
    cr_conv_geometry wide = *g;
    wide.cin = readable;
    wide.ld_in = in->ld;
    wide.ld_out = out->ld;
    cr_arena temporary = {0};
    cr_status st = CR_OK;
    int32_t *codes = cr_arena_alloc(&temporary, (size_t)count * sizeof *codes);
    int32_t *focused = cr_arena_alloc(&temporary, (size_t)count * sizeof *focused);
    int8_t *bytes = cr_arena_alloc(&temporary, (size_t)(g->cout * channels * g->kh * g->kw));
    int32_t *zeros_w = cr_arena_alloc(&temporary, (size_t)g->cout * sizeof *zeros_w);
    int32_t *bias = cr_arena_alloc(&temporary, (size_t)g->cout * sizeof *bias);
    float *m = cr_arena_alloc(&temporary, (size_t)g->cout * sizeof *m);
    if (!codes || !focused || !bytes || !zeros_w || !bias || !m) {
        st = CR_NOMEM(err);
        goto done;
    }
    cr_quantize_tensor(n->in[1], &w->q, codes);
    if (shape->focused) cr_focus_weights(&shape->focus, &shape->own, codes, focused);
    byte_weights(shape->focused ? focused : codes, &w->q, g, channels, bytes, zeros_w);
    const float *scales;
    const int32_t *zeros;
    CR_TRY_GOTO(output_columns(e, g->cout, &temporary, &scales, &zeros, err), done);
    const bool direct = out->quantized && e->act.kind == CR_ACT_NONE && !added && !e->scaling.factors;
    for (int64_t c = 0; c < g->cout; c++) {
        const float sw = w->q.scale[w->q.count == 1 ? 0 : c];
        const float sa = value_scale(in, c / (g->cout / g->groups) * (g->cin / g->groups));
        bias[c] = b ? cr_quantize_bias(((const float *)b->data)[c], sa, sw) : 0;
        m[c] = direct ? cr_requant_multiplier(sa, sw, value_scale(out, c)) : sa * sw;
    }
    /* A clip to everything changes nothing; codes are then quotients, not products (rows.h). */
    const cr_act nothing = {CR_ACT_CLIP, -INFINITY, INFINITY};
    const bool bare = e->scaling.factors && e->act.kind == CR_ACT_NONE;
    const cr_conv_s8_params params = {.weights = bytes, .zeros_w = zeros_w, .bias = bias, .multiplier = m,
                                      .zero_in = in->zero_point, .zeros_in = in->zeros,
                                      .act = bare ? nothing : e->act,
                                      .wide_in = in->dtype == CR_DT_U16,
                                      .wide_out = out->dtype == CR_DT_U16,
                                      .adds = added != NULL,
                                      .scale_added = added ? added->scale : 0,
                                      .zero_added = added ? added->zero_point : 0,
                                      .float_out = !out->quantized, .scale_out = out->scale,
                                      .zero_out = out->zero_point, .scales_out = scales,
                                      .zeros_out = zeros};
    st = cr_conv_s8_create(&wide, &params, p->cpu, conv, err);
done:
    cr_arena_free(&temporary);
    return st;
}

/* Codes of the focus' source by the entry of what was cut from it. Not every source can have them. */
static cr_status focus_input(cr_program *p, const cr_node *n, conv_shape *shape, int *in,
                             cr_error *err)
{
    const cr_conv_geometry *g = &shape->own;
    const cr_tensor *source;
    if (g->groups != 1 || g->dil_h != 1 || g->dil_w != 1) return CR_OK;
    if (!cr_program_byte_entry(p, n->in[0])) return CR_OK;
    if (4 * g->kh * g->kw > MAX_TAPS || !cr_focus_find(p, n->in[0], &shape->focus)) return CR_OK;
    source = shape->focus.source;
    const int from = cr_program_primary(p, source);
    if (cr_program_entry(p, source) || source->shape.dim[1] >= CR_PIXEL) return CR_OK;
    if (from < 0 || p->values[from].nhwc || p->values[from].dynamic) return CR_OK;
    const int made = cr_program_add_value(p, source, CR_DT_U8, true);
    if (made < 0) return CR_NOMEM(err);
    p->values[made].quantized = true;
    cr_byte_params(cr_program_byte_entry(p, n->in[0]), &p->values[made].scale,
                   &p->values[made].zero_point);
    CR_TRY(cr_lower_convert(p, from, made, err));
    shape->g = cr_focus_geometry(&shape->focus, g);
    shape->focused = true;
    *in = made;
    return CR_OK;
}

static cr_status lower(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    conv_shape shape = {.focused = false};
    cr_act act;
    int in, added = -1, out;
    const bool integers = cr_conv_takes_integers(p->entries, n);
    if (!cr_conv_read_geometry(n, &shape.own)) return CR_OK;
    if (!integers && cr_float_form(p, n->in[0]) == CR_DT_BF16) {
        const cr_tensor *last = cr_program_fuse_activation(p, n->out[0], &act);
        *done = true;
        return cr_lower_conv_bf16(p, n, &shape.own, &act, last, err);
    }
    shape.g = shape.own;
    if (integers) CR_TRY(focus_input(p, n, &shape, &in, err));
    const cr_dtype codes = cr_program_wide_entry(p, n->in[0]) ? CR_DT_U16 : CR_DT_U8;
    if (!shape.focused)
        CR_TRY(cr_program_need(p, n->in[0], integers ? codes : CR_DT_F32, true, &in, err));
    const cr_tensor *y = cr_program_fuse_activation(p, n->out[0], &act);
    const scaling factors = integers ? fuse_scaling(p, &y) : (scaling){NULL, false};
    const cr_tensor *other = integers && !factors.factors ? fuse_residual(p, &y) : NULL;
    *done = true;
    if (other) CR_TRY(cr_program_need(p, other, CR_DT_U8, true, &added, err));
    if (integers) CR_TRY(cr_program_output_rows(p, y, &out, err));
    else CR_TRY(cr_program_output(p, y, CR_DT_F32, true, &out, err));
    conv_op *op = cr_arena_alloc(&p->arena, sizeof *op);
    cr_step *s = cr_program_add_step(p, run_conv, "", n, other ? 2 : 1, 1);
    if (!op || !s) return CR_NOMEM(err);
    s->in[0] = in;
    if (other) s->in[1] = added;
    s->out[0] = out;
    s->op = op;
    s->free_op = free_conv;
    if (integers) {
        const epilogue e = {act, factors, other ? &p->values[added] : NULL, &p->values[out]};
        CR_TRY(create_s8(p, n, &shape, &p->values[in], &e, &op->s8, err));
        s->what = cr_conv_s8_name(op->s8);
        s->scratch = cr_conv_s8_scratch(op->s8, p->threads);
    } else {
        const float *weights;
        const float *bias = n->n_in > 2 && n->in[2] ? n->in[2]->data : NULL;
        CR_TRY(cr_program_weights(p, n->in[1], &weights, err));
        CR_TRY(cr_conv_f32_create(&shape.g, weights, bias, &act, p->cpu, &op->f32, err));
        s->what = cr_conv_f32_name(op->f32);
        s->scratch = cr_conv_f32_scratch(op->f32, p->threads);
    }
    return cr_program_finish(p, y, out, err);
}

cr_status cr_lower_conv(cr_program *p, const cr_node *n, bool *done, cr_error *err)
{
    if (!cr_conv_is_fast(p, n)) return CR_OK;
    CR_TRY(lower(p, n, done, err));
    if (*done) p->packed[n->in[1]->id] = n->in[1]->uses == 1;
    return CR_OK;
}
