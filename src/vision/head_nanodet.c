/* NanoDet: per stride one output of class scores [n, nc] and one of box distances [n, 4 * bins].
 *
 * A distance (left, top, right, bottom of the cell's centre) is the mean of a softmax over `bins`
 * whole numbers, in strides: Li et al. 2020, "Generalized Focal Loss". The centre of cell (x, y) is
 * ((x + .5) * stride, (y + .5) * stride), and boxes are clipped to the input, as NanoDet does.
 *
 * Exports disagree about the outputs' order and names (one real file calls the scores of stride 16
 * `bbox_pred0`), so outputs are paired by shape: the row count tells the stride, the column count
 * tells scores from distances. */
#include <math.h>

#include "base/error.h"
#include "vision/heads.h"

enum { MAX_BINS = 64 };

static const cr_output *find(const cr_output *outs, size_t n, int64_t rows, int64_t columns)
{
    for (size_t i = 0; i < n; i++) {
        int64_t a, b;
        if (cr_output_matrix(&outs[i], &a, &b) && a == rows && b == columns) return &outs[i];
    }
    return NULL;
}

/* Every level has both outputs, at strides 8, 16, ... */
static bool pairs_up(const cr_output *outs, size_t n, int width, int height, int64_t scores,
                     int64_t distances)
{
    for (size_t level = 0; level < n / 2; level++) {
        const int64_t rows = cr_grid_cells(width, height, 8 << level, 1);
        if (!find(outs, n, rows, scores) || !find(outs, n, rows, distances)) return false;
    }
    return true;
}

static bool is_distance(int64_t columns)
{
    return columns % 4 == 0 && columns >= 8 && columns <= 4 * MAX_BINS;
}

bool cr_nanodet_columns(const cr_output *outs, size_t n, int classes, int width, int height,
                        int64_t *score_columns, int64_t *distance_columns)
{
    int64_t rows, a = 0, b = 0;
    if (n < 4 || n % 2 || n / 2 > CR_MAX_LEVELS) return false;
    for (size_t i = 0; i < n; i++) {
        int64_t columns;
        if (!cr_output_matrix(&outs[i], &rows, &columns)) return false;
        if (!a || a == columns)
            a = columns;
        else if (!b || b == columns)
            b = columns;
        else
            return false;
    }
    if (!b) return false;
    /* Both may be distances by shape: the class count decides, else more columns are the scores. */
    const bool a_is_scores = classes ? a == classes : !is_distance(a) || (is_distance(b) && a > b);
    *score_columns = a_is_scores ? a : b;
    *distance_columns = a_is_scores ? b : a;
    return (!classes || *score_columns == classes) && is_distance(*distance_columns) &&
           pairs_up(outs, n, width, height, *score_columns, *distance_columns);
}

static float mean_distance(const float *logits, int bins)
{
    float top = logits[0], sum = 0, weighted = 0;
    for (int i = 1; i < bins; i++)
        if (logits[i] > top) top = logits[i];
    for (int i = 0; i < bins; i++) {
        const float e = expf(logits[i] - top);
        sum += e;
        weighted += e * (float)i;
    }
    return weighted / sum;
}

static float clip(float x, int limit)
{
    return x < 0 ? 0 : x > (float)limit ? (float)limit : x;
}

static void read_box(const cr_head *h, const float *logits, int bins, int stride, int x, int y,
                     float box[4])
{
    const float s = (float)stride, cx = ((float)x + .5f) * s, cy = ((float)y + .5f) * s;
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = mean_distance(logits + i * bins, bins) * s;
    box[0] = clip(cx - d[0], h->input_width);
    box[1] = clip(cy - d[1], h->input_height);
    box[2] = clip(cx + d[2], h->input_width);
    box[3] = clip(cy + d[3], h->input_height);
}

static cr_status decode_level(const cr_head *h, const float *scores, const float *logits, int bins,
                              int stride, int first_index, const cr_detect_options *o,
                              cr_candidates *list, cr_error *err)
{
    const int columns = (h->input_width + stride - 1) / stride;
    const int rows = (h->input_height + stride - 1) / stride;
    for (int cell = 0; cell < columns * rows; cell++) {
        const float *row = scores + (size_t)cell * (size_t)h->classes;
        float best = -INFINITY, box[4];
        for (int k = 0; k < h->classes; k++)
            if (row[k] > best) best = row[k];
        if (!(best > o->conf)) continue;
        read_box(h, logits + (size_t)cell * 4 * (size_t)bins, bins, stride, cell % columns,
                 cell / columns, box);
        CR_TRY(cr_emit_row(h, o, box, row, 1, 1, first_index + cell, list, err));
    }
    return CR_OK;
}

cr_status cr_decode_nanodet(const cr_head *h, const cr_output *outs, size_t n,
                            const cr_detect_options *o, cr_candidates *list, cr_error *err)
{
    int64_t scores, distances;
    CR_CHECK(cr_nanodet_columns(outs, n, h->classes, h->input_width, h->input_height, &scores,
                                &distances),
             err, CR_ERR_FORMAT, "the %zu outputs are not NanoDet's for %d classes", n, h->classes);
    int index = 0;
    for (size_t level = 0; level < n / 2; level++) {
        const int stride = 8 << level;
        const int64_t cells = cr_grid_cells(h->input_width, h->input_height, stride, 1);
        const cr_output *s = find(outs, n, cells, scores), *d = find(outs, n, cells, distances);
        CR_CHECK(s->data && d->data, err, CR_ERR_ARGUMENT, "outputs without data");
        CR_TRY(
            decode_level(h, s->data, d->data, (int)(distances / 4), stride, index, o, list, err));
        index += (int)cells;
    }
    return CR_OK;
}
