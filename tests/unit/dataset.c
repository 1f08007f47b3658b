/* Training data: coloured rectangles whose place in an augmented picture can be seen, so that
 * boxes, masks and keypoints are held against the pixels themselves; every form of labels; broken
 * files. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/runs.h"
#include "train/dataset.h"
#include "train/dataset_mask.h"

enum { PICTURES = 4, SIDE = 160, CELLS = SIDE / 4 };

static char folder[] = "/tmp/crayon-dataset-XXXXXX";

/* Width, height; x, y, w, h of the rectangle. */
static const int shape[PICTURES][6] = {{200, 120, 30, 20, 90, 60},
                                       {100, 160, 10, 70, 60, 80},
                                       {128, 128, 40, 8, 70, 44},
                                       {320, 240, 100, 90, 150, 110}};
static const uint8_t colour[PICTURES][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}};

static const char *at(const char *name)
{
    static char path[8][256];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(cr_file_write(at(name), text, strlen(text), NULL), CR_OK);
}

static void draw(const char *name, int k)
{
    const int *s = shape[k];
    cr_image img;
    assert_int_equal(cr_image_create(s[0], s[1], &img, NULL), CR_OK);
    for (int y = s[3]; y < s[3] + s[5]; y++)
        for (int x = s[2]; x < s[2] + s[4]; x++) memcpy(img.rgb + (y * s[0] + x) * 3, colour[k], 3);
    assert_int_equal(cr_image_write(at(name), &img, NULL), CR_OK);
    cr_image_free(&img);
}

/* Keypoints: corners left above, right above, left below. */
static void put_coco(const char *name, int broken)
{
    char text[8192], *p = text, *end = text + sizeof text;
    p += snprintf(p, (size_t)(end - p), "{\"images\":[");
    for (int k = 0; k < PICTURES + broken; k++)
        p += snprintf(p, (size_t)(end - p),
                      "%s{\"id\":%d,\"file_name\":\"p%d.png\",\"width\":%d,\"height\":%d}",
                      k ? "," : "", k + 1, k, shape[k % PICTURES][0], shape[k % PICTURES][1]);
    p += snprintf(p, (size_t)(end - p), "],\"categories\":[");
    for (int k = 0; k < PICTURES; k++)
        p += snprintf(p, (size_t)(end - p), "%s{\"id\":%d,\"name\":\"c%d\"}", k ? "," : "",
                      10 * k + 5, k);
    p += snprintf(p, (size_t)(end - p), "],\"annotations\":[");
    for (int k = 0; k < PICTURES; k++) {
        const int *s = shape[k], x = s[2], y = s[3], r = x + s[4], b = y + s[5];
        p += snprintf(p, (size_t)(end - p),
                      "%s{\"id\":%d,\"image_id\":%d,\"category_id\":%d,\"bbox\":[%d,%d,%d,%d],"
                      "\"segmentation\":[[%d,%d,%d,%d,%d,%d,%d,%d]],"
                      "\"keypoints\":[%d,%d,2,%d,%d,2,%d,%d,1]}",
                      k ? "," : "", k + 1, k + 1, 10 * k + 5, x, y, s[4], s[5], x, y, r, y, r, b, x,
                      b, x, y, r, y, x, b);
    }
    /* a crowd, and an object without extent, are nothing to learn */
    p += snprintf(p, (size_t)(end - p),
                  ",{\"id\":90,\"image_id\":1,\"category_id\":5,\"bbox\":[0,0,9,9],\"iscrowd\":1,"
                  "\"segmentation\":[[0,0,9,0,9,9]]},"
                  "{\"id\":91,\"image_id\":1,\"category_id\":5,\"bbox\":[5,5,0,9],"
                  "\"segmentation\":[[0,0,9,0,9,9]]}]}");
    put(name, text);
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    put_coco("labels.json", 0);
    for (int k = 0; k < PICTURES; k++) {
        char name[32];
        snprintf(name, sizeof name, "p%d.png", k);
        draw(name, k);
    }
    return 0;
}

static int remove_files(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0;
}

