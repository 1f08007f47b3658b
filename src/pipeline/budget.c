/* The cheapest precision per layer that keeps what the model sees.
 *
 *     plans        everything in int4, in int8, in int16: three uniform recipes
 *     loss         each group of layers alone in each precision: the judge's error, which adds up
 *     cost         its share of the float model's time, and SIZE_WEIGHT of its share of the weights
 *     search       quant/search.c orders the steps by loss saved per cost and bisects on the
 * measured drop of whole plans, made by the planner with all that it tunes time         the plan
 * chosen and the float model run in turn: the faster one stays
 *
 * A group are the layers that read one activation, for they share its entry. Few pictures give the
 * losses (they only order), all of them the drop. A layer that 8 bits make slower starts float, as
 * it is cheaper so. Nothing depends on the machine but the times, which a file can keep. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "crayon/search.h"
#include "pipeline/judge.h"
#include "pipeline/layer_times.h"
#include "pipeline/model_impl.h"
#include "quant/placement.h"
#include "quant/search.h"

enum { RANKED_ON = 8, REPAIRS = 4 };
#define SIZE_WEIGHT .2

/* A uniform plan: the recipe and the graph that it speaks of. */
typedef struct uniform {
    cr_recipe *recipe;
    cr_graph *applied;
    cr_recipe_layers layers;
} uniform;

typedef struct budget {
    cr_model *model;
    const cr_stats *stats;
    const cr_quantize_options *options;
    const cr_budget_options *limits;
    const cr_progress *progress;
    cr_budget_report *report;
    cr_judge *judge;
    uniform plan[CR_CHOICES];
    const cr_recipe_layers *layers; /* of the 8-bit plan: the layers of this search */
    size_t *group;                  /* by layer */
    size_t groups;
    cr_layer_times times;
    double (*cost)[CR_CHOICES], (*loss)[CR_CHOICES]; /* by group */
    bool *keep;                                      /* [layers] */
    int *choice;                                     /* [groups] */
    cr_layer_choice *choices;                        /* [nodes + the options' own] */
    char **globs;                                    /* [layers]: their names, taken literally */
    size_t point_cap;
} budget;

cr_budget_options cr_budget_options_default(void)
{
    return (cr_budget_options){.max_drop = 1, .int16_layers = -1};
}

static cr_status report(const budget *b, const char *what, size_t done, size_t total, cr_error *err)
{
    return cr_report(b->progress, what, done, total) ? CR_OK
                                                     : cr_fail(err, CR_ERR_CANCELLED, "cancelled");
}

/* ---- plans ---- */

static const cr_layer_precision precisions[CR_CHOICES] = {CR_LAYER_INT4, CR_LAYER_INT8,
                                                          CR_LAYER_INT16, CR_LAYER_FLOAT};

/* The first `count` choices are filled; the caller's own come behind them and override. */
static cr_status make_plan(budget *b, size_t count, cr_error *err)
{
    cr_quantize_options o = *b->options;
    if (o.layer_count) memcpy(b->choices + count, o.layers, o.layer_count * sizeof *o.layers);
    o.layers = b->choices;
    o.layer_count += count;
    return cr_quantize(b->model, b->stats, &o, NULL, err);
}

static void drop_uniform(uniform *u)
{
    cr_recipe_layers_release(&u->layers);
    cr_recipe_release(&u->recipe);
    cr_graph_free(&u->applied);
}

/* Takes the plan that the model has been given away from it. */
static cr_status make_uniform(budget *b, int c, cr_error *err)
{
    uniform *u = &b->plan[c];
    b->choices[0] = (cr_layer_choice){"*", precisions[c]};
    CR_TRY(make_plan(b, 1, err));
    u->recipe = b->model->recipe;
    u->applied = b->model->applied;
    b->model->recipe = NULL;
    b->model->applied = NULL;
    cr_model_describe_recipe(b->model);
    return cr_recipe_layers_find(u->applied ? u->applied : b->model->graph, u->recipe, &u->layers,
                                 err);
}

static bool same_layers(const cr_recipe_layers *a, const cr_recipe_layers *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = !strcmp(a->node[i]->name, b->node[i]->name);
    return same;
}

