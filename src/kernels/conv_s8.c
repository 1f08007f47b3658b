/* Int8 convolution: packing and the results' way out. Layouts: conv_walk.h.
 *
 * sum (a - za) * w = sum a * w - za * sum w: the second term is folded into the bias when weights
 * are packed, and padding reads as za, so kernels multiply raw codes. All int32 arithmetic wraps,
 * like the registers and like the reference; with int8 weights nothing can wrap below 65793
 * products per output unless the bias itself is near the limit. Likewise
 * sum a * (w - zw) = sum a * w - zw * sum a, where sum a is what a channel of ones gives. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/arith.h"
#include "kernels/conv_groups.h"
#include "kernels/conv_walk.h"
#include "kernels/dwconv_s8.h"
#include "kernels/rows.h"
#include "kernels/winograd_s8.h"

enum { STEP = 4 };

/* ---- packing ---- */

struct cr_conv_s8 {
    cr_conv_geometry g;
    const cr_conv_s8_kernel *k;
    bool depthwise;
    cr_dwconv_s8 *dw; /* depthwise: does all but the finish; k, w and zero are not used then */
    bool winograd;
    cr_winograd_s8 *wino; /* so does this one; w is not used then */
    const cr_rows *rows;
    cr_finish finish; /* of channel 0 */
    bool raw, float_out;
    bool wide, wide_out; /* 16-bit codes in, out */
    double *offset;      /* wide: [cout] what joined sums lack: bias and zero points' share */
    size_t zero_bytes;   /* of a plane of `zero` */
    unsigned char *w;
    unsigned char *zero; /* a row of zero points */
    int32_t *bias;       /* folded: [group][blocks * nr], 0 beyond cout; dw: [channel] */
    float *multiplier;   /* [cout] */
    float *scales;       /* [cout] of codes out; NULL: finish has one for all */
    int32_t *zeros_out;  /* [cout] */
    int32_t *zeros_in;   /* [cin] */
    int32_t *zeros_w;    /* NULL: none; [group][blocks * nr] */
    unsigned char *ones; /* one vector's packed weights */
    int32_t *ones_bias;  /* [lanes] */
    int64_t taps, cin, cout, blocks, steps; /* per group; steps: over all taps */
    int64_t per_tap;                        /* steps; with CR_S8_TILES, more follow the last tap */
    int step;                               /* codes of a step */
    size_t weight_size;                     /* bytes of a packed weight */
    size_t block_bytes, group_bytes;        /* from one's packed weights to the next one's */
};

static int planes(const cr_conv_s8 *c)
{
    return c->wide ? 2 : 1;
}

static int block_width(const cr_conv_s8 *c, int64_t block)
{
    const int64_t left = c->cout - block * c->k->nr;
    return left >= c->k->nr ? c->k->nr : (int)cr_round_up((size_t)left, (size_t)c->k->lanes);
}

/* The last block of a group may be narrower. */
static void measure_blocks(cr_conv_s8 *c)
{
    const size_t channel = (size_t)c->steps * (size_t)c->step * c->weight_size;
    c->block_bytes = channel * (size_t)c->k->nr;
    c->group_bytes =
        (size_t)(c->blocks - 1) * c->block_bytes + channel * (size_t)block_width(c, c->blocks - 1);
}

/* Where weight 0 of channel j's step goes, in a step of `width` channels; the step's next weights
 * follow at a distance of *apart. */
static size_t place_in_step(const cr_conv_s8 *c, int j, int *apart)
{
    const int lanes = c->k->lanes;
    const bool columns = c->k->layout == CR_S8_COLUMNS;
    *apart = columns ? lanes : 1;
    return (size_t)(columns ? j / lanes * lanes * STEP + j % lanes : j * c->step);
}

/* The usual layout where every step is full; packing is a good part of what loading takes. */
static void pack_quads(const cr_conv_s8 *c, const int8_t *src, unsigned char *block, int width,
                       int j)
{
    const int64_t taps = c->taps;
    for (int64_t tap = 0; tap < taps; tap++) {
        unsigned char *to = block + (tap * c->per_tap * width + j) * STEP;
        const int8_t *from = src + tap;
        for (int64_t k = 0; k < c->cin; k += STEP, from += STEP * taps, to += STEP * width) {
            const int8_t quad[STEP] = {from[0], from[taps], from[2 * taps], from[3 * taps]};
            memcpy(to, quad, sizeof quad);
        }
    }
}

