/* Reading pictures by name, wherever they are: files, members of archives, frames of videos. */
#define _POSIX_C_SOURCE 200809L
#include "vision/image_source.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "vision/image_zip.h"
#include "vision/video.h"

bool cr_zip_is_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && !strcasecmp(dot, ".zip");
}

bool cr_image_split_name(const char *name, char **container, const char **place)
{
    struct stat info;
    if (!strchr(name, '#') || !stat(name, &info)) return false;
    for (const char *mark = strchr(name, '#'); mark; mark = strchr(mark + 1, '#')) {
        char *head = cr_strdup(name);
        if (!head) return false;
        head[mark - name] = 0;
        const bool known = cr_zip_is_name(head) || cr_video_is_name(head);
        if (known && !stat(head, &info) && S_ISREG(info.st_mode)) {
            *container = head;
            *place = mark + 1;
            return true;
        }
        cr_free(head);
    }
    return false;
}

bool cr_frame_seconds(const char *place, double *seconds)
{
    char *end;
    if (*place < '0' || *place > '9') return false;
    *seconds = strtod(place, &end);
    return !*end && isfinite(*seconds) && *seconds < 1e9;
}

struct cr_image_reader {
    pthread_mutex_t lock; /* over the video */
    cr_video *video;
    char *path;           /* of it */
};

cr_status cr_image_reader_create(cr_image_reader **out, cr_error *err)
{
    cr_image_reader *r = *out = cr_calloc(1, sizeof *r);
    if (!r) return CR_NOMEM(err);
    pthread_mutex_init(&r->lock, NULL);
    return CR_OK;
}

static void forget_video(cr_image_reader *r)
{
    cr_video_close(&r->video);
    cr_free(r->path);
    r->path = NULL;
}

void cr_image_reader_free(cr_image_reader **rp)
{
    if (!rp || !*rp) return;
    forget_video(*rp);
    pthread_mutex_destroy(&(*rp)->lock);
    cr_free(*rp);
    *rp = NULL;
}

static cr_status read_frame(cr_image_reader *r, const char *path, double seconds, cr_image *out,
                            cr_error *err)
{
    if (!r->path || strcmp(r->path, path)) {
        forget_video(r);
        CR_TRY(cr_video_open(path, &r->video, err));
        r->path = cr_strdup(path);
        if (!r->path) return CR_NOMEM(err);
    }
    return cr_video_frame_at(r->video, seconds, out, err);
}

static cr_status read_place(cr_image_reader *r, const char *container, const char *place,
                            const char *name, cr_image *out, cr_error *err)
{
    double seconds;
    if (cr_zip_is_name(container)) return cr_zip_read_image(container, place, out, err);
    CR_CHECK(cr_frame_seconds(place, &seconds), err, CR_ERR_ARGUMENT,
             "%s: behind '#' stands no time in seconds", name);
    pthread_mutex_lock(&r->lock);
    const cr_status st = read_frame(r, container, seconds, out, err);
    pthread_mutex_unlock(&r->lock);
    return st;
}

static cr_status read_file(const char *path, cr_image *out, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, CR_IMAGE_MAX_BYTES, &bytes, &size, err));
    const cr_status st = cr_image_decode(bytes, size, path, out, err);
    cr_free(bytes);
    return st;
}

cr_status cr_image_reader_read(cr_image_reader *r, const char *name, cr_image *out, cr_error *err)
{
    char *container;
    const char *place;
    *out = (cr_image){0};
    if (!cr_image_split_name(name, &container, &place)) return read_file(name, out, err);
    const cr_status st = read_place(r, container, place, name, out, err);
    cr_free(container);
    return st;
}

cr_status cr_image_read(const char *name, cr_image *out, cr_error *err)
{
    cr_image_reader r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const cr_status st = cr_image_reader_read(&r, name, out, err);
    forget_video(&r);
    pthread_mutex_destroy(&r.lock);
    return st;
}
