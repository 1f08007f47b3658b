/* Pictures in memory: creation, format dispatch by content (never by file name), orientation.
 *
 * Bytes from outside enter the library here. A decoder gets a bounded block of memory, not a
 * stream, so that all its reads can be checked against one length. */
#include "crayon/image.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "vision/image_codec.h"

cr_status cr_image_check_size(const char *name, uint64_t width, uint64_t height, cr_error *err)
{
    const bool ok = width >= 1 && height >= 1 && width <= CR_IMAGE_MAX_PIXELS &&
                    height <= CR_IMAGE_MAX_PIXELS && width * height <= CR_IMAGE_MAX_PIXELS;
    CR_CHECK(ok, err, CR_ERR_LIMIT, "%s: %llux%llu pixels; between 1 and %zu can be read", name,
             (unsigned long long)width, (unsigned long long)height, CR_IMAGE_MAX_PIXELS);
    return CR_OK;
}

cr_status cr_image_create(int width, int height, cr_image *out, cr_error *err)
{
    *out = (cr_image){0};
    CR_CHECK(width >= 1 && height >= 1, err, CR_ERR_ARGUMENT, "a picture of %dx%d pixels", width,
             height);
    CR_TRY(cr_image_check_size("new picture", (uint64_t)width, (uint64_t)height, err));
    out->rgb = cr_calloc((size_t)width * (size_t)height, 3);
    if (!out->rgb) return CR_NOMEM(err);
    out->width = width;
    out->height = height;
    return CR_OK;
}

void cr_image_free(cr_image *img)
{
    if (!img) return;
    cr_free(img->rgb);
    *img = (cr_image){0};
}

/* Where pixel (x, y) of the stored picture goes: EXIF 2..4 mirror or turn, 5..8 also transpose. */
cr_status cr_image_orient(cr_image *img, int orientation, cr_error *err)
{
    if (orientation < 2 || orientation > 8) return CR_OK;
    const bool transpose = orientation >= 5;
    const bool flip_x =
        orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const bool flip_y =
        orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const size_t w = (size_t)img->width, h = (size_t)img->height;
    cr_image turned;
    CR_TRY(cr_image_create((int)(transpose ? h : w), (int)(transpose ? w : h), &turned, err));
    const size_t tw = (size_t)turned.width, th = (size_t)turned.height;
    for (size_t ty = 0; ty < th; ty++) {
        for (size_t tx = 0; tx < tw; tx++) {
            const size_t u = flip_x ? tw - 1 - tx : tx, v = flip_y ? th - 1 - ty : ty;
            const size_t from = transpose ? u * w + v : v * w + u;
            memcpy(turned.rgb + 3 * (ty * tw + tx), img->rgb + 3 * from, 3);
        }
    }
    cr_image_free(img);
    *img = turned;
    return CR_OK;
}

static const char *describe(const uint8_t *p, size_t n)
{
    if (n == 0) return "the file is empty";
    if (n >= 2 && p[0] == 'B' && p[1] == 'M') return "this is a BMP picture";
    if (n >= 4 && !memcmp(p, "GIF8", 4)) return "this is a GIF picture";
    if (n >= 12 && !memcmp(p, "RIFF", 4) && !memcmp(p + 8, "WEBP", 4))
        return "this is a WebP picture";
    const size_t head = n < 64 ? n : 64;
    for (size_t i = 0; i < head; i++)
        if (!isprint(p[i]) && !isspace(p[i])) return "the content is neither";
    return "the file holds text";
}

cr_status cr_image_decode(const void *bytes, size_t size, const char *name, cr_image *out,
                          cr_error *err)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const uint8_t *p = bytes;
    int orientation = 1;
    *out = (cr_image){0};
    CR_CHECK(size <= CR_IMAGE_MAX_BYTES, err, CR_ERR_LIMIT,
             "%s: more than the limit of %zu bytes for a picture", name, CR_IMAGE_MAX_BYTES);
    cr_status st;
    if (size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff)
        st = cr_jpeg_decode(p, size, name, out, &orientation, err);
    else if (size >= sizeof png && !memcmp(p, png, sizeof png))
        st = cr_png_decode(p, size, name, out, &orientation, err);
    else
        return cr_fail(err, CR_ERR_FORMAT, "%s: not a JPEG or PNG picture: %s", name,
                       describe(p, size));
    if (st == CR_OK) st = cr_image_orient(out, orientation, err);
    if (st != CR_OK) cr_image_free(out);
    return st;
}

cr_status cr_image_read(const char *path, cr_image *out, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    *out = (cr_image){0};
    CR_TRY(cr_file_read(path, CR_IMAGE_MAX_BYTES, &bytes, &size, err));
    const cr_status st = cr_image_decode(bytes, size, path, out, err);
    cr_free(bytes);
    return st;
}

cr_status cr_image_write(const char *path, const cr_image *img, cr_error *err)
{
    const char *dot = strrchr(path, '.');
    const bool jpeg = dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
    CR_CHECK(jpeg || (dot && !strcasecmp(dot, ".png")), err, CR_ERR_ARGUMENT,
             "%s: pictures are written as .jpg or .png", path);
    CR_CHECK(img->rgb && img->width >= 1 && img->height >= 1, err, CR_ERR_ARGUMENT,
             "%s: the picture to write is empty", path);
    cr_outfile *f;
    CR_TRY(cr_outfile_open(path, &f, err));
    FILE *const stream = cr_outfile_stream(f);
    const cr_status st =
        jpeg ? cr_jpeg_encode(stream, path, img, err) : cr_png_encode(stream, path, img, err);
    if (st == CR_OK) return cr_outfile_commit(&f, err);
    cr_outfile_abort(&f);
    return st;
}
