/* Transposes disappear when nobody insists on an order. Convolutions of TFLite want channels last;
 * what follows them takes the order that it finds, and a Reshape keeps it where it can:
 *
 *     graph              [1,64,80,80] -> [1,64,6400] -> [1,4,16,8400] -> (Transpose) [1,16,4,8400]
 *     file               [1,80,80,64] -> [1,6400,64] -> [1,8400,4,16] ->             [1,8400,4,16]
 *
 * A Reshape maps runs of axes to runs of axes: {64}->{4,16}, {80,80}->{6400}. Runs may lie in any
 * order in the file as long as each is together and in its own order, so only the axes of a run
 * that is torn apart are moved (channel shuffles). Rejected: rewriting every axis of the graph to
 * NHWC by rules per operator, which leaves heads full of transposes. */
#include "tflite/tflite_layout.h"

cr_layout cr_layout_plain(int rank)
{
    cr_layout l = {.rank = rank};
    for (int i = 0; i < rank; i++) l.at[i] = i;
    return l;
}

cr_layout cr_layout_channels_last(int rank)
{
    cr_layout l = cr_layout_plain(rank);
    for (int i = 1; i + 1 < rank; i++) l.at[i] = i + 1;
    if (rank > 1) l.at[rank - 1] = 1;
    return l;
}

bool cr_layout_equal(const cr_layout *a, const cr_layout *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->at[i] == b->at[i];
    return same;
}

int cr_layout_find(const cr_layout *l, int axis)
{
    for (int i = 0; i < l->rank; i++)
        if (l->at[i] == axis) return i;
    return 0;
}

bool cr_layout_same_bytes(const cr_layout *a, const cr_layout *b, const cr_shape *s)
{
    int i = 0, k = 0;
    for (;;) {
        while (i < a->rank && s->dim[a->at[i]] == 1) i++;
        while (k < b->rank && s->dim[b->at[k]] == 1) k++;
        if (i == a->rank || k == b->rank) return i == a->rank && k == b->rank;
        if (a->at[i++] != b->at[k++]) return false;
    }
}

/* run[axis]: number of the run that it belongs to, -1 for axes of length 1. */
static void find_runs(const cr_shape *in, const cr_shape *out, int *run_in, int *run_out)
{
    int i = 0, k = 0, run = 0;
    for (; i < in->rank || k < out->rank; run++) {
        int64_t a = 1, b = 1;
        bool any = false;
        while (!any || a != b) {
            const bool left = a <= b ? i < in->rank : k >= out->rank;
            if (left && i >= in->rank) break;
            any = true;
            if (left) {
                a *= in->dim[i];
                run_in[i] = in->dim[i] == 1 ? -1 : run;
                i++;
            } else if (k < out->rank) {
                b *= out->dim[k];
                run_out[k] = out->dim[k] == 1 ? -1 : run;
                k++;
            } else {
                break;
            }
        }
    }
}

/* Run by run; axes of length 1 stay in front or behind the axis that they follow. */
static void place(const int *runs, int rank, const int *order, int count, cr_layout *l)
{
    int n = 0;
    *l = (cr_layout){.rank = rank};
    for (int a = 0; a < rank && runs[a] < 0; a++) l->at[n++] = a;
    for (int r = 0; r < count; r++)
        for (int a = 0; a < rank; a++) {
            if (runs[a] != order[r]) continue;
            l->at[n++] = a;
            for (int one = a + 1; one < rank && runs[one] < 0; one++) l->at[n++] = one;
        }
}

void cr_layout_reshape(const cr_shape *in, const cr_shape *out, const cr_layout *have,
                       cr_layout *need, cr_layout *give)
{
    int run_in[CR_MAX_RANK], run_out[CR_MAX_RANK], order[CR_MAX_RANK], count = 0;
    find_runs(in, out, run_in, run_out);
    for (int i = 0; i < have->rank; i++) {
        const int run = run_in[have->at[i]];
        bool known = run < 0;
        for (int k = 0; k < count; k++) known |= order[k] == run;
        if (!known) order[count++] = run;
    }
    place(run_in, in->rank, order, count, need);
    place(run_out, out->rank, order, count, give);
    if (cr_layout_same_bytes(need, have, in)) *need = *have;
}
