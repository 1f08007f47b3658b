/* The metrics as a program that the peer tests compare with pycocotools:
 *
 *     peers-coco_eval LABELS RESULTS [IMAGE_ID...]         twelve numbers, then "ID AP AP50" per
 * class peers-coco_eval --agreement REFERENCE RESULTS CONF   twelve numbers peers-coco_eval --copy
 * RESULTS OUT                   reads and writes results peers-coco_eval --list LABELS "NAME WIDTH
 * HEIGHT" per image, then boxes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crayon/eval.h"

static cr_error err;

static int fail(void)
{
    fprintf(stderr, "peers-coco_eval: %s\n", err.message);
    return 1;
}

static void print_metrics(const cr_coco_metrics *m)
{
    const double v[12] = {m->ap,  m->ap50, m->ap75,  m->ap_small, m->ap_medium, m->ap_large,
                          m->ar1, m->ar10, m->ar100, m->ar_small, m->ar_medium, m->ar_large};
    for (int i = 0; i < 12; i++) printf("%.17g%c", v[i], i == 11 ? '\n' : ' ');
}

static int evaluate(int argc, char **argv)
{
    cr_labels *labels = NULL;
    cr_coco_box *boxes = NULL;
    size_t n, images = (size_t)argc - 3;
    cr_coco_metrics m;
    int64_t *ids = calloc(images + 1, sizeof *ids);
    for (size_t i = 0; ids && i < images; i++) ids[i] = strtoll(argv[3 + i], NULL, 10);
    if (!ids || cr_labels_load(argv[1], &labels, &err) ||
        cr_coco_boxes_read(argv[2], &boxes, &n, &err)) {
        cr_labels_free(&labels);
        free(ids);
        return fail();
    }
    const size_t count = cr_labels_category_count(labels);
    cr_coco_class *classes = calloc(count, sizeof *classes);
    const cr_status st = classes ? cr_coco_evaluate_classes(labels, boxes, n, images ? ids : NULL,
                                                            images, classes, &m, &err)
                                 : CR_ERR_MEMORY;
    if (st == CR_OK) print_metrics(&m);
    for (size_t k = 0; st == CR_OK && k < count; k++)
        printf("%lld %.17g %.17g\n", (long long)classes[k].category_id, classes[k].ap,
               classes[k].ap50);
    free(classes);
    free(ids);
    cr_coco_boxes_free(&boxes);
    cr_labels_free(&labels);
    return st == CR_OK ? 0 : fail();
}

static int agree(char **argv)
{
    cr_coco_box *reference = NULL, *boxes = NULL;
    size_t n, m;
    cr_coco_metrics out;
    const bool ok = !cr_coco_boxes_read(argv[2], &reference, &n, &err) &&
                    !cr_coco_boxes_read(argv[3], &boxes, &m, &err) &&
                    !cr_coco_agreement(reference, n, boxes, m, strtod(argv[4], NULL), &out, &err);
    if (ok) print_metrics(&out);
    cr_coco_boxes_free(&reference);
    cr_coco_boxes_free(&boxes);
    return ok ? 0 : fail();
}

typedef struct pose_list {
    cr_coco_box *boxes;
    float *points;
    size_t count;
} pose_list;

/* A text: per line image, category, x, y, w, h, score, then keypoints' x, y, score. */
static bool read_poses(const char *path, size_t keypoints, pose_list *l)
{
    FILE *f = fopen(path, "r");
    long long image, category;
    cr_coco_box b;
    while (f && fscanf(f, "%lld %lld %lf %lf %lf %lf %lf", &image, &category, &b.x, &b.y, &b.w,
                       &b.h, &b.score) == 7) {
        b.image_id = image;
        b.category_id = category;
        l->boxes = realloc(l->boxes, (l->count + 1) * sizeof b);
        l->points = realloc(l->points, (l->count + 1) * keypoints * 3 * sizeof(float));
        if (!l->boxes || !l->points) return false;
        l->boxes[l->count] = b;
        for (size_t k = 0; k < 3 * keypoints; k++)
            if (fscanf(f, "%f", &l->points[l->count * keypoints * 3 + k]) != 1) return false;
        l->count++;
    }
    return f && !fclose(f);
}

static int agree_poses(char **argv)
{
    const size_t keypoints = strtoul(argv[5], NULL, 10);
    pose_list a = {0}, b = {0};
    cr_coco_metrics out;
    const bool ok = read_poses(argv[2], keypoints, &a) && read_poses(argv[3], keypoints, &b) &&
                    !cr_coco_agreement_keypoints(a.boxes, a.points, a.count, b.boxes, b.points,
                                                 b.count, keypoints, strtod(argv[4], NULL), &out,
                                                 &err);
    if (ok) print_metrics(&out);
    free(a.boxes);
    free(a.points);
    free(b.boxes);
    free(b.points);
    return ok ? 0 : fail();
}

static int copy(char **argv)
{
    cr_coco_box *boxes = NULL;
    size_t n;
    const bool ok = !cr_coco_boxes_read(argv[2], &boxes, &n, &err) &&
                    !cr_coco_boxes_write(argv[3], boxes, n, &err);
    cr_coco_boxes_free(&boxes);
    return ok ? 0 : fail();
}

static int list(char **argv)
{
    cr_labels *labels = NULL;
    if (cr_labels_load(argv[2], &labels, &err)) return fail();
    for (size_t i = 0; i < cr_labels_image_count(labels); i++) {
        const cr_label_image *image = cr_labels_image(labels, i);
        printf("%s %d %d\n", image->file_name, image->width, image->height);
    }
    for (size_t i = 0; i < cr_labels_box_count(labels); i++) {
        const cr_label_box *b = cr_labels_box(labels, i);
        printf("%lld %lld %.17g %.17g %.17g %.17g\n", (long long)b->image_id,
               (long long)b->category_id, b->x, b->y, b->w, b->h);
    }
    cr_labels_free(&labels);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "--agreement")) return agree(argv);
    if (argc == 6 && !strcmp(argv[1], "--poses")) return agree_poses(argv);
    if (argc == 4 && !strcmp(argv[1], "--copy")) return copy(argv);
    if (argc == 3 && !strcmp(argv[1], "--list")) return list(argv);
    if (argc >= 3) return evaluate(argc, argv);
    fputs("usage: peers-coco_eval LABELS RESULTS [IMAGE_ID...]\n", stderr);
    return 2;
}
