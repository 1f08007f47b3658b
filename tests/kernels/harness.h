/* What the kernel tests share: buffers between guard pages, awkward inputs, CPU levels. */
#ifndef CR_TESTS_HARNESS_H
#define CR_TESTS_HARNESS_H

#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS; hence this header comes first */
#endif

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "check.h"
#include "crayon/arith.h"
#include "kernels/conv_walk.h"
#include "kernels/dwconv_f32.h"
#include "kernels/dwconv_s8.h"
#include "kernels/rows.h"

enum { GUARD = 65536 }; /* a multiple of every page size met */

/* `size` bytes between two pages that fault. at_end: the last byte touches the upper one, so an
 * overrun of one byte faults; else the first byte touches the lower one. */
typedef struct guarded {
    unsigned char *map, *data;
    size_t mapped;
} guarded;

static inline guarded guarded_alloc(size_t size, bool at_end)
{
    guarded g = {.mapped = (size + GUARD - 1) / GUARD * GUARD + 2 * GUARD};
    g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map, GUARD, PROT_NONE), 0);
    assert_int_equal(mprotect(g.map + g.mapped - GUARD, GUARD, PROT_NONE), 0);
    g.data = at_end ? g.map + g.mapped - GUARD - size : g.map + GUARD;
    memset(g.map + GUARD, 0xA5, g.mapped - 2 * GUARD);
    return g;
}

static inline void guarded_free(guarded *g)
{
    munmap(g->map, g->mapped);
}

typedef enum pattern { UNIFORM, NEAR_LOW, NEAR_HIGH, SPIKE, ZEROS, PATTERNS } pattern;

static inline void fill_u8(uint8_t *p, size_t n, pattern kind, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t few = cr_rng_below(rng, 4);
        p[i] = kind == UNIFORM     ? (uint8_t)cr_rng_below(rng, 256)
               : kind == NEAR_LOW  ? (uint8_t)few
               : kind == NEAR_HIGH ? (uint8_t)(255 - few)
                                   : 0;
    }
    if (kind == SPIKE && n) p[cr_rng_below(rng, (uint32_t)n)] = 255;
}

static inline void fill_s8(int8_t *p, size_t n, pattern kind, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        const int few = (int)cr_rng_below(rng, 4);
        p[i] = kind == UNIFORM     ? (int8_t)((int)cr_rng_below(rng, 256) - 128)
               : kind == NEAR_LOW  ? (int8_t)(-128 + few)
               : kind == NEAR_HIGH ? (int8_t)(127 - few)
                                   : 0;
    }
    if (kind == SPIKE && n) p[cr_rng_below(rng, (uint32_t)n)] = -128;
}

static inline void fill_f32(float *p, size_t n, pattern kind, cr_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        const float u = (float)cr_rng_range(rng, -1, 1);
        p[i] = kind == UNIFORM     ? u
               : kind == NEAR_LOW  ? u * 1e-30f
               : kind == NEAR_HIGH ? u * 1e12f
                                   : 0;
    }
    if (kind == SPIKE && n) p[cr_rng_below(rng, (uint32_t)n)] = 1e6f;
}

/* Flags that make the families choose exactly this level (or C where a family lacks it). */
static inline unsigned only_level(int level)
{
    return 1u << CR_CPU_C | 1u << level;
}

static inline bool level_runs(int level)
{
    return cr_cpu_has(cr_cpu_hardware(), (cr_cpu_level)level);
}

/* Prints what this machine could not run, so that a green result is not mistaken for more. */
static inline void report_levels(bool (*has)(int level))
{
    for (int level = 0; level < CR_CPU_LEVELS; level++) {
        if (!has(level)) continue;
        if (level_runs(level))
            print_message("level %s: run\n", cr_cpu_level_key((cr_cpu_level)level));
        else
            print_message("SKIP level %s: not on this CPU\n",
                          cr_cpu_level_key((cr_cpu_level)level));
    }
}

/* One activation by the definitions. */
static inline float activate(float x, const cr_act *a)
{
    switch (a->kind) {
    case CR_ACT_NONE:
        return x;
    case CR_ACT_RELU:
        return cr_clipf(x, 0, INFINITY);
    case CR_ACT_CLIP:
        return cr_clipf(x, a->a, a->b);
    case CR_ACT_LEAKY_RELU:
        return cr_leaky_reluf(x, a->a);
    case CR_ACT_SIGMOID:
        return cr_sigmoidf(x);
    case CR_ACT_SILU:
        return cr_siluf(x);
    case CR_ACT_HARD_SIGMOID:
        return cr_hard_sigmoidf(x, a->a, a->b);
    case CR_ACT_HARD_SWISH:
        return cr_hard_swishf(x);
    }
    return x;
}

