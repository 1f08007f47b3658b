/* Compile: graph + recipe -> program, a list of steps over planned memory.
 *
 * The idea. Nodes are lowered in topological order. Each lowering function looks at one node (and
 * the few behind it that can be fused), asks for its inputs in the form that its kernel reads, adds
 * one step, and declares its output. "Form" is element type (float32, or uint8 codes when the recipe
 * has a per-tensor 8-bit entry) and layout (NCHW as in ONNX, or NHWC: one row of channels per pixel,
 * which convolutions want, because a row is then a contiguous vector for every tap). Forms that do
 * not exist yet are made by conversion steps on demand, once, so layouts need no pass of their own.
 *
 *     tensor ── value (u8, nhwc) ── convert ── value (f32, nhwc) ── convert ── value (f32, plain)
 *
 * An operator without a fast lowering runs through its reference implementation on plain float
 * tensors, with the recipe applied around it; so every model that can be read can be run, and the
 * fast paths are an optimisation that tests hold against the reference.
 *
 * Rejected: NCHWc blocking (8 or 16 channels inside): as fast for dense convolutions, but every
 * channel count that is not a multiple wastes work, and Concat/Split at odd channel counts copy. */
#include "runtime/program.h"

#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "graph/recipe_dynamic.h"

static int64_t spatial_rows(const cr_shape *s) { return s->dim[0] * s->dim[2] * s->dim[3]; }

/* A pixel of a few codes takes four bytes, so that kernels read it in one step. */
static int64_t pixel_bytes(const cr_value *v)
{
    return v->nhwc && v->dtype == CR_DT_U8 && v->cols < CR_PIXEL ? CR_PIXEL : v->cols;
}

int cr_program_add_value(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc)
{
    if (!cr_grow((void **)&p->values, &p->value_cap, p->value_count, sizeof *p->values)) return -1;
    const int index = (int)p->value_count++;
    cr_value *v = &p->values[index];
    *v = (cr_value){.tensor = t, .dtype = dtype, .nhwc = nhwc, .root = index, .first = -1,
                    .last = -1, .next = -1};
    v->dynamic = !cr_shape_known(&t->shape);
    const int64_t count = v->dynamic ? 0 : cr_shape_count(&t->shape);
    v->rows = nhwc ? spatial_rows(&t->shape) : 1;
    v->cols = nhwc ? t->shape.dim[1] : count;
    v->ld = pixel_bytes(v);
    v->bytes = (size_t)(nhwc ? v->rows * v->ld : count) * cr_dtype_size(dtype);
    int *link = &p->first_value[t->id];
    while (*link >= 0) link = &p->values[*link].next;
    *link = index;
    return index;
}

int cr_program_primary(const cr_program *p, const cr_tensor *t) { return p->first_value[t->id]; }

static int find_value(const cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc)
{
    for (int v = p->first_value[t->id]; v >= 0; v = p->values[v].next)
        if (p->values[v].dtype == dtype && p->values[v].nhwc == nhwc) return v;
    return -1;
}

const cr_recipe_entry *cr_program_entry(const cr_program *p, const cr_tensor *t)
{
    return p->entries[t->id];
}

const cr_recipe_entry *cr_program_byte_entry(const cr_program *p, const cr_tensor *t)
{
    const cr_recipe_entry *e = p->entries[t->id];
    if (!e || e->is_weight || !cr_q_per_tensor(&e->q) || t->dtype != CR_DT_F32) return NULL;
    return e->q.type == CR_DT_U8 || e->q.type == CR_DT_I8 ? e : NULL;
}

const cr_recipe_entry *cr_program_codes_entry(const cr_program *p, const cr_tensor *t)
{
    const cr_recipe_entry *e = p->entries[t->id];
    if (!e || e->is_weight || cr_q_per_tensor(&e->q)) return cr_program_byte_entry(p, t);
    if (e->q.axis != 1 || t->shape.rank != 4 || t->dtype != CR_DT_F32) return NULL;
    return e->q.type == CR_DT_U8 || e->q.type == CR_DT_I8 ? e : NULL;
}

const cr_recipe_entry *cr_program_wide_entry(const cr_program *p, const cr_tensor *t)
{
    const cr_recipe_entry *e = p->entries[t->id];
    if (!e || e->is_weight || t->dtype != CR_DT_F32 || t->shape.rank != 4) return NULL;
    if (!cr_q_per_tensor(&e->q) && e->q.axis != 1) return NULL;
    return e->q.type == CR_DT_U16 || e->q.type == CR_DT_I16 ? e : NULL;
}