static bool wanted(const budget *b, int c)
{
    const cr_budget_options *o = b->limits;
    if (c == CR_CHOICE_INT16)
        return !o->no_int16 && o->int16_layers != 0 && cr_target_has_wide_layers(b->options->target);
    if (c == CR_CHOICE_INT4) return !o->no_int4 && o->max_drop >= 0;
    return c == CR_CHOICE_INT8 || o->max_drop >= 0;
}

static cr_status make_plans(budget *b, cr_error *err)
{
    CR_TRY(make_uniform(b, CR_CHOICE_INT8, err));
    b->layers = &b->plan[CR_CHOICE_INT8].layers;
    for (int c = 0; c < CR_CHOICE_FLOAT; c++) {
        if (c == CR_CHOICE_INT8 || !wanted(b, c)) continue;
        CR_TRY(make_uniform(b, c, err));
        if (!same_layers(b->layers, &b->plan[c].layers)) drop_uniform(&b->plan[c]);
    }
    return CR_OK;
}

/* A pattern that matches this name alone. */
static char *literal(const char *name)
{
    char *glob = cr_malloc(2 * strlen(name) + 1), *to = glob;
    for (; glob && *name; *to++ = *name++)
        if (strchr("*?[]\\", *name)) *to++ = '\\';
    if (glob) *to = 0;
    return glob;
}

/* Gives the model the plan for b->choice; none if all is float. */
static cr_status plan_choice(budget *b, cr_error *err)
{
    bool all_float = true;
    for (size_t i = 0; i < b->layers->count; i++) {
        const int c = b->choice[b->group[i]];
        b->choices[i] = (cr_layer_choice){b->globs[i], precisions[c]};
        all_float &= c == CR_CHOICE_FLOAT;
    }
    if (!all_float) return make_plan(b, b->layers->count, err);
    cr_model_drop_recipe(b->model);
    return CR_OK;
}

/* ---- groups ---- */

static void join(budget *b, size_t x, size_t y)
{
    const size_t from = b->group[x] > b->group[y] ? b->group[x] : b->group[y];
    const size_t to = b->group[x] > b->group[y] ? b->group[y] : b->group[x];
    for (size_t i = 0; i < b->layers->count; i++)
        if (b->group[i] == from) b->group[i] = to;
}

static bool reads(const cr_recipe_layers *l, size_t layer, size_t entry)
{
    return !l->recipe->entries[entry].is_weight && l->uses[layer * l->recipe->count + entry];
}

static cr_status find_groups(budget *b, cr_error *err)
{
    const size_t n = b->layers->count;
    b->group = cr_calloc(n + 1, sizeof *b->group);
    b->keep = cr_calloc(n + 1, sizeof *b->keep);
    b->choice = cr_calloc(n + 1, sizeof *b->choice);
    b->cost = cr_calloc(n + 1, sizeof *b->cost);
    b->loss = cr_calloc(n + 1, sizeof *b->loss);
    b->globs = cr_calloc(n + 1, sizeof *b->globs);
    if (!b->group || !b->keep || !b->choice || !b->cost || !b->loss || !b->globs)
        return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        b->group[i] = i;
        if (!(b->globs[i] = literal(b->layers->node[i]->name))) return CR_NOMEM(err);
    }
    for (size_t e = 0; e < b->layers->recipe->count; e++)
        for (size_t i = 0, first = n; i < n; i++) {
            if (!reads(b->layers, i, e)) continue;
            if (first < n) join(b, first, i);
            if (first == n) first = i;
        }
    for (size_t i = 0; i < n; i++) { /* numbered without gaps, in order */
        if (b->group[i] != i)
            b->group[i] = b->group[b->group[i]];
        else
            b->group[i] = b->groups++;
    }
    return CR_OK;
}

/* ---- what choices cost ---- */

static uint64_t weight_bytes(const cr_node *n, int c)
{
    static const uint64_t bits[CR_CHOICES] = {4, 8, 8, 32};
    return (uint64_t)cr_shape_count(&n->in[1]->shape) * bits[c] / 8;
}

static bool can_have(const budget *b, int c)
{
    return c == CR_CHOICE_FLOAT ? wanted(b, c) : b->plan[c].recipe != NULL;
}

