/* Gradients of every operator against finite differences in float64; forwards against the
 * reference; float32 against float64; one thread against three, bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/threads.h"
#include "ops/ref.h"
#include "train/tape.h"
#include "unit/graphs.h"

/* Central differences with step h: h^2 f''' / 6 of truncation and 1e-16 |loss| / h of rounding,
 * both about 1e-10 here; the worst seen over all cases is 6e-9, so 1e-7 leaves room and no wrong
 * term would pass. */
static const double step_size = 1e-5, tolerance = 1e-7;
/* float32 gradients: sums of up to some hundred products of order 1, worst seen 8e-6. */
static const double tolerance_f32 = 5e-5;

typedef struct bench {
    cr_graph *g;
    cr_rng r;
    double lo, hi; /* range of the inputs */
    bool batch_stats;
    bool own_forward; /* the reference does not know this mode */
} bench;

static bench bench_new(uint64_t seed)
{
    bench b = {.g = graph_new(), .lo = -2, .hi = 2};
    cr_rng_seed(&b.r, seed);
    return b;
}

static cr_tensor *input(bench *b, cr_shape s)
{
    char name[32];
    snprintf(name, sizeof name, "x%zu", b->g->input_count);
    return graph_input(b->g, name, s);
}

static cr_tape *tape_with(const bench *b, cr_tape_options o)
{
    bool *wanted = calloc(b->g->tensor_count, sizeof *wanted);
    o.batch_stats = b->batch_stats;
    o.wanted = wanted;
    cr_tape *tape;
    cr_error err;
    for (size_t i = 0; i < b->g->input_count; i++) wanted[b->g->inputs[i]->id] = true;
    const cr_status st = cr_tape_create(b->g, &o, &tape, &err);
    free(wanted);
    if (st != CR_OK) fail_msg("%s", err.message);
    return tape;
}

static cr_tape *tape_of(const bench *b, cr_dtype real, cr_pool *pool)
{
    return tape_with(b, (cr_tape_options){.real = real, .pool = pool});
}

