/* The items of one step: each alone from the same beginning, then added up in their order. That is
 * what lets several processes (crayon/cluster.h) divide them and end with the bits of one. */
#ifndef CR_TRAIN_TRAINER_ITEMS_H
#define CR_TRAIN_TRAINER_ITEMS_H

#include "train/trainer.h"

typedef struct cr_items cr_items;

/* `list` must outlive it. */
cr_status cr_items_create(const cr_trained *list, size_t n, cr_items **out, cr_error *err);
void cr_items_free(cr_items **items);

/* What one item says besides its numbers. */
typedef struct cr_item_words {
    double parts[CR_LOSS_PARTS];
    char why[200]; /* it cannot be used; "": it can */
} cr_item_words;

/* Runs forward, loss and backward of item k: gradients are zero before it. */
typedef cr_status (*cr_item_fn)(void *ctx, int item, cr_item_words *words, cr_error *err);

/* Runs `count` items, those of this process by `run`. Then the gradients of the list are the sum of
 * all, its statistics (grad NULL) where they began plus the sum of all moves, and `all` has the
 * sums of the parts, or in `why` what the first unusable item says; the numbers mean nothing then.
 * `zero` clears the gradients. */
cr_status cr_items_run(cr_items *items, int count, cr_item_fn run, void (*zero)(void *ctx),
                       void *ctx, cr_item_words *all, cr_error *err);
/* The statistics as they were before the last cr_items_run. */
void cr_items_undo(cr_items *items);

#endif
