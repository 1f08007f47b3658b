/* The one EXIF fact a detector needs. A TIFF block is "II*\0" or "MM\0*", the offset of the first
 * directory, there a count and 12-byte entries: tag, type, count, value. */
#include <string.h>

#include "vision/image_codec.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3 };

static uint32_t get(const uint8_t *p, int bytes, bool big)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

int cr_exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8) return 1;
    const bool big = !memcmp(tiff, "MM\0*", 4);
    if (!big && memcmp(tiff, "II*\0", 4)) return 1;
    const size_t at = get(tiff + 4, 4, big);
    if (at > size || size - at < 2) return 1;
    const size_t entries = get(tiff + at, 2, big), room = (size - at - 2) / 12;
    for (size_t i = 0; i < entries && i < room; i++) {
        const uint8_t *e = tiff + at + 2 + 12 * i;
        if (get(e, 2, big) != TAG_ORIENTATION || get(e + 2, 2, big) != TYPE_SHORT) continue;
        const uint32_t v = get(e + 8, 2, big);
        return v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}