/* src: [cin][taps] of one channel. */
static void pack_channel(const cr_conv_s8 *c, const int8_t *src, unsigned char *block, int width,
                         int j)
{
    int apart;
    const size_t place = place_in_step(c, j, &apart);
    if (c->weight_size == 1 && apart == 1 && c->step == STEP && c->cin % STEP == 0) {
        pack_quads(c, src, block, width, j);
        return;
    }
    for (int64_t tap = 0; tap < c->taps; tap++)
        for (int64_t k = 0, s = tap * c->per_tap; k < c->cin; k += c->step, s++) {
            const size_t at = (size_t)(s * c->step * width) + place;
            const int8_t *from = src + k * c->taps + tap;
            const int n = c->cin - k < c->step ? (int)(c->cin - k) : c->step;
            if (c->weight_size == 1)
                for (int i = 0; i < n; i++)
                    ((int8_t *)block)[at + (size_t)(i * apart)] = from[i * c->taps];
            else
                for (int i = 0; i < n; i++)
                    ((int16_t *)(void *)block)[at + (size_t)(i * apart)] = from[i * c->taps];
        }
}

/* A channel of ones (in all lanes). */
static void pack_ones(cr_conv_s8 *c, const int8_t *ones)
{
    for (int j = 0; j < c->k->lanes; j++) {
        pack_channel(c, ones, c->ones, c->k->lanes, j);
        c->ones_bias[j] = c->k->layout == CR_S8_SIGNED ? (int32_t)(128 * c->cin * c->taps) : 0;
    }
}

static void pack_group(cr_conv_s8 *c, const int8_t *src, int64_t group)
{
    unsigned char *dst = c->w + (size_t)group * c->group_bytes;
    for (int64_t ch = 0; ch < c->cout; ch++) {
        const int64_t b = ch / c->k->nr;
        pack_channel(c, src + (group * c->cout + ch) * c->cin * c->taps,
                     dst + (size_t)b * c->block_bytes, block_width(c, b), (int)(ch % c->k->nr));
    }
}

/* bias - sum za * (w - zw), modulo 2^32 (wide: into `offset`); where kernels read code - 128 their sums lack
 * 128 * sum w. */
static void fold_bias(cr_conv_s8 *c, const cr_conv_s8_params *p)
{
    const int64_t stride = c->depthwise ? 1 : c->blocks * c->k->nr, each = c->cin * c->taps;
    const bool shifted = !c->depthwise && !c->winograd && c->k->layout == CR_S8_SIGNED;
    memset(c->bias, 0, (size_t)(c->g.groups * stride) * sizeof *c->bias);
    for (int64_t ch = 0; ch < c->g.cout; ch++) {
        int64_t zeros = 0, weights = 0;
        const int32_t *zero = c->zeros_in + ch / c->cout * c->cin;
        const int64_t zero_w = (p->zeros_w ? p->zeros_w[ch] : 0) * c->taps;
        const int8_t *w = p->weights + ch * each;
        for (int64_t k = 0; k < c->cin; k++, w += c->taps) {
            int64_t sum = 0;
            for (int64_t tap = 0; tap < c->taps; tap++) sum += w[tap];
            zeros += zero[k] * (sum - zero_w);
            weights += sum;
        }
        const int64_t share = (p->bias ? p->bias[ch] : 0) - zeros;
        const int64_t folded = (c->wide ? 0 : share) + (shifted ? 128 * weights : 0);
        c->bias[ch / c->cout * stride + ch % c->cout] = (int32_t)(uint32_t)(uint64_t)folded;
        if (c->wide) c->offset[ch] = (double)share;
    }
}

