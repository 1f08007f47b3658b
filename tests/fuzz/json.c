/* Throws damaged recipe.json and stats.json files at their readers.
 *
 *     fuzz-json N [SEED]
 *
 * The seed files are written here: a recipe with entries of every form, statistics with histograms.
 * Each run damages a copy at one to four places (bytes, digits, quotes and brackets, ranges copied,
 * removed or cut off). A file is read or refused with one line; what was read must hold its own
 * promises: scales positive, zero points in range, and a second round through the file changes
 * nothing. Half of the damage hits digits only, so that many files stay JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "quant/plan.h"
#include "quant/range.h"
#include "quant/stats.h"

typedef struct tally {
    long recipes, statistics;
} tally;

static char path[64];

static void die(const char *why)
{
    fprintf(stderr, "%s (the file is %s)\n", why, path);
    abort();
}

static void check_line(const cr_error *err)
{
    if (!err->message[0] || strchr(err->message, '\n')) die("a message that is not one line");
}

/* ---- seeds ---- */

static void add(cr_recipe *r, const char *name, cr_dtype type, int axis, size_t count)
{
    float s[8];
    int32_t z[8] = {0};
    cr_error err;
    for (size_t i = 0; i < 8; i++) s[i] = .01f * (float)(i + 1);
    cr_qparams q = {type, axis, count, s, z};
    if (type == CR_DT_I2) q.lo = -1, q.hi = 1;
    if (type == CR_DT_I4) q.block = 4;
    if (cr_recipe_add(r, name, axis >= 0, &q, "seed", &err) != CR_OK) die(err.message);
}

/* Steps of both kinds, a value as codes and one as floats. */
static void add_changes(cr_recipe *r)
{
    const char *reader = "conv";
    float factor[4] = {.5f, 1, 2, 4}, value[16];
    int64_t channel[2] = {1, 3};
    cr_error err;
    const cr_rewrite branch = {CR_REWRITE_BRANCH, "features", "scaled", &reader, 1, factor, 4, NULL, 0};
    const cr_rewrite split = {CR_REWRITE_SPLIT, "scaled", "more", &reader, 1, NULL, 0, channel, 2};
    int64_t parts[6] = {2, 1, 2, 1, 0, 2};
    const cr_rewrite groups = {CR_REWRITE_GROUPS, "features", "parts", NULL, 0, NULL, 0, parts, 6};
    const cr_shape shape = {2, {8, 2}};
    for (int i = 0; i < 16; i++) value[i] = .01f * (float)(i / 2 + 1) * (float)(i - 8);
    if (cr_recipe_add_rewrite(r, &branch, &err) != CR_OK ||
        cr_recipe_add_rewrite(r, &split, &err) != CR_OK ||
        cr_recipe_add_rewrite(r, &groups, &err) != CR_OK ||
        cr_recipe_set_value(r, "weight", &shape, value, &err) != CR_OK ||
        cr_recipe_set_value(r, "bias", &shape, value, &err) != CR_OK)
        die(err.message);
}

static void write_recipe(void)
{
    cr_recipe *r;
    cr_error err;
    if (cr_recipe_create(&r, &err) != CR_OK) die(err.message);
    add(r, "images", CR_DT_U8, -1, 1);
    add(r, "features", CR_DT_I16, -1, 1);
    add(r, "weight", CR_DT_I8, 0, 8);
    add(r, "small", CR_DT_U4, 1, 3);
    add(r, "blocks", CR_DT_I4, 1, 8);
    add(r, "ternary", CR_DT_I2, 0, 4);
    add(r, "binary", CR_DT_I1, 0, 4);
    if (!cr_recipe_set_fact(r, "calibration", "mse")) die("no memory");
    add_changes(r);
    if (cr_recipe_write(r, path, &err) != CR_OK) die(err.message);
    cr_recipe_release(&r);
}

static void write_stats(void)
{
    cr_stats *s;
    cr_error err;
    float x[48];
    const cr_tensor t = {.name = "images", .dtype = CR_DT_F32, .shape = {4, {1, 3, 4, 4}}};
    const cr_view v = {&t, CR_DT_F32, x, 1, 48, 48, false, 0, 0, NULL, NULL};
    if (cr_stats_create(&s, &err) != CR_OK) die(err.message);
    for (int i = 0; i < 48; i++) x[i] = (float)i / 12 - 1;
    cr_tensor_stats *pictures = cr_stats_get(s, "images", 3);
    if (!pictures || !cr_stats_split(s, pictures)) die("no memory");
    cr_stats_add(pictures, &v);
    cr_stats_get(s, "empty", 0);
    s->pictures = 1;
    if (cr_stats_write(s, path, &err) != CR_OK) die(err.message);
    cr_stats_release(&s);
}

/* ---- damage ---- */