/* Output extents of a window, with padding of the same size on all sides of an axis. */
static inline int64_t out_extent(int64_t in, int64_t pad, int64_t k, int64_t dil, int64_t stride)
{
    const int64_t room = in + 2 * pad - (k - 1) * dil - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static inline void finish_geometry(cr_conv_geometry *g)
{
    if (!g->stride_h) g->stride_h = g->stride_w = 1;
    if (!g->dil_h) g->dil_h = g->dil_w = 1;
    if (!g->groups) g->groups = 1;
    if (!g->n) g->n = 1;
    g->oh = out_extent(g->h, g->pad_top, g->kh, g->dil_h, g->stride_h);
    g->ow = out_extent(g->w, g->pad_left, g->kw, g->dil_w, g->stride_w);
    if (!g->ld_in) g->ld_in = g->cin;
    if (!g->ld_out) g->ld_out = g->cout;
}

/* A small random geometry: primes, edges of blocks, every kind of stride, padding and dilation. */
static inline cr_conv_geometry random_geometry(cr_rng *rng, bool depthwise)
{
    static const int64_t channels[] = {1,  2,  3,  4,  5,  7,  8,  11, 12, 15,
                                       16, 17, 24, 31, 32, 33, 47, 48, 49, 65};
    for (;;) {
        cr_conv_geometry g = {.n = 1 + cr_rng_below(rng, 2)};
        g.h = 1 + cr_rng_below(rng, 13);
        g.w = 1 + cr_rng_below(rng, 13);
        g.cin = channels[cr_rng_below(rng, 20)];
        g.cout = depthwise ? g.cin : channels[cr_rng_below(rng, 20)];
        g.groups = depthwise ? g.cin : 1;
        if (!depthwise && !cr_rng_below(rng, 4)) {
            g.groups = 1 + cr_rng_below(rng, 3);
            g.cin *= g.groups;
            g.cout *= g.groups;
        }
        g.kh = 1 + cr_rng_below(rng, 4);
        g.kw = 1 + cr_rng_below(rng, 4);
        g.stride_h = 1 + cr_rng_below(rng, 3);
        g.stride_w = 1 + cr_rng_below(rng, 3);
        g.dil_h = 1 + cr_rng_below(rng, 2);
        g.dil_w = 1 + cr_rng_below(rng, 2);
        g.pad_top = cr_rng_below(rng, 4);
        g.pad_left = cr_rng_below(rng, 4);
        g.ld_in = g.cin + (cr_rng_below(rng, 2) ? 13 : 0);
        g.ld_out = g.cout + (cr_rng_below(rng, 2) ? 7 : 0);
        finish_geometry(&g);
        if (g.oh && g.ow) return g;
    }
}

/* Few channels in each of many groups, which kernels may run several at a time. */
static inline cr_conv_geometry random_groups(cr_rng *rng)
{
    static const int64_t groups[] = {2, 3, 4, 6, 8, 12, 16, 17, 30, 32};
    for (;;) {
        cr_conv_geometry g = random_geometry(rng, false);
        const int64_t spare_in = g.ld_in - g.cin, spare_out = g.ld_out - g.cout;
        g.groups = groups[cr_rng_below(rng, 10)];
        g.cin = g.groups * (1 + cr_rng_below(rng, 5));
        g.cout = g.groups * (1 + cr_rng_below(rng, 9));
        g.ld_in = g.cin + spare_in;
        g.ld_out = g.cout + spare_out;
        if (g.cin != g.groups || g.cout != g.groups) return g;
    }
}

static inline void print_geometry(const cr_conv_geometry *g)
{
    print_message("in %lldx%lldx%lldx%lld (ld %lld) out %lldx%lldx%lld (ld %lld) window %lldx%lld "
                  "stride %lld,%lld dilation %lld,%lld pad %lld,%lld groups %lld\n",
                  (long long)g->n, (long long)g->h, (long long)g->w, (long long)g->cin,
                  (long long)g->ld_in, (long long)g->oh, (long long)g->ow, (long long)g->cout,
                  (long long)g->ld_out, (long long)g->kh, (long long)g->kw, (long long)g->stride_h,
                  (long long)g->stride_w, (long long)g->dil_h, (long long)g->dil_w,
                  (long long)g->pad_top, (long long)g->pad_left, (long long)g->groups);
}

/* Elements from the first pixel's first channel to the last one's last: nothing follows it. */
static inline size_t span_of(int64_t pixels, int64_t ld, int64_t channels)
{
    return (size_t)((pixels - 1) * ld + channels);
}

#endif