/* ---- helpers --------------------------------------------------------------------------------- */

typedef struct told {
    int lines;
    char last[640];
} told;

static void tell(void *user, const char *line)
{
    told *t = user;
    t->lines++;
    snprintf(t->last, sizeof t->last, "%s", line);
}

static cr_dataset *open_set(const cr_dataset_options *o)
{
    cr_dataset *d;
    cr_error err;
    if (cr_dataset_open(o, &d, &err) != CR_OK) fail_msg("%s", err.message);
    return d;
}

static cr_dataset *open_coco(unsigned parts)
{
    const cr_dataset_options o = {.labels = at("labels.json"), .parts = parts};
    return open_set(&o);
}

static const int mirror[3] = {1, 0, 2};

static cr_item_options everything(void)
{
    cr_item_options o = {.pre = cr_preprocess_default(SIDE, SIDE),
                         .augment = cr_augment_options_default(),
                         .keypoints = 3,
                         .flip_index = mirror,
                         .mask_height = CELLS,
                         .mask_width = CELLS};
    o.augment.hue = o.augment.saturation = o.augment.value = 0;
    return o;
}

static float input[3 * SIDE * SIDE];

static void get(cr_dataset *d, const cr_item_options *o, size_t index, cr_rng *rng, cr_item *item)
{
    cr_error err;
    if (cr_dataset_item(d, o, index, rng, input, item, &err) != CR_OK) fail_msg("%s", err.message);
}

static bool is_colour(int k, int x, int y)
{
    for (int c = 0; c < 3; c++)
        if (fabsf(input[(c * SIDE + y) * SIDE + x] - (float)colour[k][c] / 255) > .5f) return false;
    return true;
}

/* What of the picture's rectangle can be seen: x1, y1, x2, y2; false: nothing. */
static bool seen(int k, double box[4])
{
    box[0] = box[1] = SIDE;
    box[2] = box[3] = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            if (is_colour(k, x, y)) {
                box[0] = fmin(box[0], x);
                box[1] = fmin(box[1], y);
                box[2] = fmax(box[2], x + 1);
                box[3] = fmax(box[3], y + 1);
            }
    return box[2] > box[0];
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void what_is_there(void **state)
{
    (void)state;
    cr_dataset *d = open_coco(CR_LABEL_MASKS | CR_LABEL_KEYPOINTS);
    assert_int_equal(cr_dataset_count(d), PICTURES);
    assert_int_equal(cr_dataset_objects(d), PICTURES);
    assert_int_equal(cr_dataset_classes(d), PICTURES);
    assert_string_equal(cr_dataset_class(d, 2), "c2");
    assert_int_equal(cr_dataset_keypoints(d), 3);
    assert_int_equal(cr_dataset_image_id(d, 1), 2);
    cr_dataset_free(&d);
    cr_dataset_free(&d);
}

/* Without a generator an item is what the runtime makes of the picture. */
static void plain(void **state)
{
    static float want[3 * SIDE * SIDE];
    cr_item_options o = everything();
    (void)state;
    cr_dataset *d = open_coco(CR_LABEL_MASKS | CR_LABEL_KEYPOINTS);
    for (size_t k = 0; k < PICTURES; k++)
        for (int fit = 0; fit < 4; fit++) {
            cr_image img;
            cr_placement p;
            cr_item item;
            o.pre.fit = (cr_fit)fit;
            o.pre.bgr = k % 2;
            assert_int_equal(cr_image_read(cr_dataset_path(d, k), &img, NULL), CR_OK);
            assert_int_equal(cr_preprocess_run(&o.pre, &img, want, &p, NULL), CR_OK);
            get(d, &o, k, NULL, &item);
            assert_memory_equal(input, want, sizeof want);
            assert_int_equal(item.truth.count, 1);
            assert_int_equal(item.truth.class_id[0], k);
            assert_int_equal(item.class_id, k);
            const int *s = shape[k];
            const double x = fmin(fmax(s[2] * (double)p.gain_x + (double)p.pad_x, 0), SIDE);
            const double r =
                fmin(fmax((s[2] + s[4]) * (double)p.gain_x + (double)p.pad_x, 0), SIDE);
            assert_true(fabs(item.truth.box[0][0] - x) < 1e-9);
            assert_true(fabs(item.truth.box[0][2] - r) < 1e-9);
            cr_item_free(&item);
            cr_image_free(&img);
        }
    cr_dataset_free(&d);
}

/* Corners of a box after a turn: which of the three keypoints stands where. */
static void check_keypoints(const double *box, const double *points)
{
    int corners = 0;
    for (int k = 0; k < 3; k++) {
        if (points[k * 3 + 2] == 0) continue;
        for (int c = 0; c < 4; c++)
            corners += fabs(points[k * 3] - box[c & 1 ? 2 : 0]) < 1e-6 &&
                       fabs(points[k * 3 + 1] - box[c & 2 ? 3 : 1]) < 1e-6;
    }
    const int labelled = (points[2] != 0) + (points[5] != 0) + (points[8] != 0);
    assert_int_equal(corners, labelled);
}

/* A mask's pixels against those that the picture shows in them; a cell that the edge goes through
 * may be either. */
static void check_mask(int k, const uint8_t *mask)
{
    int wrong = 0, all = 0;
    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x < CELLS; x++) {
            int on = 0;
            for (int i = 0; i < 16; i++) on += is_colour(k, x * 4 + i % 4, y * 4 + i / 4);
            all += on == 16;
            wrong += (on == 16 && !mask[y * CELLS + x]) || (on == 0 && mask[y * CELLS + x]);
        }
    assert_true(wrong == 0);
    assert_true(all == 0 || mask != NULL);
}

