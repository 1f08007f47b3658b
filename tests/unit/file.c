/* Files: what is no regular file is refused at once, limits hold, writes are complete or absent. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static char folder[64], path[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/crayon-file-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/f", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void refused(const char *name, size_t limit, cr_status status, const char *part)
{
    unsigned char *bytes;
    size_t size;
    cr_error err;
    assert_int_equal(cr_file_read(name, limit, &bytes, &size, &err), status);
    assert_null(bytes);
    assert_int_equal(strncmp(err.message, name, strlen(name)), 0);
    assert_non_null(strstr(err.message, part));
}

/* Nobody writes to the FIFO: a reader that opened it the ordinary way would wait for ever. */
static void a_fifo_is_no_file(void **state)
{
    (void)state;
    char byte;
    cr_error err;
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    refused(path, 100, CR_ERR_IO, "not a regular file");
    assert_int_equal(cr_file_read_at(path, 0, 1, &byte, &err), CR_ERR_FORMAT);
    alarm(0);
    unlink(path);
}

static void no_files(void **state)
{
    (void)state;
    refused(folder, 100, CR_ERR_IO, "not a regular file");
    refused("/dev/zero", 100, CR_ERR_IO, "not a regular file");
    refused(path, 100, CR_ERR_IO, "cannot open");
}

static void sizes(void **state)
{
    (void)state;
    unsigned char *bytes;
    size_t size;
    char part[4] = "";
    cr_error err;
    assert_int_equal(cr_file_write(path, "abcdef", 6, &err), CR_OK);
    assert_int_equal(cr_file_read(path, 6, &bytes, &size, &err), CR_OK);
    assert_int_equal(size, 6);
    assert_string_equal((char *)bytes, "abcdef");
    cr_free(bytes);
    refused(path, 5, CR_ERR_LIMIT, "limit of 5");
    assert_int_equal(cr_file_read_at(path, 3, 3, part, &err), CR_OK);
    assert_string_equal(part, "def");
    assert_int_equal(cr_file_read_at(path, 4, 3, part, &err), CR_ERR_FORMAT);
    assert_int_equal(cr_file_read_at(path, UINT64_MAX, 1, part, &err), CR_ERR_FORMAT);
}

/* Until it is committed, the file that was there stays as it was. */
static void writing_is_atomic(void **state)
{
    (void)state;
    unsigned char *bytes;
    size_t size;
    cr_outfile *f;
    cr_error err;
    assert_int_equal(cr_file_write(path, "old", 3, &err), CR_OK);
    assert_int_equal(cr_outfile_open(path, &f, &err), CR_OK);
    fputs("new, but not finished", cr_outfile_stream(f));
    fflush(cr_outfile_stream(f));
    assert_int_equal(cr_file_read(path, 100, &bytes, &size, &err), CR_OK);
    assert_string_equal((char *)bytes, "old");
    cr_free(bytes);
    char *temporary = strdup(cr_outfile_temp_path(f));
    cr_outfile_abort(&f);
    assert_null(f);
    assert_int_equal(access(temporary, F_OK), -1);
    free(temporary);
    assert_int_equal(cr_outfile_open(path, &f, &err), CR_OK);
    fputs("new", cr_outfile_stream(f));
    assert_int_equal(cr_outfile_commit(&f, &err), CR_OK);
    assert_int_equal(cr_file_read(path, 100, &bytes, &size, &err), CR_OK);
    assert_string_equal((char *)bytes, "new");
    cr_free(bytes);
    assert_int_equal(cr_outfile_open("/nowhere/at/all", &f, &err), CR_ERR_IO);
    assert_null(f);
}

static void reads(const char *name, const char *content)
{
    char text[64] = "";
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_string_equal(text, content);
}

/* A name below /dev that stands for whatever file is open, a FIFO with its reader, a device: what
 * is written goes through them, and they stay what they are. */
static void special_files_stay(void **state)
{
    (void)state;
    cr_error err;
    cr_outfile *f;
    struct stat info;
    char text[8] = "", link[32], device[112];
    FILE *target = fopen(path, "wb+");
    assert_non_null(target);
    snprintf(link, sizeof link, "/dev/fd/%d", fileno(target));
    if (!access("/dev/fd", F_OK)) {
        assert_int_equal(cr_file_write(link, "open", 4, &err), CR_OK);
        reads(path, "open");
    }
    fclose(target);
    unlink(path);

    assert_int_equal(mkfifo(path, 0600), 0);
    const int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(cr_outfile_open(path, &f, &err), CR_OK);
    cr_outfile_abort(&f);
    assert_int_equal(cr_file_write(path, "pipe", 4, &err), CR_OK);
    assert_int_equal(read(reader, text, sizeof text), 4);
    assert_string_equal(text, "pipe");
    close(reader);
    assert_true(!lstat(path, &info) && S_ISFIFO(info.st_mode));
    unlink(path);

    snprintf(device, sizeof device, "%s/d", folder);
    if (mknod(device, S_IFCHR | 0600, makedev(1, 7))) return; /* /dev/full; for root only */
    const cr_status st = cr_file_write(device, "x", 1, &err);
    const bool stays = !lstat(device, &info) && S_ISCHR(info.st_mode);
    unlink(device);
    assert_true(stays);
    assert_int_equal(st, CR_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fifo_is_no_file),
        cmocka_unit_test(no_files),
        cmocka_unit_test(sizes),
        cmocka_unit_test(writing_is_atomic),
        cmocka_unit_test(special_files_stay),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
