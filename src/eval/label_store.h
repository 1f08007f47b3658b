/* Labels in memory, and what the readers need to fill them. */
#ifndef CR_EVAL_LABEL_STORE_H
#define CR_EVAL_LABEL_STORE_H

#include "base/error.h"
#include "base/mem.h"
#include "crayon/eval.h"

/* Entries of the sorted look-up lists: a key, and the place of the image that has it. */
typedef struct cr_id_ref {
    int64_t id;
    size_t index;
} cr_id_ref;

typedef struct cr_name_ref {
    const char *name;
    size_t index;
} cr_name_ref;

/* One or more polygons: corners[i] of them, x and y each, one polygon behind the other in xy. */
typedef struct cr_polygons {
    const double *xy;
    const size_t *corners;
    size_t count;
} cr_polygons;

/* Polygons of a box whose picture may not be known yet; `annotation` is its place in the file. */
typedef struct cr_waiting_mask {
    size_t box, annotation;
    bool take_area;
    cr_polygons polygons;
} cr_waiting_mask;

struct cr_labels {
    cr_arena arena; /* all strings */
    unsigned parts; /* CR_LABEL_...: what the readers shall look at besides boxes */
    cr_waiting_mask *waiting;
    size_t waiting_count, waiting_cap;
    cr_arena waiting_memory;
    cr_label_image *images;
    cr_label_category *categories;
    cr_label_box *boxes;
    size_t image_count, image_cap, category_count, category_cap, box_count, box_cap;
    int *pairs; /* [pair_count] of keypoints in a mirror (keypoint_pairs.h), the arena's */
    size_t pair_count;
    bool mixed_pairs; /* categories have different ones */
    cr_id_ref *by_id;               /* images by id */
    cr_name_ref *by_name, *by_base; /* images by file name, and by its last component */
};

/* Append one; texts are copied. CR_ERR_MEMORY is the only failure. */
cr_status cr_labels_add_image(cr_labels *l, const cr_label_image *image, cr_error *err);
cr_status cr_labels_add_category(cr_labels *l, int64_t id, const char *name, cr_error *err);
cr_status cr_labels_add_box(cr_labels *l, const cr_label_box *box, cr_error *err);

/* Sorts categories, builds the indexes and checks all ids: unique, and every box's image and
 * category known. `path` is for messages. Called once, after the last add. */
cr_status cr_labels_finish(cr_labels *l, const char *path, cr_error *err);

/* Index of the category with that id (categories sorted), or SIZE_MAX. */
size_t cr_labels_category_index(const cr_labels *l, int64_t id);

/* The readers; all fill an empty cr_labels and do not finish it. */
cr_status cr_labels_read_coco(const char *path, cr_labels *l, cr_error *err);
cr_status cr_labels_read_yolo(const char *path, cr_labels *l, cr_error *err);
cr_status cr_labels_read_folder(const char *path, cr_labels *l, cr_error *err);
/* Of a folder's files, those that end in .xml. */
cr_status cr_labels_read_voc(const char *root, char *const *names, size_t n, cr_labels *l,
                             cr_error *err);

/* Names in a folder in order, without hidden ones; texts are the arena's, the list is freed by
 * cr_free. */
cr_status cr_list_folder(cr_arena *arena, const char *folder, char ***names, size_t *n,
                         cr_error *err);

#endif
