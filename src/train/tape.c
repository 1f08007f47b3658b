/* The tape: what is tracked, where everything lies, forward and backward. See tape.h. */
#include "train/tape.h"

#include <string.h>

#include "graph/shape.h"
#include "ops/ref.h"
#include "train/grad.h"
#include "train/tape_plan.h"

/* A node as it is run: its call over the tape's tensors, and its gradient's arguments. */
typedef struct step {
    const cr_grad_op *grad;     /* NULL: reference forward, no backward */
    const cr_tensor *const *in; /* the graph's tensors that it reads: the node's, or one that stands
                                   for several (fuse_swish) */
    int n_in;
    bool detached, skipped; /* another step does its backward; its forward too */
    cr_grad_call call;
    bool tracked;
    bool *first; /* per input: this is the first to add to its gradient, which is cleared */
    cr_runs *runs;
} step;

struct cr_tape {
    const cr_graph *g;
    cr_dtype real;
    cr_pool *pool;
    cr_arena arena;
    cr_tensor *views; /* the graph's tensors with the tape's type and data */
    bool *tracked, *kept;
    bool *planned; /* per tensor: its value lies in the shared block */
    void **grads;
    step *steps;
    char *values, *kept_grads, *shared, *scratch;
    cr_tape_plan plan; /* of the shared block */
    cr_tape_memory memory;
};

static const size_t memory_limit = (size_t)64 << 30;

static size_t view_bytes(const cr_tensor *t)
{
    return cr_round_up(cr_tensor_bytes(t), CR_ALIGN);
}

static bool is_parameter(const cr_node *n, int input)
{
    if (n->op->kind == CR_OP_BatchNormalization) return input == 1 || input == 2;
    if (n->op->kind == CR_OP_FakeQuantize) return (cr_attr_int(n, "learn", 0) | 1) >> input & 1;
    if (n->op->kind == CR_OP_FakeQuantizeBias) return input == 0;
    return (n->op->flags & CR_OPF_HEAVY) != 0 && (n->op->flags & CR_OPF_QUANT) == 0;
}

static void mark_parameters(const cr_graph *g, bool *tracked)
{
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (t && cr_tensor_is_const(t) && cr_dtype_is_float(t->dtype) &&
                is_parameter(g->nodes[i], k))
                tracked[t->id] = true;
        }
}

/* Gradient bit of input k. */
static bool has_gradient(const cr_grad_op *op, int k)
{
    return op->inputs >> (k < 30 ? k : 30) & 1;
}

static cr_status track_node(cr_tape *t, const cr_node *n, step *s, cr_error *err)
{
    for (int k = 0; !s->detached && k < s->n_in; k++) {
        if (!s->in[k] || !t->tracked[s->in[k]->id]) continue;
        CR_CHECK(s->grad && has_gradient(s->grad, k), err, CR_ERR_UNSUPPORTED,
                 "node '%s' (%s): no gradient for input %d ('%s')", n->name, n->op->name, k,
                 s->in[k]->name);
        s->tracked = true;
    }
    for (int k = 0; s->tracked && k < n->n_out; k++)
        if (n->out[k] && cr_dtype_is_float(n->out[k]->dtype)) t->tracked[n->out[k]->id] = true;
    return CR_OK;
}

/* Tensors that gradients flow through, from what is wanted to the outputs, and what is kept. */
static cr_status track(cr_tape *t, const bool *wanted, cr_error *err)
{
    const cr_graph *g = t->g;
    if (wanted)
        memcpy(t->tracked, wanted, g->tensor_count * sizeof *wanted);
    else
        mark_parameters(g, t->tracked);
    for (size_t i = 0; i < g->tensor_count; i++) {
        CR_CHECK(!t->tracked[i] || cr_dtype_is_float(g->tensors[i]->dtype), err, CR_ERR_ARGUMENT,
                 "tensor '%s': a gradient is wanted of something that is no float",
                 g->tensors[i]->name);
        t->kept[i] = t->tracked[i];
    }
    for (size_t i = 0; i < g->node_count; i++)
        CR_TRY(track_node(t, g->nodes[i], &t->steps[i], err));
    for (size_t i = 0; i < g->output_count; i++)
        if (t->tracked[g->outputs[i]->id]) t->kept[g->outputs[i]->id] = true;
    return CR_OK;
}

