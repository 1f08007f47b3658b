/* Operators that move values and change none: one rule for all. The tape has traced where each
 * element comes from (cr_grad_trace, grad_move.c): forward copies runs, backward adds them back,
 * in the order of the output where an element was moved more than once. Rejected: a rule per
 * operator, each with its own axes and steps, when the reference already says what goes where. */
static cr_status FN(move_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

typedef struct FN(move) {
    const cr_grad_call *c;
    const cr_runs *runs;
    int output;
} FN(move);

/* The run that holds element `at` of the output. */
static size_t FN(run_at)(const cr_runs *runs, int64_t at)
{
    size_t lo = 0, hi = runs->count;
    while (hi - lo > 1) {
        const size_t middle = lo + (hi - lo) / 2;
        if (runs->run[middle].to <= at)
            lo = middle;
        else
            hi = middle;
    }
    return lo;
}

static void FN(copy_runs)(void *ctx, int64_t from, int64_t to)
{
    const FN(move) *m = ctx;
    real *y = m->c->op.out[m->output]->data;
    for (size_t r = FN(run_at)(m->runs, from); from < to; r++) {
        const cr_run *run = &m->runs->run[r];
        const int64_t end = run->to + run->length < to ? run->to + run->length : to;
        const real *x = (const real *)m->c->op.in[run->input]->data + run->from + (from - run->to);
        memcpy(y + from, x, (size_t)(end - from) * sizeof *y);
        from = end;
    }
}

static cr_status FN(move_forward)(const cr_grad_call *c, cr_error *err)
{
    (void)err;
    for (int o = 0; o < c->op.n_out; o++) {
        FN(move) m = {c, &c->runs[o], o};
        if (c->op.out[o]) FN(each)(c->pool, FN(count)(c->op.out[o]), FN(copy_runs), &m);
    }
    return CR_OK;
}

static void FN(add_runs)(void *ctx, int64_t from, int64_t to)
{
    const FN(move) *m = ctx;
    const real *dy = m->c->d_out[m->output];
    for (size_t r = FN(run_at)(m->runs, from); from < to; r++) {
        const cr_run *run = &m->runs->run[r];
        const int64_t end = run->to + run->length < to ? run->to + run->length : to;
        const int64_t n = end - from;
        real *dx = m->c->d_in[run->input];
        if (dx) dx += run->from + (from - run->to);
        if (dx && m->runs->all && m->c->first[run->input])
            memcpy(dx, dy + from, (size_t)n * sizeof *dx);
        else
            for (int64_t i = 0; dx && i < n; i++) dx[i] += dy[from + i];
        from = end;
    }
}

static cr_status FN(move_backward)(const cr_grad_call *c, cr_error *err)
{
    (void)err;
    for (int k = 0; k < c->op.n_in; k++)
        if (c->d_in[k] && c->first[k] && !c->runs[0].all)
            memset(c->d_in[k], 0, (size_t)FN(count)(c->op.in[k]) * sizeof(real));
    for (int o = 0; o < c->op.n_out; o++) {
        FN(move) m = {c, &c->runs[o], o};
        if (!c->op.out[o] || !c->d_out[o]) continue;
        const int64_t n = FN(count)(c->op.out[o]);
        if (m.runs->once)
            FN(each)(c->pool, n, FN(add_runs), &m);
        else if (n > 0)
            FN(add_runs)(&m, 0, n);
    }
    return CR_OK;
}
