/* Throws damaged checkpoints of trainings at their reader.
 *
 *     fuzz-train_state N [SEED]
 *
 * The seed file is written here: pieces of no byte, of odd and of even lengths. Each run damages a
 * copy (bytes, sizes set to values that matter, ranges removed, the end cut off); half of the time
 * its sum is mended where the sizes allow, so that damage reaches what stands behind it. A file is
 * read, and then every piece lies inside of it, or refused with one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/train_state.h"

enum { HEAD = 24, SUM = 8 };

static void die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    abort();
}

static unsigned char *seed_file(size_t *size)
{
    char path[64];
    unsigned char data[1000], *bytes;
    const cr_state_piece pieces[] = {{data, 48}, {data, 0}, {data, 333}, {data + 5, 600}};
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7);
    snprintf(path, sizeof path, "/tmp/crayon-fuzz-state-%d", (int)getpid());
    if (cr_train_state_write(path, 42, pieces, 4, NULL) != CR_OK) die("seed");
    if (cr_file_read(path, 1 << 16, &bytes, size, NULL) != CR_OK) die("seed");
    unlink(path);
    return bytes;
}

/* Writes the sum that the file's own sizes ask for, if they fit it. */
static void mend(unsigned char *bytes, size_t size)
{
    uint32_t n;
    uint64_t sizes[CR_STATE_PIECES], sum;
    if (size < HEAD + SUM) return;
    memcpy(&n, bytes + 12, sizeof n);
    if (n > CR_STATE_PIECES || size < HEAD + SUM + n * sizeof *sizes) return;
    memcpy(sizes, bytes + HEAD, n * sizeof *sizes);
    sum = cr_train_hash(cr_train_hash(0, bytes, HEAD), bytes + HEAD, n * sizeof *sizes);
    size_t at = HEAD + n * sizeof *sizes;
    for (uint32_t i = 0; i < n; i++) {
        if (sizes[i] > size - SUM - at) return;
        sum = cr_train_hash(sum, bytes + at, (size_t)sizes[i]);
        at += (size_t)sizes[i];
    }
    memcpy(bytes + size - SUM, &sum, SUM);
}

static size_t damage(unsigned char *b, size_t size, cr_rng *r)
{
    static const uint64_t values[] = {
        0, 1, 63, 64, 65, 1 << 16, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (int k = (int)cr_rng_below(r, 3); k >= 0 && size > 64; k--) {
        const size_t at = cr_rng_below(r, (uint32_t)(size - 40));
        const size_t early = cr_rng_below(r, 56);
        switch (cr_rng_below(r, 5)) {
        case 0:
            b[at] = (unsigned char)cr_rng_u64(r);
            break;
        case 1:
            b[early] = (unsigned char)cr_rng_u64(r);
            break;
        case 2:
            memcpy(b + early / 8 * 8, &values[cr_rng_below(r, 10)], 8);
            break;
        case 3:
            size = at + 1;
            break;
        default:
            memmove(b + at, b + at + 32, size - at - 32);
            size -= 32;
        }
    }
    if (cr_rng_below(r, 2)) mend(b, size);
    return size;
}

int main(int argc, char **argv)
{
    const long runs = argc > 1 ? atol(argv[1]) : 0;
    if (runs <= 0) {
        fprintf(stderr, "usage: fuzz-train_state N [SEED]\n");
        return 2;
    }
    size_t size;
    long read = 0;
    unsigned char *seed = seed_file(&size);
    cr_rng r;
    cr_rng_seed(&r, argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    for (long i = 0; i < runs; i++) {
        cr_train_state s;
        cr_error err = {.message = ""};
        unsigned char *copy = cr_malloc(size);
        if (!copy) die("memory");
        memcpy(copy, seed, size);
        const size_t n = damage(copy, size, &r);
        if (cr_train_state_parse("x", copy, n, &s, &err) == CR_OK) {
            read++;
            for (size_t k = 0; k < s.count; k++) {
                const unsigned char *at = s.piece[k].data;
                if (at < copy || at + s.piece[k].bytes > copy + n) die("a piece lies outside");
            }
        } else if (!err.message[0] || strchr(err.message, '\n')) {
            die("a message that is not one line");
        }
        cr_free(copy);
    }
    cr_free(seed);
    printf("%ld files, %ld read\n", runs, read);
    return read > 0 && read < runs ? 0 : 1;
}