static cr_status allocate(cr_conv_s8 *c, cr_error *err)
{
    const size_t groups = (size_t)c->g.groups;
    size_t w = groups, bias = groups;
    const size_t wide = c->depthwise ? 1 : (size_t)(c->blocks * c->k->nr);
    const size_t deep = c->depthwise ? 1 : (size_t)(c->steps * c->step) * c->weight_size;
    const bool fits =
        cr_mul_size(w, deep, &w) && cr_mul_size(w, wide, &w) && cr_mul_size(bias, wide, &bias);
    CR_CHECK(fits && cr_mul_size(bias, sizeof *c->bias, &bias), err, CR_ERR_ARGUMENT,
             "convolution: the weights are too large to address");
    if (!c->depthwise) {
        measure_blocks(c);
        w = groups * c->group_bytes;
    }
    c->w = cr_aligned_alloc(c->depthwise || c->winograd ? 0 : w);
    c->bias = cr_aligned_alloc(bias);
    c->multiplier = cr_aligned_alloc((size_t)c->g.cout * sizeof *c->multiplier);
    c->zero_bytes = (size_t)(c->g.cin * c->g.kw);
    c->zero = cr_aligned_alloc((size_t)planes(c) * c->zero_bytes);
    c->offset = cr_aligned_alloc(c->wide ? (size_t)c->g.cout * sizeof *c->offset : 0);
    c->zeros_in = cr_aligned_alloc((size_t)c->g.cin * sizeof *c->zeros_in);
    if (!c->w || !c->bias || !c->multiplier || !c->zero || !c->zeros_in || !c->offset) return CR_NOMEM(err);
    if (!c->depthwise && !c->winograd) memset(c->w, 0, w);
    return CR_OK;
}

static bool are_codes(int32_t one, const int32_t *zeros, int64_t n, bool wide)
{
    const int32_t top = wide ? 65535 : 255;
    if (!zeros) return one >= 0 && one <= top;
    for (int64_t i = 0; i < n; i++)
        if (zeros[i] < 0 || zeros[i] > top) return false;
    return true;
}

static cr_status check_wide(const cr_conv_geometry *g, const cr_conv_s8_params *p, cr_error *err)
{
    CR_CHECK(!p->raw_out || !p->wide_in, err, CR_ERR_ARGUMENT,
             "convolution: sums of 16-bit codes do not fit int32");
    CR_CHECK(!p->wide_out || (!p->raw_out && !p->float_out && !p->adds), err, CR_ERR_ARGUMENT,
             "convolution: 16-bit codes out exclude sums, floats and a residual");
    CR_CHECK(!p->wide_in || g->cin / g->groups * g->kh * g->kw <= CR_CONV_WIDE_PRODUCTS, err,
             CR_ERR_UNSUPPORTED, "convolution: more than %d products of 16-bit codes in a sum",
             CR_CONV_WIDE_PRODUCTS);
    return CR_OK;
}

static cr_status check_params(const cr_conv_geometry *g, const cr_conv_s8_params *p, cr_error *err)
{
    CR_TRY(check_wide(g, p, err));
    for (int64_t i = 0; p->zeros_w && i < g->cout; i++)
        CR_CHECK(p->zeros_w[i] >= -128 && p->zeros_w[i] <= 127, err, CR_ERR_ARGUMENT,
                 "convolution: a zero point of weights, %d, is outside -128..127", p->zeros_w[i]);
    CR_CHECK(are_codes(p->zero_in, p->zeros_in, g->cin, p->wide_in) &&
                 are_codes(p->zero_out, p->zeros_out, g->cout, p->wide_out),
             err, CR_ERR_ARGUMENT, "convolution: a zero point is not among the codes");
    CR_CHECK(!p->scales_out == !p->zeros_out, err, CR_ERR_ARGUMENT,
             "convolution: scales of channels come with zero points");
    CR_CHECK(p->raw_out || p->multiplier, err, CR_ERR_ARGUMENT, "convolution: no multipliers");
    CR_CHECK(p->raw_out || p->float_out || p->scale_out > 0 || p->scales_out, err, CR_ERR_ARGUMENT,
             "convolution: output scale %g is not positive", (double)p->scale_out);
    CR_CHECK(
        !p->adds || (!p->raw_out && !p->float_out && p->zero_added >= 0 && p->zero_added <= 255),
        err, CR_ERR_ARGUMENT, "convolution: a residual needs codes out and a zero point in 0..255");
    return CR_OK;
}

/* Measured, layer by layer, on yolov8n and a Zen 5 (docs/decisions/0008): U is eight times the direct
 * sums' weights, so a kernel that is fast itself loses against it only on pictures that use each
 * weight often. */
static bool pays_winograd(const cr_conv_s8_kernel *k, const cr_conv_geometry *g)
{
    const int64_t channels = g->cin < g->cout ? g->cin : g->cout;
    return k->winograd_channels && channels >= k->winograd_channels &&
           g->oh * g->ow >= k->winograd_pixels;
}

