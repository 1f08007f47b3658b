/* Throws damaged checkpoints at the containers, the unpickler and the modules; then at the way of a
 * real model: prepare, compile, run.
 *
 *     fuzz-checkpoint N SEED FILE...
 *
 * Each of N runs damages a copy of one of the files (tests/cli/make_checkpoint.py --tiny makes
 * some) in one to four ways: bits flipped, bytes and lengths set to values that matter, opcodes of
 * pickles put where others were, ranges deleted, repeated or moved, the end cut off. In a zip
 * archive the checksums of all entries are mended, so that damage reaches the reader behind them.
 * Nothing may crash, leak or run away (build with -DCRAYON_SANITIZE=ON); a damaged file is read or
 * refused with one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "graph/passes.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "torch/torch.h"

enum { MAX_GROWTH = 4096 };

typedef struct tally {
    size_t read, prepared, run;
} tally;

/* A damaged model may legally be large or slow: such a one is not compiled. */
static const double compile_bytes = 16e6, compile_macs = 20e6;

static void check(cr_status st, const cr_error *err)
{
    const size_t n = strlen(err->message);
    if (st == CR_OK) return;
    if (st != CR_ERR_INTERNAL && n > 0 && n < sizeof err->message && !strchr(err->message, '\n'))
        return;
    fprintf(stderr, "status %d: %s\n", st, err->message);
    abort();
}

static bool is_small(const cr_graph *g)
{
    double bytes = 0, macs = 0;
    for (size_t i = 0; i < g->tensor_count; i++) bytes += (double)cr_tensor_bytes(g->tensors[i]);
    for (size_t i = 0; i < g->node_count; i++) macs += (double)cr_node_macs(g->nodes[i]);
    return bytes <= compile_bytes && macs <= compile_macs;
}

static void try_run(const cr_graph *g, tally *t)
{
    cr_error err = {0};
    cr_program *p;
    cr_session *s;
    cr_status st = cr_program_create(g, NULL, 1, &p, &err);
    check(st, &err);
    if (st != CR_OK) return;
    st = cr_session_open(p, NULL, &s, &err);
    check(st, &err);
    if (st == CR_OK) {
        memset(cr_session_input_data(s, 0), 0, cr_tensor_bytes(g->inputs[0]));
        st = cr_session_execute(s, &err);
        check(st, &err);
        t->run += st == CR_OK;
        cr_session_close(&s);
    }
    cr_program_free(&p);
}

static void check_file(const unsigned char *bytes, size_t size, tally *t)
{
    cr_error err = {0};
    cr_graph *g;
    cr_status st = cr_torch_parse(bytes, size, "fuzz", NULL, &g, &err);
    check(st, &err);
    if (st != CR_OK) {
        if (g) abort();
        return;
    }
    t->read++;
    if (is_small(g)) {
        st = cr_graph_prepare(g, cr_op_run, &err);
        if (st == CR_OK) st = cr_graph_infer(g, &err);
        check(st, &err);
        if (st == CR_OK) {
            t->prepared++;
            try_run(g, t);
        }
    }
    cr_graph_free(&g);
}

/* ---- damage ---- */

static size_t pick(cr_rng *r, size_t n)
{
    return n ? cr_rng_below(r, (uint32_t)n) : 0;
}

static void set_length(cr_rng *r, unsigned char *b, size_t n)
{
    static const uint32_t lengths[] = {0,      1,         255,        256,        65535,
                                       100000, 1u << 24u, 0x7fffffff, 0x80000000, 0xffffffff};
    const size_t at = pick(r, n);
    if (n - at < 4) return;
    const uint32_t v = lengths[pick(r, sizeof lengths / sizeof *lengths)];
    for (int i = 0; i < 4; i++) b[at + (size_t)i] = (unsigned char)(v >> (8 * i));
}

static size_t remove_range(cr_rng *r, unsigned char *b, size_t n)
{
    const size_t from = pick(r, n), count = pick(r, n - from < 64 ? n - from : 64);
    memmove(b + from, b + from + count, n - from - count);
    return n - count;
}

static size_t repeat_range(cr_rng *r, unsigned char *b, size_t n, size_t cap)
{
    const size_t from = pick(r, n), at = pick(r, n), count = 1 + pick(r, 64);
    unsigned char piece[64];
    if (n + count > cap || count > n - from) return n;
    memcpy(piece, b + from, count);
    memmove(b + at + count, b + at, n - at);
    memcpy(b + at, piece, count);
    return n + count;
}

