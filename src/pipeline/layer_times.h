/* Milliseconds of each layer in each precision on this machine, measured or from a file. */
#ifndef CR_PIPELINE_LAYER_TIMES_H
#define CR_PIPELINE_LAYER_TIMES_H

#include "crayon/model.h"
#include "graph/recipe.h"
#include "quant/recipe_layers.h"

/* The order of CR_LAYER_INT4 ... is not used here: choices are sorted from coarse to fine. */
typedef enum cr_choice {
    CR_CHOICE_INT4,
    CR_CHOICE_INT8,
    CR_CHOICE_INT16,
    CR_CHOICE_FLOAT
} cr_choice;
enum { CR_CHOICES = 4 };

typedef struct cr_layer_times {
    size_t count;             /* layers, as in cr_recipe_layers */
    double (*ms)[CR_CHOICES]; /* [count]; with the conversions of what the layer reads */
    double whole[CR_CHOICES]; /* a whole run with all layers so */
    bool have[CR_CHOICES];
} cr_layer_times;

/* plan[c]: everything in precision c (FLOAT: NULL; others NULL: not wanted). Weights of 4 bits are
 * unpacked when they are loaded, so int4 takes int8's times where both are wanted. */
cr_status cr_layer_times_measure(const cr_model *m, const cr_recipe *const plan[CR_CHOICES],
                                 const cr_recipe_layers *layers, int threads, cr_layer_times *out,
                                 cr_error *err);
/* times.json. Loading fails where a layer or a wanted precision is missing. */
cr_status cr_layer_times_save(const cr_layer_times *t, const cr_recipe_layers *layers,
                              const char *path, cr_error *err);
cr_status cr_layer_times_load(const char *path, const cr_recipe_layers *layers,
                              const bool want[CR_CHOICES], cr_layer_times *out, cr_error *err);
void cr_layer_times_free(cr_layer_times *t);

/* Milliseconds of the fastest whole run of a and of b, run in turn so that the machine's moods meet
 * both. */
cr_status cr_time_pair(const cr_model *m, const cr_recipe *a, const cr_recipe *b, int threads,
                       double ms[2], cr_error *err);

#endif
