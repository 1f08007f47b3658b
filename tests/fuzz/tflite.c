/* Throws damaged TFLite models at their reader, and what was read at the way of a real model.
 *
 *     fuzz-tflite N [SEED [FILE...]]
 *
 * The models to damage are FILEs or, without them, SEEDS random networks that our own writer
 * writes: float, float16 and integers, with metadata behind them. Each run damages a copy in one to
 * four ways; half of the damage goes to words (offsets, counts, shapes), which are moved a little
 * or set to values that matter, and the half of that to the end of the file, where tables and
 * vtables are. Nothing may crash, leak or run away (build with -DCRAYON_SANITIZE=ON): a damaged
 * model is read or refused with one line. With -DCRAYON_LIBFUZZER it is a libFuzzer target instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "fuzz/model_way.h"
#include "tflite/tflite_read.h"
#include "tflite/tflite_write.h"
#include "unit/random_recipe.h"

static void check_model(const unsigned char *bytes, size_t size, tally *t)
{
    cr_error err = {0};
    cr_graph *g;
    if (cr_tflite_parse(bytes, size, "fuzz", &g, &err) != CR_OK) {
        if (g || !is_one_line(&err)) abort();
        return;
    }
    t->read++;
    go_the_whole_way(g, t);
    cr_graph_free(&g);
}

#ifdef CRAYON_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    tally t = {0};
    check_model(bytes, size, &t);
    return 0;
}

#else

enum { SEEDS = 12, MAX_GROWTH = 4096, MAX_SEEDS = 64 };

typedef struct sample {
    unsigned char *bytes;
    size_t size;
} sample;

/* A random network as a file; false: it has an operator that TFLite lacks. */
static bool make_sample(uint64_t seed, sample *s)
{
    static const char metadata[] =
        "{\"task\": \"detect\", \"names\": {\"0\": \"a\", \"1\": \"b\"}, "
        "\"imgsz\": [32, 32], \"stride\": 32}";
    cr_graph *g = random_net(seed, true, false);
    tensor_range *ranges = malloc(g->tensor_count * sizeof *ranges);
    for (size_t i = 0; i < g->tensor_count; i++) ranges[i] = (tensor_range){-3, 3};
    cr_recipe *r = seed % 3 ? random_recipe(g, seed, ranges) : NULL;
    const cr_tfl_write_options o = {.ports = seed % 2 ? CR_TFL_PORT_INT8 : CR_TFL_PORT_FLOAT,
                                    .half = seed % 6 == 0,
                                    .metadata = seed % 2 ? metadata : NULL};
    cr_error err;
    const cr_status st = cr_tflite_serialize(g, r, &o, &s->bytes, &s->size, &err);
    cr_recipe_release(&r);
    free(ranges);
    cr_graph_free(&g);
    return st == CR_OK;
}

static size_t make_samples(uint64_t seed, sample *samples)
{
    size_t n = 0;
    for (uint64_t k = 0; n < SEEDS && k < 50 * SEEDS; k++)
        n += make_sample(seed * 1000 + k, &samples[n]);
    return n;
}

static size_t pick(cr_rng *r, size_t n)
{
    return n ? cr_rng_below(r, (uint32_t)n) : 0;
}

/* A word at a multiple of 4 (or 2), moved or replaced. */
static void damage_word(cr_rng *r, unsigned char *b, size_t n)
{
    static const uint32_t special[] = {
        0,      1,      2,      4,       0x7f,       0x80,       0xff,       0x100,
        0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    const size_t width = cr_rng_below(r, 4) ? 4 : 2, tail = n < 8192 ? n : 8192;
    if (n < 8) return;
    size_t at = cr_rng_below(r, 2) ? pick(r, n - 4) : n - tail + pick(r, tail - 4);
    at = at / width * width;
    uint32_t v = 0;
    memcpy(&v, b + at, width);
    if (cr_rng_below(r, 2))
        v += (uint32_t)cr_rng_below(r, 33) - 16;
    else
        v = special[pick(r, sizeof special / sizeof *special)];
    memcpy(b + at, &v, width);
}

static size_t damage(cr_rng *r, unsigned char *b, size_t n, size_t cap)
{
    if (!n) return n;
    const size_t at = pick(r, n), count = 1 + pick(r, 32), from = pick(r, n);
    switch (cr_rng_below(r, 8)) {
    case 0:
        b[at] ^= (unsigned char)(1u << cr_rng_below(r, 8));
        return n;
    case 1:
        b[at] = (unsigned char)cr_rng_below(r, 256);
        return n;
    case 2: /* a piece of elsewhere */
        if (from + count <= n && at + count <= n) memmove(b + at, b + from, count);
        return n;
    case 3:
        if (cr_rng_below(r, 3)) return n;
        return at;
    case 4:
        if (n + count > cap || cr_rng_below(r, 2)) return n;
        memmove(b + at + count, b + at, n - at);
        return n + count;
    default:
        damage_word(r, b, n);
        return n;
    }
}

static void run(const sample *s, uint64_t seed, tally *t)
{
    cr_rng r;
    const size_t cap = s->size + MAX_GROWTH;
    unsigned char *copy = malloc(cap);
    size_t n = s->size;
    cr_rng_seed(&r, seed);
    memcpy(copy, s->bytes, n);
    for (uint32_t k = 1 + cr_rng_below(&r, 4); k; k--) n = damage(&r, copy, n, cap);
    unsigned char *exact = malloc(n ? n : 1); /* so that a sanitizer sees reads past the end */
    memcpy(exact, copy, n);
    check_model(exact, n, t);
    free(exact);
    free(copy);
}

int main(int argc, char **argv)
{
    sample samples[MAX_SEEDS] = {0};
    cr_error err;
    tally t = {0};
    size_t count = 0;
    if (argc < 2) {
        fputs("usage: fuzz-tflite N [SEED [FILE...]]\n", stderr);
        return 2;
    }
    const long runs = strtol(argv[1], NULL, 10);
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (int i = 3; i < argc && count < MAX_SEEDS; i++, count++)
        if (cr_file_read(argv[i], (size_t)1 << 28, &samples[count].bytes, &samples[count].size,
                         &err) != CR_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
    if (!count) count = make_samples(seed, samples);
    for (size_t i = 0; i < count; i++) check_model(samples[i].bytes, samples[i].size, &t);
    if (!count || t.read != count) {
        fputs("an undamaged model was refused\n", stderr);
        return 1;
    }
    for (long i = 0; i < runs; i++) run(&samples[(size_t)i % count], seed + (uint64_t)i, &t);
    for (size_t i = 0; i < count; i++) cr_free(samples[i].bytes);
    printf("%ld runs on %zu models: %zu read, %zu prepared, %zu compiled, %zu run\n", runs, count,
           t.read, t.prepared, t.compiled, t.run);
    return 0;
}

#endif
