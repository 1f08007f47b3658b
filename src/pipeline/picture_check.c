/* Pictures that are not worth calibrating on.
 *
 * Alike: the difference hash (Krawetz 2013): the picture as 9x8 grey cells, 64 bits that say which of
 * two neighbours is brighter; at most ALIKE_BITS of 64 differ between frames of a still camera or
 * copies in other sizes, some 30 between any two pictures. Grey: no pixel's channels differ by more
 * than what JPEG leaves. Empty: the cells differ by less than a few levels. */
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/check.h"

enum { LOOK_AT = 64, CELLS_X = 9, CELLS_Y = 8, ALIKE_BITS = 4, GREY_SPREAD = 6, EMPTY_SPREAD = 6 };

typedef struct look {
    uint64_t hash;
    bool grey, empty;
} look;

static void take_cells(const uint8_t *rgb, look *out)
{
    int cell[CELLS_X * CELLS_Y], least = 255 * 3, most = 0, bit = 0;
    for (int i = 0; i < CELLS_X * CELLS_Y; i++) {
        cell[i] = rgb[3 * i] + rgb[3 * i + 1] + rgb[3 * i + 2];
        if (cell[i] < least) least = cell[i];
        if (cell[i] > most) most = cell[i];
    }
    for (int y = 0; y < CELLS_Y; y++)
        for (int x = 0; x + 1 < CELLS_X; x++, bit++)
            out->hash |= (uint64_t)(cell[y * CELLS_X + x] < cell[y * CELLS_X + x + 1]) << bit;
    out->empty = most - least < 3 * EMPTY_SPREAD;
}

static bool is_grey(const cr_image *img)
{
    const size_t n = (size_t)img->width * (size_t)img->height, step = n / 20000 + 1;
    for (size_t i = 0; i < n; i += step) {
        const uint8_t *p = img->rgb + 3 * i;
        if (abs(p[0] - p[1]) > GREY_SPREAD || abs(p[1] - p[2]) > GREY_SPREAD) return false;
    }
    return true;
}

/* Each cell is the mean of its part of the picture. */
static void shrink(const cr_image *img, uint8_t *cells)
{
    for (int cy = 0; cy < CELLS_Y; cy++)
        for (int cx = 0; cx < CELLS_X; cx++) {
            const int x0 = cx * img->width / CELLS_X, y0 = cy * img->height / CELLS_Y;
            const int x1 = (cx + 1) * img->width / CELLS_X, y1 = (cy + 1) * img->height / CELLS_Y;
            uint64_t sum[3] = {0}, n = 0;
            for (int y = y0; y < (y1 > y0 ? y1 : y0 + 1); y++)
                for (int x = x0; x < (x1 > x0 ? x1 : x0 + 1); x++, n++)
                    for (int c = 0; c < 3; c++)
                        sum[c] += img->rgb[3 * ((size_t)y * (size_t)img->width + (size_t)x) +
                                           (size_t)c];
            for (int c = 0; c < 3; c++) cells[3 * (cy * CELLS_X + cx) + c] = (uint8_t)(sum[c] / n);
        }
}

static int differing_bits(uint64_t a, uint64_t b)
{
    return __builtin_popcountll(a ^ b);
}

static void count(const look *looks, size_t n, cr_picture_check *out)
{
    for (size_t i = 0; i < n; i++) {
        bool alike = false;
        for (size_t k = 0; k < i && !alike; k++)
            alike = differing_bits(looks[i].hash, looks[k].hash) <= ALIKE_BITS;
        out->alike += alike && !looks[i].empty;
        out->grey += looks[i].grey && !looks[i].empty;
        out->empty += looks[i].empty;
    }
    out->looked_at = n;
}

cr_status cr_pictures_check(const cr_image_list *pictures, cr_picture_check *out, cr_error *err)
{
    look looks[LOOK_AT] = {{0}};
    size_t seen = 0;
    cr_image_reader *reader;
    *out = (cr_picture_check){0};
    CR_TRY(cr_image_reader_create(&reader, err));
    const size_t n = pictures->count < LOOK_AT ? pictures->count : LOOK_AT;
    for (size_t i = 0; i < n; i++) {
        uint8_t cells[3 * CELLS_X * CELLS_Y];
        cr_image img;
        const char *name = pictures->paths[(2 * i + 1) * pictures->count / (2 * n)];
        if (cr_image_reader_read(reader, name, &img, NULL)) continue; /* calibration will say so */
        shrink(&img, cells);
        take_cells(cells, &looks[seen]);
        looks[seen++].grey = is_grey(&img);
        cr_image_free(&img);
    }
    cr_image_reader_free(&reader);
    count(looks, seen, out);
    return CR_OK;
}
