/* Ground truth, once it is in memory: checks, look-ups, and the match between a model's classes and
 * the file's categories.
 *
 * Look-ups are binary searches in sorted lists rather than hash tables: the names come from files
 * of unknown origin, and a sorted list has no bad case that such a file could aim at. */
#define _POSIX_C_SOURCE 200809L
#include "crayon/eval.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eval/label_shapes.h"

cr_status cr_labels_add_image(cr_labels *l, const cr_label_image *image, cr_error *err)
{
    cr_label_image copy = *image;
    copy.file_name = cr_arena_strdup(&l->arena, image->file_name);
    if (image->path) copy.path = cr_arena_strdup(&l->arena, image->path);
    if (!copy.file_name || (image->path && !copy.path) ||
        !cr_grow((void **)&l->images, &l->image_cap, l->image_count, sizeof *l->images))
        return CR_NOMEM(err);
    l->images[l->image_count++] = copy;
    return CR_OK;
}

cr_status cr_labels_add_category(cr_labels *l, int64_t id, const char *name, cr_error *err)
{
    const char *copy = cr_arena_strdup(&l->arena, name);
    if (!copy || !cr_grow((void **)&l->categories, &l->category_cap, l->category_count,
                          sizeof *l->categories))
        return CR_NOMEM(err);
    l->categories[l->category_count++] = (cr_label_category){id, copy};
    return CR_OK;
}

cr_status cr_labels_add_box(cr_labels *l, const cr_label_box *box, cr_error *err)
{
    if (!cr_grow((void **)&l->boxes, &l->box_cap, l->box_count, sizeof *l->boxes))
        return CR_NOMEM(err);
    l->boxes[l->box_count++] = *box;
    return CR_OK;
}

static int compare_ids(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_category_id(const void *a, const void *b)
{
    return compare_ids(((const cr_label_category *)a)->id, ((const cr_label_category *)b)->id);
}

static int by_ref_id(const void *a, const void *b)
{
    const cr_id_ref *x = a, *y = b;
    return x->id != y->id ? compare_ids(x->id, y->id)
                          : (x->index > y->index) - (x->index < y->index);
}

static int by_ref_name(const void *a, const void *b)
{
    return strcmp(((const cr_name_ref *)a)->name, ((const cr_name_ref *)b)->name);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *back = strrchr(path, '\\');
    if (back && (!slash || back > slash)) slash = back;
    return slash ? slash + 1 : path;
}

static cr_status sort_categories(cr_labels *l, const char *path, cr_error *err)
{
    CR_CHECK(l->category_count, err, CR_ERR_FORMAT, "%s: no categories", path);
    qsort(l->categories, l->category_count, sizeof *l->categories, by_category_id);
    for (size_t i = 0; i < l->category_count; i++) {
        const cr_label_category *c = &l->categories[i];
        CR_CHECK(c->id >= 0, err, CR_ERR_FORMAT, "%s: category id %lld is negative", path,
                 (long long)c->id);
        CR_CHECK(!i || c->id != c[-1].id, err, CR_ERR_FORMAT, "%s: category id %lld occurs twice",
                 path, (long long)c->id);
    }
    return CR_OK;
}

/* Sorts refs by id; fails on a repeated one. */
static cr_status sort_refs(cr_id_ref *refs, size_t n, const char *path, const char *kind,
                           cr_error *err)
{
    if (n) qsort(refs, n, sizeof *refs, by_ref_id);
    for (size_t i = 1; i < n; i++)
        CR_CHECK(refs[i].id != refs[i - 1].id, err, CR_ERR_FORMAT, "%s: %s id %lld occurs twice",
                 path, kind, (long long)refs[i].id);
    return CR_OK;
}

static cr_status index_images(cr_labels *l, const char *path, cr_error *err)
{
    const size_t n = l->image_count;
    CR_CHECK(n, err, CR_ERR_FORMAT, "%s: no images", path);
    l->by_id = cr_calloc(n, sizeof *l->by_id);
    l->by_name = cr_calloc(n, sizeof *l->by_name);
    l->by_base = cr_calloc(n, sizeof *l->by_base);
    if (!l->by_id || !l->by_name || !l->by_base) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        l->by_id[i] = (cr_id_ref){l->images[i].id, i};
        l->by_name[i] = (cr_name_ref){l->images[i].file_name, i};
        l->by_base[i] = (cr_name_ref){base_name(l->images[i].file_name), i};
    }
    CR_TRY(sort_refs(l->by_id, n, path, "image", err));
    qsort(l->by_name, n, sizeof *l->by_name, by_ref_name);
    qsort(l->by_base, n, sizeof *l->by_base, by_ref_name);
    for (size_t i = 1; i < n; i++)
        CR_CHECK(by_ref_name(&l->by_name[i - 1], &l->by_name[i]), err, CR_ERR_FORMAT,
                 "%s: two images are named \"%s\"", path, l->by_name[i].name);
    return CR_OK;
}

