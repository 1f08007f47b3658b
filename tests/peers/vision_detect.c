/* What vision_coco.py, vision_heads.py and vision_opencv.py need of libcrayon, as a program.
 *
 *   tensors FIT SIZE rgb|bgr DIV LIST          LIST: "picture output" lines; writes [3,S,S] float32
 *   detect FIT SIZE IOU multi|best LIST        LIST: "picture raw-output" lines; one JSON array of
 *                                              [x1,y1,x2,y2,score,class] per line, options of eval
 *   rows W H CLASSES KEYPOINTS TASK|- CONF IOU multi|best RAW...
 *                                              the same for one set of raw outputs without a
 * picture nms IOU LIMIT FILE                         FILE: float32 [n,4]; prints the survivors inks
 * cmyk|ycck FILE                        writes a four-component JPEG
 *
 * A raw output file is int64 rank, int64 dims, float32 data, little-endian. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "base/mem.h"
#include "crayon/detect.h"
#include "vision/nms.h"

enum { MAX_OUTPUTS = 16 };

static int fail(const char *what)
{
    fprintf(stderr, "peers-vision_detect: %s\n", what);
    return 1;
}

static float *read_floats(FILE *f, size_t n)
{
    float *p = malloc(n * sizeof *p + 1);
    if (p && fread(p, sizeof *p, n, f) == n) return p;
    free(p);
    return NULL;
}

static bool read_raw(const char *path, cr_output *out)
{
    int64_t rank = 0;
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    *out = (cr_output){0};
    bool ok = fread(&rank, sizeof rank, 1, f) == 1 && rank >= 1 && rank <= 8;
    ok = ok && fread(out->dim, sizeof *out->dim, (size_t)rank, f) == (size_t)rank;
    size_t n = 1;
    out->rank = (int)rank;
    for (int i = 0; ok && i < out->rank; i++) n *= (size_t)out->dim[i];
    if (ok) out->data = read_floats(f, n);
    fclose(f);
    return out->data != NULL;
}

static cr_preprocess parse_fit(const char *fit, const char *size)
{
    cr_preprocess pre = cr_preprocess_default(atoi(size), atoi(size));
    for (int i = 0; i < 4; i++)
        if (!strcmp(fit, cr_fit_name((cr_fit)i))) pre.fit = (cr_fit)i;
    return pre;
}

static void print_detections(const cr_detections *found)
{
    printf("[");
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        printf("%s[%.9g,%.9g,%.9g,%.9g,%.9g,%d", i ? "," : "", d->box[0], d->box[1], d->box[2],
               d->box[3], d->score, d->class_id);
        for (int k = 0; k < 3 * found->keypoint_count; k++) printf(",%.9g", d->keypoints[k]);
        printf("]");
    }
    printf("]\n");
}

static int write_tensor(const cr_preprocess *pre, const char *picture, const char *target)
{
    cr_error err = {0};
    cr_image img;
    const size_t n = 3 * (size_t)pre->width * (size_t)pre->height;
    float *out = malloc(n * sizeof *out);
    FILE *f = fopen(target, "wb");
    int rc = 1;
    if (out && f && cr_image_read(picture, &img, &err) == CR_OK) {
        if (cr_preprocess_run(pre, &img, out, NULL, &err) == CR_OK)
            rc = fwrite(out, sizeof *out, n, f) != n;
        cr_image_free(&img);
    }
    if (f && fclose(f)) rc = 1;
    free(out);
    return rc ? fail(err.message) : 0;
}

static int detect_one(const cr_preprocess *pre, const cr_detect_options *o, const char *picture,
                      const char *raw)
{
    cr_error err = {0};
    cr_image img;
    cr_output out;
    cr_head head;
    cr_placement place;
    cr_detections found = {0};
    const size_t n = 3 * (size_t)pre->width * (size_t)pre->height;
    float *input = malloc(n * sizeof *input);
    if (!input || !read_raw(raw, &out)) return fail(raw);
    cr_status st = cr_image_read(picture, &img, &err);
    if (st == CR_OK) {
        st = cr_preprocess_run(pre, &img, input, &place, &err);
        cr_image_free(&img);
    }
    if (st == CR_OK) st = cr_head_guess(&out, 1, NULL, 80, 0, pre->width, pre->height, &head, &err);
    if (st == CR_OK) st = cr_head_decode(&head, &out, 1, &place, o, &found, &err);
    if (st == CR_OK) print_detections(&found);
    cr_detections_free(&found);
    free((float *)out.data);
    free(input);
    return st == CR_OK ? 0 : fail(err.message);
}

/* "a b" lines of a list; paths without blanks. */
static int each_pair(const char *list, const cr_preprocess *pre, const cr_detect_options *o)
{
    char a[2048], b[2048];
    FILE *f = fopen(list, "r");
    int rc = f ? 0 : fail(list);
    while (!rc && fscanf(f, "%2047s %2047s", a, b) == 2)
        rc = o ? detect_one(pre, o, a, b) : write_tensor(pre, a, b);
    if (f) fclose(f);
    return rc;
}