bool cr_program_same_codes(const cr_program *p, const cr_tensor *x, const cr_tensor *y,
                           int64_t first)
{
    const cr_recipe_entry *a = cr_program_codes_entry(p, x), *b = cr_program_codes_entry(p, y);
    if (!a || !b || a->q.type != b->q.type) return false;
    const bool one_a = cr_q_per_tensor(&a->q), one_b = cr_q_per_tensor(&b->q);
    if (one_a != one_b || (!one_a && (size_t)first + b->q.count > a->q.count)) return false;
    for (size_t i = 0; i < (one_b ? 1 : b->q.count); i++) {
        const size_t k = one_a ? 0 : (size_t)first + i;
        if (a->q.scale[k] != b->q.scale[i] || a->q.zero_point[k] != b->q.zero_point[i])
            return false;
    }
    return true;
}

void cr_byte_params(const cr_recipe_entry *e, float *scale, int32_t *zero_point)
{
    *scale = e->q.scale[0];
    *zero_point = e->q.zero_point[0] + (e->q.type == CR_DT_I8 ? 128 : 0);
}

const cr_node *cr_program_only_reader(const cr_program *p, const cr_tensor *t)
{
    if (t->uses != 1) return NULL;
    for (size_t i = t->producer ? (size_t)t->producer->index + 1 : 0; i < p->graph->node_count; i++)
        for (int k = 0; k < p->graph->nodes[i]->n_in; k++)
            if (p->graph->nodes[i]->in[k] == t) return p->graph->nodes[i];
    return NULL; /* a graph output */
}

bool cr_prefers_nhwc(const cr_program *p, const cr_tensor *t)
{
    const int v = cr_program_primary(p, t);
    return v >= 0 && p->values[v].nhwc;
}

cr_step *cr_program_add_step(cr_program *p, cr_step_fn run, const char *what, const cr_node *node,
                             int n_in, int n_out)
{
    if (!cr_grow((void **)&p->steps, &p->step_cap, p->step_count, sizeof *p->steps)) return NULL;
    cr_step *s = &p->steps[p->step_count];
    *s = (cr_step){.run = run, .what = what, .node = node, .n_in = n_in, .n_out = n_out};
    s->in = cr_arena_alloc(&p->arena, (size_t)n_in * sizeof *s->in);
    s->out = cr_arena_alloc(&p->arena, (size_t)n_out * sizeof *s->out);
    if (!s->in || !s->out) return NULL;
    for (int i = 0; i < n_in; i++) s->in[i] = -1;
    for (int i = 0; i < n_out; i++) s->out[i] = -1;
    p->step_count++;
    return s;
}

static int copy_params(cr_program *p, int to, int from)
{
    if (to >= 0) {
        p->values[to].quantized = p->values[from].quantized;
        p->values[to].scale = p->values[from].scale;
        p->values[to].zero_point = p->values[from].zero_point;
        p->values[to].scales = p->values[from].scales;
        p->values[to].zeros = p->values[from].zeros;
    }
    return to;
}

/* Rows of floats first; a row is then rounded. */
static cr_status need_bf16(cr_program *p, const cr_tensor *t, int *value, cr_error *err)
{
    int from;
    CR_TRY(cr_program_need(p, t, CR_DT_F32, true, &from, err));
    *value = cr_program_add_value(p, t, CR_DT_BF16, true);
    return *value < 0 ? CR_NOMEM(err) : cr_lower_convert(p, from, *value, err);
}

/* One conversion at a time: first the type (in the layout that is there), then the layout. */
cr_status cr_program_need(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc, int *value,
                          cr_error *err)
{
    *value = find_value(p, t, dtype, nhwc);
    if (*value >= 0) return CR_OK;
    if (dtype == CR_DT_BF16) return need_bf16(p, t, value, err);
    int from = find_value(p, t, dtype, !nhwc);
    if (from < 0) {
        from = find_value(p, t, dtype == CR_DT_F32 ? CR_DT_U8 : CR_DT_F32, nhwc);
        if (from < 0) from = cr_program_primary(p, t);
        CR_CHECK(from >= 0, err, CR_ERR_INTERNAL, "tensor '%s' is used before it is made", t->name);
        if (p->values[from].dtype != dtype) {
            const int typed = cr_program_add_value(p, t, dtype, p->values[from].nhwc);
            if (typed < 0) return CR_NOMEM(err);
            CR_TRY(cr_lower_convert(p, from, typed, err));
            from = typed;
        }
    }
    if (p->values[from].nhwc != nhwc) {
        const int laid = copy_params(p, cr_program_add_value(p, t, dtype, nhwc), from);
        if (laid < 0) return CR_NOMEM(err);
        CR_TRY(cr_lower_convert(p, from, laid, err));
        from = laid;
    }
    *value = from;
    return CR_OK;
}