static double load(cr_dtype real, const void *data, int64_t i)
{
    return real == CR_DT_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void store(cr_dtype real, void *data, int64_t i, double v)
{
    if (real == CR_DT_F64)
        ((double *)data)[i] = v;
    else
        ((float *)data)[i] = (float)v;
}

/* Values that both types hold exactly. */
static void fill(const bench *b, cr_tape *tape, cr_dtype real)
{
    cr_rng r = b->r;
    for (size_t i = 0; i < b->g->input_count; i++) {
        const int64_t n = cr_shape_count(&b->g->inputs[i]->shape);
        for (int64_t k = 0; k < n; k++)
            store(real, cr_tape_value(tape, b->g->inputs[i]), k,
                  (float)cr_rng_range(&r, b->lo, b->hi));
    }
}

/* The loss: a fixed random combination of all outputs. */
static double weight_of(size_t output, int64_t i)
{
    uint64_t s = (uint64_t)output * 1000003 + (uint64_t)i;
    return (float)((double)(cr_splitmix64(&s) >> 40) * 0x1p-23 - 1);
}

static void forward(cr_tape *tape)
{
    cr_error err;
    if (cr_tape_forward(tape, &err) != CR_OK) fail_msg("%s", err.message);
}

static double loss(const bench *b, cr_tape *tape)
{
    double sum = 0;
    forward(tape);
    for (size_t o = 0; o < b->g->output_count; o++) {
        const int64_t n = cr_shape_count(&b->g->outputs[o]->shape);
        const double *y = cr_tape_value(tape, b->g->outputs[o]);
        for (int64_t i = 0; i < n; i++) sum += y[i] * weight_of(o, i);
    }
    return sum;
}

static void backward(const bench *b, cr_tape *tape, cr_dtype real)
{
    cr_error err;
    fill(b, tape, real);
    forward(tape);
    cr_tape_zero(tape);
    for (size_t o = 0; o < b->g->output_count; o++) {
        const int64_t n = cr_shape_count(&b->g->outputs[o]->shape);
        for (int64_t i = 0; i < n; i++)
            store(real, cr_tape_grad(tape, b->g->outputs[o]), i, weight_of(o, i));
    }
    if (cr_tape_backward(tape, &err) != CR_OK) fail_msg("%s", err.message);
}

static const char *name_of(const bench *b)
{
    return b->g->nodes[b->g->node_count - 1]->op->name;
}

static void check_differences(const bench *b, cr_tape *tape)
{
    for (size_t t = 0; t < b->g->input_count; t++) {
        const int64_t n = cr_shape_count(&b->g->inputs[t]->shape);
        double *x = cr_tape_value(tape, b->g->inputs[t]);
        const double *d = cr_tape_grad(tape, b->g->inputs[t]);
        for (int64_t i = 0; i < n; i++) {
            const double at = x[i];
            x[i] = at + step_size;
            const double above = loss(b, tape);
            x[i] = at - step_size;
            const double slope = (above - loss(b, tape)) / (2 * step_size);
            x[i] = at;
            if (!(fabs(slope - d[i]) <= tolerance * (1 + fabs(slope))))
                fail_msg("%s: input %zu element %lld: %.12g, finite difference %.12g", name_of(b),
                         t, (long long)i, d[i], slope);
        }
    }
}

/* What is kept, replayed or recomputed must not matter to a single bit. */
static void check_plans(const bench *b)
{
    const cr_tape_options plans[3] = {{.real = CR_DT_F32},
                                      {.real = CR_DT_F32, .recompute = true},
                                      {.real = CR_DT_F32, .keep_values = true}};
    cr_tape *tape[3];
    for (int i = 0; i < 3; i++) {
        tape[i] = tape_with(b, plans[i]);
        backward(b, tape[i], CR_DT_F32);
        for (int again = 0; again < 2; again++) backward(b, tape[i], CR_DT_F32);
        for (size_t t = 0; t < b->g->tensor_count; t++) {
            const cr_tensor *x = b->g->tensors[t];
            const void *d = cr_tape_grad(tape[0], x), *v = cr_tape_value(tape[0], x);
            const size_t bytes = (size_t)cr_shape_count(&x->shape) * sizeof(float);
            if (d && !x->producer) assert_memory_equal(d, cr_tape_grad(tape[i], x), bytes);
            if (v && cr_dtype_is_float(x->dtype))
                assert_memory_equal(v, cr_tape_value(tape[i], x), bytes);
        }
    }
    assert_true(cr_tape_memory_of(tape[1]).shared <= cr_tape_memory_of(tape[0]).shared);
    assert_int_equal(cr_tape_memory_of(tape[0]).scratch, cr_tape_memory_of(tape[1]).scratch);
    for (int i = 0; i < 3; i++) cr_tape_free(&tape[i]);
}

static void check_floats(const bench *b, cr_tape *exact)
{
    cr_pool *pool;
    assert_int_equal(cr_pool_create(3, &pool, NULL), CR_OK);
    cr_tape *one = tape_of(b, CR_DT_F32, NULL), *many = tape_of(b, CR_DT_F32, pool);
    backward(b, one, CR_DT_F32);
    backward(b, many, CR_DT_F32);
    for (size_t t = 0; t < b->g->input_count; t++) {
        const cr_tensor *x = b->g->inputs[t];
        const int64_t n = cr_shape_count(&x->shape);
        const float *d = cr_tape_grad(one, x);
        assert_memory_equal(d, cr_tape_grad(many, x), (size_t)n * sizeof *d);
        for (int64_t i = 0; i < n; i++) {
            const double e = load(CR_DT_F64, cr_tape_grad(exact, x), i);
            if (!(fabs(e - (double)d[i]) <= tolerance_f32 * (1 + fabs(e))))
                fail_msg("%s: input %zu element %lld: float32 %.9g, float64 %.9g", name_of(b), t,
                         (long long)i, (double)d[i], e);
        }
    }
    cr_tape_free(&one);
    cr_tape_free(&many);
    cr_pool_free(&pool);
}

/* The last node by reference, on the values that the tape gave it. */
static void check_forward(const bench *b, cr_tape *tape)
{
    const cr_node *n = b->g->nodes[b->g->node_count - 1];
    cr_tensor copy[2][8];
    const cr_tensor *in[8] = {NULL};
    cr_tensor *out[8] = {NULL};
    cr_error err;
    forward(tape);
    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i]) continue;
        copy[0][i] = *n->in[i];
        copy[0][i].data = cr_tape_value(tape, n->in[i]);
        if (cr_dtype_is_float(copy[0][i].dtype)) copy[0][i].dtype = CR_DT_F64;
        in[i] = &copy[0][i];
    }
    for (int i = 0; i < n->n_out; i++) {
        copy[1][i] = *n->out[i];
        copy[1][i].dtype = CR_DT_F64;
        copy[1][i].data = NULL;
        assert_true(cr_tensor_alloc(&copy[1][i]));
        out[i] = &copy[1][i];
    }
    const cr_op_call call = {n, in, out, n->n_in, n->n_out};
    if (cr_op_eval(&call, &err) != CR_OK) fail_msg("%s", err.message);
    for (int i = 0; i < n->n_out; i++) {
        const double *y = cr_tape_value(tape, n->out[i]), *r = out[i]->data;
        for (int64_t k = 0; k < cr_shape_count(&n->out[i]->shape); k++)
            if (!(fabs(y[k] - r[k]) <= 1e-12 * (1 + fabs(r[k])))) /* orders of double sums */
                fail_msg("%s: output %d element %lld: %.17g, reference %.17g", name_of(b), i,
                         (long long)k, y[k], r[k]);
        cr_tensor_drop_data(out[i]);
    }
}

