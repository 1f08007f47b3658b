/* What a network gives for noise, and how far two of them are apart: for graphs that were rewritten.
 * Include it behind cmocka.h. */
#ifndef TESTS_UNIT_NET_OUTPUTS_H
#define TESTS_UNIT_NET_OUTPUTS_H

#include <math.h>

#include "runtime/runtime.h"
#include "unit/graphs.h"

/* cr_collect_options.fill; user: the graph. */
static inline cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    const cr_graph *g = user;
    cr_rng rng;
    (void)err;
    cr_rng_seed(&rng, index + 100);
    for (int64_t i = 0; i < cr_shape_count(&g->inputs[0]->shape); i++)
        input[i] = (float)cr_rng_range(&rng, -1, 1);
    return CR_OK;
}

/* All float outputs, one behind the other; the caller frees them. */
static inline float *run(const cr_graph *g, const cr_recipe *entries, size_t *count)
{
    cr_program *p;
    cr_session *s;
    cr_error err;
    float *all = NULL;
    *count = 0;
    if (cr_program_create(g, entries, 1, &p, &err) != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(cr_session_open(p, NULL, &s, &err), CR_OK);
    assert_int_equal(fill((void *)g, 7, cr_session_input_data(s, 0), &err), CR_OK);
    if (cr_session_execute(s, &err) != CR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < g->output_count; i++) {
        const cr_tensor *y = cr_session_output_tensor(s, i);
        if (y->dtype != CR_DT_F32) continue;
        const size_t n = (size_t)cr_shape_count(&y->shape);
        all = realloc(all, (*count + n + 1) * sizeof *all);
        memcpy(all + *count, y->data, n * sizeof *all);
        *count += n;
    }
    cr_session_close(&s);
    cr_program_free(&p);
    return all;
}

/* Greatest difference in parts of the greatest value; infinite where only one of two is finite. */
static inline double difference(const float *a, const float *b, size_t n)
{
    double most = 0, largest = 1e-30;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(a[i]) != isfinite(b[i])) return INFINITY;
        if (!isfinite(a[i])) continue;
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    return most / largest;
}

#endif
