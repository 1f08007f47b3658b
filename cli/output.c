/* Files that appear whole or not at all, and JSON. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "crayon/cluster.h"

/* ---- files ---- */

static cr_status io_error(cr_error *err, const char *path, const char *what)
{
    return cli_error(err, CR_ERR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* What a file must not take the place of: a device, a FIFO, or the link that stands for an open
 * file, whatever that is (/dev/stdout). */
static bool is_special(const char *path)
{
    struct stat info;
    const bool kernel = !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6);
    if (kernel && !lstat(path, &info) && S_ISLNK(info.st_mode)) return true;
    return !stat(path, &info) && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

static mode_t new_file_mode(void)
{
    const mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

cr_status cli_file_open(cli_file *file, const char *path, cr_error *err)
{
    *file = (cli_file){.path = path};
    if (!strcmp(path, "-")) {
        file->stream = stdout;
        return CR_OK;
    }
    if (is_special(path)) {
        file->stream = fopen(cr_cluster_rank() == 0 ? path : "/dev/null", "wb");
        return file->stream ? CR_OK : io_error(err, path, "write");
    }
    const size_t size = strlen(path) + 12;
    file->temp = malloc(size);
    if (!file->temp) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    snprintf(file->temp, size, "%s.tmp.XXXXXX", path);
    const int fd = mkstemp(file->temp);
    if (fd >= 0 && !fchmod(fd, new_file_mode()) && (file->stream = fdopen(fd, "wb"))) return CR_OK;
    const cr_status st = io_error(err, path, "write");
    if (fd >= 0) {
        close(fd);
        unlink(file->temp);
    }
    free(file->temp);
    *file = (cli_file){0};
    return st;
}

cr_status cli_file_commit(cli_file *file, cr_error *err)
{
    bool good = !fflush(file->stream) && !ferror(file->stream);
    if (file->stream == stdout) {
        *file = (cli_file){0};
        return good ? CR_OK : io_error(err, "standard output", "write");
    }
    if (good && file->temp) good = !fsync(fileno(file->stream));
    const int why = errno;
    const bool closed = !fclose(file->stream);
    file->stream = NULL;
    if (good && !closed)
        good = false;
    else if (!good)
        errno = why;
    const bool mine = cr_cluster_rank() == 0; /* one of several processes writes */
    if (good && file->temp) good = !(mine ? rename(file->temp, file->path) : unlink(file->temp));
    const cr_status st = good ? CR_OK : io_error(err, file->path, "write");
    if (!good && file->temp) unlink(file->temp);
    free(file->temp);
    *file = (cli_file){0};
    return st;
}

void cli_file_abort(cli_file *file)
{
    if (file->stream && file->stream != stdout) fclose(file->stream);
    if (file->temp) unlink(file->temp);
    free(file->temp);
    *file = (cli_file){0};
}

cr_status cli_check_writable(const char *path, cr_error *err)
{
    cli_file probe;
    if (is_special(path)) /* opening a FIFO is an event for its reader */
        return access(path, W_OK) ? io_error(err, path, "write") : CR_OK;
    const cr_status st = cli_file_open(&probe, path, err);
    cli_file_abort(&probe);
    return st;
}

cr_status cli_make_folder(const char *path, cr_error *err)
{
    char *copy = strdup(path);
    if (!copy) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    struct stat info;
    for (char *s = copy + 1; copy[0] && *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        mkdir(copy, 0777);
        *s = '/';
    }
    if (mkdir(copy, 0777) && errno == EEXIST && !stat(copy, &info))
        errno = S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
    else if (!stat(copy, &info))
        errno = 0;
    free(copy);
    return errno ? io_error(err, path, "make folder") : CR_OK;
}

/* ---- JSON ---- */

/* Length of the UTF-8 sequence at s, 0 if it is none (overlong forms, surrogates, > U+10FFFF). */
static int utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    const int n = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (!n || s[0] > 0xf4) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return n;
}

static void put_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        const int n = utf8_length(s);
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (*s < 0x20)
            fprintf(f, "\\u%04x", *s);
        else if (!n)
            fputs("\\ufffd", f);
        else
            fwrite(s, 1, (size_t)n, f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

static void begin_value(cli_json *j, const char *key)
{
    if (j->filled[j->depth]) fputs(", ", j->out);
    j->filled[j->depth] = true;
    if (!key) return;
    put_string(j->out, key);
    fputs(": ", j->out);
}

void cli_json_open(cli_json *j, const char *key, char bracket)
{
    begin_value(j, key);
    fputc(bracket, j->out);
    j->filled[++j->depth] = false;
}

void cli_json_close(cli_json *j, char bracket)
{
    fputc(bracket, j->out);
    j->depth--;
}

void cli_json_string(cli_json *j, const char *key, const char *text)
{
    begin_value(j, key);
    put_string(j->out, text);
}

void cli_json_integer(cli_json *j, const char *key, long long value)
{
    begin_value(j, key);
    fprintf(j->out, "%lld", value);
}

/* The fewest digits that read back as the same number. */
void cli_json_real(cli_json *j, const char *key, double value)
{
    char text[40] = "null";
    begin_value(j, key);
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, j->out);
}

void cli_json_float(cli_json *j, const char *key, float value)
{
    char text[40] = "null";
    begin_value(j, key);
    for (int digits = 6; isfinite(value) && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    fputs(text, j->out);
}

void cli_json_bool(cli_json *j, const char *key, bool value)
{
    begin_value(j, key);
    fputs(value ? "true" : "false", j->out);
}

void cli_json_null(cli_json *j, const char *key)
{
    begin_value(j, key);
    fputs("null", j->out);
}
