#define _POSIX_C_SOURCE 200809L
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/cluster.h"

/* Opens for reading. Not blocking: a FIFO without a writer would hold us here for ever. */
static FILE *open_input(const char *path)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (fd >= 0 && !f) close(fd);
    return f;
}

cr_status cr_file_read(const char *path, size_t limit, unsigned char **bytes, size_t *size,
                       cr_error *err)
{
    *bytes = NULL;
    *size = 0;
    FILE *f = open_input(path);
    CR_CHECK(f, err, CR_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    cr_status st = CR_OK;
    unsigned char *buf = NULL;
    struct stat info;
    if (fstat(fileno(f), &info) || !S_ISREG(info.st_mode)) {
        st = cr_fail(err, CR_ERR_IO, "%s: not a regular file", path);
        goto done;
    }
    if ((uint64_t)info.st_size > limit) {
        st = cr_fail(err, CR_ERR_LIMIT, "%s: %lld bytes, more than the limit of %zu", path,
                     (long long)info.st_size, limit);
        goto done;
    }
    const size_t n = (size_t)info.st_size;
    buf = cr_malloc(n + 1);
    if (!buf) {
        st = CR_NOMEM(err);
        goto done;
    }
    if (fread(buf, 1, n, f) != n) {
        st = cr_fail(err, CR_ERR_IO, "%s: read error", path);
        goto done;
    }
    buf[n] = 0;
    *bytes = buf;
    *size = n;
    buf = NULL;
done:
    cr_free(buf);
    fclose(f);
    return st;
}

cr_status cr_file_read_at(const char *path, uint64_t offset, size_t size, void *out, cr_error *err)
{
    FILE *f = open_input(path);
    CR_CHECK(f, err, CR_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    const bool ok = offset <= INT64_MAX && !fseeko(f, (off_t)offset, SEEK_SET) &&
                    fread(out, 1, size, f) == size;
    fclose(f);
    CR_CHECK(ok, err, CR_ERR_FORMAT, "%s: too short: no %zu bytes at offset %llu", path, size,
             (unsigned long long)offset);
    return CR_OK;
}

struct cr_outfile {
    char *path, *temp; /* temp: what is open */
    bool direct;       /* `temp` is the target itself */
    FILE *stream;
};

/* Is there something that a file must not take the place of: a device, a FIFO, or the link that
 * stands for an open file, whatever that is (/dev/stdout)? */
static bool is_special(const char *path)
{
    struct stat info;
    const bool kernel = !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6);
    if (kernel && !lstat(path, &info) && S_ISLNK(info.st_mode)) return true;
    return !stat(path, &info) && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

static void outfile_free(cr_outfile **f)
{
    if ((*f)->stream) fclose((*f)->stream);
    cr_free((*f)->path);
    cr_free((*f)->temp);
    cr_free(*f);
    *f = NULL;
}

static bool open_direct(cr_outfile *f)
{
    f->direct = true;
    strcpy(f->temp, cr_cluster_rank() == 0 ? f->path : "/dev/null");
    f->stream = fopen(f->temp, "wb");
    return f->stream;
}

static bool open_temporary(cr_outfile *f)
{
    sprintf(f->temp, "%s.tmp-XXXXXX", f->path);
    const int fd = mkstemp(f->temp);
    const mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0) f->stream = fdopen(fd, "wb");
    if (f->stream && !fchmod(fd, 0666 & ~mask)) return true;
    const int why = errno;
    if (fd >= 0) unlink(f->temp);
    if (fd >= 0 && !f->stream) close(fd);
    errno = why;
    return false;
}

cr_status cr_outfile_open(const char *path, cr_outfile **out, cr_error *err)
{
    *out = NULL;
    cr_outfile *f = cr_calloc(1, sizeof *f);
    if (!f) return CR_NOMEM(err);
    f->path = cr_strdup(path);
    f->temp = cr_malloc(strlen(path) + 16);
    if (!f->path || !f->temp) {
        outfile_free(&f);
        return CR_NOMEM(err);
    }
    if (is_special(path) ? open_direct(f) : open_temporary(f)) {
        *out = f;
        return CR_OK;
    }
    const int why = errno;
    outfile_free(&f);
    return cr_fail(err, CR_ERR_IO, "%s: cannot write: %s", path, strerror(why));
}

FILE *cr_outfile_stream(cr_outfile *f) { return f->stream; }
const char *cr_outfile_temp_path(const cr_outfile *f) { return f->temp; }

void cr_outfile_abort(cr_outfile **f)
{
    if (!f || !*f) return;
    if (!(*f)->direct) unlink((*f)->temp);
    outfile_free(f);
}

cr_status cr_outfile_commit(cr_outfile **f, cr_error *err)
{
    cr_outfile *o = *f;
    errno = 0;
    bool ok = !ferror(o->stream) && !fflush(o->stream);
    ok = ok && (o->direct || !fsync(fileno(o->stream)));
    ok = !fclose(o->stream) && ok;
    o->stream = NULL;
    const bool mine = cr_cluster_rank() == 0; /* one of several processes writes */
    ok = ok && (o->direct || !(mine ? rename(o->temp, o->path) : unlink(o->temp)));
    if (ok) {
        outfile_free(f);
        return CR_OK;
    }
    const int why = errno;
    const cr_status st = cr_fail(err, CR_ERR_IO, "%s: cannot write: %s", o->path,
                                 strerror(why ? why : EIO));
    cr_outfile_abort(f);
    return st;
}

cr_status cr_file_write(const char *path, const void *bytes, size_t size, cr_error *err)
{
    cr_outfile *f;
    CR_TRY(cr_outfile_open(path, &f, err));
    fwrite(bytes, 1, size, f->stream);
    return cr_outfile_commit(&f, err);
}

cr_status cr_mkdirs(const char *path, cr_error *err)
{
    char *copy = cr_strdup(path);
    if (!copy) return CR_NOMEM(err);
    cr_status st = CR_OK;
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/') continue;
        const char saved = *p;
        *p = 0;
        if (mkdir(copy, 0777) && errno != EEXIST) {
            st = cr_fail(err, CR_ERR_IO, "%s: cannot make folder: %s", copy, strerror(errno));
            break;
        }
        *p = saved;
        if (!saved) break;
    }
    struct stat info;
    if (st == CR_OK && (stat(copy, &info) || !S_ISDIR(info.st_mode)))
        st = cr_fail(err, CR_ERR_IO, "%s: not a folder", path);
    cr_free(copy);
    return st;
}
