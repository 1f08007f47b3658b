/* JPEG: a chain of segments "ff MARKER length16 payload"; the size stands in the first frame header
 * (SOFn, ITU-T T.81 B.2.2), the orientation in an APP1 segment that holds a TIFF directory (Exif
 * 2.32, 4.6.4). PNG: IHDR is always the first chunk (RFC 2083, 4.1.1).
 *
 * Decoding with libjpeg would give the same numbers, but labels of 100 000 pictures are read with
 * this: a few short reads per file. */
#include "eval/picture_size.h"

#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum {
    SEGMENT_MAX = 0xffff,
    SEGMENTS_MAX = 4096, /* an ICC profile of 16 MB takes 256 */
    ORIENTATION = 0x0112
};

static unsigned be16(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static unsigned tiff16(const unsigned char *p, bool big)
{
    return big ? be16(p) : (unsigned)p[1] << 8 | p[0];
}

static uint32_t tiff32(const unsigned char *p, bool big)
{
    return big ? be32(p) : (uint32_t)tiff16(p + 2, false) << 16 | tiff16(p, false);
}

/* Orientation 1..8 from an APP1 payload; 1 when it has none or is damaged. */
static unsigned exif_orientation(const unsigned char *p, size_t n)
{
    if (n < 14 || memcmp(p, "Exif\0\0", 6)) return 1;
    p += 6, n -= 6;
    const bool big = p[0] == 'M';
    const size_t directory = tiff32(p + 4, big);
    if (directory > n - 2 || tiff16(p + 2, big) != 42) return 1;
    const size_t entries = tiff16(p + directory, big);
    for (size_t i = 0; i < entries && directory + 2 + (i + 1) * 12 <= n; i++) {
        const unsigned char *entry = p + directory + 2 + i * 12;
        if (tiff16(entry, big) != ORIENTATION) continue;
        const unsigned value = tiff16(entry + 8, big);
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

/* SOF0..SOF15 without DHT (c4), JPG (c8) and DAC (cc), which share the range. */
static bool is_frame(unsigned marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static cr_status jpeg_frame(const char *path, uint64_t at, unsigned orientation, int *width,
                            int *height, cr_error *err)
{
    unsigned char frame[5]; /* precision, lines, samples per line */
    CR_TRY(cr_file_read_at(path, at, sizeof frame, frame, err));
    const int h = (int)be16(frame + 1), w = (int)be16(frame + 3);
    CR_CHECK(w && h, err, CR_ERR_FORMAT, "%s: JPEG of %d x %d pixels", path, w, h);
    *width = orientation >= 5 ? h : w;
    *height = orientation >= 5 ? w : h;
    return CR_OK;
}

static cr_status jpeg_walk(const char *path, unsigned char *segment, int *width, int *height,
                           cr_error *err)
{
    unsigned orientation = 1;
    uint64_t at = 2;
    for (int i = 0; i < SEGMENTS_MAX; i++) {
        unsigned char head[4];
        CR_TRY(cr_file_read_at(path, at, sizeof head, head, err));
        CR_CHECK(head[0] == 0xff, err, CR_ERR_FORMAT, "%s: damaged JPEG: no marker at byte %llu",
                 path, (unsigned long long)at);
        if (head[1] == 0xff) { /* a fill byte */
            at++;
            continue;
        }
        const unsigned length = be16(head + 2);
        CR_CHECK(length >= 2 && head[1] != 0xd9 && head[1] != 0xda, err, CR_ERR_FORMAT,
                 "%s: damaged JPEG: no frame header before byte %llu", path,
                 (unsigned long long)at);
        if (is_frame(head[1])) return jpeg_frame(path, at + 4, orientation, width, height, err);
        if (head[1] == 0xe1 && orientation == 1) {
            CR_TRY(cr_file_read_at(path, at + 4, length - 2, segment, err));
            orientation = exif_orientation(segment, length - 2);
        }
        at += 2 + length;
    }
    return cr_fail(err, CR_ERR_LIMIT, "%s: JPEG with more than %d segments before its frame", path,
                   SEGMENTS_MAX);
}

cr_status cr_picture_size(const char *path, int *width, int *height, cr_error *err)
{
    unsigned char head[24];
    *width = *height = 0;
    CR_TRY(cr_file_read_at(path, 0, sizeof head, head, err));
    if (!memcmp(head, "\x89PNG\r\n\x1a\n", 8)) {
        const uint32_t w = be32(head + 16), h = be32(head + 20);
        CR_CHECK(!memcmp(head + 12, "IHDR", 4) && w && h && w <= INT_MAX && h <= INT_MAX, err,
                 CR_ERR_FORMAT, "%s: damaged PNG header", path);
        *width = (int)w;
        *height = (int)h;
        return CR_OK;
    }
    CR_CHECK(head[0] == 0xff && head[1] == 0xd8, err, CR_ERR_FORMAT,
             "%s: neither a JPEG nor a PNG picture", path);
    unsigned char *segment = cr_malloc(SEGMENT_MAX);
    if (!segment) return CR_NOMEM(err);
    const cr_status st = jpeg_walk(path, segment, width, height, err);
    cr_free(segment);
    return st;
}
