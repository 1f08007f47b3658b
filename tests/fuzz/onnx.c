/* Throws damaged ONNX models at the reader, shape inference, folding and the writer; then at the
 * way of a real one: prepare, take the recipe out, compile, and (if it is small) run.
 *
 *     fuzz-onnx FILE N [SEED]
 *
 * Each of N runs damages a copy of FILE in one to four ways: bits flipped, bytes set to values that
 * matter, ranges deleted, inserted, copied or swapped, the end cut off, lengths of protobuf fields
 * changed. Nothing may crash, leak or run away (build with -DCRAYON_SANITIZE=ON); a damaged model
 * is either read or refused with one line. With -DCRAYON_LIBFUZZER it is a libFuzzer target
 * instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "fuzz/model_way.h"
#include "onnx/onnx.h"

static void try_write(const cr_graph *g, tally *t)
{
    static const int opsets[] = {13, 17, 22};
    for (size_t i = 0; i < sizeof opsets / sizeof *opsets; i++) {
        const cr_onnx_write_options w = {.opset = opsets[i]};
        cr_error err;
        unsigned char *bytes;
        size_t size;
        if (cr_onnx_serialize(g, &w, &bytes, &size, &err) == CR_OK) t->written++;
        cr_free(bytes);
    }
}

static void check_model(const unsigned char *bytes, size_t size, tally *t)
{
    const cr_onnx_options options = {0};
    cr_error err = {0};
    cr_graph *g;
    if (cr_onnx_parse(bytes, size, NULL, "fuzz", &options, &g, &err) != CR_OK) {
        if (g || !is_one_line(&err)) abort();
        return;
    }
    t->read++;
    if (cr_graph_infer(g, &err) == CR_OK) {
        t->inferred++;
        try_write(g, t);
        if (cr_graph_fold(g, cr_op_run, &err) == CR_OK) {
            t->folded++;
            try_write(g, t);
        }
    }
    cr_graph_free(&g);
    if (cr_onnx_parse(bytes, size, NULL, "fuzz", &options, &g, &err) != CR_OK) abort();
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

enum { MAX_LENGTHS = 1 << 16, MAX_GROWTH = 4096 };

typedef struct sample {
    const unsigned char *bytes;
    size_t size;
    size_t lengths[MAX_LENGTHS]; /* positions of length bytes of protobuf fields */
    size_t n_lengths;
} sample;

static size_t read_varint(const unsigned char *p, size_t left, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < left && i < 10; i++) {
        *value |= (uint64_t)(p[i] & 127) << (7 * i);
        if (p[i] < 128) return i + 1;
    }
    return 0;
}

/* Notes where length fields are; whatever parses as nested fields is searched too. */
static void find_lengths(sample *s, size_t from, size_t to, int depth)
{
    while (from < to && s->n_lengths < MAX_LENGTHS) {
        uint64_t tag, value;
        const size_t a = read_varint(s->bytes + from, to - from, &tag);
        if (!a) return;
        from += a;
        const int wire = tag & 7;
        const size_t b = wire == 0 || wire == 2 ? read_varint(s->bytes + from, to - from, &value)
                         : wire == 5            ? 4
                         : wire == 1            ? 8
                                                : 0;
        if (!b || b > to - from) return;
        if (wire == 2) {
            if (value > to - from - b) return;
            s->lengths[s->n_lengths++] = from;
            if (depth) find_lengths(s, from + b, from + b + (size_t)value, depth - 1);
            from += (size_t)value;
        }
        from += b;
    }
}

static size_t pick(cr_rng *r, size_t n)
{
    return n ? cr_rng_below(r, (uint32_t)n) : 0;
}

static size_t remove_range(cr_rng *r, unsigned char *b, size_t n)
{
    const size_t from = pick(r, n), count = pick(r, n - from < 64 ? n - from : 64);
    memmove(b + from, b + from + count, n - from - count);
    return n - count;
}

static size_t insert_range(cr_rng *r, unsigned char *b, size_t n, size_t cap)
{
    const size_t at = pick(r, n), count = 1 + pick(r, 32), from = pick(r, n);
    if (n + count > cap || from + count > n) return n;
    unsigned char piece[33];
    memcpy(piece, b + from, count);
    if (cr_rng_below(r, 2)) memset(piece, (int)cr_rng_below(r, 256), count);
    memmove(b + at + count, b + at, n - at);
    memcpy(b + at, piece, count);
    return n + count;
}

static void swap_ranges(cr_rng *r, unsigned char *b, size_t n)
{
    const size_t count = 1 + pick(r, 32);
    if (n < 2 * count) return;
    const size_t x = pick(r, n / 2 - count + 1), y = n / 2 + pick(r, n - n / 2 - count + 1);
    unsigned char t[33];
    memcpy(t, b + x, count);
    memcpy(b + x, b + y, count);
    memcpy(b + y, t, count);
}

static size_t damage(const sample *s, cr_rng *r, unsigned char *b, size_t n, size_t cap)
{
    static const unsigned char special[] = {0, 1, 2, 7, 8, 16, 0x7f, 0x80, 0xfe, 0xff};
    if (!n) return n;
    switch (cr_rng_below(r, 9)) {
    case 0:
    case 1:
        b[pick(r, n)] ^= (unsigned char)(1u << cr_rng_below(r, 8));
        return n;
    case 2:
        b[pick(r, n)] = special[cr_rng_below(r, sizeof special)];
        return n;
    case 3:
        return cr_rng_below(r, 4) ? n : pick(r, n);
    case 4:
        return remove_range(r, b, n);
    case 5:
        return insert_range(r, b, n, cap);
    case 6:
        swap_ranges(r, b, n);
        return n;
    case 7:
        memset(b + pick(r, n), 0xff, 1);
        return n;
    default: {
        if (!s->n_lengths) return n;
        const size_t at = s->lengths[pick(r, s->n_lengths)];
        if (at < n) b[at] = (unsigned char)(b[at] + (cr_rng_below(r, 2) ? 1 : 255));
        return n;
    }
    }
}

static int run(sample *s, long runs, uint64_t seed)
{
    tally t = {0};
    const size_t cap = s->size + MAX_GROWTH;
    unsigned char *copy = malloc(cap);
    if (!copy) return 1;
    find_lengths(s, 0, s->size, 6);
    for (long i = 0; i < runs; i++) {
        cr_rng r;
        cr_rng_seed(&r, seed + (uint64_t)i);
        size_t n = s->size;
        memcpy(copy, s->bytes, n);
        for (uint32_t k = cr_rng_below(&r, 3) ? 1 : 2 + cr_rng_below(&r, 3); k; k--)
            n = damage(s, &r, copy, n, cap);
        unsigned char *exact = malloc(n ? n : 1); /* so that a sanitizer sees reads past the end */
        if (!exact) break;
        memcpy(exact, copy, n);
        check_model(exact, n, &t);
        free(exact);
    }
    free(copy);
    printf("%ld runs: %zu read, %zu inferred, %zu folded, %zu written, %zu prepared, %zu compiled, "
           "%zu run\n",
           runs, t.read, t.inferred, t.folded, t.written, t.prepared, t.compiled, t.run);
    return 0;
}

int main(int argc, char **argv)
{
    static sample s;
    unsigned char *bytes;
    cr_error err;
    if (argc < 3) {
        fprintf(stderr, "usage: fuzz-onnx FILE N [SEED]\n");
        return 2;
    }
    if (cr_file_read(argv[1], (size_t)1 << 30, &bytes, &s.size, &err) != CR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    s.bytes = bytes;
    const int rc = run(&s, atol(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    cr_free(bytes);
    return rc;
}

#endif