static void set_up(cr_conv_s8 *c, const cr_conv_geometry *g, const cr_conv_s8_params *p,
                   unsigned cpu)
{
    c->g = *g;
    c->rows = cr_rows_get(cpu);
    c->raw = p->raw_out;
    c->wide = p->wide_in;
    c->wide_out = p->wide_out;
    c->float_out = p->float_out;
    c->finish = (cr_finish){.act = p->act,
                            .scale = p->scale_out,
                            .zero_point = p->zero_out,
                            .residual = {NULL, 0, p->scale_added, p->zero_added}};
    c->taps = g->kh * g->kw;
    c->cin = g->cin / g->groups;
    c->cout = g->cout / g->groups;
    if (c->k->narrow && c->cout <= c->k->narrow->nr) c->k = c->k->narrow;
    c->blocks = (c->cout + c->k->nr - 1) / c->k->nr;
    c->step = c->k->layout == CR_S8_EIGHTS ? 8 : c->k->layout == CR_S8_PAIRS ? 2 : STEP;
    c->per_tap = (c->cin + c->step - 1) / c->step;
    c->steps = c->taps * c->per_tap;
    if (c->k->layout == CR_S8_TILES) c->steps = (c->steps + 15) / 16 * 16;
    c->weight_size = c->k->layout == CR_S8_PAIRS || c->k->layout == CR_S8_COLUMNS ? 2 : 1;
    c->depthwise = cr_dwconv_s8_takes(g);
    c->winograd = !p->wide_in && !p->zeros_w && pays_winograd(c->k, g) &&
                  cr_winograd_s8_fits(g, p->weights);
}

/* What zero points of dense weights need: they by output channel, a block of ones. */
static cr_status add_ones(cr_conv_s8 *c, const cr_conv_s8_params *p, cr_error *err)
{
    if (!p->zeros_w || c->depthwise) return CR_OK;
    const int64_t wide = c->blocks * c->k->nr;
    const size_t zeros = (size_t)(c->g.groups * wide) * sizeof *c->zeros_w;
    const size_t size = (size_t)(c->steps * c->step * c->k->lanes) * c->weight_size;
    int8_t *ones = cr_malloc((size_t)(c->cin * c->taps));
    c->zeros_w = cr_aligned_alloc(zeros);
    c->ones = cr_aligned_alloc(size);
    c->ones_bias = cr_aligned_alloc((size_t)c->k->lanes * sizeof *c->ones_bias);
    if (ones && c->zeros_w && c->ones && c->ones_bias) {
        memset(c->zeros_w, 0, zeros);
        memset(c->ones, 0, size);
        memset(ones, 1, (size_t)(c->cin * c->taps));
        for (int64_t i = 0; i < c->g.cout; i++)
            c->zeros_w[i / c->cout * wide + i % c->cout] = p->zeros_w[i];
        pack_ones(c, ones);
    }
    const bool ok = ones && c->zeros_w && c->ones && c->ones_bias;
    cr_free(ones);
    return ok ? CR_OK : CR_NOMEM(err);
}

static cr_status create_depthwise(cr_conv_s8 *c, const cr_conv_s8_params *p, unsigned cpu,
                                  cr_error *err)
{
    int16_t *w = cr_malloc((size_t)(c->g.cout * c->taps) * sizeof *w);
    if (!w) return CR_NOMEM(err);
    for (int64_t i = 0; i < c->g.cout * c->taps; i++)
        w[i] = (int16_t)(p->weights[i] - (p->zeros_w ? p->zeros_w[i / c->taps] : 0));
    const cr_status st =
        cr_dwconv_s8_create(&c->g, w, c->bias, c->zeros_in, c->wide, cpu, &c->dw, err);
    cr_free(w);
    return st;
}

