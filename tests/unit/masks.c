/* Masks: the same pixels as the plain formula gives, and COCO's run lengths of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "crayon/detect.h"

enum { INPUT = 64, CELLS = 16, ROWS = 84, CLASSES = 2, MASKS = 5, CHANNELS = 4 + CLASSES + MASKS };

typedef struct network {
    float boxes[CHANNELS * ROWS], protos[MASKS * CELLS * CELLS];
    cr_output outs[2];
    cr_head head;
} network;

static void make(network *n, cr_rng *rng)
{
    cr_error err;
    memset(n, 0, sizeof *n);
    for (int r = 0; r < ROWS; r += 9) {
        n->boxes[0 * ROWS + r] = (float)cr_rng_range(rng, 0, INPUT);
        n->boxes[1 * ROWS + r] = (float)cr_rng_range(rng, 0, INPUT);
        n->boxes[2 * ROWS + r] = (float)cr_rng_range(rng, 1, INPUT);
        n->boxes[3 * ROWS + r] = (float)cr_rng_range(rng, 1, INPUT);
        n->boxes[(4 + r % CLASSES) * ROWS + r] = (float)cr_rng_range(rng, .3, 1);
        for (int k = 0; k < MASKS; k++)
            n->boxes[(4 + CLASSES + k) * ROWS + r] = (float)cr_rng_range(rng, -1, 1);
    }
    for (int i = 0; i < MASKS * CELLS * CELLS; i++) n->protos[i] = (float)cr_rng_range(rng, -1, 1);
    n->outs[0] = (cr_output){n->boxes, 3, {1, CHANNELS, ROWS}};
    n->outs[1] = (cr_output){n->protos, 4, {1, MASKS, CELLS, CELLS}};
    assert_int_equal(cr_head_guess(n->outs, 2, "segment", CLASSES, 0, INPUT, INPUT, &n->head, &err),
                     CR_OK);
    assert_int_equal(n->head.masks, MASKS);
}

/* The mask's value at prototype coordinates, all cells summed. */
static double logit(const network *n, int row, double x, double y)
{
    x = fmin(fmax(x, 0), CELLS - 1);
    y = fmin(fmax(y, 0), CELLS - 1);
    const int x0 = (int)x, y0 = (int)y, x1 = x0 + (x0 + 1 < CELLS), y1 = y0 + (y0 + 1 < CELLS);
    double sum = 0;
    for (int k = 0; k < MASKS; k++) {
        const float *p = n->protos + k * CELLS * CELLS;
        const double a =
            (double)p[y0 * CELLS + x0] * (1 - (x - x0)) + (double)p[y0 * CELLS + x1] * (x - x0);
        const double b =
            (double)p[y1 * CELLS + x0] * (1 - (x - x0)) + (double)p[y1 * CELLS + x1] * (x - x0);
        sum +=
            (double)n->boxes[(4 + CLASSES + k) * ROWS + row] * (a * (1 - (y - y0)) + b * (y - y0));
    }
    return sum;
}

static void check_mask(const network *n, const cr_placement *place, const cr_detection *d)
{
    const cr_mask *m = d->mask;
    assert_non_null(m);
    for (int y = 0; y < place->src_height; y++)
        for (int x = 0; x < place->src_width; x++) {
            const bool inside = x + .5 >= (double)d->box[0] && x + .5 < (double)d->box[2] &&
                                y + .5 >= (double)d->box[1] && y + .5 < (double)d->box[3];
            const bool within =
                x >= m->x && x < m->x + m->width && y >= m->y && y < m->y + m->height;
            assert_int_equal(inside, within);
            if (!inside) continue;
            const double px =
                ((x + .5) * (double)place->gain_x + (double)place->pad_x) * CELLS / INPUT - .5;
            const double py =
                ((y + .5) * (double)place->gain_y + (double)place->pad_y) * CELLS / INPUT - .5;
            const double v = logit(n, d->index, px, py);
            const int on = m->on[(y - m->y) * m->width + x - m->x];
            if (fabs(v) > 1e-5) assert_int_equal(on, v > 0); /* float sums of five terms */
        }
}

