/* Inside a data set: its list of pictures, and one picture as it was read. */
#ifndef CR_TRAIN_DATASET_STORE_H
#define CR_TRAIN_DATASET_STORE_H

#include <stdatomic.h>

#include "train/dataset.h"

typedef struct cr_dataset_entry {
    const char *path;
    const cr_label_image *image;
    size_t first, count; /* of its objects, places in `object` */
    atomic_bool broken;
} cr_dataset_entry;

/* Objects that can be learnt; box x1, y1, x2, y2 in pixels of the picture. */
typedef struct cr_dataset_object {
    double box[4];
    int class_id;
    const cr_label_box *label; /* mask and keypoints */
} cr_dataset_object;

struct cr_dataset {
    cr_labels *labels;
    cr_arena arena;
    cr_image_reader *reader;
    cr_dataset_entry *entry;
    cr_dataset_object *object;
    const char **name; /* [classes] */
    size_t count, object_count, classes, keypoints;
    unsigned parts; /* CR_LABEL_... that all objects have, or some */
    void (*warn)(void *user, const char *line);
    void *user;
};

/* Reads the picture at `index`, or the next one that can be read; *used: which. */
cr_status cr_dataset_read(cr_dataset *d, size_t index, cr_image *out, size_t *used, cr_error *err);

#endif
