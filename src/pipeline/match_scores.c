/* --match-scores: the same confidence threshold finds as many objects in the quantized model as in
 * the float one.
 *
 * Rounding moves scores, often down. Both models run on unlabelled pictures; per role (class
 * scores, objectness) one number is added to the logits, folded into the biases of the last
 * convolutions, so it costs nothing at run time. It is the one at which as many logits lie above
 * the threshold's as in the float model: matching counts, not a regression of logits, because noise
 * alone lifts counts in the tail of background and a mean of differences would not see that.
 *
 * The number is fitted on every second picture and kept only if the counts of the others come
 * nearer to the float model's. A shift keeps the order of scores within a role, so mAP cannot tell.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/quantize.h"
#include "pipeline/model_impl.h"
#include "quant/head_parts.h"
#include "runtime/runtime.h"

enum { MAX_CONVS = 32, MAX_OUTPUTS = 32, MAX_PICTURES = 48 };
static const float threshold = -1.0986123f; /* logit of .25 */
static const float reach = 1;               /* no more is corrected: the plan is broken then */

typedef struct values {
    float *items;
    size_t count, cap;
} values;

typedef struct matcher {
    cr_model *model;
    cr_head_parts parts;
    const char *outputs[MAX_CONVS];
    size_t output_count;
    cr_graph *graph[2]; /* float, quantized: their outputs are the last convolutions' */
    cr_program *program[2];
    cr_session *session[2];
    values seen[2][2][CR_PART_COUNT]; /* [fit, judge][float, quantized][role]: logits near it */
} matcher;

static bool is_score(cr_part p)
{
    return p == CR_PART_SCORE || p == CR_PART_OBJECT;
}

static size_t output_of(const matcher *s, const cr_node *n)
{
    size_t i = 0;
    while (i < s->output_count && strcmp(s->outputs[i], n->out[0]->name)) i++;
    return i;
}

static cr_status list_outputs(matcher *s, cr_error *err)
{
    for (size_t i = 0; i < s->parts.count; i++) {
        const cr_part_run *r = &s->parts.runs[i];
        if (!is_score(r->part) || r->node->out[0]->shape.rank != 4) continue;
        if (output_of(s, r->node) < s->output_count) continue;
        CR_CHECK(s->output_count < MAX_CONVS, err, CR_ERR_UNSUPPORTED,
                 "more than %d score branches", MAX_CONVS);
        s->outputs[s->output_count++] = r->node->out[0]->name;
    }
    CR_CHECK(s->output_count, err, CR_ERR_UNSUPPORTED, "%s: has no score branches to match",
             s->model->info.path);
    return CR_OK;
}

/* The model's graph with the recipe's changes (none for the float side), the branches its first
 * outputs. The old ones stay, since the recipe speaks of what they need. */
static cr_status cut(const matcher *s, cr_recipe *r, cr_graph **out, cr_error *err)
{
    const cr_graph *g = s->model->graph;
    const char *names[MAX_CONVS + MAX_OUTPUTS];
    CR_CHECK(g->output_count <= MAX_OUTPUTS, err, CR_ERR_UNSUPPORTED, "%zu outputs",
             g->output_count);
    for (size_t i = 0; i < s->output_count; i++) names[i] = s->outputs[i];
    for (size_t i = 0; i < g->output_count; i++) names[s->output_count + i] = g->outputs[i]->name;
    const cr_rewrite step = {.kind = CR_REWRITE_OUTPUTS,
                             .tensor = s->outputs[0],
                             .result = "",
                             .readers = names,
                             .reader_count = s->output_count + g->output_count};
    CR_TRY(cr_recipe_add_rewrite(r, &step, err));
    const cr_status st = cr_recipe_apply(r, s->model->graph, out, err);
    r->rewrite_count--;
    return st;
}

static cr_status open_sessions(matcher *s, int threads, cr_error *err)
{
    cr_recipe *none;
    CR_TRY(cr_recipe_create(&none, err));
    cr_status st = cut(s, none, &s->graph[0], err);
    cr_recipe_release(&none);
    if (st == CR_OK) st = cut(s, s->model->recipe, &s->graph[1], err);
    for (int k = 0; st == CR_OK && k < 2; k++) {
        st = cr_program_create(s->graph[k], k ? s->model->recipe : NULL, threads, &s->program[k],
                               err);
        if (st == CR_OK) st = cr_session_open(s->program[k], NULL, &s->session[k], err);
    }
    return st;
}

static cr_status keep(values *v, float x, cr_error *err)
{
    if (!cr_grow((void **)&v->items, &v->cap, v->count, sizeof *v->items)) return CR_NOMEM(err);
    v->items[v->count++] = x;
    return CR_OK;
}

static cr_status keep_run(matcher *s, int half, int side, const cr_part_run *r, cr_error *err)
{
    const cr_tensor *t = cr_session_output_tensor(s->session[side], output_of(s, r->node));
    const int64_t plane = t->shape.dim[2] * t->shape.dim[3];
    const float *x = (const float *)t->data + r->first * plane;
    for (int64_t i = 0; i < r->count * plane; i++)
        if (x[i] > threshold - reach) CR_TRY(keep(&s->seen[half][side][r->part], x[i], err));
    return CR_OK;
}