/* COCO's code back into pixels, column by column. */
static void decode(const char *text, uint8_t *pixels, size_t count)
{
    int64_t lengths[4096];
    size_t n = 0, at = 0;
    while (*text) {
        int64_t v = 0;
        int shift = 0;
        bool more = true;
        while (more) {
            const int c = *text++ - '0';
            v |= (int64_t)(c & 31) << shift;
            more = c & 32;
            shift += 5;
            if (!more && c & 16) v |= -((int64_t)1 << shift);
        }
        if (n > 2) v += lengths[n - 2];
        lengths[n++] = v;
    }
    for (size_t i = 0; i < n; i++)
        for (int64_t k = 0; k < lengths[i]; k++) {
            assert_true(at < count);
            pixels[at++] = i % 2;
        }
    assert_int_equal(at, count);
}

static void check_code(const cr_mask *m, int width, int height)
{
    cr_error err;
    char *text;
    uint8_t *pixels = malloc((size_t)width * (size_t)height);
    assert_int_equal(cr_mask_to_rle(m, width, height, &text, &err), CR_OK);
    decode(text, pixels, (size_t)width * (size_t)height);
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++) {
            const bool within =
                x >= m->x && x < m->x + m->width && y >= m->y && y < m->y + m->height;
            assert_int_equal(pixels[x * height + y],
                             within && m->on[(y - m->y) * m->width + x - m->x]);
        }
    free(text);
    free(pixels);
}

static void masks_are_the_formula_s(void **state)
{
    cr_rng rng;
    cr_rng_seed(&rng, 9);
    static network n;
    for (int k = 0; k < 12; k++) {
        const cr_placement places[] = {
            {64, 64, 1, 1, 0, 0}, {200, 100, .32f, .32f, 0, 16}, {30, 61, 1.05f, 1.05f, 16, 0}};
        const cr_placement *place = &places[k % 3];
        cr_detect_options o = cr_detect_options_default();
        cr_detections found;
        cr_error err;
        make(&n, &rng);
        assert_int_equal(cr_head_decode(&n.head, n.outs, 2, place, &o, &found, &err), CR_OK);
        assert_true(found.count > 0);
        for (size_t i = 0; i < found.count; i++) {
            check_mask(&n, place, &found.items[i]);
            check_code(found.items[i].mask, place->src_width, place->src_height);
        }
        cr_detections_free(&found);
        o.no_masks = true;
        assert_int_equal(cr_head_decode(&n.head, n.outs, 2, place, &o, &found, &err), CR_OK);
        assert_true(found.count > 0 && !found.items[0].mask);
        cr_detections_free(&found);
        assert_int_equal(
            cr_head_decode(&n.head, n.outs, 1, place,
                           &(cr_detect_options){
                               .conf = .25f, .iou = .7f, .max_detections = 9, .max_candidates = 99},
                           &found, &err),
            CR_ERR_FORMAT);
    }
}

/* pycocotools.mask.encode of the same pixels gave these. */
static void codes_are_coco_s(void **state)
{
    uint8_t ring[9] = {1, 1, 1, 1, 0, 1, 1, 1, 1}, none[1] = {0};
    const struct {
        cr_mask mask;
        int width, height;
        const char *code;
    } cases[] = {
        {{1, 1, 3, 3, ring}, 5, 6, "733NN0225"},
        {{0, 0, 3, 3, ring}, 3, 3, "0410"},
        {{0, 0, 0, 0, NULL}, 4, 2, "8"},
        {{2, 0, 1, 1, none}, 100, 200, "Pac0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_error err;
        char *text;
        assert_int_equal(
            cr_mask_to_rle(&cases[i].mask, cases[i].width, cases[i].height, &text, &err), CR_OK);
        assert_string_equal(text, cases[i].code);
        free(text);
    }
    cr_error err;
    char *text;
    assert_int_equal(cr_mask_to_rle(&cases[0].mask, 3, 6, &text, &err), CR_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_are_the_formula_s),
        cmocka_unit_test(codes_are_coco_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
