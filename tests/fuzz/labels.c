/* Mutations of a labels or results file:
 *
 *     fuzz-labels FILE [N] [SEED]        N times (10000): break FILE somewhere, read it, use it
 *
 * A .json is read as labels (boxes, then masks and keypoints as well) and as results, a .yaml as
 * labels whose pictures lie beside FILE (the broken copy is written beside it and removed), a .xml
 * as the only one of a folder. Built with sanitizers, a finding ends the program;
 * it also ends when a failure comes without a one-line message or leaves something behind. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crayon/eval.h"

enum { GROWTH = 4096, BOXES = 200 };

typedef enum kind { JSON, YAML, XML } kind;

typedef struct text {
    unsigned char *bytes;
    size_t size;
} text;

static const char *const WORDS[] = {
    "-1",   "0",    "1e308", "1e999", "NaN",     "null",
    "true", "[[[[", "{}",    "\"",    "\\u0000", "99999999999999999999",
    "\xff", "]",    "}",     ",",     ":",       "&a",
    "*a",   "- ",   "val:",  "\n",    "1e-320",  "9223372036854775807"};

static void replace(text *t, size_t at, size_t removed, const void *with, size_t added)
{
    memmove(t->bytes + at + added, t->bytes + at + removed, t->size - at - removed);
    memmove(t->bytes + at, with, added);
    t->size += added - removed;
}

static void mutate(cr_rng *r, text *t)
{
    const size_t at = cr_rng_below(r, (uint32_t)t->size + 1);
    const size_t left = t->size - at,
                 span = left ? cr_rng_below(r, left < 60 ? (uint32_t)left : 60) : 0;
    unsigned char piece[60];
    switch (cr_rng_below(r, 6)) {
    case 0:
        if (left) t->bytes[at] ^= (unsigned char)(1u << cr_rng_below(r, 8));
        break;
    case 1:
        replace(t, at, span, "", 0);
        break;
    case 2: /* double a piece */
        memcpy(piece, t->bytes + at, span);
        replace(t, at, 0, piece, span);
        break;
    case 3:
        if (!cr_rng_below(r, 4)) t->size = at;
        break;
    default: {
        const char *word = WORDS[cr_rng_below(r, sizeof WORDS / sizeof WORDS[0])];
        replace(t, at, left && cr_rng_below(r, 2) ? 1 : 0, word, strlen(word));
    }
    }
}

static void demand(bool holds, const char *what, const char *message)
{
    if (holds) return;
    fprintf(stderr, "fuzz-labels: %s: \"%s\"\n", what, message);
    abort();
}

static void check_failure(cr_status st, const cr_error *err, const void *left_over)
{
    demand(err->status == st && *err->message && !strchr(err->message, '\n'), "bad message",
           err->message);
    demand(!left_over, "something left behind after", err->message);
}

/* Scores the truth's own boxes, so that matching has work to do. */
static void use_labels(const cr_labels *l)
{
    cr_coco_box boxes[BOXES];
    cr_coco_metrics m;
    cr_error err = {0};
    size_t n = 0;
    for (; n < BOXES && n < cr_labels_box_count(l); n++) {
        const cr_label_box *b = cr_labels_box(l, n);
        boxes[n] = (cr_coco_box){b->image_id, b->category_id, b->x, b->y, b->w, b->h, .5};
    }
    const cr_status st = cr_coco_evaluate(l, boxes, n, NULL, 0, &m, &err);
    demand(st == CR_OK && m.ap >= -1 && m.ap <= 1, "evaluation failed", err.message);
    demand(cr_labels_find_image(l, cr_labels_image(l, 0)->file_name) != NULL, "lost an image", "");
}

static int read_labels(const char *path, unsigned parts)
{
    cr_error err = {0};
    cr_labels *l;
    const cr_status st = cr_labels_load_parts(path, parts, &l, &err);
    if (st == CR_OK)
        use_labels(l);
    else
        check_failure(st, &err, l);
    cr_labels_free(&l);
    return st == CR_OK;
}

static int read_results(const char *path)
{
    cr_error err = {0};
    cr_coco_metrics m;
    cr_coco_results r;
    const cr_status st = cr_coco_results_read(path, &r, &err);
    if (st) check_failure(st, &err, r.boxes);
    const cr_coco_metric metric = r.masks    ? CR_COCO_MASKS
                                  : r.points ? CR_COCO_KEYPOINTS
                                             : CR_COCO_BOXES;
    if (!st)
        demand(!cr_coco_agreement_results(&r, &r, metric, .25, &m, &err), "agreement", err.message);
    cr_coco_results_free(&r);
    return !st;
}

/* 1 if the broken file was still read. */
static int read_once(const char *path, kind k)
{
    char folder[4096];
    if (k == XML) {
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
        return read_labels(folder, 0);
    }
    const int read = read_labels(path, 0) | read_labels(path, CR_LABEL_MASKS | CR_LABEL_KEYPOINTS | CR_LABEL_CORNERS);
    return read | (k == JSON ? read_results(path) : read_labels(path, CR_LABEL_TRAIN));
}

static int fuzz(const text *seed_text, const char *path, kind k, long n, uint64_t seed)
{
    text t = {malloc(seed_text->size + GROWTH), 0};
    cr_rng r;
    long read = 0;
    if (!t.bytes) return 1;
    for (long i = 0; i < n; i++) {
        cr_rng_seed(&r, seed + (uint64_t)i);
        memcpy(t.bytes, seed_text->bytes, t.size = seed_text->size);
        for (uint32_t m = 1 + cr_rng_below(&r, 4); m; m--) mutate(&r, &t);
        FILE *f = fopen(path, "wb");
        const bool ok = f && fwrite(t.bytes, 1, t.size, f) == t.size;
        if (f && fclose(f)) demand(false, "cannot write", path);
        demand(ok, "cannot write", path);
        read += read_once(path, k);
    }
    free(t.bytes);
    unlink(path);
    printf("fuzz-labels: %ld mutations, %ld still readable, no finding\n", n, read);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fputs("usage: fuzz-labels FILE [N] [SEED]\n", stderr);
        return 2;
    }
    text t;
    cr_error err;
    if (cr_file_read(argv[1], 64 << 20, &t.bytes, &t.size, &err)) {
        fprintf(stderr, "fuzz-labels: %s\n", err.message);
        return 1;
    }
    const char *dot = strrchr(argv[1], '.');
    const kind k = !dot                                            ? JSON
                   : !strcmp(dot, ".yaml") || !strcmp(dot, ".yml") ? YAML
                   : !strcmp(dot, ".xml")                          ? XML
                                                                   : JSON;
    static const char *const endings[] = {".json", ".yaml", ""};
    char path[4096], folder[4000];
    snprintf(folder, sizeof folder, "%s.fuzz-%ld%s", argv[1], (long)getpid(), endings[k]);
    snprintf(path, sizeof path, "%s%s", folder, k == XML ? "/a.xml" : "");
    if (k == XML && mkdir(folder, 0700)) return 1;
    const int rc = fuzz(&t, path, k, argc > 2 ? strtol(argv[2], NULL, 10) : 10000,
                        argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    if (k == XML) rmdir(folder);
    cr_free(t.bytes);
    return rc;
}
