/* Zip archives through libzip.
 *
 * An archive may lie: about sizes (a member is read up to the limit of any picture and not a byte
 * further, whatever its header says), about how much there is (MAX_MEMBERS), and its names may hold
 * anything (they are shown and matched, never used as paths). */
#include "vision/image_zip.h"

#include <string.h>
#include <zip.h>

#include "base/error.h"
#include "base/mem.h"

enum { MAX_MEMBERS = 1000000 };

static cr_status open_archive(const char *path, zip_t **out, cr_error *err)
{
    int code = 0;
    zip_error_t why;
    *out = zip_open(path, ZIP_RDONLY, &code);
    if (*out) return CR_OK;
    zip_error_init_with_code(&why, code);
    cr_fail(err, CR_ERR_FORMAT, "%s: cannot be read as a zip archive: %s", path,
            zip_error_strerror(&why));
    zip_error_fini(&why);
    return CR_ERR_FORMAT;
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

cr_status cr_zip_list(const char *path, bool (*keep)(const char *name),
                      cr_status (*add)(void *user, const char *member, cr_error *err), void *user,
                      cr_error *err)
{
    zip_t *z;
    CR_TRY(open_archive(path, &z, err));
    const zip_int64_t n = zip_get_num_entries(z, 0);
    cr_status st = CR_OK;
    if (n > MAX_MEMBERS)
        st = cr_fail(err, CR_ERR_LIMIT, "%s: %lld members; at most %d are read", path, (long long)n,
                     MAX_MEMBERS);
    for (zip_int64_t i = 0; st == CR_OK && i < n; i++) {
        const char *name = zip_get_name(z, (zip_uint64_t)i, 0);
        if (name && strncmp(name, "__MACOSX/", 9) && keep(last_part(name))) st = add(user, name, err);
    }
    zip_discard(z);
    return st;
}

static cr_status too_large(const char *name, cr_error *err)
{
    return cr_fail(err, CR_ERR_LIMIT, "%s: more than the limit of %zu bytes for a picture", name,
                   CR_IMAGE_MAX_BYTES);
}

/* Reads to the end, or until more than a picture may have has come. */
static cr_status read_member(zip_file_t *f, const char *name, uint8_t **bytes, size_t *size,
                             cr_error *err)
{
    size_t room = 1 << 16;
    *size = 0;
    *bytes = cr_malloc(room);
    while (*bytes) {
        const zip_int64_t got = zip_fread(f, *bytes + *size, room - *size);
        CR_CHECK(got >= 0, err, CR_ERR_FORMAT, "%s: %s", name, zip_file_strerror(f));
        if (got == 0) return CR_OK;
        *size += (size_t)got;
        if (*size > CR_IMAGE_MAX_BYTES) return too_large(name, err);
        if (*size < room) continue;
        room *= 2;
        uint8_t *grown = cr_realloc(*bytes, room);
        if (!grown) break;
        *bytes = grown;
    }
    return CR_NOMEM(err);
}

static cr_status decode_member(zip_t *z, const char *name, const char *member, cr_image *out,
                               cr_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    zip_stat_t info;
    zip_stat_init(&info);
    zip_file_t *f = zip_fopen(z, member, 0);
    CR_CHECK(f, err, CR_ERR_FORMAT, "%s: %s", name, zip_strerror(z));
    if (!zip_stat(z, member, 0, &info) && info.valid & ZIP_STAT_SIZE &&
        info.size > CR_IMAGE_MAX_BYTES) { /* a header that tells the truth saves the reading */
        zip_fclose(f);
        return too_large(name, err);
    }
    cr_status st = read_member(f, name, &bytes, &size, err);
    zip_fclose(f);
    if (st == CR_OK) st = cr_image_decode(bytes, size, name, out, err);
    cr_free(bytes);
    return st;
}

cr_status cr_zip_read_image(const char *path, const char *member, cr_image *out, cr_error *err)
{
    zip_t *z;
    *out = (cr_image){0};
    const size_t n = strlen(path) + strlen(member) + 2;
    char *name = cr_malloc(n);
    if (!name) return CR_NOMEM(err);
    memcpy(name, path, strlen(path));
    name[strlen(path)] = '#';
    memcpy(name + strlen(path) + 1, member, strlen(member) + 1);
    cr_status st = open_archive(path, &z, err);
    if (st == CR_OK) {
        st = decode_member(z, name, member, out, err);
        zip_discard(z);
    }
    cr_free(name);
    return st;
}