/* Whatever is done to the pictures, boxes lie where the colours are. The pixel at an edge is a
 * mixture, so a seen edge is at most one pixel off; pictures that touch in a mosaic hide none. */
static void truth_follows_pixels(void **state)
{
    cr_item_options o = everything();
    int mosaics = 0, boxes = 0, hidden = 0, turned[8] = {0};
    (void)state;
    cr_dataset *d = open_coco(CR_LABEL_MASKS | CR_LABEL_KEYPOINTS);
    for (uint64_t seed = 0; seed < 240; seed++) {
        cr_rng rng, again;
        cr_item item;
        cr_augmentation a;
        o.augment.mosaic = .5;
        o.augment.symmetries = seed % 3 == 0;
        o.augment.no_mirror = seed % 5 == 0;
        o.pre.fit = (cr_fit)(seed % 4);
        cr_rng_seed_at(&rng, 7, seed, 0);
        again = rng;
        get(d, &o, seed % PICTURES, &rng, &item);
        cr_augment_draw(&o.augment, true, &again, &a);
        mosaics += a.tiles == CR_MOSAIC;
        turned[a.turn]++;
        if (o.augment.no_mirror) assert_false(cr_augment_is_mirror(a.turn));
        for (int k = 0; k < PICTURES; k++) {
            double box[4] = {0};
            size_t n = 0;
            const bool visible = seen(k, box);
            for (size_t i = 0; i < item.truth.count; i++) n += item.truth.class_id[i] == k;
            if (n > 1) continue; /* a picture can come twice in a mosaic */
            for (size_t i = 0; i < item.truth.count; i++) {
                if (item.truth.class_id[i] != k) continue;
                assert_true(visible);
                bool cut = a.tiles == CR_MOSAIC; /* the other of two may show, too small to count */
                for (int e = 0; e < 4; e++)
                    if (!cut) assert_true(fabs(box[e] - item.truth.box[i][e]) <= 1);
                for (int e = 0; e < 2 && cut; e++) {
                    assert_true(box[e] <= item.truth.box[i][e] + 1);
                    assert_true(box[e + 2] >= item.truth.box[i][e + 2] - 1);
                }
                if (!cut) check_mask(k, item.truth.masks + i * CELLS * CELLS);
                check_keypoints(item.truth.box[i], item.truth.keypoints + i * 9);
                boxes++;
            }
            hidden += visible && !n;
        }
        cr_item_free(&item);
    }
    assert_true(mosaics > 90 && mosaics < 150 && boxes > 250);
    assert_true(hidden < 40); /* slivers */
    for (int t = 0; t < 8; t++) assert_true(turned[t] > 2);
    cr_dataset_free(&d);
}