/* All checks of a graph whose outputs are those of `n`; frees it. */
static void check(bench *b, cr_node *n)
{
    done(n);
    for (int i = 0; i < n->n_out; i++) graph_output(b->g, n->out[i]);
    graph_ready(b->g);
    cr_tape *tape = tape_of(b, CR_DT_F64, NULL);
    backward(b, tape, CR_DT_F64);
    check_differences(b, tape);
    check_floats(b, tape);
    if (!b->own_forward) check_forward(b, tape);
    cr_tape_free(&tape);
    cr_graph_free(&b->g);
}

static int between(bench *b, int lo, int hi)
{
    return lo + (int)cr_rng_below(&b->r, (uint32_t)(hi - lo + 1));
}

static void convolutions(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        bench b = bench_new(seed);
        const bool up = seed & 1;
        const int groups = between(&b, 1, 3), c = groups * between(&b, 1, 3),
                  kh = between(&b, 1, 3);
        const int kw = between(&b, 1, 3), m = between(&b, 1, 3), s = between(&b, 1, 2);
        const int dilation = between(&b, 1, 2), pads = between(&b, 0, 1);
        cr_tensor *x =
            input(&b, shape_of(4, between(&b, 1, 2), c, between(&b, 5, 7), between(&b, 5, 7)));
        cr_tensor *w =
            input(&b, up ? shape_of(4, c, m, kh, kw) : shape_of(4, m * groups, c / groups, kh, kw));
        cr_tensor *bias = seed % 3 ? input(&b, shape_of(1, m * groups)) : NULL;
        cr_node *n = graph_node(b.g, up ? CR_OP_ConvTranspose : CR_OP_Conv, 1, 3, x, w, bias);
        attr_int(n, "group", groups);
        attr_ints(b.g, n, "strides", 2, s, between(&b, 1, 3));
        attr_ints(b.g, n, "dilations", 2, dilation, 1);
        attr_ints(b.g, n, "pads", 4, pads, between(&b, 0, 1), 0, pads);
        check(&b, n);
    }
}

static void convolution_of_rows_and_volumes(void **state)
{
    (void)state;
    bench b = bench_new(1);
    cr_tensor *x = input(&b, shape_of(3, 2, 4, 9)), *w = input(&b, shape_of(3, 3, 4, 3));
    check(&b, graph_node(b.g, CR_OP_Conv, 1, 2, x, w));
    b = bench_new(2);
    x = input(&b, shape_of(5, 1, 2, 3, 4, 3));
    w = input(&b, shape_of(5, 2, 2, 2, 2, 2));
    check(&b, graph_node(b.g, CR_OP_Conv, 1, 2, x, w));
}