cr_status cr_program_output(cr_program *p, const cr_tensor *t, cr_dtype dtype, bool nhwc, int *value,
                            cr_error *err)
{
    *value = cr_program_add_value(p, t, dtype, nhwc);
    return *value < 0 ? CR_NOMEM(err) : CR_OK;
}

/* Scales and zero points by channel, of codes that are not negative. */
static cr_status set_columns(cr_program *p, cr_value *v, const cr_qparams *q, cr_error *err)
{
    int32_t lo, hi;
    float *scales = cr_arena_alloc(&p->arena, (size_t)v->cols * sizeof *scales);
    int32_t *zeros = cr_arena_alloc(&p->arena, (size_t)v->cols * sizeof *zeros);
    if (!scales || !zeros) return CR_NOMEM(err);
    cr_qtype_range(q->type, &lo, &hi);
    for (int64_t c = 0; c < v->cols; c++) {
        scales[c] = q->scale[cr_q_per_tensor(q) ? 0 : c];
        zeros[c] = q->zero_point[cr_q_per_tensor(q) ? 0 : c] - lo;
    }
    v->scales = scales;
    v->zeros = zeros;
    return CR_OK;
}

cr_status cr_program_output_u8(cr_program *p, const cr_tensor *t, bool nhwc, int *value,
                               cr_error *err)
{
    CR_TRY(cr_program_output(p, t, CR_DT_U8, nhwc, value, err));
    const cr_recipe_entry *e = cr_program_codes_entry(p, t);
    cr_value *v = &p->values[*value];
    v->quantized = true;
    cr_byte_params(e, &v->scale, &v->zero_point);
    return cr_q_per_tensor(&e->q) ? CR_OK : set_columns(p, v, &e->q, err);
}

cr_status cr_program_output_rows(cr_program *p, const cr_tensor *t, int *value, cr_error *err)
{
    const cr_recipe_entry *e = cr_program_wide_entry(p, t);
    if (cr_program_codes_entry(p, t)) return cr_program_output_u8(p, t, true, value, err);
    CR_TRY(cr_program_output(p, t, e ? CR_DT_U16 : CR_DT_F32, true, value, err));
    if (!e) return CR_OK;
    p->values[*value].quantized = true;
    return set_columns(p, &p->values[*value], &e->q, err);
}

void cr_program_hide_value(cr_program *p, const cr_tensor *t, int value)
{
    for (int *link = &p->first_value[t->id]; *link >= 0; link = &p->values[*link].next)
        if (*link == value) {
            *link = p->values[value].next;
            p->values[value].next = -1;
            return;
        }
}

/* A picture of a few planes: its codes are for a first layer, which wants pixels. (Such a value is
 * never moved into a concatenation: it has spare bytes.) */
static bool is_pixels(const cr_tensor *t)
{
    return t->shape.rank == 4 && t->shape.dim[1] >= 1 && t->shape.dim[1] < CR_PIXEL;
}

/* Codes with a scale per channel, and those of 16 bits, are made of rows of channels. */
static cr_status finish_columns(cr_program *p, const cr_tensor *t, int value, cr_error *err)
{
    int made;
    if (!p->values[value].nhwc) {
        int rows;
        CR_TRY(cr_program_output(p, t, CR_DT_F32, true, &rows, err));
        cr_program_hide_value(p, t, rows);
        CR_TRY(cr_lower_convert(p, value, rows, err));
        value = rows;
    }
    CR_TRY(cr_program_output_rows(p, t, &made, err));
    return cr_lower_convert(p, value, made, err);
}