static cr_status see(matcher *s, const char *path, int half, cr_error *err)
{
    cr_image picture = {0};
    CR_TRY(cr_image_read(path, &picture, err));
    cr_status st = CR_OK;
    for (int side = 0; st == CR_OK && side < 2; side++) {
        st = cr_preprocess_run(&s->model->info.preprocess, &picture,
                               cr_session_input_data(s->session[side], 0), NULL, err);
        if (st == CR_OK) st = cr_session_execute(s->session[side], err);
        for (size_t i = 0; st == CR_OK && i < s->parts.count; i++) {
            const cr_part_run *r = &s->parts.runs[i];
            if (is_score(r->part) && output_of(s, r->node) < s->output_count)
                st = keep_run(s, half, side, r, err);
        }
    }
    cr_image_free(&picture);
    return st;
}

/* ---- the number ---- */

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static double count_above(const values *v, float shift)
{
    double n = 0;
    for (size_t i = 0; i < v->count; i++) n += v->items[i] + shift > threshold;
    return n;
}

/* Half way between the last logit that is to pass and the first that is not. */
static float fit(values *quantized, double wanted)
{
    const size_t n = (size_t)wanted;
    if (!n || n >= quantized->count) return 0;
    qsort(quantized->items, quantized->count, sizeof *quantized->items, descending);
    return threshold - (quantized->items[n - 1] + quantized->items[n]) / 2;
}

static cr_status shift_bias(cr_recipe *r, const cr_part_run *run, float shift, cr_error *err)
{
    const cr_tensor *bias = run->node->in[2];
    const cr_recipe_value *set = cr_recipe_find_value(r, bias->name);
    float *x = cr_malloc(cr_tensor_bytes(bias));
    if (!x) return CR_NOMEM(err);
    memcpy(x, set ? set->data : bias->data, cr_tensor_bytes(bias));
    for (int c = run->first; c < run->first + run->count; c++) x[c] += shift;
    const cr_status st = cr_recipe_set_value(r, bias->name, &bias->shape, x, err);
    cr_free(x);
    return st;
}

static cr_status match_role(matcher *s, cr_part role, cr_score_match *out, cr_error *err)
{
    const values *f = &s->seen[1][0][role], *q = &s->seen[1][1][role];
    const float shift = fit(&s->seen[0][1][role], count_above(&s->seen[0][0][role], 0));
    const double wanted = count_above(f, 0);
    const double before = count_above(q, 0), after = count_above(q, shift);
    *out = (cr_score_match){.wanted = wanted, .before = before, .after = before};
    if (!(fabs(shift) < reach) || fabs(after - wanted) >= fabs(before - wanted)) return CR_OK;
    *out = (cr_score_match){shift, wanted, before, after};
    for (size_t i = 0; i < s->parts.count; i++) {
        const cr_part_run *r = &s->parts.runs[i];
        const bool biased = r->node->n_in > 2 && r->node->in[2] && r->node->in[2]->data &&
                            r->node->in[2]->dtype == CR_DT_F32;
        if (r->part == role && biased && output_of(s, r->node) < s->output_count)
            CR_TRY(shift_bias(s->model->recipe, r, shift, err));
    }
    return CR_OK;
}

static void release(matcher *s)
{
    for (int k = 0; k < 2; k++) {
        cr_session_close(&s->session[k]);
        cr_program_free(&s->program[k]);
        cr_graph_free(&s->graph[k]);
        for (int half = 0; half < 2; half++)
            for (int p = 0; p < CR_PART_COUNT; p++) cr_free(s->seen[half][k][p].items);
    }
    cr_head_parts_release(&s->parts);
}

/* The recipe has other values now: the graph that it speaks of is made again. */
static cr_status attach_again(cr_model *m, cr_error *err)
{
    cr_recipe *r = m->recipe;
    m->recipe = NULL;
    const cr_status st = cr_model_attach(m, r, err);
    if (st != CR_OK) m->recipe = r;
    return st;
}

cr_status cr_match_scores(cr_model *m, const cr_image_list *pictures, int threads,
                          cr_score_match *scores, cr_score_match *objects, cr_error *err)
{
    matcher s = {.model = m};
    CR_CHECK(m->recipe && m->info.head.kind == m->head.kind, err, CR_ERR_ARGUMENT,
             "scores are matched for a plan with a whole head (--head auto or float)");
    cr_status st = cr_head_parts_find(m->graph, m->roles, NULL, &s.parts, err);
    if (st == CR_OK) st = list_outputs(&s, err);
    if (st == CR_OK) st = open_sessions(&s, threads, err);
    const size_t n = pictures->count < MAX_PICTURES ? pictures->count : MAX_PICTURES;
    for (size_t i = 0; st == CR_OK && i < n; i++)
        st = see(&s, pictures->paths[i * pictures->count / n], i % 2, err);
    if (st == CR_OK) st = match_role(&s, CR_PART_SCORE, scores, err);
    if (st == CR_OK) st = match_role(&s, CR_PART_OBJECT, objects, err);
    if (st == CR_OK) st = attach_again(m, err);
    release(&s);
    return st;
}
