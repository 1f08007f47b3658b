/* Throws damaged archives and videos at what lists and reads them.
 *
 *     fuzz-source N SEED FILE...
 *
 * Each FILE (.zip, .avi, ...) is damaged N times and written beside the others under a name with its
 * ending; its pictures are listed and some of them read. All may fail, with one line; nothing may
 * crash, leak or read outside (build with -DCRAYON_SANITIZE=ON). */
#define _XOPEN_SOURCE 700
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crayon/image.h"

enum { MAX_FILE = 1 << 24, READ_AT_MOST = 3 };

static void check_line(const cr_error *err)
{
    if (!err->message[0] || strchr(err->message, '\n')) abort();
}

/* Number of pictures that could be read. */
static int try_source(const char *path)
{
    cr_image_list list;
    cr_error err = {0};
    int good = 0;
    if (cr_image_list_open(path, &list, &err) != CR_OK) {
        check_line(&err);
        return 0;
    }
    const size_t step = list.count / READ_AT_MOST + 1;
    for (size_t i = 0; i < list.count; i += step) {
        cr_image img;
        if (cr_image_read(list.paths[i], &img, &err) == CR_OK) good++;
        else check_line(&err);
        cr_image_free(&img);
    }
    cr_image_list_free(&list);
    return good;
}

static size_t damage(cr_rng *rng, uint8_t *p, size_t n)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe};
    for (uint32_t k = 1 + cr_rng_below(rng, 8); k > 0; k--) {
        /* half of the damage goes to the ends, where the directories are */
        const size_t ends = n < 600 ? n : 600;
        size_t at = cr_rng_below(rng, (uint32_t)n);
        if (cr_rng_below(rng, 2)) {
            const size_t near = cr_rng_below(rng, (uint32_t)ends);
            at = cr_rng_below(rng, 2) ? near : n - 1 - near;
        }
        if (cr_rng_below(rng, 2)) p[at] ^= (uint8_t)(1u << cr_rng_below(rng, 8));
        else p[at] = telling[cr_rng_below(rng, sizeof telling)];
    }
    return cr_rng_below(rng, 8) ? n : 1 + cr_rng_below(rng, (uint32_t)n);
}

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) {
        perror(path);
        exit(1);
    }
}

static int fuzz_file(const char *path, long rounds, cr_rng *rng, const char *dir)
{
    unsigned char *bytes;
    size_t size;
    cr_error err;
    long good = 0;
    char target[256];
    const char *dot = strrchr(path, '.');
    if (cr_file_read(path, MAX_FILE, &bytes, &size, &err) != CR_OK || !size) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    uint8_t *copy = malloc(size);
    snprintf(target, sizeof target, "%s/x%s", dir, dot ? dot : "");
    for (long i = 0; copy && i < rounds; i++) {
        memcpy(copy, bytes, size);
        write_file(target, copy, damage(rng, copy, size));
        good += try_source(target);
    }
    unlink(target);
    printf("%s: %ld damaged copies, %ld pictures read\n", path, rounds, good);
    free(copy);
    cr_free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: fuzz-source N SEED FILE...\n", stderr);
        return 2;
    }
    char dir[] = "/tmp/crayon-fuzz-XXXXXX";
    cr_rng rng;
    cr_rng_seed(&rng, strtoull(argv[2], NULL, 10));
    if (!mkdtemp(dir)) return 1;
    int rc = 0;
    for (int i = 3; i < argc; i++) rc |= fuzz_file(argv[i], strtol(argv[1], NULL, 10), &rng, dir);
    rmdir(dir);
    return rc;
}