cr_status cr_program_finish(cr_program *p, const cr_tensor *t, int value, cr_error *err)
{
    const cr_recipe_entry *e = cr_program_entry(p, t);
    const cr_value *v = &p->values[value];
    if (!e || e->is_weight || v->quantized || v->dtype != CR_DT_F32) return CR_OK;
    CR_CHECK(!v->dynamic, err, CR_ERR_UNSUPPORTED,
             "tensor '%s': a recipe entry on a tensor without a fixed shape", t->name);
    int made;
    const bool nhwc = v->nhwc;
    cr_program_hide_value(p, t, value); /* nobody may read the float it was made from */
    if (cr_program_byte_entry(p, t)) {
        CR_TRY(cr_program_output_u8(p, t, nhwc || is_pixels(t), &made, err));
        return cr_lower_convert(p, value, made, err);
    }
    if (cr_program_codes_entry(p, t) || cr_program_wide_entry(p, t))
        return finish_columns(p, t, value, err);
    CR_TRY(cr_program_output(p, t, CR_DT_F32, nhwc, &made, err));
    return cr_lower_fake_quantize(p, value, made, e, err);
}

cr_status cr_program_weights(cr_program *p, const cr_tensor *t, const float **out, cr_error *err)
{
    const cr_recipe_entry *e = cr_program_entry(p, t);
    *out = t->data;
    if (!e) return CR_OK;
    float *copy = cr_arena_alloc(&p->arena, cr_tensor_bytes(t));
    if (!copy) return CR_NOMEM(err);
    cr_fake_quantize(t, &e->q, copy);
    *out = copy;
    return CR_OK;
}

static cr_status add_sources(cr_program *p, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const cr_tensor *t = g->tensors[i];
        if (!t->data) continue;
        const int v = cr_program_add_value(p, t, t->dtype, false);
        if (v < 0) return CR_NOMEM(err);
        p->values[v].fixed = t->data;
    }
    for (size_t i = 0; i < g->input_count; i++) {
        const cr_tensor *t = g->inputs[i];
        CR_CHECK(cr_shape_known(&t->shape), err, CR_ERR_ARGUMENT,
                 "input '%s' has no fixed shape: give --imgsz", t->name);
        const int v = cr_program_add_value(p, t, t->dtype, false);
        if (v < 0) return CR_NOMEM(err);
        p->inputs[i] = v;
        CR_TRY(cr_program_finish(p, t, v, err));
    }
    return CR_OK;
}

/* Constants with a weight entry that are read by an operator without its own handling (a gemm, a
 * concat ...) become a fake-quantized constant once; the fast convolutions read codes instead. */
