/* The folder of a package. It is built whole under a temporary name beside its target and takes the
 * target's place by one rename; a package that was there is moved aside first and put back if that
 * fails. Only packages and empty folders are ever replaced. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "coreml/coreml.h"
#include "crayon/cluster.h"

#define MODEL   "Data/com.apple.CoreML/model.mlmodel"
#define WEIGHTS "Data/com.apple.CoreML/weights/weight.bin"

/* What a package holds, deepest first: files, then folders. */
static const char *const files[] = {WEIGHTS, MODEL, "Manifest.json"};
static const char *const folders[] = {"Data/com.apple.CoreML/weights", "Data/com.apple.CoreML",
                                      "Data", ""};
enum { FILE_COUNT = 3, FOLDER_COUNT = 4 };

static char *joined(const char *a, const char *b)
{
    char *s = cr_malloc(strlen(a) + strlen(b) + 2);
    if (s) sprintf(s, "%s%s%s", a, *b ? "/" : "", b);
    return s;
}

/* Removes the parts that a package has and nothing else. */
static void remove_package(const char *path)
{
    for (int i = 0; i < FILE_COUNT + FOLDER_COUNT; i++) {
        char *part = joined(path, i < FILE_COUNT ? files[i] : folders[i - FILE_COUNT]);
        if (part && i < FILE_COUNT) unlink(part);
        if (part && i >= FILE_COUNT) rmdir(part);
        cr_free(part);
    }
}

static bool is_listed(const char *name, const char *const *list, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(name, list[i])) return true;
    return false;
}

/* Is everything in this folder (relative: where we are in the package) part of a package? */
static bool holds_package_only(const char *path, const char *relative)
{
    char *full = joined(path, relative);
    DIR *d = full ? opendir(full) : NULL;
    bool only = d != NULL;
    for (struct dirent *e; only && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *name = *relative ? joined(relative, e->d_name) : cr_strdup(e->d_name);
        only = name && (is_listed(name, files, FILE_COUNT) ||
                        (is_listed(name, folders, FOLDER_COUNT) && holds_package_only(path, name)));
        cr_free(name);
    }
    if (d) closedir(d);
    cr_free(full);
    return only;
}

/* ---- Manifest.json ---- */

/* Identifiers only have to differ between the items of one package; from the content, so that the
 * same model gives the same bytes. */
