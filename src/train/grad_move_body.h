/* Operators that move values and change none: one rule for all. The tape has traced where each
 * element comes from (cr_grad_trace, grad_move.c): forward copies runs, backward adds them back,
 * in the order of the output. Rejected: a rule per operator, each with its own axes and steps,
 * when the reference already says what goes where. */
static cr_status FN(move_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(move_forward)(const cr_grad_call *c, cr_error *err)
{
    (void)err;
    for (int o = 0; o < c->op.n_out; o++) {
        if (!c->op.out[o]) continue;
        const cr_runs *runs = &c->runs[o];
        real *to = c->op.out[o]->data;
        for (size_t r = 0; r < runs->count; to += runs->run[r++].length) {
            const real *from = (const real *)c->op.in[runs->run[r].input]->data + runs->run[r].from;
            memcpy(to, from, (size_t)runs->run[r].length * sizeof *to);
        }
    }
    return CR_OK;
}

static cr_status FN(move_backward)(const cr_grad_call *c, cr_error *err)
{
    (void)err;
    for (int o = 0; o < c->op.n_out; o++) {
        if (!c->op.out[o] || !c->d_out[o]) continue;
        const cr_runs *runs = &c->runs[o];
        const real *dy = c->d_out[o];
        for (size_t r = 0; r < runs->count; dy += runs->run[r++].length) {
            real *dx = c->d_in[runs->run[r].input];
            if (!dx) continue;
            dx += runs->run[r].from;
            for (int64_t i = 0; i < runs->run[r].length; i++) dx[i] += dy[i];
        }
    }
    return CR_OK;
}
