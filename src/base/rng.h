/* Seeded random numbers: xoshiro256** (Blackman & Vigna 2018), seeded by splitmix64. The same seed
 * gives the same sequence on every machine. Never used for anything secret. */
#ifndef CR_BASE_RNG_H
#define CR_BASE_RNG_H

#include <stdint.h>

typedef struct cr_rng { uint64_t s[4]; } cr_rng;

static inline uint64_t cr_splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void cr_rng_seed(cr_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) r->s[i] = cr_splitmix64(&seed);
}

/* The stream of one item of one step of a training: what is drawn there depends on nothing that
 * was drawn before, so that a run can go on from any step, on any number of threads. */
static inline void cr_rng_seed_at(cr_rng *r, uint64_t seed, uint64_t step, uint64_t item)
{
    uint64_t x = seed;
    x = cr_splitmix64(&x) ^ step;
    x = cr_splitmix64(&x) ^ item;
    cr_rng_seed(r, cr_splitmix64(&x));
}

static inline uint64_t cr_rng_u64(cr_rng *r)
{
    uint64_t *s = r->s;
    const uint64_t x = s[1] * 5, result = ((x << 7) | (x >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Uniform in 0..n-1 (n >= 1), without modulo bias worth speaking of (Lemire's multiply). */
static inline uint32_t cr_rng_below(cr_rng *r, uint32_t n)
{
    return (uint32_t)(((cr_rng_u64(r) >> 32) * (uint64_t)n) >> 32);
}

/* Uniform in [0, 1), 53 bits. */
static inline double cr_rng_unit(cr_rng *r) { return (double)(cr_rng_u64(r) >> 11) * 0x1p-53; }

static inline double cr_rng_range(cr_rng *r, double lo, double hi)
{
    return lo + (hi - lo) * cr_rng_unit(r);
}

#endif