/* A triangle whose column x is on from row 99 - x: its first 30 columns reach from row 70 down. */
static void boxes_of_what_is_left(void **state)
{
    cr_runs runs = {0};
    (void)state;
    for (uint32_t x = 0; x < 100; x++) {
        cr_runs_add(&runs, false, 99 - x);
        cr_runs_add(&runs, true, x + 1);
    }
    char *text = cr_runs_to_text(&runs);
    const cr_coco_mask mask = {100, 100, text};
    cr_tile tile = {{2, 2}, {-10, 0}, {0, 0, 50, 200}};
    double box[4] = {0, 0, 50, 200};
    bool empty;
    assert_int_equal(cr_mask_tighten(&mask, &tile, box, &empty, NULL), CR_OK);
    const double want[4] = {0, 140, 50, 200};
    assert_false(empty);
    assert_memory_equal(box, want, sizeof want);
    tile.clip[3] = 100;
    assert_int_equal(cr_mask_tighten(&mask, &tile, box, &empty, NULL), CR_OK);
    assert_true(empty);
    free(text);
    cr_runs_free(&runs);
}

/* Keypoints of a mirrored picture change places with their pairs, and without pairs there is no
 * mirror. */
static void keypoint_pairs(void **state)
{
    cr_item_options o = everything();
    int swapped = 0;
    (void)state;
    cr_dataset *d = open_coco(CR_LABEL_KEYPOINTS);
    o.mask_height = o.mask_width = 0;
    o.augment.mosaic = o.augment.scale = o.augment.translate = 0;
    o.augment.flip = 1;
    for (int way = 0; way < 2; way++) {
        cr_rng rng;
        cr_item item;
        cr_rng_seed(&rng, 1);
        o.flip_index = way ? NULL : mirror;
        get(d, &o, 0, &rng, &item);
        const double *p = item.truth.keypoints, *b = item.truth.box[0];
        assert_true(fabs(p[0] - b[0]) < 1e-9); /* number 0 stands left in either */
        assert_true(fabs(p[3] - b[2]) < 1e-9);
        swapped += fabs(p[6] - b[2]) < 1e-9; /* number 2, its own pair, stands right in a mirror */
        cr_item_free(&item);
    }
    assert_int_equal(swapped, 1);
    cr_dataset_free(&d);
}

static void same_for_any_threads(void **state)
{
    static float first[3 * SIDE * SIDE];
    cr_item_options o = everything();
    cr_pool *pool;
    (void)state;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    cr_dataset *d = open_coco(CR_LABEL_MASKS | CR_LABEL_KEYPOINTS);
    o.augment = cr_augment_options_default();
    for (uint64_t seed = 0; seed < 10; seed++) {
        cr_item one, other;
        cr_rng rng;
        cr_rng_seed_at(&rng, 3, seed, 0);
        o.pool = NULL;
        get(d, &o, 0, &rng, &one);
        memcpy(first, input, sizeof first);
        cr_rng_seed_at(&rng, 3, seed, 0);
        o.pool = pool;
        get(d, &o, 0, &rng, &other);
        assert_memory_equal(first, input, sizeof first);
        assert_int_equal(one.truth.count, other.truth.count);
        if (one.truth.count)
            assert_memory_equal(one.truth.box, other.truth.box, 32 * one.truth.count);
        cr_item_free(&one);
        cr_item_free(&other);
    }
    cr_dataset_free(&d);
    cr_pool_free(&pool);
}

typedef struct crowd {
    cr_dataset *d;
    const cr_item_options *o;
    float *inputs;
    cr_item items[24];
} crowd;