static int run_rows(int argc, char **argv)
{
    const int w = atoi(argv[0]), h = atoi(argv[1]), n = argc - 8;
    const char *task = strcmp(argv[4], "-") ? argv[4] : NULL;
    cr_detect_options o = cr_detect_options_eval();
    o.conf = strtof(argv[5], NULL);
    o.iou = strtof(argv[6], NULL);
    o.multi_label = !strcmp(argv[7], "multi");
    cr_output outs[MAX_OUTPUTS];
    if (n < 1 || n > MAX_OUTPUTS) return fail("number of outputs");
    for (int i = 0; i < n; i++)
        if (!read_raw(argv[8 + i], &outs[i])) return fail(argv[8 + i]);
    const cr_placement place = {w, h, 1, 1, 0, 0};
    cr_error err = {0};
    cr_head head;
    cr_detections found = {0};
    cr_status st =
        cr_head_guess(outs, (size_t)n, task, atoi(argv[2]), atoi(argv[3]), w, h, &head, &err);
    if (st == CR_OK) st = cr_head_decode(&head, outs, (size_t)n, &place, &o, &found, &err);
    if (st == CR_OK) print_detections(&found);
    cr_detections_free(&found);
    for (int i = 0; i < n; i++) free((float *)outs[i].data);
    return st == CR_OK ? 0 : fail(err.message);
}

static int run_nms(const char *iou, const char *limit, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) return fail(path);
    const size_t n = (size_t)ftell(f) / (4 * sizeof(float));
    rewind(f);
    float *boxes = read_floats(f, 4 * n);
    size_t *keep = malloc((n + 1) * sizeof *keep), kept = 0;
    fclose(f);
    if (!boxes || !keep) return fail(path);
    const cr_status st =
        cr_nms(boxes, n, strtof(iou, NULL), (size_t)atol(limit), keep, &kept, NULL);
    for (size_t i = 0; i < kept; i++) printf("%zu\n", keep[i]);
    free(keep);
    free(boxes);
    return st != CR_OK;
}

static int write_inks(const char *kind, const char *path)
{
    enum { WIDTH = 61, HEIGHT = 43 };
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *f = fopen(path, "wb");
    if (!f) return fail(path);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, f);
    jpeg.image_width = WIDTH;
    jpeg.image_height = HEIGHT;
    jpeg.input_components = 4;
    jpeg.in_color_space = JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_colorspace(&jpeg, strcmp(kind, "ycck") ? JCS_CMYK : JCS_YCCK);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        uint8_t line[4 * WIDTH];
        for (int i = 0; i < 4 * WIDTH; i++) line[i] = (uint8_t)(i * 3 + y * 5 * (i % 4 + 1));
        JSAMPROW row = line;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return fclose(f) ? fail(path) : 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "tensors") && argc == 7) {
        cr_preprocess pre = parse_fit(argv[2], argv[3]);
        pre.bgr = !strcmp(argv[4], "bgr");
        for (int c = 0; c < 3; c++) pre.div[c] = strtof(argv[5], NULL);
        return each_pair(argv[6], &pre, NULL);
    }
    if (!strcmp(verb, "detect") && argc == 7) {
        const cr_preprocess pre = parse_fit(argv[2], argv[3]);
        cr_detect_options o = cr_detect_options_eval();
        o.iou = strtof(argv[4], NULL);
        o.multi_label = !strcmp(argv[5], "multi");
        return each_pair(argv[6], &pre, &o);
    }
    if (!strcmp(verb, "rows") && argc > 10) return run_rows(argc - 2, argv + 2);
    if (!strcmp(verb, "nms") && argc == 5) return run_nms(argv[2], argv[3], argv[4]);
    if (!strcmp(verb, "inks") && argc == 4) return write_inks(argv[2], argv[3]);
    fputs("usage: peers-vision_detect tensors|detect|rows|nms|inks ...; see the file's head\n",
          stderr);
    return 2;
}
