/* Throws damaged pictures at the decoders.
 *
 *     fuzz-image N SEED FILE...
 *
 * Each FILE (JPEG or PNG) is damaged N times: bits flipped, bytes set to values that matter, ranges
 * deleted, doubled or filled, the end cut off. The checksums of PNG chunks are mended in half of
 * the runs, or nothing behind them would ever be reached. Every picture is decoded or refused with
 * one line; nothing may crash, leak or read outside (build with -DCRAYON_SANITIZE=ON). With
 * -DCRAYON_LIBFUZZER it is a libFuzzer target instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crayon/image.h"

enum { MAX_FILE = 1 << 24 };

static unsigned long pixels_seen; /* all pixels must be readable */

static bool try_decode(const uint8_t *bytes, size_t size)
{
    cr_image img;
    cr_error err = {0};
    if (cr_image_decode(bytes, size, "fuzz", &img, &err) == CR_OK) {
        const size_t n = 3 * (size_t)img.width * (size_t)img.height;
        for (size_t i = 0; i < n; i += 997) pixels_seen += img.rgb[i];
        cr_image_free(&img);
        return true;
    }
    if (img.rgb || !err.message[0] || strchr(err.message, '\n')) abort();
    return false;
}

#ifdef CRAYON_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    try_decode(bytes, size);
    return 0;
}
#else

static size_t damage_once(cr_rng *rng, uint8_t *p, size_t n)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 0xd8, 0xda, 0xc4, 0xdd};
    /* half of the damage goes to the headers */
    const size_t reach = cr_rng_below(rng, 2) && n > 700 ? 700 : n;
    const size_t at = cr_rng_below(rng, (uint32_t)reach);
    const size_t room = n - at, length = 1 + cr_rng_below(rng, (uint32_t)(room < 64 ? room : 64));
    switch (cr_rng_below(rng, 6)) {
    case 0:
        p[at] ^= (uint8_t)(1u << cr_rng_below(rng, 8));
        return n;
    case 1:
        p[at] = telling[cr_rng_below(rng, sizeof telling)];
        return n;
    case 2:
        memset(p + at, (int)cr_rng_below(rng, 256), length < 8 ? length : 8);
        return n;
    case 3:
        memmove(p + at, p + at + length, room - length);
        return n - length ? n - length : n;
    case 4:
        memmove(p + at + length, p + at, room);
        return n + length;
    default:
        return cr_rng_below(rng, 4) ? n : at + 1;
    }
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (0xedb88320u & (0u - (c & 1)));
    }
    return ~c;
}

static void mend_png(uint8_t *p, size_t n)
{
    if (n < 8 || p[0] != 0x89) return;
    for (size_t at = 8; n - at >= 12;) {
        const size_t length =
            (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        if (length > n - at - 12) return;
        const uint32_t crc = crc32_of(p + at + 4, length + 4);
        for (size_t i = 0; i < 4; i++) p[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

static int fuzz_file(const char *path, long rounds, cr_rng *rng)
{
    unsigned char *bytes;
    size_t size;
    cr_error err;
    if (cr_file_read(path, MAX_FILE, &bytes, &size, &err) != CR_OK || !size) {
        fprintf(stderr, "fuzz-image: %s\n", size ? err.message : path);
        return 1;
    }
    long decoded = 0;
    for (long r = 0; r < rounds; r++) {
        uint8_t *copy = malloc(size + 4 * 64), *exact;
        size_t n = size;
        memcpy(copy, bytes, size);
        for (uint32_t k = 1 + cr_rng_below(rng, 4); k > 0; k--) n = damage_once(rng, copy, n);
        if (cr_rng_below(rng, 2)) mend_png(copy, n);
        exact = malloc(n); /* so that a read behind the end is seen */
        memcpy(exact, copy, n);
        free(copy);
        decoded += try_decode(exact, n);
        free(exact);
    }
    printf("%s: %ld damaged copies, %ld decoded, %ld refused, pixel sum %lu\n", path, rounds,
           decoded, rounds - decoded, pixels_seen);
    cr_free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: fuzz-image N SEED FILE...\n", stderr);
        return 2;
    }
    cr_rng rng;
    cr_rng_seed(&rng, strtoull(argv[2], NULL, 10));
    int rc = 0;
    for (int i = 3; i < argc; i++) rc |= fuzz_file(argv[i], strtol(argv[1], NULL, 10), &rng);
    return rc;
}
#endif