static void products(void **state)
{
    (void)state;
    const cr_shape a[] = {shape_of(2, 3, 4), shape_of(3, 2, 3, 4), shape_of(4, 2, 1, 3, 4),
                          shape_of(1, 4), shape_of(2, 5, 4)};
    const cr_shape x[] = {shape_of(2, 4, 5), shape_of(2, 4, 5), shape_of(3, 3, 4, 2),
                          shape_of(3, 2, 4, 3), shape_of(1, 4)};
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
        bench b = bench_new(i);
        cr_tensor *p = input(&b, a[i]), *q = input(&b, x[i]);
        check(&b, graph_node(b.g, CR_OP_MatMul, 1, 2, p, q));
    }
    for (int flips = 0; flips < 4; flips++) {
        bench b = bench_new((uint64_t)flips);
        cr_tensor *p = input(&b, flips & 1 ? shape_of(2, 4, 3) : shape_of(2, 3, 4));
        cr_tensor *q = input(&b, flips & 2 ? shape_of(2, 5, 4) : shape_of(2, 4, 5));
        cr_tensor *r = input(&b, flips == 0 ? shape_of(2, 3, 1) : shape_of(1, 5));
        cr_node *n = graph_node(b.g, CR_OP_Gemm, 1, 3, p, q, r);
        attr_int(n, "transA", flips & 1);
        attr_int(n, "transB", flips >> 1);
        attr_float(n, "alpha", 0.5f);
        attr_float(n, "beta", 1.5f);
        check(&b, n);
    }
}

static void elementwise(void **state)
{
    (void)state;
    static const cr_op_kind kinds[] = {
        CR_OP_Abs,       CR_OP_Exp,  CR_OP_HardSigmoid, CR_OP_HardSwish,  CR_OP_Identity,
        CR_OP_LeakyRelu, CR_OP_Neg,  CR_OP_Relu,        CR_OP_Sigmoid,    CR_OP_Softplus,
        CR_OP_Swish,     CR_OP_Tanh, CR_OP_Log,         CR_OP_Reciprocal, CR_OP_Sqrt};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bench b = bench_new(i);
        const bool positive =
            kinds[i] == CR_OP_Log || kinds[i] == CR_OP_Sqrt || kinds[i] == CR_OP_Reciprocal;
        b.lo = positive ? 0.5 : -4;
        b.hi = 4;
        check(&b, graph_node(b.g, kinds[i], 1, 1, input(&b, shape_of(2, 7, 9))));
    }
    bench b = bench_new(3);
    b.lo = -2, b.hi = 9;
    cr_tensor *x = input(&b, shape_of(2, 7, 9));
    check(&b, graph_node(b.g, CR_OP_Clip, 1, 3, x, cr_graph_const_f32(b.g, "lo", 0),
                         cr_graph_const_f32(b.g, "hi", 6)));
}

static void pairs(void **state)
{
    (void)state;
    static const cr_op_kind kinds[] = {CR_OP_Add, CR_OP_Sub, CR_OP_Mul, CR_OP_Div};
    for (uint64_t seed = 0; seed < 16; seed++) {
        bench b = bench_new(seed);
        const cr_shape other[] = {shape_of(3, 2, 3, 4), shape_of(3, 1, 3, 1), shape_of(1, 4),
                                  shape_of(4, 2, 2, 1, 1)};
        b.lo = 0.5;
        cr_tensor *x = input(&b, shape_of(3, 2, 3, 4)), *y = input(&b, other[seed / 4]);
        check(&b, graph_node(b.g, kinds[seed % 4], 1, 2, x, y));
    }
}

