/* Pictures for a training without labels: which one an item of a step gets, how it is varied, and
 * as what the network sees it. Everything follows from (seed, step, item), so that a run can be
 * resumed and does not depend on threads. */
#ifndef CR_PIPELINE_TRAIN_PICTURES_H
#define CR_PIPELINE_TRAIN_PICTURES_H

#include "crayon/image.h"

typedef struct cr_train_pictures cr_train_pictures;

typedef struct cr_train_pictures_options {
    cr_preprocess preprocess; /* width and height: of the network that is trained */
    double part; /* those in parts of what the network is made for, 0..1; 0 (left out): 1 */
    uint64_t seed;
    bool vary;                                  /* flips, zooms, light */
    void (*warn)(void *user, const char *line); /* once per picture that cannot be read; or NULL */
    void *user;
} cr_train_pictures_options;

/* The list's paths must outlive *out. */
cr_status cr_train_pictures_open(char *const *paths, size_t count,
                                 const cr_train_pictures_options *o, cr_train_pictures **out,
                                 cr_error *err);
void cr_train_pictures_close(cr_train_pictures **p);

/* The picture of the item-th of `items` of a step, as input [3, height, width]. Each is seen once
 * before one is seen twice. Pictures that cannot be read are passed over; CR_ERR_IO: none can. */
cr_status cr_train_pictures_take(cr_train_pictures *p, int64_t step, int item, int items,
                                 float *input, cr_error *err);

size_t cr_train_pictures_bad(const cr_train_pictures *p); /* found so far */

#endif