static void copy_range(cr_rng *r, unsigned char *b, size_t n)
{
    const size_t from = pick(r, n), at = pick(r, n), count = 1 + pick(r, 24);
    if (count <= n - from && count <= n - at) memmove(b + at, b + from, count);
}

/* A byte that is an opcode becomes another opcode. */
static void swap_opcode(cr_rng *r, unsigned char *b, size_t n)
{
    static const unsigned char ops[] =
        "(012NJKMGUXBT])}ltdaseuqrhjcRbQ.\x80\x81\x85\x86\x87\x88\x89\x8a"
        "\x8b\x8c\x8f\x90\x91\x92\x93\x94\x95";
    for (int tries = 0; tries < 64; tries++) {
        const size_t at = pick(r, n);
        if (!memchr(ops, b[at], sizeof ops - 1)) continue;
        b[at] = ops[pick(r, sizeof ops - 1)];
        return;
    }
}

static size_t damage(cr_rng *r, unsigned char *b, size_t n, size_t cap)
{
    static const unsigned char special[] = {0, 1, 2, 3, 7, 0x10, 0x7f, 0x80, 0xfe, 0xff};
    if (!n) return n;
    switch (cr_rng_below(r, 10)) {
    case 0:
    case 1:
        b[pick(r, n)] ^= (unsigned char)(1u << cr_rng_below(r, 8));
        return n;
    case 2:
    case 3:
        b[pick(r, n)] = special[cr_rng_below(r, sizeof special)];
        return n;
    case 4:
        set_length(r, b, n);
        return n;
    case 5:
        return remove_range(r, b, n);
    case 6:
        return repeat_range(r, b, n, cap);
    case 7:
        copy_range(r, b, n);
        return n;
    case 8:
        return cr_rng_below(r, 8) ? n : pick(r, n);
    default:
        swap_opcode(r, b, n);
        return n;
    }
}

/* ---- zip checksums ---- */

static uint32_t crc_of(const unsigned char *b, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= b[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
}

static size_t get(const unsigned char *b, int bytes)
{
    size_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | b[i];
    return v;
}

static void put32(unsigned char *b, uint32_t v)
{
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> (8 * i));
}

/* Writes the checksum of each entry that the central directory still describes sensibly, there and
 * before the entry. */
static void mend_checksums(unsigned char *b, size_t n)
{
    for (size_t at = 0; n >= 46 && at <= n - 46; at++) {
        if (memcmp(b + at, "PK\1\2", 4)) continue;
        const size_t size = get(b + at + 20, 4), local = get(b + at + 42, 4);
        if (local > n - 46 || memcmp(b + local, "PK\3\4", 4)) continue;
        const size_t data = local + 30 + get(b + local + 26, 2) + get(b + local + 28, 2);
        if (data > n || size > n - data) continue;
        const uint32_t crc = crc_of(b + data, size);
        put32(b + at + 16, crc);
        put32(b + local + 14, crc);
    }
}

/* ---- the loop ---- */

typedef struct sample {
    unsigned char *bytes;
    size_t size;
} sample;

static void run_once(const sample *s, uint64_t seed, tally *t)
{
    const size_t cap = s->size + MAX_GROWTH;
    unsigned char *copy = malloc(cap);
    cr_rng r;
    cr_rng_seed(&r, seed);
    size_t n = s->size;
    if (!copy) abort();
    memcpy(copy, s->bytes, n);
    for (uint32_t k = cr_rng_below(&r, 3) ? 1 : 2 + cr_rng_below(&r, 3); k; k--)
        n = damage(&r, copy, n, cap);
    mend_checksums(copy, n);
    unsigned char *exact = malloc(n ? n : 1); /* so that a sanitizer sees reads past the end */
    if (!exact) abort();
    memcpy(exact, copy, n);
    check_file(exact, n, t);
    free(exact);
    free(copy);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: fuzz-checkpoint N SEED FILE...\n");
        return 2;
    }
    const long runs = atol(argv[1]);
    const int files = argc - 3;
    sample *samples = calloc((size_t)files, sizeof *samples);
    tally t = {0};
    if (!samples) return 1;
    for (int i = 0; i < files; i++) {
        cr_error err;
        if (cr_file_read(argv[3 + i], (size_t)1 << 24, &samples[i].bytes, &samples[i].size, &err) !=
            CR_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
    }
    for (long i = 0; i < runs; i++)
        run_once(&samples[i % files], strtoull(argv[2], NULL, 10) + (uint64_t)i, &t);
    for (int i = 0; i < files; i++) cr_free(samples[i].bytes);
    free(samples);
    printf("%ld runs: %zu read, %zu prepared, %zu run\n", runs, t.read, t.prepared, t.run);
    return 0;
}