static void ask(void *ctx, size_t index, int worker)
{
    crowd *c = ctx;
    cr_rng rng;
    (void)worker;
    cr_rng_seed_at(&rng, 9, 0, index);
    assert_int_equal(cr_dataset_item(c->d, c->o, index % PICTURES, &rng,
                                     c->inputs + index * 3 * SIDE * SIDE, &c->items[index], NULL),
                     CR_OK);
}

/* Several threads that ask at once get what one would get. */
static void asked_by_many(void **state)
{
    cr_item_options o = everything();
    cr_pool *pool;
    crowd c[2] = {{0}};
    (void)state;
    o.augment = cr_augment_options_default();
    assert_int_equal(cr_pool_create(4, &pool, NULL), CR_OK);
    for (int way = 0; way < 2; way++) {
        c[way].d = open_coco(CR_LABEL_MASKS | CR_LABEL_KEYPOINTS);
        c[way].o = &o;
        c[way].inputs = calloc(24 * 3 * SIDE * SIDE, sizeof(float));
        cr_pool_run(way ? pool : NULL, 24, ask, &c[way]);
    }
    assert_memory_equal(c[0].inputs, c[1].inputs, 24 * sizeof input);
    for (int i = 0; i < 24; i++)
        assert_int_equal(c[0].items[i].truth.count, c[1].items[i].truth.count);
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < 24; i++) cr_item_free(&c[way].items[i]);
        free(c[way].inputs);
        cr_dataset_free(&c[way].d);
    }
    cr_pool_free(&pool);
}

/* Hue by a third of the circle takes red to green; half the value halves, twice is cut. */
static void colours(void **state)
{
    uint8_t px[12] = {255, 0, 0, 10, 20, 30, 128, 128, 128, 200, 100, 0};
    const uint8_t third[12] = {0, 255, 0, 30, 10, 20, 128, 128, 128, 0, 200, 100};
    const uint8_t half[12] = {0, 128, 0, 15, 5, 10, 64, 64, 64, 0, 100, 50};
    const uint8_t grey[12] = {128, 128, 128, 15, 15, 15, 64, 64, 64, 100, 100, 100};
    cr_augmentation a = {.hue = 1. / 3, .saturation = 1, .value = 1};
    (void)state;
    cr_augment_colour(&a, px, 4, NULL);
    assert_memory_equal(px, third, 12);
    a.hue = 0;
    a.value = .5;
    cr_augment_colour(&a, px, 4, NULL);
    assert_memory_equal(px, half, 12);
    a.value = 1;
    a.saturation = 0;
    cr_augment_colour(&a, px, 4, NULL);
    assert_memory_equal(px, grey, 12);
    a.value = 9;
    cr_augment_colour(&a, px, 1, NULL);
    assert_int_equal(px[0], 255);
}

static void shuffling(void **state)
{
    bool moved = false;
    (void)state;
    cr_dataset *d = open_coco(0);
    for (uint64_t epoch = 0; epoch < 50; epoch++) {
        unsigned all = 0;
        for (uint64_t k = 0; k < PICTURES; k++) {
            const size_t index = cr_dataset_shuffled(d, 5, epoch * PICTURES + k);
            assert_true(index < PICTURES);
            all |= 1u << index;
            moved |= index != cr_dataset_shuffled(d, 6, epoch * PICTURES + k);
        }
        assert_int_equal(all, (1u << PICTURES) - 1);
    }
    assert_true(moved);
    cr_dataset_free(&d);
}

static void options_of_augmentation(void **state)
{
    cr_augment_options o = cr_augment_options_default();
    cr_error err;
    (void)state;
    assert_int_equal(cr_augment_check(&o, NULL), CR_OK);
    o.translate = 1.5;
    assert_int_equal(cr_augment_check(&o, &err), CR_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "translate is 1.5"));
    o.translate = NAN;
    assert_int_equal(cr_augment_check(&o, NULL), CR_ERR_ARGUMENT);
    o.translate = 0;
    o.scale = 1;
    assert_int_equal(cr_augment_check(&o, NULL), CR_ERR_ARGUMENT);
}