static cr_status find_losses(budget *b, cr_error *err)
{
    size_t done = 0, total = 0;
    for (int c = 0; c < CR_CHOICE_FLOAT; c++) total += can_have(b, c) ? b->groups : 0;
    for (int c = 0; c < CR_CHOICE_FLOAT; c++) {
        for (size_t g = 0; can_have(b, c) && g < b->groups; g++) {
            cr_recipe *part;
            cr_verdict v;
            for (size_t i = 0; i < b->layers->count; i++) b->keep[i] = b->group[i] == g;
            CR_TRY(
                cr_recipe_subset(&b->plan[c].layers, b->keep, false, b->model->graph, &part, err));
            const cr_status st = cr_judge_try(b->judge, b->model, part, RANKED_ON, false, &v, err);
            cr_recipe_release(&part);
            if (st != CR_OK) return st;
            b->loss[g][c] = v.error;
            CR_TRY(report(b, "weighing layers", ++done, total, err));
        }
    }
    return CR_OK;
}

static cr_status find_times(budget *b, cr_error *err)
{
    const char *path = b->limits->times;
    const cr_recipe *plan[CR_CHOICES];
    bool want[CR_CHOICES];
    for (int c = 0; c < CR_CHOICES; c++) {
        plan[c] = b->plan[c].recipe;
        want[c] = c == CR_CHOICE_FLOAT || plan[c];
    }
    if (path && !access(path, F_OK))
        return cr_layer_times_load(path, b->layers, want, &b->times, err);
    CR_TRY(cr_layer_times_measure(b->model, plan, b->layers, b->limits->threads, &b->times, err));
    return path ? cr_layer_times_save(&b->times, b->layers, path, err) : CR_OK;
}

static void find_costs(budget *b)
{
    const double whole = b->times.whole[CR_CHOICE_FLOAT];
    double bytes = 0;
    for (size_t i = 0; i < b->layers->count; i++)
        bytes += (double)weight_bytes(b->layers->node[i], CR_CHOICE_FLOAT);
    for (size_t i = 0; i < b->layers->count; i++)
        for (int c = 0; c < CR_CHOICES; c++) {
            double *cost = &b->cost[b->group[i]][c];
            if (!can_have(b, c)) *cost = INFINITY;
            if (whole > 0) *cost += b->times.ms[i][c] / whole;
            *cost += SIZE_WEIGHT * (double)weight_bytes(b->layers->node[i], c) / bytes;
        }
}

/* Steps that are no layer's go from the float model's time to the 8-bit model's with the layers. */
static double milliseconds(const budget *b)
{
    const double *whole = b->times.whole;
    double layers[CR_CHOICES] = {0}, ms = 0;
    size_t integer = 0;
    for (size_t i = 0; i < b->layers->count; i++) {
        const int c = b->choice[b->group[i]];
        for (int k = 0; k < CR_CHOICES; k++) layers[k] += b->times.ms[i][k];
        ms += b->times.ms[i][c];
        integer += c != CR_CHOICE_FLOAT;
    }
    const double before = whole[CR_CHOICE_FLOAT] - layers[CR_CHOICE_FLOAT];
    const double after = whole[CR_CHOICE_INT8] - layers[CR_CHOICE_INT8];
    return ms + before + (after - before) * (double)integer / (double)b->layers->count;
}

static uint64_t size_of(const budget *b)
{
    uint64_t bytes = b->model->info.file_bytes;
    for (size_t i = 0; i < b->layers->count; i++) {
        const uint64_t was = weight_bytes(b->layers->node[i], CR_CHOICE_FLOAT);
        bytes -= bytes > was ? was : bytes;
        bytes += weight_bytes(b->layers->node[i], b->choice[b->group[i]]);
    }
    return bytes;
}

/* ---- trying ---- */

static cr_status add_point(budget *b, const cr_verdict *v, cr_error *err)
{
    cr_budget_report *r = b->report;
    if (!cr_grow((void **)&r->points, &b->point_cap, r->count, sizeof *r->points))
        return CR_NOMEM(err);
    cr_budget_point p = {.drop = 100 * (r->reference - v->agreement),
                         .deviation = 100 * v->deviation,
                         .ms = milliseconds(b),
                         .bytes = size_of(b)};
    size_t *const counts[CR_CHOICES] = {&p.int4, &p.int8, &p.int16, &p.floats};
    for (size_t i = 0; i < b->layers->count; i++) ++*counts[b->choice[b->group[i]]];
    r->points[r->count++] = p;
    return report(b, "trying plans", r->count, 0, err);
}