static void pools(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        bench b = bench_new(seed);
        const int kind = (int)(seed % 2);
        cr_tensor *x = input(&b, shape_of(4, 2, 2, between(&b, 5, 8), between(&b, 5, 8)));
        cr_node *n = graph_node(b.g, kind ? CR_OP_AveragePool : CR_OP_MaxPool, 1, 1, x);
        attr_ints(b.g, n, "kernel_shape", 2, between(&b, 2, 3), between(&b, 2, 3));
        attr_ints(b.g, n, "strides", 2, between(&b, 1, 2), between(&b, 1, 3));
        attr_ints(b.g, n, "pads", 4, between(&b, 0, 1), 1, between(&b, 0, 1), 0);
        attr_int(n, "ceil_mode", between(&b, 0, 1));
        if (kind) attr_int(n, "count_include_pad", between(&b, 0, 1));
        check(&b, n);
    }
}

static void sums(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        bench b = bench_new(seed);
        cr_tensor *x = input(&b, shape_of(4, 2, 3, 3, 4));
        cr_tensor *axes = seed % 3 == 0   ? NULL
                          : seed % 3 == 1 ? const_ints(b.g, 2, 1, -1)
                                          : const_ints(b.g, 1, 2);
        cr_node *n = graph_node(b.g, seed % 2 ? CR_OP_ReduceMean : CR_OP_ReduceSum, 1, 2, x, axes);
        attr_int(n, "keepdims", seed / 6);
        check(&b, n);
    }
    bench b = bench_new(1);
    check(&b, graph_node(b.g, CR_OP_GlobalAveragePool, 1, 1, input(&b, shape_of(4, 2, 3, 4, 5))));
    for (int axis = 0; axis < 3; axis++) {
        b = bench_new(2);
        cr_node *n = graph_node(b.g, CR_OP_Softmax, 1, 1, input(&b, shape_of(3, 3, 4, 5)));
        attr_int(n, "axis", axis);
        check(&b, n);
    }
}

/* Inputs 3 and 4 (running mean, variance) get none, so they are constants. */
static void batch_norms(void **state)
{
    (void)state;
    for (int batch_stats = 0; batch_stats < 2; batch_stats++) {
        bench b = bench_new((uint64_t)batch_stats);
        b.batch_stats = b.own_forward = batch_stats;
        cr_tensor *x = input(&b, shape_of(4, 3, 4, 3, 2));
        cr_tensor *scale = input(&b, shape_of(1, 4)), *bias = input(&b, shape_of(1, 4));
        cr_tensor *mean = const_random(b.g, &b.r, "mean", shape_of(1, 4), -1, 1);
        cr_tensor *var = const_random(b.g, &b.r, "var", shape_of(1, 4), 0.5, 2);
        check(&b, graph_node(b.g, CR_OP_BatchNormalization, 1, 5, x, scale, bias, mean, var));
    }
}

static void running_statistics(void **state)
{
    (void)state;
    bench b = bench_new(0);
    b.batch_stats = true;
    cr_tensor *x = input(&b, shape_of(2, 4, 1));
    cr_tensor *mean = const_random(b.g, &b.r, "mean", shape_of(1, 1), 1, 1);
    cr_tensor *var = const_random(b.g, &b.r, "var", shape_of(1, 1), 2, 2);
    cr_tensor *one = const_random(b.g, &b.r, "one", shape_of(1, 1), 1, 1);
    cr_node *n = graph_node(b.g, CR_OP_BatchNormalization, 1, 5, x, one, one, mean, var);
    graph_output(b.g, done(n));
    graph_ready(b.g);
    cr_tape *tape = tape_of(&b, CR_DT_F64, NULL);
    for (int i = 0; i < 4; i++) ((double *)cr_tape_value(tape, x))[i] = 2 * i; /* mean 3, var 5 */
    forward(tape);
    const double momentum = (double)0.9f;
    assert_true(fabs(*(double *)cr_tape_value(tape, mean) - (momentum + (1 - momentum) * 3)) <
                1e-14);
    assert_true(fabs(*(double *)cr_tape_value(tape, var) - (2 * momentum + (1 - momentum) * 5)) <
                1e-14);
    assert_true(*(float *)mean->data == 1); /* the graph is not touched */
    cr_tape_free(&tape);
    cr_graph_free(&b.g);
}