/* Zero points and scales of channels. */
static cr_status copy_columns(cr_conv_s8 *c, const cr_conv_s8_params *p, cr_error *err)
{
    const int64_t cin = c->g.cin, cout = c->g.cout;
    for (int64_t i = 0; i < cin; i++) c->zeros_in[i] = p->zeros_in ? p->zeros_in[i] : p->zero_in;
    for (int64_t i = 0; i < cin * c->g.kw; i++) {
        const int32_t zero = c->zeros_in[i % cin];
        c->zero[i] = (unsigned char)(c->wide ? zero >> 8 : zero);
        if (c->wide) c->zero[c->zero_bytes + (size_t)i] = (unsigned char)(zero & 255);
    }
    if (!p->scales_out) return CR_OK;
    c->scales = cr_aligned_alloc((size_t)cout * sizeof *c->scales);
    c->zeros_out = cr_aligned_alloc((size_t)cout * sizeof *c->zeros_out);
    if (!c->scales || !c->zeros_out) return CR_NOMEM(err);
    memcpy(c->scales, p->scales_out, (size_t)cout * sizeof *c->scales);
    memcpy(c->zeros_out, p->zeros_out, (size_t)cout * sizeof *c->zeros_out);
    return CR_OK;
}

static cr_status create(const cr_conv_s8_kernel *k, const cr_conv_geometry *g,
                        const cr_conv_s8_params *p, unsigned cpu, cr_conv_s8 **out, cr_error *err)
{
    cr_conv_s8 *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->k = k;
    set_up(c, g, p, cpu);
    cr_status st = allocate(c, err);
    if (st == CR_OK) st = copy_columns(c, p, err);
    if (st == CR_OK) fold_bias(c, p);
    if (st == CR_OK && c->depthwise) st = create_depthwise(c, p, cpu, err);
    if (st == CR_OK && c->winograd)
        st = cr_winograd_s8_create(g, p->weights, c->bias, c->zero, cpu, &c->wino, err);
    if (st == CR_OK) st = add_ones(c, p, err);
    if (st != CR_OK) {
        cr_conv_s8_free(c);
        return st;
    }
    for (int64_t i = 0; i < g->groups && !c->depthwise && !c->winograd; i++) pack_group(c, p->weights, i);
    if (!c->raw) memcpy(c->multiplier, p->multiplier, (size_t)g->cout * sizeof *c->multiplier);
    *out = c;
    return CR_OK;
}

/* Groups of a few channels run several at a time, as one with zeros between them. */
static cr_status create_merged(const cr_conv_s8_kernel *k, const cr_conv_geometry *g,
                               const cr_conv_s8_params *p, unsigned cpu, cr_conv_s8 **out,
                               cr_error *err)
{
    const int64_t merge = p->zeros_w ? 1 : cr_conv_groups_merge(g, k->lanes);
    if (merge == 1) return create(k, g, p, cpu, out, err);
    const cr_conv_geometry merged = cr_conv_groups_geometry(g, merge);
    cr_arena arena = {0};
    cr_conv_s8_params wide = *p;
    wide.weights = cr_conv_groups_weights(&arena, g, merge, sizeof *p->weights, p->weights);
    const cr_status st =
        wide.weights ? create(k, &merged, &wide, cpu, out, err) : CR_NOMEM(err);
    cr_arena_free(&arena);
    return st;
}

static bool has_zeros(const int32_t *zeros, int64_t n)
{
    for (int64_t i = 0; zeros && i < n; i++)
        if (zeros[i]) return true;
    return false;
}

/* Do all weights less their zero points fit int8? Then they need none: to `plain`. */
static bool take_zeros(const cr_conv_geometry *g, const cr_conv_s8_params *p, int8_t *plain)
{
    const int64_t each = g->cin / g->groups * g->kh * g->kw;
    for (int64_t i = 0; i < g->cout * each; i++) {
        const int32_t w = p->weights[i] - p->zeros_w[i / each];
        if (w < -128 || w > 127) return false;
        plain[i] = (int8_t)w;
    }
    return true;
}

cr_status cr_conv_s8_create_with(const cr_conv_s8_kernel *k, const cr_conv_geometry *g,
                                 const cr_conv_s8_params *p, unsigned cpu, cr_conv_s8 **out,
                                 cr_error *err)
{
    *out = NULL;
    CR_TRY(cr_conv_geometry_check(g, err));
    CR_TRY(check_params(g, p, err));
    cr_conv_s8_params own = *p;
    if (!has_zeros(p->zeros_w, g->cout)) own.zeros_w = NULL;
    if (!own.zeros_w) return create_merged(k, g, &own, cpu, out, err);
    int8_t *plain = cr_malloc((size_t)(g->cout * (g->cin / g->groups) * g->kh * g->kw));
    if (!plain) return CR_NOMEM(err);
    if (take_zeros(g, p, plain)) {
        own.weights = plain;
        own.zeros_w = NULL;
    }
    const cr_status st = create_merged(k, g, &own, cpu, out, err);
    cr_free(plain);
    return st;
}

