/* See train_pictures.h. Variations, each with probability 1/2: mirrored left to right; a part of
 * the picture, 50 to 100 % of each side, in place of all of it (objects become larger); channels
 * multiplied by up to 30 % more or less, alike but for 10 %. The teacher looks at the same
 * picture, so none has to keep boxes right, and what it cannot tell costs nothing.
 *
 * A network that is trained with smaller inputs than it is made for gets a part in any case, 70 to
 * 160 % of what has the scale that it will see: edges and textures as they are, in place of whole
 * pictures that are shrunk. With shrunk ones yolov8n's scores at half of its size came to less than
 * half of their loss, and its detections at the full size were hardly better (docs/results/qat.md).
 */
#include "pipeline/train_pictures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

struct cr_train_pictures {
    char *const *paths;
    size_t count, bad;
    bool *is_bad;
    cr_train_pictures_options o;
    cr_image_reader *reader;
    uint8_t *pixels;
    size_t *order; /* of the round below */
    int64_t round; /* -1: none yet */
};

cr_status cr_train_pictures_open(char *const *paths, size_t count,
                                 const cr_train_pictures_options *o, cr_train_pictures **out,
                                 cr_error *err)
{
    *out = NULL;
    CR_CHECK(count > 0, err, CR_ERR_ARGUMENT, "no pictures to train with");
    cr_train_pictures *p = cr_calloc(1, sizeof *p);
    if (!p) return CR_NOMEM(err);
    *p = (cr_train_pictures){.paths = paths, .count = count, .o = *o, .round = -1};
    p->is_bad = cr_calloc(count, sizeof *p->is_bad);
    p->order = cr_calloc(count, sizeof *p->order);
    p->pixels = cr_malloc((size_t)o->preprocess.width * (size_t)o->preprocess.height * 3);
    cr_status st = p->is_bad && p->order && p->pixels ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = cr_image_reader_create(&p->reader, err);
    if (st != CR_OK) cr_train_pictures_close(&p);
    *out = p;
    return st;
}

void cr_train_pictures_close(cr_train_pictures **pictures)
{
    if (!pictures || !*pictures) return;
    cr_train_pictures *p = *pictures;
    cr_image_reader_free(&p->reader);
    cr_free(p->is_bad);
    cr_free(p->order);
    cr_free(p->pixels);
    cr_free(p);
    *pictures = NULL;
}

/* Fisher and Yates, a stream of its own per round. */
static void shuffle(cr_train_pictures *p, int64_t round)
{
    cr_rng r;
    if (p->round == round) return;
    cr_rng_seed_at(&r, p->o.seed, (uint64_t)round, UINT64_MAX);
    for (size_t i = 0; i < p->count; i++) p->order[i] = i;
    for (size_t i = p->count; i-- > 1;) {
        const size_t k = cr_rng_below(&r, (uint32_t)i + 1), was = p->order[i];
        p->order[i] = p->order[k];
        p->order[k] = was;
    }
    p->round = round;
}

static void note_bad(cr_train_pictures *p, size_t index, const cr_error *why)
{
    char line[sizeof why->message + 32];
    p->is_bad[index] = true;
    p->bad++;
    snprintf(line, sizeof line, "left out: %s", why->message);
    if (p->o.warn) p->o.warn(p->o.user, line);
}

/* The picture at `place` of the shuffled list, or the next that can be read. */
static cr_status read(cr_train_pictures *p, size_t place, cr_image *img, cr_error *err)
{
    cr_error why = {0};
    for (size_t tries = 0; tries < p->count; tries++) {
        const size_t index = p->order[(place + tries) % p->count];
        if (p->is_bad[index]) continue;
        const cr_status st = cr_image_reader_read(p->reader, p->paths[index], img, &why);
        if (st == CR_OK || st == CR_ERR_MEMORY) return st == CR_OK ? st : CR_NOMEM(err);
        note_bad(p, index, &why);
    }
    return cr_fail(err, CR_ERR_IO, "none of %zu pictures can be read, '%s' for one", p->count,
                   p->paths[0]);
}

/* A part of the picture, which takes its place. */
static void zoom(cr_image *img, double low, double high, cr_rng *r)
{
    const double part = fmin(1, cr_rng_range(r, low, high));
    const int w = (int)(img->width * part), h = (int)(img->height * part);
    if (w < 1 || h < 1) return;
    const int x = (int)cr_rng_below(r, (uint32_t)(img->width - w) + 1);
    const int y = (int)cr_rng_below(r, (uint32_t)(img->height - h) + 1);
    for (int row = 0; row < h; row++) /* forward: rows move up and to the left */
        memmove(img->rgb + (size_t)row * (size_t)w * 3,
                img->rgb + ((size_t)(y + row) * (size_t)img->width + (size_t)x) * 3, (size_t)w * 3);
    img->width = w;
    img->height = h;
}

static void mirror(uint8_t *pixels, int width, int height)
{
    for (int y = 0; y < height; y++) {
        uint8_t *row = pixels + (size_t)y * (size_t)width * 3;
        for (int a = 0, b = width - 1; a < b; a++, b--)
            for (int c = 0; c < 3; c++) {
                const uint8_t was = row[3 * a + c];
                row[3 * a + c] = row[3 * b + c];
                row[3 * b + c] = was;
            }
    }
}

static void light(uint8_t *pixels, size_t count, cr_rng *r)
{
    uint8_t table[3][256];
    const double all = cr_rng_range(r, .7, 1.3);
    for (int c = 0; c < 3; c++) {
        const double gain = all * cr_rng_range(r, .9, 1.1);
        for (int v = 0; v < 256; v++) {
            const double lit = v * gain + .5;
            table[c][v] = (uint8_t)(lit < 255 ? lit : 255);
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++) pixels[3 * i + c] = table[c][pixels[3 * i + c]];
}

cr_status cr_train_pictures_take(cr_train_pictures *p, int64_t step, int item, int items,
                                 float *input, cr_error *err)
{
    const cr_preprocess *pre = &p->o.preprocess;
    const int64_t at = step * items + item, n = (int64_t)p->count;
    cr_image img;
    cr_rng r;
    shuffle(p, at / n);
    cr_rng_seed_at(&r, p->o.seed, (uint64_t)step, (uint64_t)item);
    CR_TRY(read(p, (size_t)(at % n), &img, err));
    const double natural = p->o.part > 0 ? p->o.part : 1;
    if (p->o.vary && natural < 1) zoom(&img, .7 * natural, 1.6 * natural, &r);
    if (p->o.vary && natural >= 1 && cr_rng_below(&r, 2)) zoom(&img, .5, 1, &r);
    const cr_status st = cr_preprocess_pixels(pre, &img, p->pixels, NULL, err);
    cr_image_free(&img);
    CR_TRY(st);
    if (p->o.vary && cr_rng_below(&r, 2)) mirror(p->pixels, pre->width, pre->height);
    if (p->o.vary && cr_rng_below(&r, 2))
        light(p->pixels, (size_t)pre->width * (size_t)pre->height, &r);
    return cr_preprocess_normalize(pre, p->pixels, input, err);
}

size_t cr_train_pictures_bad(const cr_train_pictures *p)
{
    return p->bad;
}
