/* Labelled pictures as training data: what `crayon eval` reads (COCO JSON, data.yaml, Pascal VOC, a
 * folder per class), picture by picture as a network's input and its truth.
 *
 *     cr_dataset_open(&options, &d, &err);
 *     index = cr_dataset_shuffled(d, seed, step * items + item);
 *     cr_dataset_item(d, &how, index, &rng, input, &truth, &err);    rng NULL: as it will be run
 *     ... cr_item_free(&truth);
 *
 * What an item holds depends on the files, the index and the generator alone: not on what was read
 * before, nor on threads. So a run goes on after a stop where it was, without any state.
 *
 * A picture that cannot be read, or is not as large as its labels say, is named once and left out:
 * the next one in the list takes its place, whoever asks for it. */
#ifndef CR_TRAIN_DATASET_H
#define CR_TRAIN_DATASET_H

#include "base/mem.h"
#include "crayon/eval.h"
#include "train/augment.h"
#include "train/loss.h"

typedef struct cr_dataset cr_dataset;

typedef struct cr_dataset_options {
    const char *labels; /* as cr_labels_load; of a data.yaml the train split */
    const char *images; /* as cr_image_list_open; NULL: where the labels say, of a COCO file the
                           folder `images` beside it, or its own */
    unsigned parts;     /* CR_LABEL_MASKS | CR_LABEL_KEYPOINTS: what is needed besides boxes */
    bool validation;    /* of a data.yaml: the split that `eval` uses */
    const char *const *names; /* [classes] of the model; NULL: categories in order of their ids */
    size_t classes;
    void (*warn)(void *user, const char *line); /* or NULL */
    void *user;
} cr_dataset_options;

/* The names may go afterwards. CR_ERR_IO: no labelled picture is there. CR_ERR_FORMAT: an object
 * without the parts that are needed (masks; keypoints in no object at all). */
cr_status cr_dataset_open(const cr_dataset_options *options, cr_dataset **out, cr_error *err);
void cr_dataset_free(cr_dataset **d);

size_t cr_dataset_count(const cr_dataset *d); /* pictures, broken ones included; >= 1 */
size_t cr_dataset_classes(const cr_dataset *d);
const char *cr_dataset_class(const cr_dataset *d, size_t k);
size_t cr_dataset_keypoints(const cr_dataset *d);        /* the most that an object has */
size_t cr_dataset_objects(const cr_dataset *d);          /* in all pictures; crowds are none */
size_t cr_dataset_broken(const cr_dataset *d);           /* pictures found to be unreadable so far */
const cr_labels *cr_dataset_labels(const cr_dataset *d); /* for evaluation */
const char *cr_dataset_path(const cr_dataset *d, size_t index);
int64_t cr_dataset_image_id(const cr_dataset *d, size_t index);

/* The picture at place k of an endless list: every count pictures are all of them in a new order.
 */
size_t cr_dataset_shuffled(const cr_dataset *d, uint64_t seed, uint64_t k);

typedef struct cr_item_options {
    cr_preprocess pre;           /* the network's */
    cr_augment_options augment;  /* used with a generator */
    size_t keypoints;            /* per object of the truth; 0: none */
    const int *flip_index;       /* [keypoints] what each is in a mirror; NULL: as the labels say
                                    (cr_labels_keypoint_pairs), else COCO's for 17, else no mirrors */
    int mask_height, mask_width; /* 0: no masks */
    cr_pool *pool;
} cr_item_options;

typedef struct cr_item {
    cr_truth truth; /* in pixels of the input; owned */
    int class_id;   /* of the picture: that of its first object, -1 without */
    size_t index;   /* of the (first) picture that it was made of */
    cr_arena memory;
} cr_item;

/* input: [3, height, width], preprocessed. Where masks were read, the box of an object that the edge
 * cuts is that of what is left of its mask. Objects of which less than a tenth, or less than two
 * pixels in width or height, is left after augmentation are dropped; without a generator all stay
 * that lie in the picture. The item must be freed (or zeroed at first); it is emptied on failure.
 * Any number of threads may ask, each with a pool of its own or none. */
cr_status cr_dataset_item(cr_dataset *d, const cr_item_options *o, size_t index, cr_rng *rng,
                          float *input, cr_item *out, cr_error *err);
void cr_item_free(cr_item *item);

#endif
