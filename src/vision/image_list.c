/* Which pictures does "pictures/", "a*.jpg" or "val.txt" mean? Order matters: it decides which
 * pictures a calibration with --samples takes, so folders are sorted bytewise, not as found. */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "crayon/image.h"
#include "vision/image_source.h"
#include "vision/image_zip.h"
#include "vision/video.h"

enum { MAX_LIST_BYTES = 1 << 28 };

struct builder {
    cr_image_list *list;
    size_t cap;
};

static bool has_ending(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (; dot && *endings; endings++)
        if (!strcasecmp(dot, *endings)) return true;
    return false;
}

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", NULL};
    return name[0] != '.' && has_ending(name, endings);
}

static bool is_text_name(const char *name)
{
    static const char *const endings[] = {".txt", NULL};
    return has_ending(name, endings);
}

static char *join(const char *dir, size_t dir_length, const char *name)
{
    const size_t n = strlen(name);
    char *path = cr_malloc(dir_length + n + 2);
    if (!path) return NULL;
    memcpy(path, dir, dir_length);
    const bool slash = dir_length && dir[dir_length - 1] != '/';
    if (slash) path[dir_length] = '/';
    memcpy(path + dir_length + slash, name, n + 1);
    return path;
}

/* Takes ownership of `path` (NULL: the allocation before failed). */
static cr_status append(struct builder *b, char *path, cr_error *err)
{
    if (path && cr_grow((void **)&b->list->paths, &b->cap, b->list->count, sizeof(char *))) {
        b->list->paths[b->list->count++] = path;
        return CR_OK;
    }
    cr_free(path);
    return CR_NOMEM(err);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static cr_status add_folder(struct builder *b, const char *dir, cr_error *err)
{
    DIR *d = opendir(dir);
    CR_CHECK(d, err, CR_ERR_IO, "%s: cannot read folder: %s", dir, strerror(errno));
    cr_status st = CR_OK;
    for (struct dirent *e; st == CR_OK && (e = readdir(d));)
        if (is_picture_name(e->d_name)) st = append(b, join(dir, strlen(dir), e->d_name), err);
    closedir(d);
    if (b->list->count) qsort(b->list->paths, b->list->count, sizeof(char *), by_bytes);
    return st;
}

static cr_status add_folder_or_images(struct builder *b, const char *dir, cr_error *err)
{
    CR_TRY(add_folder(b, dir, err));
    if (b->list->count) return CR_OK;
    char *sub = join(dir, strlen(dir), "images");
    if (!sub) return CR_NOMEM(err);
    struct stat info;
    cr_status st = CR_OK;
    if (!stat(sub, &info) && S_ISDIR(info.st_mode)) st = add_folder(b, sub, err);
    cr_free(sub);
    if (st == CR_OK && !b->list->count)
        st = cr_fail(err, CR_ERR_IO, "%s: no .jpg, .jpeg or .png pictures in this folder", dir);
    return st;
}

/* A line's path: beside the list if it is there, else as it stands. */
static char *resolve(const char *list_path, const char *line)
{
    const char *slash = strrchr(list_path, '/');
    if (line[0] == '/' || !slash) return cr_strdup(line);
    char *beside = join(list_path, (size_t)(slash - list_path), line);
    struct stat info;
    if (beside && stat(beside, &info) && !stat(line, &info)) {
        cr_free(beside);
        return cr_strdup(line);
    }
    return beside;
}

static cr_status add_text(struct builder *b, const char *path, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, MAX_LIST_BYTES, &bytes, &size, err));
    cr_status st = CR_OK;
    if (memchr(bytes, 0, size)) st = cr_fail(err, CR_ERR_FORMAT, "%s: not a text file", path);
    for (char *line = (char *)bytes; st == CR_OK && *line;) {
        const size_t n = strcspn(line, "\r\n");
        char *next = line + n + (line[n] ? 1 : 0);
        line[n] = 0;
        if (n) st = append(b, resolve(path, line), err);
        line = next;
    }
    cr_free(bytes);
    if (st == CR_OK && !b->list->count)
        st = cr_fail(err, CR_ERR_IO, "%s: the list names no picture", path);
    return st;
}