static size_t damage(cr_rng *r, char *b, size_t n)
{
    static const char marks[] = "\"\"[]{}:,-+.eE0919\\ \n\x80\xff";
    const size_t at = cr_rng_below(r, (uint32_t)n), count = cr_rng_below(r, 40);
    switch (cr_rng_below(r, 8)) {
    case 0:
        b[at] = (char)cr_rng_below(r, 256);
        return n;
    case 1:
        b[at] = marks[cr_rng_below(r, sizeof marks - 1)];
        return n;
    case 2:
        if (at + count > n) return n;
        memmove(b + at, b + at + count, n - at - count);
        return n - count;
    case 3:
        if (at + count <= n) memmove(b + cr_rng_below(r, (uint32_t)(n - count + 1)), b + at, count);
        return n;
    case 4:
        return cr_rng_below(r, 4) ? n : at + 1;
    default:
        for (size_t i = at; i < n; i++)
            if (b[i] >= '0' && b[i] <= '9') {
                b[i] = "0123456789-.e"[cr_rng_below(r, 13)];
                return n;
            }
        return n;
    }
}

/* ---- checks ---- */

static void check_recipe(tally *t)
{
    cr_error err = {0};
    cr_recipe *r, *again;
    if (cr_recipe_read(path, &r, &err) != CR_OK) {
        check_line(&err);
        return;
    }
    t->recipes++;
    for (size_t i = 0; i < r->count; i++) {
        const cr_qparams *q = &r->entries[i].q;
        int32_t lo, hi, least, most;
        if (!cr_qtype_range(q->type, &least, &most)) die("a type that is none");
        cr_q_range(q, &lo, &hi);
        if (lo < least || hi > most || lo >= hi || q->block < 0) die("a bad form was read");
        for (size_t k = 0; k < q->count; k++)
            if (!(q->scale[k] > 0) || q->zero_point[k] < lo || q->zero_point[k] > hi)
                die("a bad entry was read");
    }
    for (size_t i = 0; i < r->value_count; i++)
        for (int64_t k = 0; k < cr_shape_count(&r->values[i].shape); k++)
            if (!isfinite(r->values[i].data[k])) die("a bad value was read");
    if (cr_recipe_write(r, path, &err) != CR_OK) die(err.message);
    if (cr_recipe_read(path, &again, &err) != CR_OK) die(err.message);
    if (again->value_count != r->value_count || again->rewrite_count != r->rewrite_count)
        die("steps or values were lost");
    if (again->count != r->count || again->fact_count != r->fact_count) die("entries were lost");
    cr_recipe_release(&again);
    cr_recipe_release(&r);
}

static void check_interval(cr_status st, const cr_interval *v, const cr_error *err)
{
    float scale;
    int32_t zero;
    if (st != CR_OK) {
        check_line(err);
        return;
    }
    cr_range_to_params(v->lo, v->hi, CR_DT_U8, false, &scale, &zero);
    if (!(scale > 0) || !isfinite(scale) || zero < 0 || zero > 255) die("a bad range was chosen");
}

static void check_ranges(const cr_tensor_stats *t)
{
    for (int method = CR_CALIB_MINMAX; method <= CR_CALIB_AUTO; method++) {
        cr_error err = {0};
        const cr_range_want want = {(cr_calibration)method, 99.9, 4, 256, false};
        cr_interval v;
        check_interval(cr_range_choose(t, &want, &v, &err), &v, &err);
        for (int64_t c = 0; c < t->channels; c++)
            check_interval(cr_range_choose_channel(t, c, &want, &v, &err), &v, &err);
    }
}

static void check_stats(tally *t)
{
    cr_error err = {0};
    cr_stats *s, *again;
    if (cr_stats_read(path, &s, &err) != CR_OK) {
        check_line(&err);
        return;
    }
    t->statistics++;
    for (size_t i = 0; i < s->count; i++) check_ranges(&s->tensors[i]);
    if (cr_stats_write(s, path, &err) != CR_OK) die(err.message);
    if (cr_stats_read(path, &again, &err) != CR_OK) die(err.message);
    if (again->count != s->count) die("tensors were lost");
    if (cr_stats_merge(s, again, &err) != CR_OK) check_line(&err);
    cr_stats_release(&again);
    cr_stats_release(&s);
}

static void fuzz(void (*write)(void), void (*check)(tally *), long runs, uint64_t seed, tally *t)
{
    unsigned char *bytes;
    size_t size;
    cr_error err;
    write();
    if (cr_file_read(path, 1 << 20, &bytes, &size, &err) != CR_OK) die(err.message);
    char *copy = malloc(size);
    for (long i = 0; i < runs && copy; i++) {
        cr_rng r;
        cr_rng_seed(&r, seed + (uint64_t)i);
        size_t n = size;
        memcpy(copy, bytes, n);
        for (uint32_t k = 1 + cr_rng_below(&r, 4); k && n; k--) n = damage(&r, copy, n);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(copy, 1, n, f) != n || fclose(f)) die("cannot write");
        check(t);
    }
    free(copy);
    cr_free(bytes);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: fuzz-json N [SEED]\n");
        return 2;
    }
    tally t = {0};
    const long runs = atol(argv[1]);
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    snprintf(path, sizeof path, "/tmp/crayon-fuzz-%ld.json", (long)getpid());
    fuzz(write_recipe, check_recipe, runs, seed, &t);
    fuzz(write_stats, check_stats, runs, seed, &t);
    unlink(path);
    printf("%ld runs each: %ld recipes and %ld statistics read\n", runs, t.recipes, t.statistics);
    return 0;
}