static cr_status lower_node(cr_program *p, const cr_node *n, cr_error *err)
{
    bool done = false;
    CR_TRY(cr_lower_live(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_conv(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_flatten(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_planes(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_head(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_spatial(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_gelu(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_elementwise(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_plain(p, n, &done, err));
    if (!done) CR_TRY(cr_lower_reference(p, n, err));
    return CR_OK;
}

/* A tensor that only a quantized Concat along the channels reads may be quantized as soon as it is
 * made: the codes are the same, and its producer writes them into their columns at once. */
static void quantize_early(cr_program *p)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const int64_t axis = n->op->kind == CR_OP_Concat ? cr_attr_int(n, "axis", 0) : 0;
        if ((axis != 1 && axis != -3) || n->out[0]->shape.rank != 4) continue;
        const cr_recipe_entry *e = cr_program_byte_entry(p, n->out[0]);
        for (int k = 0; e && k < n->n_in; k++) {
            const cr_tensor *t = n->in[k];
            if (t->data || t->dtype != CR_DT_F32 || p->entries[t->id] || t->uses != 1) continue;
            if (!t->producer || t->producer->op->kind == CR_OP_Concat) continue;
            if (t->producer->op->kind == CR_OP_Conv) continue; /* would round its sums only once */
            p->entries[t->id] = e;
            p->early[t->id] = true;
        }
    }
}

static cr_status lower_graph(cr_program *p, cr_error *err)
{
    const cr_graph *g = p->graph;
    quantize_early(p);
    CR_TRY(add_sources(p, err));
    for (size_t i = 0; i < g->node_count; i++)
        if (!p->fused[i]) CR_TRY(lower_node(p, g->nodes[i], err));
    for (size_t i = 0; i < g->output_count; i++) {
        const cr_tensor *t = g->outputs[i];
        const cr_dtype dtype = t->dtype;
        CR_TRY(cr_program_need(p, t, dtype, false, &p->outputs[i], err));
    }
    return CR_OK;
}

/* A model that was quantized, in whole or in part, runs as its file says. */
static bool is_quantized(const cr_program *p)
{
    for (size_t i = 0; i < p->graph->node_count; i++)
        if (p->graph->nodes[i]->op->flags & CR_OPF_QUANT) return true;
    for (size_t i = 0; i < p->graph->tensor_count; i++)
        if (p->entries[i]) return true;
    return false;
}

/* Removes steps whose results nobody reads: a fused step may have taken over what they were for. */
static cr_status sweep(cr_program *p, cr_error *err)
{
    bool *read = cr_calloc(p->value_count + 1, sizeof *read);
    bool *kept = cr_calloc(p->step_count + 1, sizeof *kept);
    if (!read || !kept) {
        cr_free(read);
        cr_free(kept);
        return CR_NOMEM(err);
    }
    for (size_t i = 0; i < p->graph->output_count; i++) read[p->values[p->outputs[i]].root] = true;
    for (size_t i = p->step_count; i-- > 0;) {
        const cr_step *s = &p->steps[i];
        for (int k = 0; k < s->n_out; k++)
            kept[i] |= s->out[k] >= 0 && read[p->values[s->out[k]].root];
        for (int k = 0; kept[i] && k < s->n_in; k++)
            if (s->in[k] >= 0) read[p->values[s->in[k]].root] = true;
    }
    size_t count = 0;
    for (size_t i = 0; i < p->step_count; i++) {
        if (kept[i]) {
            p->steps[count++] = p->steps[i];
        } else if (p->steps[i].free_op && p->steps[i].op) {
            p->steps[i].free_op(p->steps[i].op);
        }
    }
    p->step_count = count;
    cr_free(read);
    cr_free(kept);
    return CR_OK;
}

static void take_weights(cr_program *p)
{
    for (size_t i = 0; i < p->graph->tensor_count; i++)
        if (p->packed[i]) cr_tensor_drop_data(p->graph->tensors[i]);
}

cr_status cr_program_create(const cr_graph *g, const cr_recipe *r, int threads, cr_program **out,
                            cr_error *err)
{
    const cr_program_options o = {.threads = threads};
    return cr_program_compile(g, r, &o, out, err);
}

cr_status cr_program_compile(const cr_graph *g, const cr_recipe *r, const cr_program_options *o,
                             cr_program **out, cr_error *err)
{
    *out = NULL;
    cr_status st = CR_OK;
    CR_TRY(cr_graph_has_weights(g, err));
    cr_program *p = cr_calloc(1, sizeof *p);
    if (!p) return CR_NOMEM(err);
    p->graph = g;
    p->threads = o->threads > 0 ? o->threads : cr_cpu_count();
    p->cpu = cr_cpu_flags();
    p->first_value = cr_arena_alloc(&p->arena, (g->tensor_count + 1) * sizeof *p->first_value);
    p->inputs = cr_arena_alloc(&p->arena, (g->input_count + 1) * sizeof *p->inputs);
    p->outputs = cr_arena_alloc(&p->arena, (g->output_count + 1) * sizeof *p->outputs);
    p->fused = cr_arena_alloc(&p->arena, (g->node_count + 1) * sizeof *p->fused);
    p->early = cr_arena_alloc(&p->arena, (g->tensor_count + 1) * sizeof *p->early);
    p->packed = cr_arena_alloc(&p->arena, (g->tensor_count + 1) * sizeof *p->packed);
    if (!p->first_value || !p->inputs || !p->outputs || !p->fused || !p->early || !p->packed) {
        st = CR_NOMEM(err);
        goto done;
    }
    for (size_t i = 0; i < g->tensor_count; i++) p->first_value[i] = -1;
    CR_TRY_GOTO(cr_recipe_bind(r, g, &p->entries, err), done);
    p->live = cr_recipe_part_dynamic(p->entries, g->tensor_count);
    if (!p->live) {
        st = CR_NOMEM(err);
        goto done;
    }
    if (o->bf16 && !is_quantized(p)) CR_TRY_GOTO(cr_program_mark_bf16(p, err), done);
    CR_TRY_GOTO(lower_graph(p, err), done);
    CR_TRY_GOTO(sweep(p, err), done);
    CR_TRY_GOTO(cr_program_plan(p, err), done);
    if (o->take_weights) take_weights(p);
    *out = p;
    p = NULL;
done:
    cr_program_free(&p);
    return st;
}

void cr_program_free(cr_program **pp)
{
    if (!pp || !*pp) return;
    cr_program *p = *pp;
    for (size_t i = 0; i < p->step_count; i++)
        if (p->steps[i].free_op && p->steps[i].op) p->steps[i].free_op(p->steps[i].op);
    cr_free(p->steps);
    cr_free(p->values);
    cr_free(p->entries);
    cr_free(p->live);
    cr_free(p->live_codes);
    cr_arena_free(&p->arena);
    cr_free(p);
    *pp = NULL;
}
