/* The metrics as a program that the peer tests compare with pycocotools:
 *
 *     LABELS RESULTS [IMAGE_ID...]             twelve numbers, AR50, AR75, then "ID AP AP50" per class
 *     --segm|--keypoints|--obb LABELS RESULTS  the same of masks, keypoints or oriented boxes
 *     --agreement[-masks] REFERENCE RESULTS CONF
 *     --poses REFERENCE RESULTS CONF COUNT     agreement of keypoints, of texts
 *     --copy[-masks] RESULTS OUT               reads and writes results
 *     --masks LABELS OUT                       the labels' masks as results
 *     --list LABELS                            "NAME WIDTH HEIGHT" per image, then boxes */
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
    const double v[14] = {m->ap,        m->ap50,      m->ap75,     m->ap_small, m->ap_medium,
                          m->ap_large,  m->ar1,       m->ar10,     m->ar100,    m->ar_small,
                          m->ar_medium, m->ar_large,  m->ar50,     m->ar75};
    for (int i = 0; i < 14; i++) printf("%.17g%c", v[i], i == 13 ? '\n' : ' ');
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

static int evaluate_shapes(char **argv, unsigned parts, cr_coco_metric metric)
{
    cr_labels *labels = NULL;
    cr_coco_results found = {0};
    cr_coco_metrics m;
    const bool ok =
        !cr_labels_load_parts(argv[2], parts, &labels, &err) &&
        !cr_coco_results_read(argv[3], &found, &err) &&
        !cr_coco_evaluate_results(labels, &found, metric, NULL, 0, NULL, &m, &err);
    if (ok) print_metrics(&m);
    cr_coco_results_free(&found);
    cr_labels_free(&labels);
    return ok ? 0 : fail();
}

static int agree_masks(char **argv)
{
    cr_coco_results a = {0}, b = {0};
    cr_coco_metrics m;
    const bool ok = !cr_coco_results_read(argv[2], &a, &err) &&
                    !cr_coco_results_read(argv[3], &b, &err) &&
                    !cr_coco_agreement_results(&a, &b, CR_COCO_MASKS, strtod(argv[4], NULL), &m,
                                               &err);
    if (ok) print_metrics(&m);
    cr_coco_results_free(&a);
    cr_coco_results_free(&b);
    return ok ? 0 : fail();
}

static int copy_masks(char **argv)
{
    cr_coco_results r = {0};
    const bool ok = !cr_coco_results_read(argv[2], &r, &err) &&
                    !cr_coco_results_write(argv[3], &r, CR_COCO_MASKS, &err);
    cr_coco_results_free(&r);
    return ok ? 0 : fail();
}

static int label_masks(char **argv)
{
    cr_labels *labels = NULL;
    if (cr_labels_load_parts(argv[2], CR_LABEL_MASKS, &labels, &err)) return fail();
    const size_t n = cr_labels_box_count(labels);
    cr_coco_results r = {calloc(n + 1, sizeof *r.boxes), n, calloc(n + 1, sizeof *r.masks), NULL, 0};
    for (size_t i = 0; r.boxes && r.masks && i < n; i++) {
        const cr_label_box *b = cr_labels_box(labels, i);
        r.boxes[i] = (cr_coco_box){b->image_id, b->category_id, b->x, b->y, b->w, b->h, 1};
        r.masks[i] = *b->mask;
    }
    const bool ok = r.boxes && r.masks && !cr_coco_results_write(argv[3], &r, CR_COCO_MASKS, &err);
    free(r.boxes);
    free(r.masks);
    cr_labels_free(&labels);
    return ok ? 0 : fail();
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
    if (argc == 4 && !strcmp(argv[1], "--segm"))
        return evaluate_shapes(argv, CR_LABEL_MASKS, CR_COCO_MASKS);
    if (argc == 4 && !strcmp(argv[1], "--keypoints"))
        return evaluate_shapes(argv, CR_LABEL_KEYPOINTS, CR_COCO_KEYPOINTS);
    if (argc == 4 && !strcmp(argv[1], "--obb"))
        return evaluate_shapes(argv, CR_LABEL_CORNERS, CR_COCO_ORIENTED);
    if (argc == 5 && !strcmp(argv[1], "--agreement-masks")) return agree_masks(argv);
    if (argc == 4 && !strcmp(argv[1], "--copy-masks")) return copy_masks(argv);
    if (argc == 4 && !strcmp(argv[1], "--masks")) return label_masks(argv);
    if (argc == 6 && !strcmp(argv[1], "--poses")) return agree_poses(argv);
    if (argc == 4 && !strcmp(argv[1], "--copy")) return copy(argv);
    if (argc == 3 && !strcmp(argv[1], "--list")) return list(argv);
    if (argc >= 3) return evaluate(argc, argv);
    fputs("usage: peers-coco_eval LABELS RESULTS [IMAGE_ID...]\n", stderr);
    return 2;
}
