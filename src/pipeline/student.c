/* See student.h. */
#include "pipeline/student.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

static const double grid_rate = .5, smallest = 1e-3; /* parts of the learning rate */

cr_status cr_graph_resize(cr_graph *g, int height, int width, cr_error *err)
{
    cr_shape *s = &g->inputs[0]->shape;
    cr_error why = {0};
    if (s->dim[2] == height && s->dim[3] == width) return CR_OK;
    s->dim[2] = height;
    s->dim[3] = width;
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_out; k++)
            if (g->nodes[i]->out[k]) g->nodes[i]->out[k]->shape = cr_shape_unknown();
    if (cr_graph_infer(g, &why) == CR_OK) return CR_OK;
    return cr_fail(err, CR_ERR_UNSUPPORTED,
                   "this model cannot be trained with pictures of %dx%d: %s", height, width,
                   why.message);
}

static cr_status open_rounded(cr_student *s, cr_distill_plan *plan, cr_error *err)
{
    cr_fake_quant_options o = cr_fake_quant_options_default();
    o.outputs = plan->names;
    o.output_count = plan->name_count;
    CR_TRY(cr_fake_quant_create(s->model->graph, s->model->recipe, &o, &s->rounded, err));
    s->graph = cr_fake_quant_graph(s->rounded);
    for (size_t i = 0; i < plan->count; i++)
        for (size_t k = 0; k < plan->name_count; k++)
            if (!strcmp(plan->parts[i].tensor, plan->names[k]))
                plan->parts[i].student = s->graph->outputs[k]->name;
    return CR_OK;
}

static cr_status open_graph(cr_student *s, cr_distill_plan *plan, cr_error *err)
{
    if (s->model->recipe) return open_rounded(s, plan, err);
    return cr_distill_cut(s->model->graph, plan->names, plan->name_count, &s->graph, err);
}

static double rms(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)n);
}

/* Is it what learns a scale or zero point: input 2 or 4 of a rounding node? */
static bool is_grid(const cr_graph *g, const char *name)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_FakeQuantize) continue;
        for (int k = 2; k < n->n_in; k++)
            if (n->in[k] && !strcmp(n->in[k]->name, name)) return true;
    }
    return false;
}

/* A step moves numbers by parts of what they are: with norms folded into them, weights of layers
 * differ by a factor of a hundred, and one rate for all would leave some where they are and break
 * others. (LARS and its like scale by the norm of each step; AdamW's steps have a size already.) */
static void set_rates(cr_student *s)
{
    for (size_t i = 0; i < s->n; i++) {
        cr_parameter *p = &s->list[i].p;
        const double size = rms(p->value, p->count);
        p->rate = is_grid(s->graph, s->list[i].name) ? grid_rate : fmax(size, smallest);
    }
}

/* A rounded weight moved as near to the float one as it can be without another code: those that
 * were about to be rounded the other way then need a nudge for it, not half a step. */
static void loosen_tensor(const cr_qparams *q, const cr_tensor *was, float *value)
{
    const cr_q_grain g = cr_q_grain_of(q, &was->shape);
    const float *wish = was->data;
    int32_t lo, hi;
    cr_q_range(q, &lo, &hi);
    for (int64_t o = 0; o < g.outer; o++)
        for (int64_t a = 0; a < g.length; a++)
            for (int64_t i = 0; i < g.inner; i++) {
                const int64_t at = (o * g.length + a) * g.inner + i;
                const size_t k = g.block ? (size_t)((o * g.blocks + a / g.block) * g.inner + i)
                                         : (size_t)(q->count > 1 ? a : 0);
                const float reach = .45f * q->scale[k], v = value[at];
                const int32_t code = cr_q_code(q, k, v);
                if (fabsf(wish[at] - v) > 4 * reach) continue;
                const float low = code > lo ? v - reach : v, high = code < hi ? v + reach : v;
                value[at] = wish[at] < low ? low : wish[at] > high ? high : wish[at];
            }
}