static void identifier(char out[37], const void *bytes, size_t size, uint64_t seed)
{
    uint64_t h[2];
    for (int k = 0; k < 2; k++) {
        h[k] = 0xCBF29CE484222325u + seed * 2 + (uint64_t)k; /* FNV-1a */
        for (size_t i = 0; i < size; i++)
            h[k] = (h[k] ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3u;
    }
    snprintf(out, 37, "%08X-%04X-4%03X-%04X-%012llX", (unsigned)(h[0] >> 32),
             (unsigned)(h[0] >> 16) & 0xFFFF, (unsigned)h[0] & 0xFFF,
             ((unsigned)(h[1] >> 48) & 0x3FFF) | 0x8000,
             (unsigned long long)(h[1] & 0xFFFFFFFFFFFFu));
}

static int manifest(char *out, size_t size, const void *model, size_t model_size, bool weights)
{
    char root[37], other[37], item[512] = "";
    identifier(root, model, model_size, 1);
    identifier(other, model, model_size, 2);
    if (weights)
        snprintf(item, sizeof item,
                 "        \"%s\": {\n"
                 "            \"author\": \"com.apple.CoreML\",\n"
                 "            \"description\": \"CoreML Model Weights\",\n"
                 "            \"name\": \"weights\",\n"
                 "            \"path\": \"com.apple.CoreML/weights\"\n"
                 "        },\n",
                 other);
    return snprintf(out, size,
                    "{\n"
                    "    \"fileFormatVersion\": \"1.0.0\",\n"
                    "    \"itemInfoEntries\": {\n"
                    "%s"
                    "        \"%s\": {\n"
                    "            \"author\": \"com.apple.CoreML\",\n"
                    "            \"description\": \"CoreML Model Specification\",\n"
                    "            \"name\": \"model.mlmodel\",\n"
                    "            \"path\": \"com.apple.CoreML/model.mlmodel\"\n"
                    "        }\n"
                    "    },\n"
                    "    \"rootModelIdentifier\": \"%s\"\n"
                    "}\n",
                    item, root, root);
}

/* ---- writing ---- */

static cr_status write_part(const char *folder, const char *name, const void *bytes, size_t size,
                            cr_error *err)
{
    char *path = joined(folder, name);
    if (!path) return CR_NOMEM(err);
    const cr_status st = cr_file_write(path, bytes, size, err);
    cr_free(path);
    return st;
}

static cr_status fill(const char *folder, const void *model, size_t model_size, const void *weights,
                      size_t weights_size, cr_error *err)
{
    char text[2048];
    const int length = manifest(text, sizeof text, model, model_size, weights_size > 0);
    char *inner = joined(folder, weights_size ? folders[0] : folders[1]);
    cr_status st = inner ? cr_mkdirs(inner, err) : CR_NOMEM(err);
    cr_free(inner);
    if (st == CR_OK) st = write_part(folder, MODEL, model, model_size, err);
    if (st == CR_OK && weights_size) st = write_part(folder, WEIGHTS, weights, weights_size, err);
    if (st == CR_OK) st = write_part(folder, files[2], text, (size_t)length, err);
    return st;
}

/* Puts the finished folder in the target's place. */
static cr_status put_in_place(const char *made, const char *path, cr_error *err)
{
    struct stat s;
    const bool replaces = !lstat(path, &s);
    char *aside = joined(made, "");
    if (!aside) return CR_NOMEM(err);
    memcpy(aside + strlen(aside) - 10, "old", 3); /* OUT.tmp-XXXXXX: OUT.old-XXXXXX */
    bool ok = !replaces || !rename(path, aside);
    if (ok && rename(made, path)) {
        ok = false;
        if (replaces) (void)rename(aside, path);
    }
    const int why = errno;
    if (ok && replaces) remove_package(aside);
    cr_free(aside);
    CR_CHECK(ok, err, CR_ERR_IO, "%s: cannot write: %s", path, strerror(why));
    return CR_OK;
}

static cr_status check_target(const char *path, cr_error *err)
{
    struct stat s;
    if (lstat(path, &s)) return CR_OK;
    CR_CHECK(S_ISDIR(s.st_mode), err, CR_ERR_IO, "%s: is a file, not a package; give another name",
             path);
    CR_CHECK(holds_package_only(path, ""), err, CR_ERR_IO,
             "%s: holds other things than a package; give another name", path);
    return CR_OK;
}

cr_status cr_coreml_package(const char *path, const void *model, size_t model_size,
                            const void *weights, size_t weights_size, cr_error *err)
{
    if (cr_cluster_rank() > 0) return CR_OK; /* one of several processes writes */
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *target = cr_malloc(n + 1), *made = cr_malloc(n + 16);
    cr_status st = target && made ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        sprintf(target, "%.*s", (int)n, path);
        sprintf(made, "%s.tmp-XXXXXX", target);
        st = check_target(target, err);
    }
    if (st == CR_OK && !mkdtemp(made))
        st = cr_fail(err, CR_ERR_IO, "%s: cannot write: %s", target, strerror(errno));
    if (st == CR_OK) {
        const mode_t mask = umask(0);
        umask(mask);
        (void)chmod(made, 0777 & ~mask);
        st = fill(made, model, model_size, weights, weights_size, err);
        if (st == CR_OK) st = put_in_place(made, target, err);
        if (st != CR_OK) remove_package(made);
    }
    cr_free(target);
    cr_free(made);
    return st;
}