/* Activations lie in the shared block; constants, inputs, outputs and integers have places of their
 * own. */
static void find_planned(cr_tape *t, bool keep_values)
{
    const cr_graph *g = t->g;
    for (size_t i = 0; i < g->tensor_count; i++)
        t->planned[i] =
            !keep_values && g->tensors[i]->producer && cr_dtype_is_float(g->tensors[i]->dtype);
    for (size_t i = 0; i < g->output_count; i++) t->planned[g->outputs[i]->id] = false;
    for (size_t i = 0; i < g->input_count; i++) t->planned[g->inputs[i]->id] = false;
}

/* A view that the tape has to find room for. */
static bool is_held(const cr_tape *t, const cr_tensor *v)
{
    return v->dtype == t->real || !v->data; /* integer constants stay where they are */
}

static cr_status place_values(cr_tape *t, cr_error *err)
{
    const cr_graph *g = t->g;
    size_t total = 0, all = 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *v = &t->views[i];
        *v = *g->tensors[i];
        CR_CHECK(cr_shape_known(&v->shape), err, CR_ERR_ARGUMENT,
                 "tensor '%s': its shape is not known", v->name);
        if (cr_dtype_is_float(v->dtype)) v->dtype = t->real;
        if (!is_held(t, v)) continue;
        const size_t bytes = view_bytes(v);
        CR_CHECK(bytes <= memory_limit - all, err, CR_ERR_LIMIT,
                 "the values of the model take more than %zu GiB", memory_limit >> 30);
        all += bytes;
        if (!t->planned[i]) total += bytes;
    }
    t->memory.values = total;
    t->values = cr_aligned_alloc(total);
    if (!t->values) return CR_NOMEM(err);
    memset(t->values, 0, total);
    return CR_OK;
}

/* Gives every view that stays its place and copies the float constants. */
static void fill_values(cr_tape *t)
{
    char *at = t->values;
    for (size_t i = 0; i < t->g->tensor_count; i++) {
        const cr_tensor *from = t->g->tensors[i];
        cr_tensor *v = &t->views[i];
        if (t->planned[i] || !is_held(t, v)) continue;
        v->data = at;
        at += view_bytes(v);
        const int64_t n = from->data ? cr_shape_count(&v->shape) : 0;
        for (int64_t k = 0; k < n; k++) {
            const double x = cr_tensor_get_f64(from, (size_t)k);
            if (t->real == CR_DT_F32)
                ((float *)v->data)[k] = (float)x;
            else
                ((double *)v->data)[k] = x;
        }
    }
}

/* Backward reads values of inputs, be it only of those that have no gradient (Resize's scales). */
static bool reads_inputs(const cr_tape *t, const step *s)
{
    if (!s->grad || !(s->grad->flags & CR_GRAD_NO_IN)) return true;
    for (int k = 0; k < s->n_in; k++)
        if (s->in[k] && t->planned[s->in[k]->id] && !has_gradient(s->grad, k)) return true;
    return false;
}

static void describe_step(const cr_tape *t, size_t i, cr_plan_step *to)
{
    const step *s = &t->steps[i];
    const unsigned how = s->grad ? s->grad->flags : 0;
    *to = (cr_plan_step){.in = s->in,
                         .n_in = s->n_in,
                         .out = t->g->nodes[i]->out,
                         .n_out = t->g->nodes[i]->n_out,
                         .runs = !s->skipped,
                         .backward = s->tracked,
                         .reads_in = reads_inputs(t, s),
                         .reads_out = !(how & CR_GRAD_NO_OUT),
                         .cheap = (how & CR_GRAD_CHEAP) != 0,
                         .replays = (how & (CR_GRAD_CHEAP | CR_GRAD_PURE)) != 0};
}

