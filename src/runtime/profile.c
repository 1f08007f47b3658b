/* A session's times, and what a step is worth: multiply-adds and bytes moved, both read off the
 * program, so that no kernel has to say them. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "runtime/program.h"

typedef struct cr_profile {
    size_t steps, kept, seen; /* runs that fit; runs so far */
    uint64_t *ns;             /* [steps][kept], the run `seen` at seen % kept */
    uint64_t *sorted;         /* [kept] */
    uint64_t *macs;           /* [steps] */
} cr_profile;

uint64_t cr_profile_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void cr_profile_note(cr_profile *p, size_t step, uint64_t ns)
{
    p->ns[step * p->kept + p->seen % p->kept] = ns;
}

void cr_profile_end_run(cr_profile *p)
{
    p->seen++;
}

void cr_profile_free(cr_profile **pp)
{
    if (!*pp) return;
    cr_free((*pp)->ns);
    cr_free((*pp)->sorted);
    cr_free((*pp)->macs);
    cr_free(*pp);
    *pp = NULL;
}

/* ---- multiply-adds ---- */

static int step_of(const cr_program *p, const cr_node *n)
{
    for (size_t i = 0; i < p->step_count; i++)
        if (p->steps[i].node == n) return (int)i;
    return -1;
}

static int step_that_writes(const cr_program *p, const cr_tensor *t)
{
    for (size_t i = 0; i < p->step_count; i++)
        for (int k = 0; k < p->steps[i].n_out; k++)
            if (p->steps[i].out[k] >= 0 && p->values[p->steps[i].out[k]].tensor == t) return (int)i;
    return -1;
}

/* The step that computes `n`: its own, or the one that swallowed it and writes what becomes of it.
 */
static int step_of_node(const cr_program *p, const cr_node *n)
{
    int step = step_of(p, n);
    for (; step < 0 && n; n = cr_program_only_reader(p, n->out[0]))
        step = step_that_writes(p, n->out[0]);
    return step;
}

static void count_macs(const cr_program *p, uint64_t *macs)
{
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        const uint64_t count = cr_node_macs(n);
        const int step = count ? step_of_node(p, n) : -1;
        if (step >= 0) macs[step] += count;
    }
}

/* ---- bytes ---- */

static uint64_t value_bytes(const cr_value *v)
{
    return (uint64_t)(v->rows * v->cols) * cr_dtype_size(v->dtype);
}

static bool writes_into(const cr_program *p, const cr_step *s, int root)
{
    for (int k = 0; k < s->n_out; k++)
        if (s->out[k] >= 0 && p->values[s->out[k]].root == root) return true;
    return false;
}

static bool reads(const cr_program *p, const cr_step *s, const cr_tensor *t)
{
    for (int k = 0; k < s->n_in; k++)
        if (s->in[k] >= 0 && p->values[s->in[k]].tensor == t) return true;
    return false;
}

/* Constants that a kernel has packed into a form of its own, as wide as its arithmetic. */
static uint64_t packed_bytes(const cr_program *p, const cr_step *s, cr_math math)
{
    const uint64_t width[CR_MATH_COUNT] = {4, 2, 1};
    uint64_t bytes = 0;
    for (int k = 0; s->node && k < s->node->n_in; k++) {
        const cr_tensor *t = s->node->in[k];
        if (!t || !t->data || t->dtype != CR_DT_F32 || reads(p, s, t)) continue;
        bytes += (uint64_t)cr_shape_count(&t->shape) * (k == 1 ? width[math] : 4);
    }
    return bytes;
}

/* What an input shares with an output (a part of a concatenation written in place) is not moved. */
static uint64_t bytes_of(const cr_program *p, const cr_step *s, cr_math math)
{
    uint64_t in = 0, out = 0, shared = 0;
    for (int k = 0; k < s->n_in; k++) {
        if (s->in[k] < 0) continue;
        const cr_value *v = &p->values[s->in[k]];
        if (writes_into(p, s, v->root))
            shared += value_bytes(v);
        else
            in += value_bytes(v);
    }
    for (int k = 0; k < s->n_out; k++)
        if (s->out[k] >= 0) out += value_bytes(&p->values[s->out[k]]);
    return in + (out > shared ? out - shared : 0) + packed_bytes(p, s, math);
}

static cr_math math_of(const cr_program *p, const cr_step *s)
{
    const cr_dtype type = s->n_in > 0 && s->in[0] >= 0 ? p->values[s->in[0]].dtype : CR_DT_F32;
    return type == CR_DT_U8 || type == CR_DT_U16 ? CR_MATH_INT8
           : type == CR_DT_BF16 ? CR_MATH_BFLOAT16
                                : CR_MATH_FLOAT32;
}

/* ---- the session's answers ---- */

cr_status cr_session_profile(cr_session *s, size_t runs, cr_error *err)
{
    const size_t steps = s->program->step_count;
    CR_CHECK(runs >= 1 && runs <= 1 << 20, err, CR_ERR_ARGUMENT, "%zu runs to keep the times of",
             runs);
    cr_profile_free(&s->profile);
    cr_profile *p = cr_calloc(1, sizeof *p);
    if (!p) return CR_NOMEM(err);
    *p = (cr_profile){.steps = steps, .kept = runs};
    p->ns = cr_calloc(steps * runs + 1, sizeof *p->ns);
    p->sorted = cr_calloc(runs, sizeof *p->sorted);
    p->macs = cr_calloc(steps + 1, sizeof *p->macs);
    if (!p->ns || !p->sorted || !p->macs) {
        cr_profile_free(&p);
        return CR_NOMEM(err);
    }
    count_macs(s->program, p->macs);
    s->profile = p;
    return CR_OK;
}

static int by_time(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(const cr_profile *p, size_t step)
{
    const size_t n = p->seen < p->kept ? p->seen : p->kept;
    if (!n) return 0;
    memcpy(p->sorted, p->ns + step * p->kept, n * sizeof *p->sorted);
    qsort(p->sorted, n, sizeof *p->sorted, by_time);
    return n % 2 ? p->sorted[n / 2] : (p->sorted[n / 2 - 1] + p->sorted[n / 2]) / 2;
}

size_t cr_session_step_count(const cr_session *s)
{
    return s->program->step_count;
}

cr_step_time cr_session_step(const cr_session *s, size_t i)
{
    const cr_program *p = s->program;
    const cr_step *step = &p->steps[i];
    cr_step_time t = {.kernel = step->what,
                      .node = step->node ? step->node->name : "",
                      .op = step->node ? step->node->op->name : "",
                      .tensor = "",
                      .math = math_of(p, step)};
    if (step->n_out > 0 && step->out[0] >= 0) t.tensor = p->values[step->out[0]].tensor->name;
    t.bytes = bytes_of(p, step, t.math);
    if (!s->profile) return t;
    t.macs = s->profile->macs[i];
    t.ns = median(s->profile, i);
    return t;
}

double cr_step_rate(const cr_step_time *step)
{
    return step->ns ? 2e9 * (double)step->macs / (double)step->ns : 0;
}

const char *cr_math_name(cr_math math)
{
    static const char *const names[] = {"float32", "bfloat16", "int8"};
    return names[math];
}
