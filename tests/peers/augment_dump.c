/* Training pictures of a labelled set, for comparison with other code.
 *
 *     peers-augment_dump LABELS IMAGES OUTDIR WIDTH HEIGHT COUNT SEED [--boxes-only] [--symmetries]
 *
 * Picture k of COUNT is item k of step 0: OUTDIR/k.rgb [HEIGHT, WIDTH, 3] bytes, OUTDIR/k.masks
 * [objects, HEIGHT / 4, WIDTH / 4] bytes, and a line of JSON on standard output: what was drawn,
 * from which pictures (image ids), and the truth. Mosaic every second time. With --boxes-only no
 * masks. The last line is the median time of an item in milliseconds on one thread. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "train/dataset.h"

static void must(cr_status st, const cr_error *err)
{
    if (st == CR_OK) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void save(const char *dir, int k, const char *ending, const void *bytes, size_t size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%d.%s", dir, k, ending);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) {
        fprintf(stderr, "%s: cannot write\n", path);
        exit(1);
    }
}

static void print_truth(const cr_truth *t)
{
    printf("\"classes\":[");
    for (size_t i = 0; i < t->count; i++) printf("%s%d", i ? "," : "", t->class_id[i]);
    printf("],\"boxes\":[");
    for (size_t i = 0; i < t->count; i++)
        printf("%s[%.17g,%.17g,%.17g,%.17g]", i ? "," : "", t->box[i][0], t->box[i][1],
               t->box[i][2], t->box[i][3]);
    printf("]}\n");
}

/* The draws of an item, made again as cr_dataset_item makes them. */
static void print_draws(const cr_dataset *d, const cr_item_options *o, size_t index, cr_rng rng)
{
    cr_augmentation a;
    cr_augment_draw(&o->augment, o->pre.width == o->pre.height, &rng, &a);
    printf(
        "{\"tiles\":%d,\"cross\":[%.17g,%.17g],\"gain\":%.17g,\"shift\":[%.17g,%.17g],\"turn\":%u,"
        "\"hue\":%.17g,\"saturation\":%.17g,\"value\":%.17g,\"images\":[%lld",
        a.tiles, a.cross[0], a.cross[1], a.gain, a.shift[0], a.shift[1], a.turn, a.hue,
        a.saturation, a.value, (long long)cr_dataset_image_id(d, index));
    for (int k = 1; k < CR_MOSAIC; k++)
        printf(",%lld", (long long)cr_dataset_image_id(
                            d, cr_rng_below(&rng, (uint32_t)cr_dataset_count(d))));
    printf("],");
}

static int by_time(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    cr_error err;
    cr_dataset *d;
    if (argc < 8) return 2;
    const int width = atoi(argv[4]), height = atoi(argv[5]), count = atoi(argv[6]);
    const uint64_t seed = strtoull(argv[7], NULL, 10);
    bool masks = true, symmetries = false;
    for (int i = 8; i < argc; i++) {
        masks &= strcmp(argv[i], "--boxes-only") != 0;
        symmetries |= !strcmp(argv[i], "--symmetries");
    }
    const cr_dataset_options with = {
        .labels = argv[1], .images = argv[2], .parts = masks ? CR_LABEL_MASKS : 0};
    must(cr_dataset_open(&with, &d, &err), &err);
    cr_item_options o = {.pre = cr_preprocess_default(width, height),
                         .augment = cr_augment_options_default(),
                         .mask_height = masks ? height / 4 : 0,
                         .mask_width = masks ? width / 4 : 0};
    const size_t pixels = (size_t)width * (size_t)height;
    float *input = malloc(pixels * 3 * sizeof *input);
    uint8_t *bytes = malloc(pixels * 3);
    double *took = malloc((size_t)count * sizeof *took);
    if (!input || !bytes || !took) return 1;
    o.augment.symmetries = symmetries;
    for (int k = 0; k < count; k++) {
        cr_rng rng;
        cr_item item;
        struct timespec from, to;
        const size_t index = cr_dataset_shuffled(d, seed, (uint64_t)k);
        o.augment.mosaic = k % 2;
        cr_rng_seed_at(&rng, seed, 0, (uint64_t)k);
        print_draws(d, &o, index, rng);
        clock_gettime(CLOCK_MONOTONIC, &from);
        must(cr_dataset_item(d, &o, index, &rng, input, &item, &err), &err);
        clock_gettime(CLOCK_MONOTONIC, &to);
        took[k] =
            (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        print_truth(&item.truth);
        for (size_t i = 0; i < pixels; i++)
            for (size_t c = 0; c < 3; c++)
                bytes[i * 3 + c] = (uint8_t)(input[c * pixels + i] * 255 + .5f);
        save(argv[3], k, "rgb", bytes, pixels * 3);
        if (masks) save(argv[3], k, "masks", item.truth.masks, item.truth.count * pixels / 16);
        cr_item_free(&item);
    }
    qsort(took, (size_t)count, sizeof *took, by_time);
    printf("%.2f\n", took[count / 2]);
    cr_dataset_free(&d);
    free(input);
    free(bytes);
    free(took);
    return 0;
}