static cr_status make_plan(cr_tape *t, bool recompute, cr_error *err)
{
    const size_t tensors = t->g->tensor_count, nodes = t->g->node_count;
    cr_plan_step *steps = cr_calloc(nodes + 1, sizeof *steps);
    size_t *values = cr_calloc(2 * tensors + 1, sizeof *values), *gradients = values + tensors;
    cr_status st = CR_OK;
    if (!steps || !values) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < nodes; i++) describe_step(t, i, &steps[i]);
    for (size_t i = 0; i < tensors; i++) {
        if (t->planned[i]) values[i] = view_bytes(&t->views[i]);
        if (t->tracked[i] && !t->kept[i]) gradients[i] = view_bytes(&t->views[i]);
        if (t->kept[i]) t->memory.kept += view_bytes(&t->views[i]);
    }
    st = cr_tape_plan_make(steps, nodes, values, gradients, tensors, recompute, &t->plan, err);
done:
    cr_free(steps);
    cr_free(values);
    return st;
}

static cr_status place_shared(cr_tape *t, bool recompute, cr_error *err)
{
    CR_TRY(make_plan(t, recompute, err));
    t->memory.shared = t->plan.bytes;
    t->kept_grads = cr_aligned_alloc(t->memory.kept);
    t->shared = cr_aligned_alloc(t->memory.shared);
    if (!t->kept_grads || !t->shared) return CR_NOMEM(err);
    memset(t->kept_grads, 0, t->memory.kept);
    char *at = t->kept_grads;
    for (size_t i = 0; i < t->g->tensor_count; i++) {
        if (t->kept[i]) {
            t->grads[i] = at;
            at += view_bytes(&t->views[i]);
        } else if (t->tracked[i]) {
            t->grads[i] = t->shared + t->plan.gradient[i];
        }
        if (t->planned[i]) t->views[i].data = t->shared + t->plan.value[i];
    }
    return CR_OK;
}

/* Room for the pointers of a step's call. */
static cr_status bind_step(cr_tape *t, const cr_node *n, step *s, cr_error *err)
{
    const size_t n_in = (size_t)s->n_in, n_out = (size_t)n->n_out;
    const cr_tensor **in = cr_arena_alloc(&t->arena, (n_in + 1) * sizeof *in);
    cr_tensor **out = cr_arena_alloc(&t->arena, (n_out + 1) * sizeof *out);
    void **d_in = cr_arena_alloc(&t->arena, (n_in + 1) * sizeof *d_in);
    void **d_out = cr_arena_alloc(&t->arena, (n_out + 1) * sizeof *d_out);
    s->first = cr_arena_alloc(&t->arena, n_in + 1);
    s->runs = cr_arena_alloc(&t->arena, (n_out + 1) * sizeof *s->runs);
    if (!in || !out || !d_in || !d_out || !s->first || !s->runs) return CR_NOMEM(err);
    for (size_t k = 0; k < n_in; k++)
        if (s->in[k]) {
            in[k] = &t->views[s->in[k]->id];
            d_in[k] = s->tracked ? t->grads[s->in[k]->id] : NULL;
        }
    for (size_t k = 0; k < n_out; k++)
        if (n->out[k]) {
            out[k] = &t->views[n->out[k]->id];
            d_out[k] = t->grads[n->out[k]->id];
        }
    s->call.op = (cr_op_call){n, in, out, s->n_in, n->n_out};
    s->call.d_in = d_in;
    s->call.d_out = d_out;
    s->call.runs = s->runs;
    s->call.first = s->first;
    s->call.pool = t->pool;
    return CR_OK;
}

/* Movers whose integer inputs are only known at run time cannot be traced. */
static bool can_trace(const cr_node *n)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && !cr_dtype_is_float(n->in[k]->dtype) && !n->in[k]->data) return false;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && !cr_dtype_is_float(n->out[k]->dtype)) return false;
    return n->n_in > 0;
}

static cr_status bind_steps(cr_tape *t, cr_error *err)
{
    const cr_graph *g = t->g;
    for (size_t i = 0; i < g->node_count; i++) {
        step *s = &t->steps[i];
        size_t bytes = 0;
        CR_TRY(bind_step(t, g->nodes[i], s, err));
        if (!s->grad || s->skipped) continue;
        if (s->grad->flags & CR_GRAD_MOVES) CR_TRY(cr_grad_trace(&s->call.op, s->runs, err));
        CR_TRY(s->grad->scratch(&s->call, &bytes, err));
        if (bytes > t->memory.scratch) t->memory.scratch = bytes;
    }
    t->scratch = cr_aligned_alloc(t->memory.scratch);
    if (!t->scratch) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++) t->steps[i].call.scratch = t->scratch;
    return CR_OK;
}

