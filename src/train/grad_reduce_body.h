/* ReduceSum, ReduceMean, GlobalAveragePool: every element gets its sum's gradient, divided by
 * the number of elements for a mean. Whether the reduced dimensions are kept does not matter to
 * the order of the elements. */
static cr_status FN(mean_scratch)(const cr_grad_call *c, size_t *bytes, cr_error *err)
{
    return FN(no_scratch)(c, bytes, err);
}

static cr_status FN(mean_forward)(const cr_grad_call *c, cr_error *err)
{
    return cr_op_eval(&c->op, err);
}

/* A flag per dimension that is summed. */
static cr_status FN(reduced)(const cr_grad_call *c, bool flags[CR_MAX_RANK], cr_error *err)
{
    const int rank = c->op.in[0]->shape.rank;
    int count = 0;
    if (c->op.node->op->kind == CR_OP_GlobalAveragePool) {
        for (int d = 0; d < rank; d++) flags[d] = d > 1;
        return CR_OK;
    }
    CR_TRY(cr_op_axes(&c->op, 1, rank, flags, &count, err));
    CR_OP_CHECK(count >= 0, &c->op, err, "the axes are not known before the model runs");
    const bool all = count == 0 && !cr_attr_int(c->op.node, "noop_with_empty_axes", 0);
    for (int d = 0; all && d < rank; d++) flags[d] = true;
    return CR_OK;
}

static cr_status FN(mean_backward)(const cr_grad_call *c, cr_error *err)
{
    const cr_tensor *x = c->op.in[0];
    bool flags[CR_MAX_RANK] = {false};
    CR_TRY(FN(reduced)(c, flags, err));
    const int64_t n = FN(count)(x), sums = FN(count)(c->op.out[0]);
    const real *dy = c->d_out[0];
    real *dx = c->d_in[0];
    if (!dx || n == 0) return CR_OK;
    cr_shape kept = x->shape;
    for (int d = 0; d < kept.rank; d++)
        if (flags[d]) kept.dim[d] = 1;
    const bool sum = c->op.node->op->kind == CR_OP_ReduceSum;
    const real share = sum ? 1 : (real)sums / (real)n;
    cr_walk w = cr_walk_begin(&x->shape);
    cr_broadcast_strides(&kept, &x->shape, w.stride[0]);
    for (int64_t i = 0; i < n; i++, cr_walk_next(&w)) dx[i] += dy[w.at[0]] * share;
    return CR_OK;
}