cr_status cr_conv_s8_create(const cr_conv_geometry *g, const cr_conv_s8_params *p, unsigned cpu,
                            cr_conv_s8 **out, cr_error *err)
{
    return cr_conv_s8_create_with(cr_conv_s8_select(cpu), g, p, cpu, out, err);
}

void cr_conv_s8_free(cr_conv_s8 *c)
{
    if (!c) return;
    cr_dwconv_s8_free(c->dw);
    cr_winograd_s8_free(c->wino);
    cr_aligned_free(c->w);
    cr_aligned_free(c->zero);
    cr_aligned_free(c->offset);
    cr_aligned_free(c->bias);
    cr_aligned_free(c->multiplier);
    cr_aligned_free(c->scales);
    cr_aligned_free(c->zeros_out);
    cr_aligned_free(c->zeros_in);
    cr_aligned_free(c->zeros_w);
    cr_aligned_free(c->ones);
    cr_aligned_free(c->ones_bias);
    cr_free(c);
}

const char *cr_conv_s8_name(const cr_conv_s8 *c)
{
    return c->dw ? cr_dwconv_s8_name(c->dw) : c->wino ? cr_winograd_s8_name(c->wino) : c->k->name;
}

/* ---- running ---- */

typedef struct run_job {
    const cr_conv_s8 *c;
    unsigned char *out;
    int64_t ld_out;
    const uint8_t *added; /* NULL: none */
    int64_t ld_added;
    int64_t plane_in; /* bytes from the high plane to the low one */
    const cr_conv_s8_live *live; /* NULL: none */
} run_job;

static size_t sum_bytes(const cr_conv_s8 *c)
{
    return (size_t)c->k->mr * (size_t)c->k->nr * sizeof(int32_t);
}

/* Where kernels ask for it: a tile's packed codes. */
static size_t packed_bytes(const cr_conv_s8 *c)
{
    const bool packs = c->k->layout == CR_S8_TILES || c->k->layout == CR_S8_PAIRS;
    const size_t row = cr_round_up((size_t)(c->steps * c->step) * c->weight_size, CR_ALIGN);
    return packs ? (size_t)c->k->mr * row : 0;
}

/* A tile's table for the low plane. */
static size_t low_bytes(const cr_conv_s8 *c)
{
    const size_t pointers = (size_t)c->k->mr * sizeof(void *);
    const size_t each = pointers > sizeof(cr_conv_line) ? pointers : sizeof(cr_conv_line);
    return c->wide ? cr_round_up((size_t)c->taps * each, CR_ALIGN) : 0;
}

/* Room for sums over a tile's codes (AMX wants two vectors' of it). */
static size_t ones_bytes(const cr_conv_s8 *c)
{
    return c->ones ? sum_bytes(c) : 0;
}

/* A tile's share of the room: sums of all tiles come first (mr * nr sums are whole cache lines). */
static size_t tile_bytes(const cr_conv_s8 *c)
{
    return (size_t)planes(c) * (sum_bytes(c) + packed_bytes(c)) + low_bytes(c) + ones_bytes(c);
}

size_t cr_conv_s8_scratch(const cr_conv_s8 *c, int threads)
{
    if (c->dw) return cr_dwconv_s8_scratch(c->dw, threads);
    if (c->wino) return cr_winograd_s8_scratch(c->wino, threads);
    return cr_conv_walk_scratch(&c->g, c->k->mr, tile_bytes(c), true, threads);
}

static void finish_live(const run_job *j, const cr_conv_place *p, int32_t *acc, int64_t ld,
                        int64_t channel, int64_t cols)
{
    const cr_conv_s8_live *l = j->live;
    const cr_finish f = {.multiplier = l->multiplier + channel,
                         .act = l->act,
                         .scales = l->bias + channel,
                         .zeros = l->missing + channel};
    const cr_finish_area area = {p->rows, cols, ld, j->ld_out};
    const cr_finish_area by_window = {p->rows, cols, ld, 1};
    if (l->zero)
        j->c->rows->take_zeros(acc, l->zero + channel, l->window + p->pixel, &by_window);
    j->c->rows->finish_live((float *)(void *)j->out + p->pixel * j->ld_out + channel, acc, &area, &f);
}