static void resizes(void **state)
{
    (void)state;
    static const char *const places[] = {"half_pixel", "asymmetric", "align_corners",
                                         "pytorch_half_pixel"};
    for (uint64_t seed = 0; seed < 16; seed++) {
        bench b = bench_new(seed);
        cr_tensor *x = input(&b, shape_of(4, 1, 2, between(&b, 2, 5), between(&b, 2, 5)));
        cr_tensor *sizes = const_ints(b.g, 4, 1, 2, between(&b, 1, 8), between(&b, 1, 8));
        cr_node *n = graph_node(b.g, CR_OP_Resize, 1, 4, x, NULL, NULL, sizes);
        attr_string(b.g, n, "mode", seed % 2 ? "linear" : "nearest");
        attr_string(b.g, n, "coordinate_transformation_mode", places[seed / 2 % 4]);
        check(&b, n);
    }
}

static void moves(void **state)
{
    (void)state;
    bench b = bench_new(0);
    cr_tensor *x = input(&b, shape_of(3, 2, 3, 4)), *y = input(&b, shape_of(3, 2, 1, 4));
    cr_node *n = graph_node(b.g, CR_OP_Concat, 1, 3, x, y, x);
    attr_int(n, "axis", 1);
    check(&b, n);
    b = bench_new(1);
    n = graph_node(b.g, CR_OP_Split, 2, 2, input(&b, shape_of(3, 2, 5, 3)),
                   const_ints(b.g, 2, 2, 3));
    attr_int(n, "axis", 1);
    check(&b, n);
    b = bench_new(2);
    x = input(&b, shape_of(3, 2, 7, 3));
    check(&b, graph_node(b.g, CR_OP_Slice, 1, 5, x, const_ints(b.g, 1, 6), const_ints(b.g, 1, 0),
                         const_ints(b.g, 1, 1), const_ints(b.g, 1, -2)));
    b = bench_new(3);
    check(&b, graph_node(b.g, CR_OP_Reshape, 1, 2, input(&b, shape_of(3, 2, 6, 3)),
                         const_ints(b.g, 2, 4, 9)));
    b = bench_new(4);
    n = graph_node(b.g, CR_OP_Transpose, 1, 1, input(&b, shape_of(3, 2, 3, 4)));
    attr_ints(b.g, n, "perm", 3, 2, 0, 1);
    check(&b, n);
    b = bench_new(5);
    check(&b, graph_node(b.g, CR_OP_Squeeze, 1, 2, input(&b, shape_of(3, 2, 1, 4)),
                         const_ints(b.g, 1, 1)));
    b = bench_new(6);
    check(&b, graph_node(b.g, CR_OP_Expand, 1, 2, input(&b, shape_of(2, 3, 1)),
                         const_ints(b.g, 3, 2, 3, 4)));
    b = bench_new(7);
    n = graph_node(b.g, CR_OP_Gather, 1, 2, input(&b, shape_of(2, 4, 3)),
                   const_ints(b.g, 3, 2, 0, 2));
    check(&b, n);
    b = bench_new(8);
    n = graph_node(b.g, CR_OP_DepthToSpace, 1, 1, input(&b, shape_of(4, 1, 8, 2, 3)));
    attr_int(n, "blocksize", 2);
    check(&b, n);
}

/* Large enough for Winograd: float32 against float64 alone, as differences would take minutes. */
static void large_convolutions(void **state)
{
    (void)state;
    bench b = bench_new(1);
    cr_tensor *x = input(&b, shape_of(4, 2, 24, 31, 30)), *w = input(&b, shape_of(4, 26, 24, 3, 3));
    cr_node *n = graph_node(b.g, CR_OP_Conv, 1, 3, x, w, input(&b, shape_of(1, 26)));
    attr_ints(b.g, n, "pads", 4, 1, 1, 1, 1);
    b.lo = -0.5, b.hi = 0.5;
    graph_output(b.g, done(n));
    graph_ready(b.g);
    cr_tape *exact = tape_of(&b, CR_DT_F64, NULL), *tape = tape_of(&b, CR_DT_F32, NULL);
    backward(&b, exact, CR_DT_F64);
    backward(&b, tape, CR_DT_F32);
    const double *want = cr_tape_value(exact, n->out[0]);
    const float *got = cr_tape_value(tape, n->out[0]);
    for (int64_t i = 0; i < cr_shape_count(&n->out[0]->shape); i++)
        if (!(fabs(want[i] - (double)got[i]) <= tolerance_f32 * (1 + fabs(want[i]))))
            fail_msg("element %lld: %.9g, not %.9g", (long long)i, (double)got[i], want[i]);
    check_floats(&b, exact);
    check_plans(&b);
    cr_tape_free(&exact);
    cr_tape_free(&tape);
    cr_graph_free(&b.g);
}

