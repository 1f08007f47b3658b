/* What calibration saw, per tensor. Independent of bit width, exclusions and method: recorded once,
 * reused by every plan. Memory does not grow with the number of pictures, and the result does not
 * depend on their order or on how they were divided among threads: histograms merge exactly
 * (histogram.h), and sums of float32 in float64 are exact while the terms lie within 2^29 of each
 * other.
 *
 * Channels: every tensor [N,C,H,W] has the extremes of each channel. Those that a depthwise
 * convolution reads, whose entries may have one scale per channel, and those whose channels may be
 * scaled (equalize.h) have a small histogram for each as well. */
#ifndef CR_QUANT_STATS_H
#define CR_QUANT_STATS_H

#include "base/mem.h"
#include "quant/histogram.h"
#include "runtime/runtime.h"

enum { CR_HIST_BINS = CR_HIST_MAX_BINS, CR_CHANNEL_BINS = 256 };

typedef struct cr_tensor_stats {
    const char *name;
    uint64_t pictures, count, bad; /* bad: NaN or infinite elements */
    double sum_min, sum_max;       /* of each picture's min and max: / pictures is their average */
    cr_histogram all;              /* [CR_HIST_BINS]; its min and max are over everything */
    int64_t channels;              /* 0 when the tensor is not [N,C,H,W] */
    float *channel_min, *channel_max;         /* [channels]; FLT_MAX, -FLT_MAX while empty */
    double *channel_sum_min, *channel_sum_max; /* [channels], as sum_min */
    cr_histogram *channel;         /* [channels] of CR_CHANNEL_BINS, or NULL */
    float *picture_min, *picture_max;         /* [channels], of the picture being added */
} cr_tensor_stats;

typedef struct cr_stats {
    cr_arena arena;
    cr_tensor_stats *tensors;
    size_t count, cap;
    uint64_t pictures;
    bool parted;    /* tensors fall into groups of channels of like range */
    bool converged; /* calibration ended before its pictures did: ranges no longer moved */
} cr_stats;

cr_status cr_stats_create(cr_stats **out, cr_error *err);
void cr_stats_release(cr_stats **s);
/* Forgets what was seen and keeps the tensors and their memory. */
void cr_stats_reset(cr_stats *s);

/* The entry of that tensor, made if it is new; NULL without memory. Linear search. */
cr_tensor_stats *cr_stats_get(cr_stats *s, const char *name, int64_t channels);
const cr_tensor_stats *cr_stats_find(const cr_stats *s, const char *name);
/* Histograms for each channel as well, of a tensor that is still empty. False: no memory. */
bool cr_stats_split(cr_stats *s, cr_tensor_stats *t);

/* Adds one picture's values of a float32 view. */
void cr_stats_add(cr_tensor_stats *t, const cr_view *view);
/* a += b. CR_ERR_MEMORY is the only failure. */
cr_status cr_stats_merge(cr_stats *a, const cr_stats *b, cr_error *err);

/* Appends what `from` would be if channel c's values had been factor[c] > 0 times as large (NULL: as
 * they are). The entry borrows what does not change; without from->channel nothing is scaled. The
 * averages over pictures of the tensor's own extremes become those of its widest channels. */
cr_status cr_stats_borrow(cr_stats *s, const cr_tensor_stats *from, const double *factor,
                          cr_error *err);

/* Appends, under another name, what `from` saw of these of its channels, in this order; weight (by channel
 * of `from`; NULL: 1) multiplies their counts in the histogram of them together, which is as it was if they
 * are all, and empty without from->channel. */
cr_status cr_stats_pick(cr_stats *s, const cr_tensor_stats *from, const char *name,
                        const int64_t *channel, int64_t count, const uint64_t *weight, cr_error *err);

/* Centre of bin k of t->all. */
double cr_stats_bin(const cr_tensor_stats *t, int k);

/* stats.json; a reader's errors name the file and the tensor. */
cr_status cr_stats_write(const cr_stats *s, const char *path, cr_error *err);
cr_status cr_stats_read(const char *path, cr_stats **out, cr_error *err);

/* Calibration: runs samples through the float graph and records every float activation.
 * fill(user, index, input, err) writes sample `index` (row-major, the shape of graph input 0); it is
 * called from several threads at once. */
typedef cr_status (*cr_sample_fn)(void *user, size_t index, float *input, cr_error *err);
typedef struct cr_collect_options {
    size_t count;       /* samples there are */
    cr_sample_fn fill;
    void *user;
    int threads;        /* 0: all cores; the result does not depend on them */
    bool all;           /* no early stop */
    bool all_channels;  /* histograms per channel of all that convolutions read: CR_EQUALIZE_ALL */
    const cr_progress *progress;
} cr_collect_options;
cr_status cr_stats_collect(const cr_graph *g, const cr_collect_options *o, cr_stats **out,
                           cr_error *err);

#endif
