/* NanoDet: per stride one output of class scores [n, nc] and one of box distances [n, 4 * bins].
 *
 * A distance (left, top, right, bottom of the cell's centre) is the mean of a softmax over `bins`
 * whole numbers, in strides: Li et al. 2020, "Generalized Focal Loss". The centre of cell (x, y) is
 * ((x + .5) * stride, (y + .5) * stride), and boxes are clipped to the input, as NanoDet does.
 *
 * Exports disagree about the outputs' order and names (one real file calls the scores of stride 16
 * `bbox_pred0`), so outputs are paired by shape: the row count tells the stride, the column count
 * tells scores from distances.
 *
 * NanoDet-Plus joins all of it: rows of every stride one after another, in each the scores and then
 * the distances. There the point of cell (x, y) is its corner (x * stride, y * stride). */
#include <math.h>

#include "base/cpu.h"
#include "base/error.h"
#include "vision/boxes.h"
#include "vision/heads.h"

enum { MAX_BINS = 64 };

/* The cells of one stride. Element (cell, k) of the scores is at scores[cell * score_step + k]. */
struct level {
    const float *scores, *logits;
    size_t score_step, logit_step;
    int bins, stride;
    float shift; /* of a cell's point, in cells: .5 is the centre */
    int first_index;
};

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

bool cr_nanodet_joined(const cr_output *outs, size_t n, int classes, int width, int height,
                       int64_t *score_columns)
{
    int64_t rows, columns;
    int first, count;
    if (n != 1 || outs[0].rank != 3 || !cr_output_matrix(&outs[0], &rows, &columns)) return false;
    *score_columns = classes ? classes : columns == 112 ? 80 : columns;
    return is_distance(columns - *score_columns) &&
           cr_find_strides(width, height, rows, &first, &count) && first == 8;
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

static void read_box(const cr_head *h, const struct level *l, const float *logits, int x, int y,
                     float box[4])
{
    const float s = (float)l->stride, cx = ((float)x + l->shift) * s,
                cy = ((float)y + l->shift) * s;
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = mean_distance(logits + i * l->bins, l->bins) * s;
    box[0] = clip(cx - d[0], h->input_width);
    box[1] = clip(cy - d[1], h->input_height);
    box[2] = clip(cx + d[2], h->input_width);
    box[3] = clip(cy + d[3], h->input_height);
}

static cr_status decode_level(const cr_head *h, const struct level *l, const cr_detect_options *o,
                              cr_candidates *list, cr_error *err)
{
    const int columns = (h->input_width + l->stride - 1) / l->stride;
    const int rows = (h->input_height + l->stride - 1) / l->stride;
    const cr_boxes *const ops = cr_boxes_choose(cr_cpu_flags());
    for (int cell = 0; cell < columns * rows; cell++) {
        const float *row = l->scores + (size_t)cell * l->score_step;
        float box[4];
        if (!(ops->largest(row, (size_t)h->classes) > o->conf)) continue;
        read_box(h, l, l->logits + (size_t)cell * l->logit_step, cell % columns, cell / columns,
                 box);
        CR_TRY(cr_emit_row(h, o, box, row, 1, 1, l->first_index + cell, list, err));
    }
    return CR_OK;
}

static cr_status decode_joined(const cr_head *h, const cr_output *out, const cr_detect_options *o,
                               cr_candidates *list, cr_error *err)
{
    const size_t columns = (size_t)out->dim[2];
    int first, count;
    CR_CHECK(out->data &&
                 cr_find_strides(h->input_width, h->input_height, out->dim[1], &first, &count),
             err, CR_ERR_ARGUMENT, "an output without data");
    struct level l = {out->data,
                      out->data + h->classes,
                      columns,
                      columns,
                      (int)(columns - (size_t)h->classes) / 4,
                      first,
                      0,
                      0};
    for (; count > 0; count--, l.stride *= 2) {
        const int64_t cells = cr_grid_cells(h->input_width, h->input_height, l.stride, 1);
        CR_TRY(decode_level(h, &l, o, list, err));
        l.scores += (size_t)cells * columns;
        l.logits += (size_t)cells * columns;
        l.first_index += (int)cells;
    }
    return CR_OK;
}

cr_status cr_decode_nanodet(const cr_head *h, const cr_output *outs, size_t n,
                            const cr_detect_options *o, cr_candidates *list, cr_error *err)
{
    int64_t scores, distances;
    if (cr_nanodet_joined(outs, n, h->classes, h->input_width, h->input_height, &scores))
        return decode_joined(h, outs, o, list, err);
    CR_CHECK(cr_nanodet_columns(outs, n, h->classes, h->input_width, h->input_height, &scores,
                                &distances),
             err, CR_ERR_FORMAT, "the %zu outputs are not NanoDet's for %d classes", n, h->classes);
    int index = 0;
    for (size_t level = 0; level < n / 2; level++) {
        const int stride = 8 << level;
        const int64_t cells = cr_grid_cells(h->input_width, h->input_height, stride, 1);
        const cr_output *s = find(outs, n, cells, scores), *d = find(outs, n, cells, distances);
        CR_CHECK(s->data && d->data, err, CR_ERR_ARGUMENT, "outputs without data");
        const struct level l = {
            s->data, d->data, (size_t)scores, (size_t)distances, (int)(distances / 4),
            stride,  .5f,     index};
        CR_TRY(decode_level(h, &l, o, list, err));
        index += (int)cells;
    }
    return CR_OK;
}