/* Which step of the backward pass is the first to touch a shared gradient: it clears it. */
static cr_status find_first_uses(cr_tape *t, cr_error *err)
{
    const cr_graph *g = t->g;
    bool *seen = cr_calloc(g->tensor_count, sizeof *seen);
    if (!seen) return CR_NOMEM(err);
    for (size_t i = g->node_count; i-- > 0;) {
        const step *s = &t->steps[i];
        for (int k = 0; s->tracked && k < s->n_in; k++) {
            const cr_tensor *x = s->in[k];
            if (!x || !t->tracked[x->id] || t->kept[x->id] || seen[x->id]) continue;
            s->first[k] = seen[x->id] = true;
        }
    }
    cr_free(seen);
    return CR_OK;
}

/* Which operators have a gradient on this tape. What is not a float operation on floats alone runs
 * by reference. */
static const cr_grad_op *find(const cr_tape *t, cr_op_kind kind)
{
    return t->real == CR_DT_F32 ? cr_grad_find_f32(kind) : cr_grad_find_f64(kind);
}

/* x * Sigmoid(x), which nothing else reads, is one step that reads x. */
static void fuse_swish(cr_tape *t, bool keep_values)
{
    for (size_t i = 0; i < t->g->node_count; i++) {
        const cr_node *n = t->g->nodes[i];
        for (int k = 0; n->op->kind == CR_OP_Mul && k < 2; k++) {
            const cr_tensor *x = n->in[k], *gate = n->in[1 - k];
            const cr_node *sigmoid = gate->producer;
            if (!sigmoid || sigmoid->op->kind != CR_OP_Sigmoid || sigmoid->in[0] != x ||
                gate->uses != 1 || t->kept[gate->id])
                continue;
            t->steps[i].in = (const cr_tensor *const *)&sigmoid->in[0];
            t->steps[i].n_in = 1;
            t->steps[i].call.kind = CR_OP_Swish;
            t->steps[i].grad = find(t, CR_OP_Swish);
            t->steps[sigmoid->index].detached = true;
            t->steps[sigmoid->index].skipped = !keep_values;
            break;
        }
    }
}

static void choose(cr_tape *t, bool batch_stats)
{
    for (size_t i = 0; i < t->g->node_count; i++) {
        const cr_node *n = t->g->nodes[i];
        step *s = &t->steps[i];
        s->call.batch_stats = batch_stats;
        s->call.kind = n->op->kind;
        s->in = (const cr_tensor *const *)n->in;
        s->n_in = n->n_in;
        const bool floats = n->n_in > 0 && n->in[0] && cr_dtype_is_float(n->in[0]->dtype);
        if (!floats) continue;
        s->grad = find(t, n->op->kind);
        if (s->grad && (s->grad->flags & CR_GRAD_MOVES) && !can_trace(n)) s->grad = NULL;
    }
}

static cr_status build(cr_tape *t, const cr_tape_options *o, cr_error *err)
{
    const size_t tensors = t->g->tensor_count, nodes = t->g->node_count;
    t->views = cr_arena_alloc(&t->arena, (tensors + 1) * sizeof *t->views);
    t->tracked = cr_arena_alloc(&t->arena, tensors + 1);
    t->kept = cr_arena_alloc(&t->arena, tensors + 1);
    t->planned = cr_arena_alloc(&t->arena, tensors + 1);
    t->grads = cr_arena_alloc(&t->arena, (tensors + 1) * sizeof *t->grads);
    t->steps = cr_arena_alloc(&t->arena, (nodes + 1) * sizeof *t->steps);
    if (!t->views || !t->tracked || !t->kept || !t->planned || !t->grads || !t->steps)
        return CR_NOMEM(err);
    choose(t, o->batch_stats);
    fuse_swish(t, o->keep_values);
    find_planned(t, o->keep_values);
    CR_TRY(track(t, o->wanted, err));
    CR_TRY(place_values(t, err));
    fill_values(t);
    CR_TRY(place_shared(t, o->recompute, err));
    CR_TRY(bind_steps(t, err));
    return find_first_uses(t, err);
}