/* p4.png is not there, p5.png is text, p6.png is cut, p7.png has another size: three are named,
 * once, and a good one stands in for each. */
static void broken_pictures(void **state)
{
    told t = {0};
    cr_item_options o = everything();
    unsigned char *bytes;
    size_t size;
    (void)state;
    o.keypoints = 0;
    o.mask_height = o.mask_width = 0;
    put_coco("broken.json", 4);
    put("p5.png", "this is no picture");
    assert_int_equal(cr_file_read(at("p2.png"), 1 << 20, &bytes, &size, NULL), CR_OK);
    assert_int_equal(cr_file_write(at("p6.png"), bytes, size / 2, NULL), CR_OK);
    cr_free(bytes);
    draw("p7.png", 0);
    const cr_dataset_options with = {.labels = at("broken.json"), .warn = tell, .user = &t};
    cr_dataset *d = open_set(&with);
    assert_int_equal(cr_dataset_count(d), 7);
    assert_int_equal(t.lines, 1);
    assert_string_equal(t.last, "1 of 8 labelled pictures are not there");
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 7; i++) {
            cr_item item;
            cr_rng rng;
            cr_rng_seed(&rng, i);
            get(d, &o, i, round ? &rng : NULL, &item);
            assert_int_equal(item.index, i < 4 ? i : 0);
            cr_item_free(&item);
        }
    assert_int_equal(t.lines, 4);
    assert_non_null(strstr(t.last, "p7.png: 200x120 pixels, its labels are of 320x240; left out"));
    cr_dataset_free(&d);
}

static void nothing_can_be_read(void **state)
{
    cr_error err;
    cr_item item;
    cr_dataset *d;
    const cr_item_options o = {.pre = cr_preprocess_default(SIDE, SIDE)};
    (void)state;
    put("none.json", "{\"images\":[{\"id\":1,\"file_name\":\"q.png\"}],\"categories\":[{\"id\":1,"
                     "\"name\":\"a\"}],\"annotations\":[]}");
    const cr_dataset_options with = {.labels = at("none.json")};
    assert_int_equal(cr_dataset_open(&with, &d, &err), CR_ERR_IO);
    assert_null(d);
    assert_non_null(strstr(err.message, "none of the 1 pictures"));
    put("q.png", "no picture");
    d = open_set(&with);
    assert_int_equal(cr_dataset_item(d, &o, 0, NULL, input, &item, &err), CR_ERR_IO);
    assert_non_null(strstr(err.message, "none of the 1 pictures can be read"));
    cr_dataset_free(&d);
    /* parts that the labels lack */
    const cr_dataset_options posed = {.labels = at("none.json"), .parts = CR_LABEL_KEYPOINTS};
    assert_int_equal(cr_dataset_open(&posed, &d, &err), CR_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no object has keypoints"));
}

/* One picture, without objects, in mosaics of itself. */
static void one_picture(void **state)
{
    const cr_item_options o = {.pre = cr_preprocess_default(SIDE, SIDE),
                               .augment = cr_augment_options_default()};
    (void)state;
    put("one.json", "{\"images\":[{\"id\":1,\"file_name\":\"p0.png\"}],\"categories\":[{\"id\":1,"
                    "\"name\":\"a\"}],\"annotations\":[]}");
    const cr_dataset_options with = {.labels = at("one.json")};
    cr_dataset *d = open_set(&with);
    for (uint64_t k = 0; k < 10; k++) {
        cr_item item;
        cr_rng rng;
        cr_rng_seed(&rng, k);
        assert_int_equal(cr_dataset_shuffled(d, 1, k), 0);
        get(d, &o, 0, &rng, &item);
        assert_int_equal(item.truth.count, 0);
        assert_int_equal(item.class_id, -1);
        cr_item_free(&item);
    }
    cr_dataset_free(&d);
}

/* data.yaml: the train split, in which a picture is broken; validation takes the other one. */
static void yolo_form(void **state)
{
    told t = {0};
    cr_item item;
    const cr_item_options o = {.pre = cr_preprocess_default(SIDE, SIDE)};
    (void)state;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(cr_mkdirs(at(k ? "y/images/val" : "y/images/train"), NULL), CR_OK);
        assert_int_equal(cr_mkdirs(at(k ? "y/labels/val" : "y/labels/train"), NULL), CR_OK);
    }
    put("y/data.yaml", "train: images/train\nval: images/val\nnames: [one, two]\n");
    put("y/images/train/a.png", "broken");
    draw("y/images/train/b.png", 0);
    draw("y/images/val/c.png", 1);
    put("y/labels/train/b.txt", "1 0.5 0.5 0.5 0.5\n");
    put("y/labels/val/c.txt", "0 0.5 0.5 0.5 0.5\n");
    cr_dataset_options with = {.labels = at("y/data.yaml"), .warn = tell, .user = &t};
    cr_dataset *d = open_set(&with);
    assert_int_equal(cr_dataset_count(d), 2);
    get(d, &o, 0, NULL, &item);
    assert_int_equal(item.index, 1);
    assert_int_equal(item.class_id, 1);
    assert_int_equal(t.lines, 1);
    assert_non_null(strstr(t.last, "a.png"));
    cr_item_free(&item);
    cr_dataset_free(&d);
    with.validation = true;
    d = open_set(&with);
    assert_int_equal(cr_dataset_count(d), 1);
    assert_non_null(strstr(cr_dataset_path(d, 0), "c.png"));
    cr_dataset_free(&d);
}