/* acc: [rows][ld] sums (low: over low bytes, or NULL); `cols` of them from `channel` on leave. */
static void finish_tile(const run_job *j, const cr_conv_place *p, int32_t *acc, const int32_t *low,
                        int64_t ld, int64_t channel, int64_t cols)
{
    const cr_conv_s8 *c = j->c;
    if (j->live) {
        finish_live(j, p, acc, ld, channel, cols);
        return;
    }
    const size_t at = (size_t)(p->pixel * j->ld_out + channel);
    cr_finish f = c->finish;
    f.multiplier = c->multiplier + channel;
    f.scales = c->scales ? c->scales + channel : NULL;
    f.zeros = c->scales ? c->zeros_out + channel : NULL;
    f.residual.data = j->added ? j->added + p->pixel * j->ld_added + channel : NULL;
    f.residual.ld = j->ld_added;
    f.floats = low != NULL;
    const cr_finish_area area = {p->rows, cols, ld, j->ld_out};
    if (low) c->rows->join_sums(acc, low, c->offset + channel, &area);
    if (c->raw) {
        int32_t *y = (int32_t *)(void *)j->out + at;
        for (int r = 0; r < p->rows; r++)
            memcpy(y + r * j->ld_out, acc + r * ld, (size_t)cols * sizeof *y);
    } else if (c->float_out) {
        c->rows->finish_f32((float *)(void *)j->out + at, acc, &area, &f);
    } else if (c->wide_out) {
        const int64_t plane = c->g.n * c->g.oh * c->g.ow * j->ld_out;
        c->rows->finish_wide(j->out + at, plane, acc, &area, &f);
    } else {
        c->rows->finish_u8(j->out + at, acc, &area, &f);
    }
}

/* A pointer into the high plane or its zeros, for the low plane. */
static const unsigned char *to_low(const run_job *j, const unsigned char *high)
{
    const cr_conv_s8 *c = j->c;
    const size_t into = (size_t)((uintptr_t)high - (uintptr_t)c->zero);
    return into < c->zero_bytes ? c->zero + c->zero_bytes + into : high + j->plane_in;
}

/* The same tile of the low plane. */
static void point_low(const run_job *j, const cr_conv_s8_tile *t, unsigned char *table,
                      cr_conv_s8_tile *low)
{
    const unsigned char **a = (const unsigned char **)(void *)table;
    cr_conv_line *line = (cr_conv_line *)(void *)table;
    const int64_t count = t->line ? t->taps : t->taps * j->c->k->mr;
    if (t->line)
        low->line = line;
    else
        low->a = a;
    for (int64_t i = 0; t->first && t->line && i < count; i++)
        line[i] = (cr_conv_line){to_low(j, t->line[i].base), t->line[i].step};
    for (int64_t i = 0; t->first && !t->line && i < count; i++) a[i] = to_low(j, t->a[i]);
}

static void run_kernel(const cr_conv_s8 *c, const cr_conv_s8_tile *t)
{
    if (t->line)
        c->k->run_line(t);
    else
        c->k->run(t);
}

/* zeros: of this block's weights; ones: room for sums over codes. */
static void run_tile(const cr_conv_s8 *c, const cr_conv_s8_tile *t, const int32_t *zeros,
                     int32_t *ones)
{
    run_kernel(c, t);
    if (!c->ones) return;
    cr_conv_s8_tile sum = *t;
    sum.w = c->ones;
    sum.bias = c->ones_bias;
    sum.c = ones;
    sum.vectors = 1;
    sum.first = false;
    run_kernel(c, &sum);
    const int64_t width = (int64_t)t->vectors * c->k->lanes;
    c->rows->take_zeros(t->c, zeros, ones, &(cr_finish_area){c->k->mr, width, width, c->k->lanes});
}

