/* A histogram that merges exactly, whatever the order and the division of its data.
 *
 * Its bins are [i*2^e, (i+1)*2^e) for integers i, with the smallest exponent e at which all values
 * seen fit `bins` neighbouring bins. When a value falls outside, e grows and neighbours are added
 * up. Edges of coarse bins are edges of finer ones, so nothing is ever shared out between bins, and
 * zero is always an edge. Rejected: a fixed range taken from the first picture (clips the others),
 * equal bins over min..max (must be resampled to merge, which blurs). See docs/decisions/0004. */
#ifndef CR_QUANT_HISTOGRAM_H
#define CR_QUANT_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

enum { CR_HIST_MAX_BINS = 4096 };

typedef struct cr_histogram {
    int bins;         /* at most CR_HIST_MAX_BINS, at least 2; fixed */
    int exponent;     /* e: bin width 2^e; INT32_MIN while empty */
    int64_t first;    /* index i of counts[0]: the bin of min */
    float min, max;   /* FLT_MAX, -FLT_MAX while empty */
    uint64_t *counts; /* [bins], the owner's */
} cr_histogram;

/* An empty histogram over zeroed counts. */
cr_histogram cr_histogram_empty(int bins, uint64_t *counts);
static inline bool cr_histogram_is_empty(const cr_histogram *h)
{
    return h->exponent == INT32_MIN;
}

/* Makes room for lo..hi (finite), which become part of what was seen: min and max follow. */
void cr_histogram_widen(cr_histogram *h, float lo, float hi);
/* Counts x[0], x[stride], ... (n of them), all within what cr_histogram_widen was told; NaN and
 * infinite ones are skipped. */
void cr_histogram_count(cr_histogram *h, const float *x, int64_t n, int64_t stride);
/* a += b, of equally many bins. */
void cr_histogram_merge(cr_histogram *a, const cr_histogram *b);
/* b, empty and of fewer bins, becomes a in bins as much coarser as that takes. */
void cr_histogram_narrow(const cr_histogram *a, cr_histogram *b);
/* Does it have the form that the functions above give, with `total` counts? For what was read from
 * a file. */
bool cr_histogram_valid(const cr_histogram *h, uint64_t total);

/* The lower edge of bin k (the upper one of k - 1). */
double cr_histogram_edge(const cr_histogram *h, int k);
/* Of what was counted, each value as its bin's middle; 0 of an empty one. */
double cr_histogram_mean_square(const cr_histogram *h);

#endif