static cr_status try_choice(void *user, const int *choice, bool *within, cr_error *err)
{
    budget *b = user;
    cr_verdict v;
    if (choice != b->choice) memcpy(b->choice, choice, b->groups * sizeof *choice);
    CR_TRY(plan_choice(b, err));
    cr_recipe *r = b->model->recipe; /* lent to the judge */
    CR_TRY(cr_judge_try(b->judge, b->model, r, 0, true, &v, err));
    CR_TRY(add_point(b, &v, err));
    *within = b->report->points[b->report->count - 1].drop <= b->limits->max_drop + 1e-9;
    return CR_OK;
}

/* The groups that gain most from 16 bits, without regard to time. */
static void widen(budget *b)
{
    for (size_t g = 0; g < b->groups; g++) b->choice[g] = CR_CHOICE_INT8;
    for (long n = 0; n < b->limits->int16_layers && can_have(b, CR_CHOICE_INT16); n++) {
        size_t best = b->groups;
        double most = 0;
        for (size_t g = 0; g < b->groups; g++) {
            const double gain = b->loss[g][CR_CHOICE_INT8] - b->loss[g][CR_CHOICE_INT16];
            if (b->choice[g] != CR_CHOICE_INT8 || gain <= most) continue;
            most = gain;
            best = g;
        }
        if (best == b->groups) return;
        b->choice[best] = CR_CHOICE_INT16;
    }
}

static cr_status choose(budget *b, cr_error *err)
{
    const long most = b->limits->int16_layers;
    bool within;
    if (b->limits->max_drop < 0) {
        b->report->within = true;
        for (size_t g = 0; g < b->groups; g++) b->choice[g] = CR_CHOICE_INT8;
        CR_TRY(try_choice(b, b->choice, &within, err));
        widen(b);
        return try_choice(b, b->choice, &within, err);
    }
    const cr_search_table table = {b->groups, (const double(*)[CR_CHOICES])b->cost,
                                   (const double(*)[CR_CHOICES])b->loss, CR_CHOICE_INT16,
                                   most < 0 ? b->groups : (size_t)most};
    int *choice = cr_calloc(b->groups + 1, sizeof *choice);
    if (!choice) return CR_NOMEM(err);
    cr_status st = cr_search_run(&table, REPAIRS, try_choice, b, choice, &b->report->within, err);
    memcpy(b->choice, choice, b->groups * sizeof *choice);
    cr_free(choice);
    return st == CR_OK ? plan_choice(b, err) : st;
}

/* ---- the end ---- */

static void mark_chosen(budget *b)
{
    const double ms = milliseconds(b);
    const uint64_t bytes = size_of(b);
    for (size_t i = b->report->count; i-- > 0;) {
        cr_budget_point *p = &b->report->points[i];
        p->chosen = p->ms == ms && p->bytes == bytes;
        if (p->chosen) return;
    }
}

static void keep_float(budget *b, const char *why)
{
    cr_model_drop_recipe(b->model);
    b->report->kept_float = true;
    b->report->why_float = why;
}

static cr_status compare_times(budget *b, cr_error *err)
{
    cr_budget_report *r = b->report;
    double ms[2] = {r->float_ms, milliseconds(b)};
    if (!b->model->recipe) {
        keep_float(b, "no plan of integers is within the budget");
        return CR_OK;
    }
    if (!b->limits->times) {
        cr_recipe *plan = b->model->recipe; /* lent */
        CR_TRY(cr_time_pair(b->model, NULL, plan, b->limits->threads, ms, err));
        r->measured_float_ms = ms[0];
        r->measured_ms = ms[1];
    }
    if (ms[1] > ms[0]) keep_float(b, "the plan would be slower than the float model");
    return CR_OK;
}