/* A random operator on p and q, all of 4 channels on 5x5. */
static cr_tensor *random_layer(bench *b, cr_tensor *p, cr_tensor *q)
{
    cr_node *n;
    switch (between(b, 0, 9)) {
    case 0:
        n = graph_node(b->g, CR_OP_Conv, 1, 3, p,
                       apply1(b->g, CR_OP_Tanh, input(b, shape_of(4, 4, 4, 3, 3))),
                       apply1(b->g, CR_OP_Tanh, input(b, shape_of(1, 4))));
        attr_ints(b->g, n, "pads", 4, 1, 1, 1, 1);
        return done(n);
    case 1:
        return apply1(b->g, CR_OP_Swish, p);
    case 2:
        return apply2(b->g, CR_OP_Add, p, q);
    case 3:
        return apply2(b->g, CR_OP_Mul, apply1(b->g, CR_OP_Tanh, p), q);
    case 4: /* SiLU, as exporters write it */
        return between(b, 0, 1) ? apply2(b->g, CR_OP_Mul, p, apply1(b->g, CR_OP_Sigmoid, p))
                                : apply2(b->g, CR_OP_Mul, apply1(b->g, CR_OP_Sigmoid, p), p);
    case 5:
        n = graph_node(b->g, CR_OP_Concat, 1, 2, p, q);
        attr_int(n, "axis", 1);
        p = done(n);
        return done(graph_node(b->g, CR_OP_Conv, 1, 2, p, input(b, shape_of(4, 4, 8, 1, 1))));
    case 6:
        n = graph_node(b->g, CR_OP_Split, 2, 2, p, const_ints(b->g, 2, 3, 1));
        attr_int(n, "axis", 1);
        done(n);
        n = graph_node(b->g, CR_OP_Concat, 1, 2, n->out[1], n->out[0]);
        attr_int(n, "axis", 1);
        return done(n);
    case 7:
        n = graph_node(b->g, CR_OP_MaxPool, 1, 1, p);
        attr_ints(b->g, n, "kernel_shape", 2, 3, 3);
        attr_ints(b->g, n, "pads", 4, 1, 1, 1, 1);
        return done(n);
    case 8: /* there and back */
        n = graph_node(b->g, CR_OP_Resize, 1, 4, p, NULL, NULL, const_ints(b->g, 4, 1, 4, 10, 10));
        attr_string(b->g, n, "coordinate_transformation_mode", "asymmetric");
        attr_string(b->g, n, "nearest_mode", "floor");
        n = graph_node(b->g, CR_OP_AveragePool, 1, 1, done(n));
        attr_ints(b->g, n, "kernel_shape", 2, 2, 2);
        attr_ints(b->g, n, "strides", 2, 2, 2);
        return done(n);
    default:
        return done(graph_node(b->g, CR_OP_BatchNormalization, 1, 5, p,
                               apply1(b->g, CR_OP_Tanh, input(b, shape_of(1, 4))),
                               apply1(b->g, CR_OP_Tanh, input(b, shape_of(1, 4))),
                               const_random(b->g, &b->r, "mean", shape_of(1, 4), -1, 1),
                               const_random(b->g, &b->r, "var", shape_of(1, 4), 0.5, 2)));
    }
}

/* Several layers, tensors with several readers, an output that is read on, one that nobody reads:
 * the places of values and gradients that die must not collide. */