cr_status cr_tape_create(const cr_graph *g, const cr_tape_options *options, cr_tape **out,
                         cr_error *err)
{
    *out = NULL;
    CR_CHECK(options->real == CR_DT_F32 || options->real == CR_DT_F64, err, CR_ERR_ARGUMENT,
             "a tape holds float32 or float64");
    cr_tape *t = cr_calloc(1, sizeof *t);
    if (!t) return CR_NOMEM(err);
    t->g = g;
    t->real = options->real;
    t->pool = options->pool;
    const cr_status st = build(t, options, err);
    if (st != CR_OK) {
        cr_tape_free(&t);
        return st;
    }
    *out = t;
    return CR_OK;
}

void cr_tape_free(cr_tape **tape)
{
    if (!tape || !*tape) return;
    cr_tape *t = *tape;
    for (size_t i = 0; t->steps && i < t->g->node_count; i++)
        for (int k = 0; t->steps[i].runs && k < t->g->nodes[i]->n_out; k++)
            cr_free(t->steps[i].runs[k].run);
    cr_aligned_free(t->values);
    cr_aligned_free(t->kept_grads);
    cr_aligned_free(t->shared);
    cr_aligned_free(t->scratch);
    cr_tape_plan_free(&t->plan);
    cr_arena_free(&t->arena);
    cr_free(t);
    *tape = NULL;
}

void *cr_tape_value(const cr_tape *tape, const cr_tensor *t)
{
    return tape->planned[t->id] ? NULL : tape->views[t->id].data;
}

void *cr_tape_grad(const cr_tape *tape, const cr_tensor *t)
{
    return tape->grads[t->id];
}

void cr_tape_zero(cr_tape *tape)
{
    const cr_graph *g = tape->g;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (tape->kept[i]) memset(tape->grads[i], 0, cr_tensor_bytes(&tape->views[i]));
}

cr_tape_memory cr_tape_memory_of(const cr_tape *tape)
{
    return tape->memory;
}

/* Runs step i; places: where its outputs go in the shared block. */
static cr_status run_step(const cr_tape *t, size_t i, const size_t *places, bool again,
                          cr_error *err)
{
    step *s = &t->steps[i];
    const cr_node *n = t->g->nodes[i];
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && t->planned[n->out[k]->id])
            t->views[n->out[k]->id].data = t->shared + places[n->out[k]->id];
    s->call.again = again;
    return s->grad ? s->grad->forward(&s->call, err) : cr_op_eval(&s->call.op, err);
}

cr_status cr_tape_forward(cr_tape *tape, cr_error *err)
{
    for (size_t i = 0; i < tape->g->node_count; i++)
        if (!tape->steps[i].skipped) CR_TRY(run_step(tape, i, tape->plan.value, false, err));
    return CR_OK;
}

static void clear_first(const cr_tape *t, const step *s)
{
    const cr_op_call *op = &s->call.op;
    for (int k = 0; !(s->grad->flags & CR_GRAD_SETS) && k < op->n_in; k++)
        if (s->first[k]) memset(s->call.d_in[k], 0, cr_tensor_bytes(op->in[k]));
    for (int k = 0; k < op->n_out; k++) {
        const cr_tensor *out = op->node->out[k];
        if (out && t->tracked[out->id] && !t->kept[out->id] && out->uses == 0)
            memset(s->call.d_out[k], 0, cr_tensor_bytes(op->out[k]));
    }
}

cr_status cr_tape_backward(cr_tape *tape, cr_error *err)
{
    for (size_t i = tape->g->node_count; i-- > 0;) {
        const step *s = &tape->steps[i];
        size_t count;
        const int *replays = cr_tape_plan_replays(&tape->plan, i, &count);
        if (!s->tracked) continue;
        for (size_t k = 0; k < count; k++)
            CR_TRY(run_step(tape, (size_t)replays[k], tape->plan.replayed, true, err));
        clear_first(tape, s);
        CR_TRY(s->grad->backward(&s->call, err));
    }
    return CR_OK;
}
