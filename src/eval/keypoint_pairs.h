/* Which keypoint takes the place of which in a mirrored picture: left and right of a body. */
#ifndef CR_EVAL_KEYPOINT_PAIRS_H
#define CR_EVAL_KEYPOINT_PAIRS_H

#include <jansson.h>

#include "eval/label_store.h"

/* Takes pair[n] for the labels' keypoints; another one than before (of another category) makes them
 * unknown. CR_ERR_FORMAT (without a file's name): it does not lead back to where it came from. */
cr_status cr_labels_add_pairs(cr_labels *l, const int *pair, size_t n, cr_error *err);

/* The same from a category's list of names, where some say "left" and others the same with "right".
 */
cr_status cr_labels_pair_names(cr_labels *l, const json_t *names, cr_error *err);

#endif
