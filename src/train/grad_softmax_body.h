/* Softmax along an axis: dx = y (dy - sum(dy y)). */
static cr_status FN(softmax_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(softmax_forward)(const cr_grad_call *c, cr_error *err)
{
    return cr_op_eval(&c->op, err);
}

typedef struct FN(softmax) {
    const real *y, *dy;
    real *dx;
    int64_t n, inner;
} FN(softmax);

static void FN(softmax_row)(void *ctx, size_t index, int worker)
{
    const FN(softmax) *s = ctx;
    (void)worker;
    for (int64_t j = 0; j < s->inner; j++) {
        const int64_t at = (int64_t)index * s->n * s->inner + j;
        double sum = 0;
        for (int64_t i = 0; i < s->n; i++)
            sum += (double)s->dy[at + i * s->inner] * (double)s->y[at + i * s->inner];
        for (int64_t i = 0; i < s->n; i++) {
            const int64_t k = at + i * s->inner;
            s->dx[k] += s->y[k] * (s->dy[k] - (real)sum);
        }
    }
}

static cr_status FN(softmax_backward)(const cr_grad_call *c, cr_error *err)
{
    const cr_shape *x = &c->op.in[0]->shape;
    int axis;
    CR_TRY(cr_axis_normalize(cr_attr_int(c->op.node, "axis", -1), x->rank, c->op.node, &axis, err));
    FN(softmax) s = {c->op.out[0]->data, c->d_out[0], c->d_in[0], x->dim[axis],
                     cr_shape_span(x, axis + 1, x->rank)};
    if (s.dx) cr_pool_run(c->pool, (size_t)cr_shape_span(x, 0, axis), FN(softmax_row), &s);
    return CR_OK;
}
