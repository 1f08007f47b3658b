/* The list of pictures and objects, made once; pictures are read when they are asked for. Labels
 * are eval's, so that what is trained on and what is measured on are read alike.
 *
 * Order: a Feistel network over the smallest power of four that is not below the count, walked
 * until it lands inside ("cycle walking", Black and Rogaway 2002), is a permutation without a
 * table: any place of any epoch is known at once. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "train/dataset_store.h"

static bool is_file(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static void warn(const cr_dataset *d, const char *line)
{
    if (d->warn) d->warn(d->user, line);
}

/* ---- classes --------------------------------------------------------------------------------- */

/* class_of[k]: the class of category k, -1: the model has none. */
static cr_status map_classes(cr_dataset *d, const cr_dataset_options *o, int *class_of,
                             cr_error *err)
{
    const size_t n = cr_labels_category_count(d->labels);
    d->classes = o->names ? o->classes : n;
    d->name = cr_arena_alloc(&d->arena, (d->classes + 1) * sizeof *d->name);
    int64_t *ids = cr_calloc(d->classes + 1, sizeof *ids);
    cr_status st = d->name && ids ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && o->names)
        st = cr_labels_map_classes(d->labels, o->names, o->classes, ids, err);
    for (size_t k = 0; st == CR_OK && k < n; k++) class_of[k] = o->names ? -1 : (int)k;
    for (size_t c = 0; st == CR_OK && c < d->classes; c++) {
        const char *name = o->names ? o->names[c] : cr_labels_category(d->labels, c)->name;
        d->name[c] = cr_arena_strdup(&d->arena, name ? name : "");
        if (!d->name[c]) st = CR_NOMEM(err);
        for (size_t k = 0; o->names && k < n; k++)
            if (cr_labels_category(d->labels, k)->id == ids[c]) class_of[k] = (int)c;
    }
    cr_free(ids);
    return st;
}

static int class_of_id(const cr_dataset *d, const int *class_of, int64_t category_id)
{
    size_t lo = 0, hi = cr_labels_category_count(d->labels);
    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        if (cr_labels_category(d->labels, middle)->id < category_id)
            lo = middle + 1;
        else
            hi = middle;
    }
    return class_of[lo];
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* Path of each image of the labels, NULL where there is none. */
static cr_status paths_of_list(cr_dataset *d, const char *images, const char **paths, cr_error *err)
{
    cr_image_list list;
    cr_status st = cr_image_list_open(images, &list, err);
    if (st != CR_OK) return st;
    for (size_t i = 0; st == CR_OK && i < list.count; i++) {
        const cr_label_image *image = cr_labels_find_image(d->labels, list.paths[i]);
        if (!image) continue;
        const char **path = &paths[image - cr_labels_image(d->labels, 0)];
        if (!*path && !(*path = cr_arena_strdup(&d->arena, list.paths[i]))) st = CR_NOMEM(err);
    }
    cr_image_list_free(&list);
    return st;
}

static cr_status paths_of_folder(cr_dataset *d, const char *folder, const char **paths,
                                 cr_error *err)
{
    for (size_t i = 0; i < cr_labels_image_count(d->labels); i++) {
        const char *name = cr_labels_image(d->labels, i)->file_name;
        const char *path = cr_arena_printf(&d->arena, "%s/%s", folder, name);
        if (path && !is_file(path)) path = cr_arena_printf(&d->arena, "%s/images/%s", folder, name);
        if (!path) return CR_NOMEM(err);
        if (is_file(path)) paths[i] = path;
    }
    return CR_OK;
}

static cr_status find_paths(cr_dataset *d, const cr_dataset_options *o, const char **paths,
                            cr_error *err)
{
    if (o->images && !is_folder(o->images)) return paths_of_list(d, o->images, paths, err);
    if (o->images) return paths_of_folder(d, o->images, paths, err);
    if (cr_labels_image(d->labels, 0)->path) {
        for (size_t i = 0; i < cr_labels_image_count(d->labels); i++)
            paths[i] = cr_labels_image(d->labels, i)->path;
        return CR_OK;
    }
    const char *slash = strrchr(o->labels, '/');
    const char *folder =
        slash ? cr_arena_strndup(&d->arena, o->labels, (size_t)(slash - o->labels)) : ".";
    return folder ? paths_of_folder(d, folder, paths, err) : CR_NOMEM(err);
}