static void loosen_weights(cr_student *s)
{
    const cr_recipe *r = s->model->recipe;
    for (size_t i = 0; r && i < r->count; i++) {
        const cr_recipe_entry *e = &r->entries[i];
        const cr_tensor *was = cr_graph_find(s->model->graph, e->tensor);
        const cr_tensor *now = cr_graph_find(s->graph, e->tensor);
        if (!e->is_weight || e->q.type == CR_DT_I1 || !was || !now || !was->data || !now->data ||
            !cr_shape_equal(&was->shape, &now->shape) || !cr_recipe_find_value(r, e->tensor))
            continue;
        loosen_tensor(&e->q, was, cr_tape_value(s->tape, now));
    }
}

static cr_status build(cr_student *s, cr_distill_plan *plan, int height, int width,
                       cr_pool *pool, cr_error *err)
{
    const cr_tape_options o = {.real = CR_DT_F32, .pool = pool};
    CR_TRY(open_graph(s, plan, err));
    CR_TRY(cr_graph_resize(s->graph, height, width, err));
    CR_TRY(cr_tape_create(s->graph, &o, &s->tape, err));
    CR_TRY(cr_trained_of_tape(s->graph, s->tape, false, 0, &s->list, &s->n, err));
    for (size_t i = 0; i < s->n; i++) s->count += s->list[i].p.count;
    set_rates(s);
    loosen_weights(s);
    return CR_OK;
}

cr_status cr_student_open(cr_model *model, cr_distill_plan *plan, int height, int width,
                          cr_pool *pool, cr_student **out, cr_error *err)
{
    *out = NULL;
    cr_student *s = cr_calloc(1, sizeof *s);
    if (!s) return CR_NOMEM(err);
    s->model = model;
    const cr_status st = build(s, plan, height, width, pool, err);
    if (st != CR_OK) cr_student_close(&s);
    *out = s;
    return st;
}

void cr_student_close(cr_student **student)
{
    if (!student || !*student) return;
    cr_student *s = *student;
    cr_free(s->list);
    cr_tape_free(&s->tape);
    if (s->rounded)
        cr_fake_quant_free(&s->rounded);
    else
        cr_graph_free(&s->graph);
    cr_free(s);
    *student = NULL;
}

void cr_student_copy_out(const cr_student *s, float *values)
{
    for (size_t i = 0; i < s->n; values += s->list[i].p.count, i++)
        memcpy(values, s->list[i].p.value, (size_t)s->list[i].p.count * sizeof *values);
}

void cr_student_copy_in(const cr_student *s, const float *values)
{
    for (size_t i = 0; i < s->n; values += s->list[i].p.count, i++)
        memcpy(s->list[i].p.value, values, (size_t)s->list[i].p.count * sizeof *values);
}

/* Constants keep their names when a graph is cut. */
static void write_floats(cr_student *s)
{
    cr_graph *g = s->model->graph;
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        if (!t->data) continue;
        for (size_t k = 0; k < s->n; k++)
            if (!strcmp(t->name, s->list[k].name))
                memcpy(t->data, s->list[k].p.value, cr_tensor_bytes(t));
    }
}

cr_status cr_student_judge(cr_student *s, cr_judge *judge, bool exact, cr_verdict *out,
                           cr_error *err)
{
    cr_recipe *r = NULL;
    if (s->rounded)
        CR_TRY(cr_fake_quant_recipe(s->rounded, s->tape, &r, err));
    else
        write_floats(s);
    const cr_status st = cr_judge_try(judge, s->model, r, 0, exact, out, err);
    cr_recipe_release(&r);
    return st;
}

cr_status cr_student_graduate(cr_student *s, cr_error *err)
{
    cr_recipe *r;
    if (!s->rounded) {
        write_floats(s);
        return CR_OK;
    }
    CR_TRY(cr_fake_quant_recipe(s->rounded, s->tape, &r, err));
    const cr_status st = cr_model_attach(s->model, r, err);
    if (st != CR_OK) cr_recipe_release(&r);
    return st;
}