/* CONTAINER#PLACE. */
static char *join_place(const char *container, const char *place)
{
    const size_t n = strlen(container);
    char *name = cr_malloc(n + strlen(place) + 2);
    if (!name) return NULL;
    memcpy(name, container, n);
    name[n] = '#';
    memcpy(name + n + 1, place, strlen(place) + 1);
    return name;
}

static bool is_place(const char *name)
{
    char *container;
    const char *place;
    const bool yes = cr_image_split_name(name, &container, &place);
    if (yes) cr_free(container);
    return yes;
}

typedef struct archive {
    struct builder *builder;
    const char *path;
} archive;

static cr_status add_member(void *user, const char *member, cr_error *err)
{
    const archive *a = user;
    return append(a->builder, join_place(a->path, member), err);
}

static cr_status add_zip(struct builder *b, const char *path, cr_error *err)
{
    archive a = {b, path};
    CR_TRY(cr_zip_list(path, is_picture_name, add_member, &a, err));
    CR_CHECK(b->list->count, err, CR_ERR_IO, "%s: no .jpg, .jpeg or .png pictures in this archive",
             path);
    qsort(b->list->paths, b->list->count, sizeof(char *), by_bytes);
    return CR_OK;
}

enum { VIDEO_FRAMES = 256 };

/* At the middle of equal parts of the time, so that neither the black before the scene nor the
 * uncertain end is asked for. */
static cr_status add_video(struct builder *b, const char *path, cr_error *err)
{
    cr_video *v;
    CR_TRY(cr_video_open(path, &v, err));
    const cr_video_info info = cr_video_get_info(v);
    cr_video_close(&v);
    const double frames = info.rate > 0 ? info.seconds * info.rate : VIDEO_FRAMES;
    const int n = frames < 1 ? 1 : frames < VIDEO_FRAMES ? (int)frames : VIDEO_FRAMES;
    cr_status st = CR_OK;
    for (int i = 0; st == CR_OK && i < n; i++) {
        char place[32];
        snprintf(place, sizeof place, "%.3f", info.seconds * (i + .5) / n);
        st = append(b, join_place(path, place), err);
    }
    return st;
}

static cr_status add_glob(struct builder *b, const char *pattern, cr_error *err)
{
    glob_t found = {0};
    cr_status st = CR_OK;
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; st == CR_OK && i < found.gl_pathc; i++)
            if (is_picture_name(strrchr(found.gl_pathv[i], '/')
                                    ? strrchr(found.gl_pathv[i], '/') + 1
                                    : found.gl_pathv[i]))
                st = append(b, cr_strdup(found.gl_pathv[i]), err);
    globfree(&found);
    if (st == CR_OK && !b->list->count)
        st = cr_fail(err, CR_ERR_IO, "%s: no such file, folder or matching pictures", pattern);
    return st;
}

cr_status cr_image_list_open(const char *spec, cr_image_list *out, cr_error *err)
{
    *out = (cr_image_list){0};
    struct builder b = {out, 0};
    struct stat info;
    cr_status st;
    if (stat(spec, &info))
        st = is_place(spec) ? append(&b, cr_strdup(spec), err) : add_glob(&b, spec, err);
    else if (S_ISDIR(info.st_mode))
        st = add_folder_or_images(&b, spec, err);
    else if (is_text_name(spec))
        st = add_text(&b, spec, err);
    else if (cr_zip_is_name(spec))
        st = add_zip(&b, spec, err);
    else if (cr_video_is_name(spec))
        st = add_video(&b, spec, err);
    else
        st = append(&b, cr_strdup(spec), err);
    if (st != CR_OK) cr_image_list_free(out);
    return st;
}

void cr_image_list_free(cr_image_list *list)
{
    if (!list) return;
    for (size_t i = 0; i < list->count; i++) cr_free(list->paths[i]);
    cr_free(list->paths);
    *list = (cr_image_list){0};
}
