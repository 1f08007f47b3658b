/* See train_state.h. The sum is FNV-1a (Fowler, Noll, Vo) over words of 64 bits, a byte at a time
 * where fewer are left: it finds accidents, not forgeries. */
#include "train/train_state.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static const char magic[8] = "CRAYONts";
enum { VERSION = 1, HEAD = 24, SUM = 8 };
static const size_t largest = (size_t)16 << 30;

uint64_t cr_train_hash(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    const uint64_t prime = 0x100000001b3u;
    if (!hash) hash = 0xcbf29ce484222325u;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 32;
    }
    for (; n > 0; n--, p++) hash = (hash ^ *p) * prime;
    return hash;
}

static bool put(FILE *f, uint64_t *sum, const void *bytes, size_t n)
{
    *sum = cr_train_hash(*sum, bytes, n);
    return !n || fwrite(bytes, 1, n, f) == n;
}

/* The sum is taken piece by piece: the file is summed in the same portions when it is read. */
static bool write_all(FILE *f, uint64_t task, const cr_state_piece *pieces, size_t n)
{
    const uint32_t numbers[2] = {VERSION, (uint32_t)n};
    unsigned char head[HEAD];
    uint64_t sum = 0, sizes[CR_STATE_PIECES];
    memcpy(head, magic, sizeof magic);
    memcpy(head + 8, numbers, sizeof numbers);
    memcpy(head + 16, &task, sizeof task);
    for (size_t i = 0; i < n; i++) sizes[i] = pieces[i].bytes;
    bool good = put(f, &sum, head, HEAD) && put(f, &sum, sizes, n * sizeof *sizes);
    for (size_t i = 0; i < n && good; i++) good = put(f, &sum, pieces[i].data, pieces[i].bytes);
    return good && fwrite(&sum, 1, SUM, f) == SUM;
}

cr_status cr_train_state_write(const char *path, uint64_t task, const cr_state_piece *pieces,
                               size_t n, cr_error *err)
{
    CR_CHECK(n <= CR_STATE_PIECES, err, CR_ERR_INTERNAL, "a checkpoint of %zu pieces", n);
    cr_outfile *f;
    CR_TRY(cr_outfile_open(path, &f, err));
    if (!write_all(cr_outfile_stream(f), task, pieces, n)) {
        cr_outfile_abort(&f);
        return cr_fail(err, CR_ERR_IO, "%s: cannot be written; is the disk full?", path);
    }
    return cr_outfile_commit(&f, err);
}

cr_status cr_train_state_parse(const char *name, const unsigned char *bytes, size_t size,
                               cr_train_state *out, cr_error *err)
{
    uint32_t numbers[2];
    uint64_t sizes[CR_STATE_PIECES], sum = 0, stored;
    *out = (cr_train_state){0};
    CR_CHECK(size >= HEAD + SUM && !memcmp(bytes, magic, sizeof magic), err, CR_ERR_FORMAT,
             "%s: not a checkpoint of a training", name);
    memcpy(numbers, bytes + 8, sizeof numbers);
    memcpy(&out->task, bytes + 16, sizeof out->task);
    CR_CHECK(numbers[0] == VERSION, err, CR_ERR_FORMAT,
             "%s: a checkpoint of version %u, this program has version %d", name, numbers[0],
             VERSION);
    const size_t n = numbers[1];
    CR_CHECK(n <= CR_STATE_PIECES && size - HEAD - SUM >= n * sizeof *sizes, err, CR_ERR_FORMAT,
             "%s: the checkpoint is damaged", name);
    memcpy(sizes, bytes + HEAD, n * sizeof *sizes);
    size_t at = HEAD + n * sizeof *sizes;
    sum = cr_train_hash(sum, bytes, HEAD);
    sum = cr_train_hash(sum, bytes + HEAD, n * sizeof *sizes);
    for (size_t i = 0; i < n; i++) {
        CR_CHECK(sizes[i] <= size - SUM - at, err, CR_ERR_FORMAT, "%s: the checkpoint is cut",
                 name);
        out->piece[i] = (cr_state_piece){bytes + at, (size_t)sizes[i]};
        sum = cr_train_hash(sum, bytes + at, (size_t)sizes[i]);
        at += (size_t)sizes[i];
    }
    memcpy(&stored, bytes + size - SUM, SUM);
    CR_CHECK(at == size - SUM && sum == stored, err, CR_ERR_FORMAT, "%s: the checkpoint is damaged",
             name);
    out->count = n;
    return CR_OK;
}

cr_status cr_train_state_read(const char *path, cr_train_state *out, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    *out = (cr_train_state){0};
    CR_TRY(cr_file_read(path, largest, &bytes, &size, err));
    const cr_status st = cr_train_state_parse(path, bytes, size, out, err);
    if (st != CR_OK) {
        cr_free(bytes);
        return st;
    }
    out->bytes = bytes;
    return CR_OK;
}

void cr_train_state_free(cr_train_state *s)
{
    cr_free(s->bytes);
    *s = (cr_train_state){0};
}