static cr_status check_boxes(const cr_labels *l, const char *path, cr_error *err)
{
    cr_id_ref *refs = cr_calloc(l->box_count, sizeof *refs);
    if (!refs) return CR_NOMEM(err);
    cr_status st = CR_OK;
    for (size_t i = 0; i < l->box_count && st == CR_OK; i++) {
        const cr_label_box *b = &l->boxes[i];
        refs[i] = (cr_id_ref){b->id, i};
        if (!cr_labels_find_id(l, b->image_id))
            st = cr_fail(err, CR_ERR_FORMAT,
                         "%s: annotation %lld is of image %lld, which is not among the images",
                         path, (long long)b->id, (long long)b->image_id);
        else if (cr_labels_category_index(l, b->category_id) == SIZE_MAX)
            st = cr_fail(
                err, CR_ERR_FORMAT,
                "%s: annotation %lld is of category %lld, which is not among the categories", path,
                (long long)b->id, (long long)b->category_id);
    }
    if (st == CR_OK) st = sort_refs(refs, l->box_count, path, "annotation", err);
    cr_free(refs);
    return st;
}

cr_status cr_labels_finish(cr_labels *l, const char *path, cr_error *err)
{
    CR_TRY(sort_categories(l, path, err));
    CR_TRY(index_images(l, path, err));
    CR_TRY(check_boxes(l, path, err));
    return cr_labels_make_masks(l, path, err);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static bool is_yaml(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

cr_status cr_labels_load(const char *path, cr_labels **out, cr_error *err)
{
    return cr_labels_load_parts(path, 0, out, err);
}

cr_status cr_labels_load_parts(const char *path, unsigned parts, cr_labels **out, cr_error *err)
{
    *out = NULL;
    cr_labels *l = cr_calloc(1, sizeof *l);
    if (!l) return CR_NOMEM(err);
    l->parts = parts;
    cr_status st = is_folder(path) ? cr_labels_read_folder(path, l, err)
                   : is_yaml(path) ? cr_labels_read_yolo(path, l, err)
                                   : cr_labels_read_coco(path, l, err);
    if (st == CR_OK) st = cr_labels_finish(l, path, err);
    if (st == CR_OK)
        *out = l;
    else
        cr_labels_free(&l);
    return st;
}

void cr_labels_free(cr_labels **labels)
{
    if (!labels || !*labels) return;
    cr_labels *l = *labels;
    cr_arena_free(&l->arena);
    cr_arena_free(&l->waiting_memory);
    cr_free(l->waiting);
    cr_free(l->images);
    cr_free(l->categories);
    cr_free(l->boxes);
    cr_free(l->by_id);
    cr_free(l->by_name);
    cr_free(l->by_base);
    cr_free(l);
    *labels = NULL;
}

size_t cr_labels_image_count(const cr_labels *labels)
{
    return labels->image_count;
}
size_t cr_labels_category_count(const cr_labels *labels)
{
    return labels->category_count;
}
size_t cr_labels_box_count(const cr_labels *labels)
{
    return labels->box_count;
}

const cr_label_image *cr_labels_image(const cr_labels *labels, size_t index)
{
    return index < labels->image_count ? &labels->images[index] : NULL;
}

const cr_label_category *cr_labels_category(const cr_labels *labels, size_t index)
{
    return index < labels->category_count ? &labels->categories[index] : NULL;
}

const cr_label_box *cr_labels_box(const cr_labels *labels, size_t index)
{
    return index < labels->box_count ? &labels->boxes[index] : NULL;
}

/* First place in the sorted list whose name is not below `name`. */
static size_t lower_name(const cr_name_ref *refs, size_t n, const char *name)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (strcmp(refs[mid].name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Index of the only entry of that name, or SIZE_MAX. */
static size_t only_name(const cr_name_ref *refs, size_t n, const char *name)
{
    const size_t at = lower_name(refs, n, name);
    if (at == n || strcmp(refs[at].name, name)) return SIZE_MAX;
    if (at + 1 < n && !strcmp(refs[at + 1].name, name)) return SIZE_MAX;
    return refs[at].index;
}

const cr_label_image *cr_labels_find_image(const cr_labels *labels, const char *file_name)
{
    size_t i = only_name(labels->by_name, labels->image_count, file_name);
    if (i == SIZE_MAX) i = only_name(labels->by_base, labels->image_count, base_name(file_name));
    return i == SIZE_MAX ? NULL : &labels->images[i];
}

const cr_label_image *cr_labels_find_id(const cr_labels *labels, int64_t image_id)
{
    size_t lo = 0, hi = labels->image_count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (labels->by_id[mid].id == image_id) return &labels->images[labels->by_id[mid].index];
        if (labels->by_id[mid].id < image_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

size_t cr_labels_category_index(const cr_labels *l, int64_t id)
{
    const cr_label_category key = {id, NULL};
    const cr_label_category *c =
        bsearch(&key, l->categories, l->category_count, sizeof *l->categories, by_category_id);
    return c ? (size_t)(c - l->categories) : SIZE_MAX;
}

/* ---- classes and categories ------------------------------------------------------------------ */

/* Lower case, '_' as ' ', no space at either end; in the arena. */
static char *plain_name(cr_arena *arena, const char *name)
{
    while (*name == ' ') name++;
    char *copy = cr_arena_strdup(arena, name);
    if (!copy) return NULL;
    for (char *c = copy; *c; c++) {
        if (*c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
        if (*c == '_') *c = ' ';
    }
    for (size_t n = strlen(copy); n && copy[n - 1] == ' '; n--) copy[n - 1] = 0;
    return copy;
}

/* where[k]: index of the category that has class k's name, or SIZE_MAX. */
static cr_status match_names(const cr_labels *l, const char *const *names, size_t n, size_t *where,
                             cr_error *err)
{
    cr_arena arena = {0};
    cr_name_ref *refs = cr_calloc(l->category_count, sizeof *refs);
    cr_status st = refs ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < l->category_count; i++) {
        refs[i] = (cr_name_ref){plain_name(&arena, l->categories[i].name), i};
        if (!refs[i].name) st = CR_NOMEM(err);
    }
    if (st == CR_OK) qsort(refs, l->category_count, sizeof *refs, by_ref_name);
    for (size_t k = 0; st == CR_OK && k < n; k++) {
        where[k] = SIZE_MAX;
        if (!names || !names[k]) continue;
        const char *name = plain_name(&arena, names[k]);
        if (name)
            where[k] = only_name(refs, l->category_count, name);
        else
            st = CR_NOMEM(err);
    }
    cr_free(refs);
    cr_arena_free(&arena);
    return st;
}

cr_status cr_labels_map_classes(const cr_labels *labels, const char *const *names, size_t n,
                                int64_t *category_ids, cr_error *err)
{
    CR_CHECK(n, err, CR_ERR_ARGUMENT, "the model has no classes to compare with the labels");
    size_t *where = cr_calloc(n, sizeof *where);
    if (!where) return CR_NOMEM(err);
    cr_status st = match_names(labels, names, n, where, err);
    size_t found = 0, moved = 0;
    for (size_t k = 0; st == CR_OK && k < n; k++) {
        found += where[k] != SIZE_MAX;
        moved += where[k] != SIZE_MAX && where[k] != k;
    }
    const bool in_order = n == labels->category_count && !moved;
    if (st == CR_OK && !in_order && !found)
        st = cr_fail(err, CR_ERR_ARGUMENT,
                     "none of the model's %zu classes (first: \"%s\") is among the labels' %zu "
                     "categories (first: \"%s\"): are these the right labels?",
                     n, names && names[0] ? names[0] : "no name", labels->category_count,
                     labels->categories[0].name);
    for (size_t k = 0; st == CR_OK && k < n; k++) {
        const size_t at = in_order ? k : where[k];
        category_ids[k] = at == SIZE_MAX ? CR_NO_CATEGORY : labels->categories[at].id;
    }
    cr_free(where);
    return st;
}
