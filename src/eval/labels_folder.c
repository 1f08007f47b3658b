/* A folder as labels. With an .xml file in it: Pascal VOC annotations (labels_voc.c). Else ImageNet's
 * form, one folder per class, the pictures in it or below:
 *
 *     val/n01440764/a.JPEG  val/n01443537/b.JPEG     class 0, class 1: by the names' order
 *
 * Each picture has one object, the whole of it; its size is not read. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "eval/label_store.h"

enum { DEPTH_MAX = 8, ENTRIES_MAX = 1 << 24 };

static bool has_ending(const char *path, const char *ending)
{
    const size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcasecmp(path + n - m, ending);
}

static bool is_picture(const char *path)
{
    return has_ending(path, ".jpg") || has_ending(path, ".jpeg") || has_ending(path, ".png");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

cr_status cr_list_folder(cr_arena *arena, const char *folder, char ***names, size_t *n,
                         cr_error *err)
{
    size_t cap = 0;
    *names = NULL;
    *n = 0;
    DIR *dir = opendir(folder);
    CR_CHECK(dir, err, CR_ERR_IO, "%s: cannot list: %s", folder, strerror(errno));
    cr_status st = CR_OK;
    for (struct dirent *e; st == CR_OK && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (*n >= ENTRIES_MAX)
            st = cr_fail(err, CR_ERR_LIMIT, "%s: more than %d files", folder, ENTRIES_MAX);
        else if (!cr_grow((void **)names, &cap, *n, sizeof **names) ||
                 !((*names)[*n] = cr_arena_strdup(arena, e->d_name)))
            st = CR_NOMEM(err);
        else
            ++*n;
    }
    closedir(dir);
    if (st == CR_OK && *n) qsort(*names, *n, sizeof **names, by_name);
    if (st == CR_OK) return CR_OK;
    cr_free(*names);
    *names = NULL;
    return st;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

typedef struct walk {
    cr_labels *labels;
    cr_arena arena;
    size_t root; /* length of the labels' folder and its slash */
    int64_t category;
} walk;

static cr_status add_picture(walk *w, const char *path, cr_error *err)
{
    const int64_t id = (int64_t)w->labels->image_count + 1;
    const cr_label_image image = {.id = id, .file_name = path + w->root, .path = path};
    const cr_label_box box = {
        .id = id, .image_id = id, .category_id = w->category, .w = 1, .h = 1, .area = 1};
    CR_TRY(cr_labels_add_image(w->labels, &image, err));
    return cr_labels_add_box(w->labels, &box, err);
}

static cr_status walk_class(walk *w, const char *folder, int depth, cr_error *err)
{
    char **names;
    size_t n;
    CR_CHECK(depth < DEPTH_MAX, err, CR_ERR_LIMIT, "%s: more than %d folders deep", folder,
             DEPTH_MAX);
    CR_TRY(cr_list_folder(&w->arena, folder, &names, &n, err));
    cr_status st = CR_OK;
    for (size_t i = 0; i < n && st == CR_OK; i++) {
        const char *path = cr_arena_printf(&w->arena, "%s/%s", folder, names[i]);
        if (!path)
            st = CR_NOMEM(err);
        else if (is_folder(path))
            st = walk_class(w, path, depth + 1, err);
        else if (is_picture(path))
            st = add_picture(w, path, err);
    }
    cr_free(names);
    return st;
}

static cr_status read_classes(walk *w, const char *root, char **names, size_t n, cr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *path = cr_arena_printf(&w->arena, "%s/%s", root, names[i]);
        if (!path) return CR_NOMEM(err);
        if (!is_folder(path)) continue;
        w->category = (int64_t)w->labels->category_count;
        CR_TRY(cr_labels_add_category(w->labels, w->category, names[i], err));
        CR_TRY(walk_class(w, path, 0, err));
    }
    CR_CHECK(w->labels->image_count, err, CR_ERR_FORMAT,
             "%s: no folders of pictures, one per class, and no .xml labels", root);
    return CR_OK;
}

cr_status cr_labels_read_folder(const char *path, cr_labels *l, cr_error *err)
{
    walk w = {.labels = l};
    char **names = NULL;
    size_t n;
    cr_status st;
    char *root = cr_arena_strdup(&w.arena, path);
    if (!root) return CR_NOMEM(err);
    for (size_t k = strlen(root); k > 1 && root[k - 1] == '/'; k--) root[k - 1] = 0;
    w.root = strlen(root) + 1;
    CR_TRY_GOTO(cr_list_folder(&w.arena, root, &names, &n, err), done);
    size_t xml = 0;
    while (xml < n && !has_ending(names[xml], ".xml")) xml++;
    st = xml < n ? cr_labels_read_voc(root, names, n, l, err)
                 : read_classes(&w, root, names, n, err);
done:
    cr_free(names);
    cr_arena_free(&w.arena);
    return st;
}