static cr_status write_facts(const budget *b, cr_error *err)
{
    const cr_budget_report *r = b->report;
    char text[512], key[32];
    bool ok = true;
    if (!b->model->recipe) return CR_OK;
    snprintf(text, sizeof text, "%g points of %s, %zu pictures", b->limits->max_drop,
             b->limits->labels ? "mAP" : "agreement", r->pictures);
    if (b->limits->max_drop >= 0) ok = cr_recipe_set_fact(b->model->recipe, "budget", text);
    for (size_t i = 0; ok && i < r->count; i++) {
        const cr_budget_point *p = &r->points[i];
        snprintf(key, sizeof key, "pareto %02zu", i);
        snprintf(text, sizeof text,
                 "drop %.3f, %.3f ms, %llu bytes; %zu int4, %zu int8, %zu int16, %zu float%s",
                 p->drop, p->ms, (unsigned long long)p->bytes, p->int4, p->int8, p->int16,
                 p->floats, p->chosen ? " (chosen)" : "");
        ok = cr_recipe_set_fact(b->model->recipe, key, text);
    }
    return ok ? CR_OK : CR_NOMEM(err);
}

static cr_status open_judge(budget *b, const cr_image_list *pictures, cr_error *err)
{
    const cr_judge_options o = {.threads = b->limits->threads, .labels = b->limits->labels};
    cr_verdict v;
    CR_CHECK(pictures->count > 0, err, CR_ERR_ARGUMENT, "no pictures to measure the loss on");
    CR_TRY(cr_judge_open(b->model, pictures, &o, b->progress, &b->judge, err));
    CR_CHECK(cr_judge_measures_agreement(b->judge) || b->limits->max_drop < 0, err,
             CR_ERR_UNSUPPORTED,
             "%s: its outputs are of no known kind, or it finds nothing: no agreement to keep",
             b->model->info.path);
    b->report->pictures = cr_judge_pictures(b->judge);
    CR_TRY(cr_judge_try(b->judge, b->model, NULL, 0, true, &v, err));
    b->report->reference = v.agreement;
    return CR_OK;
}

static cr_status run(budget *b, const cr_image_list *pictures, cr_error *err)
{
    cr_model_drop_recipe(b->model);
    b->choices = cr_calloc(b->options->layer_count + 1, sizeof *b->choices);
    if (!b->choices) return CR_NOMEM(err);
    CR_TRY(make_plans(b, err));
    const size_t most = b->layers->count + b->options->layer_count + 1; /* layers may be parts of nodes */
    cr_layer_choice *more = cr_realloc(b->choices, most * sizeof *more);
    if (!more) return CR_NOMEM(err);
    b->choices = more;
    CR_TRY(find_groups(b, err));
    CR_TRY(open_judge(b, pictures, err));
    CR_TRY(find_times(b, err));
    CR_TRY(find_losses(b, err));
    find_costs(b);
    b->report->layers = b->layers->count;
    b->report->float_ms = b->times.whole[CR_CHOICE_FLOAT];
    b->report->float_bytes = b->model->info.file_bytes;
    CR_TRY(choose(b, err));
    mark_chosen(b);
    if (b->limits->max_drop >= 0) CR_TRY(compare_times(b, err));
    return write_facts(b, err);
}

cr_status cr_quantize_within(cr_model *model, const cr_stats *stats,
                             const cr_quantize_options *options, const cr_image_list *pictures,
                             const cr_budget_options *limits, const cr_progress *progress,
                             cr_budget_report *out, cr_error *err)
{
    *out = (cr_budget_report){0};
    budget b = {.model = model,
                .stats = stats,
                .options = options,
                .limits = limits,
                .progress = progress,
                .report = out};
    const cr_status st = run(&b, pictures, err);
    for (size_t i = 0; b.globs && b.layers && i < b.layers->count; i++) cr_free(b.globs[i]);
    for (int c = 0; c < CR_CHOICES; c++) drop_uniform(&b.plan[c]);
    cr_judge_close(&b.judge);
    cr_layer_times_free(&b.times);
    cr_free(b.group);
    cr_free(b.keep);
    cr_free(b.choice);
    cr_free(b.cost);
    cr_free(b.loss);
    cr_free(b.globs);
    cr_free(b.choices);
    if (st != CR_OK) cr_budget_report_free(out);
    return st;
}

void cr_budget_report_free(cr_budget_report *r)
{
    cr_free(r->points);
    *r = (cr_budget_report){0};
}