static void networks(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        bench b = bench_new(seed);
        cr_tensor *x = input(&b, shape_of(4, 1, 4, 5, 5)), *live[24] = {x};
        int count = 1;
        b.lo = -1, b.hi = 1;
        b.batch_stats = seed & 1;
        for (int i = 0; i < 10; i++) {
            cr_tensor *p = live[between(&b, count > 3 ? count - 3 : 0, count - 1)];
            cr_tensor *q = live[between(&b, 0, count - 1)];
            live[count++] = random_layer(&b, p, q);
        }
        graph_output(b.g, live[count / 2]);
        cr_node *split =
            graph_node(b.g, CR_OP_Split, 2, 2, live[count - 1], const_ints(b.g, 2, 1, 3));
        attr_int(split, "axis", 1);
        graph_output(b.g, apply1(b.g, CR_OP_Sigmoid, done(split)));
        graph_ready(b.g);
        cr_tape *tape = tape_of(&b, CR_DT_F64, NULL);
        backward(&b, tape, CR_DT_F64);
        if (seed < 16) check_differences(&b, tape);
        check_floats(&b, tape);
        check_plans(&b);
        backward(&b, tape, CR_DT_F64); /* a second pass finds nothing left over */
        if (seed < 16) check_differences(&b, tape);
        cr_tape_free(&tape);
        cr_graph_free(&b.g);
    }
}

static void refusals(void **state)
{
    (void)state;
    bench b = bench_new(0);
    cr_tensor *x = input(&b, shape_of(2, 3, 4));
    graph_output(b.g, apply1(b.g, CR_OP_Erf, x));
    graph_ready(b.g);
    bool wanted[8] = {false};
    cr_tape_options o = {.real = CR_DT_F32, .wanted = wanted};
    cr_tape *tape;
    cr_error err;
    assert_int_equal(cr_tape_create(b.g, &o, &tape, &err),
                     CR_OK); /* nothing wanted: it only runs */
    assert_null(cr_tape_grad(tape, x));
    cr_tape_free(&tape);
    wanted[x->id] = true;
    assert_int_equal(cr_tape_create(b.g, &o, &tape, &err), CR_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Erf_0"));
    o.real = CR_DT_F16;
    assert_int_equal(cr_tape_create(b.g, &o, &tape, &err), CR_ERR_ARGUMENT);
    cr_graph_free(&b.g);
}

/* Every allocation of a tape may fail; none leaks or is used. */
static void no_memory(void **state)
{
    (void)state;
    bench b = bench_new(0);
    cr_tensor *x = input(&b, shape_of(4, 1, 2, 4, 4)), *w = input(&b, shape_of(4, 2, 2, 3, 3));
    cr_node *n = graph_node(b.g, CR_OP_Concat, 1, 2, done(graph_node(b.g, CR_OP_Conv, 1, 2, x, w)),
                            done(graph_node(b.g, CR_OP_Conv, 1, 2, x, w)));
    attr_int(n, "axis", 1);
    graph_output(b.g, done(n));
    graph_ready(b.g);
    bool wanted[16] = {false};
    const cr_tape_options o = {.real = CR_DT_F32, .wanted = wanted};
    cr_tape *tape = NULL;
    wanted[x->id] = wanted[w->id] = true;
    for (long after = 1; !tape; after++) {
        cr_alloc_fail_after(after);
        const cr_status st = cr_tape_create(b.g, &o, &tape, NULL);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || st == CR_ERR_MEMORY);
        assert_true((st == CR_OK) == (tape != NULL));
        assert_true(after < 1000);
    }
    cr_tape_free(&tape);
    cr_graph_free(&b.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolution_of_rows_and_volumes),
        cmocka_unit_test(large_convolutions),
        cmocka_unit_test(products),
        cmocka_unit_test(elementwise),
        cmocka_unit_test(pairs),
        cmocka_unit_test(pools),
        cmocka_unit_test(sums),
        cmocka_unit_test(batch_norms),
        cmocka_unit_test(running_statistics),
        cmocka_unit_test(resizes),
        cmocka_unit_test(moves),
        cmocka_unit_test(networks),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