/* A folder per class; the model's names decide the numbers. */
static void class_folders(void **state)
{
    static const char *const names[] = {"zebra", "ant"};
    cr_item item;
    cr_item_options o = {.pre = cr_preprocess_default(SIDE, SIDE)};
    (void)state;
    assert_int_equal(cr_mkdirs(at("f/ant"), NULL), CR_OK);
    assert_int_equal(cr_mkdirs(at("f/zebra"), NULL), CR_OK);
    draw("f/ant/1.png", 0);
    draw("f/zebra/1.png", 1);
    for (int named = 0; named < 2; named++) {
        const cr_dataset_options with = {
            .labels = at("f"), .names = named ? names : NULL, .classes = named ? 2 : 0};
        cr_dataset *d = open_set(&with);
        for (size_t k = 0; k < 2; k++) {
            cr_rng rng;
            cr_rng_seed(&rng, k);
            get(d, &o, k, k ? &rng : NULL, &item);
            assert_int_equal(item.class_id, named ? 1 - (int)k : (int)k);
            cr_item_free(&item);
        }
        cr_dataset_free(&d);
    }
}

static void no_memory(void **state)
{
    const cr_item_options o = everything();
    const cr_dataset_options with = {.labels = at("labels.json"),
                                     .parts = CR_LABEL_MASKS | CR_LABEL_KEYPOINTS};
    (void)state;
    for (long n = 0;; n++) {
        cr_dataset *d = NULL;
        cr_item item = {0};
        cr_rng rng;
        cr_rng_seed(&rng, 1);
        cr_alloc_fail_after(n);
        cr_status st = cr_dataset_open(&with, &d, NULL);
        if (st == CR_OK) st = cr_dataset_item(d, &o, 0, &rng, input, &item, NULL);
        cr_alloc_fail_after(-1);
        cr_item_free(&item);
        cr_dataset_free(&d);
        if (st == CR_OK) {
            assert_true(n > 30);
            return;
        }
        assert_int_equal(st, CR_ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there),
        cmocka_unit_test(plain),
        cmocka_unit_test(truth_follows_pixels),
        cmocka_unit_test(boxes_of_what_is_left),
        cmocka_unit_test(keypoint_pairs),
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(asked_by_many),
        cmocka_unit_test(colours),
        cmocka_unit_test(shuffling),
        cmocka_unit_test(options_of_augmentation),
        cmocka_unit_test(broken_pictures),
        cmocka_unit_test(nothing_can_be_read),
        cmocka_unit_test(one_picture),
        cmocka_unit_test(yolo_form),
        cmocka_unit_test(class_folders),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