/* A finished tile costs some hundred cycles before its first value: a few tiles share them. */
static void compute_tiles(const void *ctx, const cr_conv_place *p, int count)
{
    const run_job *j = ctx;
    const cr_conv_s8 *c = j->c;
    const int nr = c->k->nr, width = block_width(c, p->block);
    const size_t all_sums = CR_CONV_GROUP * sum_bytes(c), each = tile_bytes(c) - planes(c) * sum_bytes(c);
    uint8_t *const room = p->tile;
    int32_t *const sums = p->tile, *low_sums = c->wide ? (int32_t *)(void *)(room + all_sums) : NULL;
    cr_conv_s8_tile t = {.w = c->w + (size_t)p->group * c->group_bytes +
                              (size_t)p->block * c->block_bytes,
                         .bias = c->bias + (p->group * c->blocks + p->block) * nr,
                         .vectors = width / c->k->lanes,
                         .first = p->first};
    const int32_t *zeros = c->ones ? c->zeros_w + (p->group * c->blocks + p->block) * nr : NULL;
    cr_conv_place all = *p;
    all.rows = 0;
    for (int i = 0; i < count; i++, all.rows += p[i - 1].rows) {
        const int64_t at = (int64_t)i * c->k->mr * width;
        t.a = p[i].a;
        t.line = p[i].line;
        t.taps = p[i].taps;
        t.cin = p[i].run;
        t.c = sums + at;
        t.packed = room + (size_t)planes(c) * all_sums + (size_t)i * each;
        int32_t *const ones = (int32_t *)(void *)(t.packed + each - ones_bytes(c));
        run_tile(c, &t, zeros, ones);
        if (!c->wide) continue;
        cr_conv_s8_tile low = t;
        low.c = low_sums + at;
        low.packed = t.packed + packed_bytes(c);
        point_low(j, &t, low.packed + packed_bytes(c), &low);
        run_tile(c, &low, zeros, ones);
    }
    const int64_t left = c->cout - p->block * nr;
    finish_tile(j, &all, sums, low_sums, width, p->group * c->cout + p->block * nr,
                left < nr ? left : nr);
}

static void finish_pixels(const void *ctx, int64_t pixel, int64_t pixels, int64_t channel,
                          int64_t cols, int32_t *acc, const int32_t *low, int64_t ld)
{
    const cr_conv_place p = {.pixel = pixel, .rows = (int)pixels};
    finish_tile(ctx, &p, acc, low, ld, channel, cols);
}

static void run(run_job *j, const uint8_t *in, int64_t ld_in, void *scratch, cr_pool *pool)
{
    const cr_conv_s8 *c = j->c;
    if (!ld_in) ld_in = c->g.ld_in;
    j->plane_in = c->g.n * c->g.h * c->g.w * ld_in;
    if (c->dw) {
        cr_dwconv_s8_run(c->dw, in, ld_in, finish_pixels, j, scratch, pool);
        return;
    }
    if (c->wino) {
        cr_winograd_s8_run(c->wino, in, ld_in, finish_pixels, j, scratch, pool);
        return;
    }
    const cr_conv_walk w = {.g = &c->g,
                            .ld_in = ld_in,
                            .element = 1,
                            .in = in,
                            .zero = c->zero,
                            .zero_by_group = c->g.groups > 1,
                            .line_step = c->k->run_line ? c->step : 0,
                            .mr = c->k->mr,
                            .nr = c->k->nr,
                            .block_bytes = c->block_bytes,
                            .tile_bytes = tile_bytes(c),
                            .compute_group = compute_tiles,
                            .ctx = j,
                            .enter = c->k->enter,
                            .leave = c->k->leave};
    cr_conv_walk_run(&w, scratch, pool);
}

void cr_conv_s8_run(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, void *out,
                    int64_t ld_out, void *scratch, cr_pool *pool)
{
    run_job j = {.c = c, .out = out, .ld_out = ld_out ? ld_out : c->g.ld_out};
    run(&j, in, ld_in, scratch, pool);
}

void cr_conv_s8_run_live(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in,
                         const cr_conv_s8_live *live, float *out, int64_t ld_out, void *scratch,
                         cr_pool *pool)
{
    run_job j = {.c = c,
                       .out = (unsigned char *)out,
                       .ld_out = ld_out ? ld_out : c->g.ld_out,
                       .live = live};
    run(&j, in, ld_in, scratch, pool);
}

void cr_conv_s8_run_add(const cr_conv_s8 *c, const uint8_t *in, int64_t ld_in, const uint8_t *added,
                        int64_t ld_added, uint8_t *out, int64_t ld_out, void *scratch,
                        cr_pool *pool)
{
    run_job j = {.c = c,
                       .out = out,
                       .ld_out = ld_out ? ld_out : c->g.ld_out,
                       .added = added,
                       .ld_added = ld_added};
    run(&j, in, ld_in, scratch, pool);
}