/* Entries of the images that are there; place[i]: the entry of image i, SIZE_MAX: none. */
static cr_status list_entries(cr_dataset *d, const cr_dataset_options *o, const char **paths,
                              size_t *place, cr_error *err)
{
    const size_t n = cr_labels_image_count(d->labels);
    d->entry = cr_calloc(n + 1, sizeof *d->entry);
    if (!d->entry) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        place[i] = paths[i] ? d->count : SIZE_MAX;
        if (!paths[i]) continue;
        d->entry[d->count].path = paths[i];
        d->entry[d->count++].image = cr_labels_image(d->labels, i);
    }
    CR_CHECK(d->count, err, CR_ERR_IO, "%s: none of the %zu pictures that %s names is there",
             o->images ? o->images : "the labels' folder", n, o->labels);
    if (d->count < n) {
        char line[256];
        snprintf(line, sizeof line, "%zu of %zu labelled pictures are not there", n - d->count, n);
        warn(d, line);
    }
    return CR_OK;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* The entry of a box, or SIZE_MAX if it is nothing to learn. */
static size_t entry_of(const cr_dataset *d, const cr_label_box *b, const size_t *place,
                       const int *class_of)
{
    if (b->crowd || b->ignored || !(b->w > 0) || !(b->h > 0) ||
        class_of_id(d, class_of, b->category_id) < 0)
        return SIZE_MAX;
    return place[cr_labels_find_id(d->labels, b->image_id) - cr_labels_image(d->labels, 0)];
}

static cr_status list_objects(cr_dataset *d, const cr_dataset_options *o, const size_t *place,
                              const int *class_of, cr_error *err)
{
    const size_t n = cr_labels_box_count(d->labels);
    for (size_t i = 0; i < n; i++) {
        const size_t e = entry_of(d, cr_labels_box(d->labels, i), place, class_of);
        if (e == SIZE_MAX) continue;
        d->entry[e].count++;
        d->object_count++;
    }
    d->object = cr_calloc(d->object_count + 1, sizeof *d->object);
    if (!d->object) return CR_NOMEM(err);
    for (size_t e = 1; e < d->count; e++)
        d->entry[e].first = d->entry[e - 1].first + d->entry[e - 1].count;
    for (size_t e = 0; e < d->count; e++) d->entry[e].count = 0;
    for (size_t i = 0; i < n; i++) {
        const cr_label_box *b = cr_labels_box(d->labels, i);
        const size_t e = entry_of(d, b, place, class_of);
        if (e == SIZE_MAX) continue;
        CR_CHECK(!(o->parts & CR_LABEL_MASKS) || b->mask, err, CR_ERR_FORMAT,
                 "%s: object %lld has no mask; masks are needed of all", o->labels,
                 (long long)b->id);
        d->object[d->entry[e].first + d->entry[e].count++] = (cr_dataset_object){
            {b->x, b->y, b->x + b->w, b->y + b->h}, class_of_id(d, class_of, b->category_id), b};
        if (b->keypoint_count > d->keypoints) d->keypoints = b->keypoint_count;
    }
    CR_CHECK(!(o->parts & CR_LABEL_KEYPOINTS) || d->keypoints, err, CR_ERR_FORMAT,
             "%s: no object has keypoints", o->labels);
    return CR_OK;
}

static cr_status fill(cr_dataset *d, const cr_dataset_options *o, cr_error *err)
{
    const unsigned split = o->validation ? 0 : CR_LABEL_TRAIN;
    CR_TRY(cr_labels_load_parts(o->labels, o->parts | split, &d->labels, err));
    const size_t images = cr_labels_image_count(d->labels);
    const char **paths = cr_calloc(images + 1, sizeof *paths);
    size_t *place = cr_calloc(images + 1, sizeof *place);
    int *class_of = cr_calloc(cr_labels_category_count(d->labels) + 1, sizeof *class_of);
    cr_status st = paths && place && class_of ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && !images)
        st = cr_fail(err, CR_ERR_FORMAT, "%s: the labels name no pictures", o->labels);
    if (st == CR_OK) st = map_classes(d, o, class_of, err);
    if (st == CR_OK) st = find_paths(d, o, paths, err);
    if (st == CR_OK) st = list_entries(d, o, paths, place, err);
    if (st == CR_OK) st = list_objects(d, o, place, class_of, err);
    if (st == CR_OK) st = cr_image_reader_create(&d->reader, err);
    cr_free(paths);
    cr_free(place);
    cr_free(class_of);
    return st;
}

