/* What calibration saw, per tensor. Independent of bit width, exclusions and method: recorded once,
 * reused by every plan. Memory does not grow with the number of pictures.
 *
 * The histogram is exact to merge: its bins are [i*2^e, (i+1)*2^e) for integers i, with the smallest
 * exponent e at which all values seen fit CR_HIST_BINS neighbouring bins. When a value falls
 * outside, e grows and neighbours are added up. So the result does not depend on the order of the
 * pictures or on how they were divided among threads. Rejected: a fixed range taken from the first
 * picture (clips the others), equal bins over min..max (must be resampled to merge, which blurs). */
#ifndef CR_QUANT_STATS_H
#define CR_QUANT_STATS_H

#include "base/mem.h"
#include "runtime/runtime.h"

enum { CR_HIST_BINS = 4096 };

typedef struct cr_tensor_stats {
    const char *name;
    uint64_t pictures, count, bad; /* bad: NaN or infinite elements */
    float min, max;                /* over everything */
    double sum_min, sum_max;       /* of each picture's min and max: / pictures is their average */
    int exponent;                  /* e: bin width 2^e; INT32_MIN while empty */
    int64_t first;                 /* index i of counts[0] */
    uint64_t *counts;              /* [CR_HIST_BINS] */
    int64_t channels;              /* 0 when the tensor is not [N,C,H,W] */
    float *channel_min, *channel_max;
} cr_tensor_stats;

typedef struct cr_stats {
    cr_arena arena;
    cr_tensor_stats *tensors;
    size_t count, cap;
    uint64_t pictures;
} cr_stats;

cr_status cr_stats_create(cr_stats **out, cr_error *err);
void cr_stats_release(cr_stats **s);

/* The entry of that tensor, made if it is new; NULL without memory. Linear search. */
cr_tensor_stats *cr_stats_get(cr_stats *s, const char *name, int64_t channels);
const cr_tensor_stats *cr_stats_find(const cr_stats *s, const char *name);

/* Adds one picture's values of a float32 view. */
void cr_stats_add(cr_tensor_stats *t, const cr_view *view);
/* a += b. CR_ERR_MEMORY is the only failure. */
cr_status cr_stats_merge(cr_stats *a, const cr_stats *b, cr_error *err);

/* Centre of bin k. */
double cr_stats_bin(const cr_tensor_stats *t, int k);

/* stats.json; a reader's errors name the file and the tensor. */
cr_status cr_stats_write(const cr_stats *s, const char *path, cr_error *err);
cr_status cr_stats_read(const char *path, cr_stats **out, cr_error *err);

/* Calibration: runs `count` samples through the float graph and records every float activation.
 * fill(user, index, input, err) writes sample `index` (row-major, the shape of graph input 0); it is
 * called from several threads at once. The result does not depend on `threads`. */
typedef cr_status (*cr_sample_fn)(void *user, size_t index, float *input, cr_error *err);
cr_status cr_stats_collect(const cr_graph *g, size_t count, cr_sample_fn fill, void *user,
                           int threads, const cr_progress *progress, cr_stats **out, cr_error *err);

#endif
