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
    char *path, *temp;
    FILE *stream;
};

static void outfile_free(cr_outfile **f)
{
    if ((*f)->stream) fclose((*f)->stream);
    cr_free((*f)->path);
    cr_free((*f)->temp);
    cr_free(*f);
    *f = NULL;
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
    sprintf(f->temp, "%s.tmp-XXXXXX", path);
    const int fd = mkstemp(f->temp);
    const mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0) f->stream = fdopen(fd, "wb");
    if (!f->stream || fchmod(fd, 0666 & ~mask)) {
        const int why = errno;
        if (fd >= 0) unlink(f->temp);
        if (fd >= 0 && !f->stream) close(fd);
        outfile_free(&f);
        return cr_fail(err, CR_ERR_IO, "%s: cannot write: %s", path, strerror(why));
    }
    *out = f;
    return CR_OK;
}

FILE *cr_outfile_stream(cr_outfile *f) { return f->stream; }
const char *cr_outfile_temp_path(const cr_outfile *f) { return f->temp; }

void cr_outfile_abort(cr_outfile **f)
{
    if (!f || !*f) return;
    unlink((*f)->temp);
    outfile_free(f);
}

cr_status cr_outfile_commit(cr_outfile **f, cr_error *err)
{
    cr_outfile *o = *f;
    errno = 0;
    bool ok = !ferror(o->stream) && !fflush(o->stream) && !fsync(fileno(o->stream));
    ok = !fclose(o->stream) && ok;
    o->stream = NULL;
    const bool mine = cr_cluster_rank() == 0; /* one of several processes writes */
    ok = ok && !(mine ? rename(o->temp, o->path) : unlink(o->temp));
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