cr_status cr_dataset_open(const cr_dataset_options *options, cr_dataset **out, cr_error *err)
{
    *out = NULL;
    cr_dataset *d = cr_calloc(1, sizeof *d);
    if (!d) return CR_NOMEM(err);
    d->warn = options->warn;
    d->user = options->user;
    d->parts = options->parts;
    const cr_status st = fill(d, options, err);
    if (st == CR_OK)
        *out = d;
    else
        cr_dataset_free(&d);
    return st;
}

void cr_dataset_free(cr_dataset **d)
{
    if (!d || !*d) return;
    cr_labels_free(&(*d)->labels);
    cr_image_reader_free(&(*d)->reader);
    cr_arena_free(&(*d)->arena);
    cr_free((*d)->entry);
    cr_free((*d)->object);
    cr_free(*d);
    *d = NULL;
}

size_t cr_dataset_count(const cr_dataset *d)
{
    return d->count;
}
size_t cr_dataset_classes(const cr_dataset *d)
{
    return d->classes;
}
const char *cr_dataset_class(const cr_dataset *d, size_t k)
{
    return d->name[k];
}
size_t cr_dataset_keypoints(const cr_dataset *d)
{
    return d->keypoints;
}
size_t cr_dataset_objects(const cr_dataset *d)
{
    return d->object_count;
}
size_t cr_dataset_broken(const cr_dataset *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) n += atomic_load(&d->entry[i].broken);
    return n;
}
const cr_labels *cr_dataset_labels(const cr_dataset *d)
{
    return d->labels;
}
const char *cr_dataset_path(const cr_dataset *d, size_t index)
{
    return d->entry[index].path;
}
int64_t cr_dataset_image_id(const cr_dataset *d, size_t index)
{
    return d->entry[index].image->id;
}

/* ---- order ----------------------------------------------------------------------------------- */

/* A permutation of 0 .. 4^bits - 1. */
static uint64_t feistel(uint64_t key, uint64_t x, int bits)
{
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t left = x >> bits, right = x & mask;
    for (uint64_t round = 0; round < 6; round++) {
        uint64_t mix = key ^ (right * 0x9e3779b97f4a7c15u) ^ (round << 56);
        const uint64_t next = left ^ (cr_splitmix64(&mix) & mask);
        left = right;
        right = next;
    }
    return left << bits | right;
}

size_t cr_dataset_shuffled(const cr_dataset *d, uint64_t seed, uint64_t k)
{
    cr_rng rng;
    int bits = 1;
    while (bits < 31 && (uint64_t)1 << 2 * bits < d->count) bits++;
    cr_rng_seed_at(&rng, seed, k / d->count, 0);
    const uint64_t key = cr_rng_u64(&rng);
    uint64_t x = k % d->count;
    do x = feistel(key, x, bits);
    while (x >= d->count);
    return (size_t)x;
}

/* ---- reading --------------------------------------------------------------------------------- */

static cr_status read_entry(cr_dataset *d, const cr_dataset_entry *e, cr_image *out, cr_error *err)
{
    CR_TRY(cr_image_reader_read(d->reader, e->path, out, err));
    const int w = e->image->width, h = e->image->height;
    if (w == 0 || h == 0 || (w == out->width && h == out->height)) return CR_OK;
    const cr_status st = cr_fail(err, CR_ERR_FORMAT, "%s: %dx%d pixels, its labels are of %dx%d",
                                 e->path, out->width, out->height, w, h);
    cr_image_free(out);
    return st;
}

cr_status cr_dataset_read(cr_dataset *d, size_t index, cr_image *out, size_t *used, cr_error *err)
{
    for (size_t i = 0; i < d->count; i++) {
        cr_dataset_entry *e = &d->entry[ *used = (index + i) % d->count];
        cr_error detail = {0};
        if (atomic_load(&e->broken)) continue;
        const cr_status st = read_entry(d, e, out, &detail);
        if (st == CR_OK) return CR_OK;
        if (st == CR_ERR_MEMORY) return cr_fail(err, st, "%s", detail.message);
        if (atomic_exchange(&e->broken, true)) continue;
        char line[640];
        snprintf(line, sizeof line, "%s; left out", detail.message);
        warn(d, line);
    }
    return cr_fail(err, CR_ERR_IO, "%s: none of the %zu pictures can be read", d->entry[0].path,
                   d->count);
}
