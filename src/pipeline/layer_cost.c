/* Layer by layer, at the output: each layer alone, and all but each. The two disagree where layers
 * make up for each other or share an activation: then both figures are of use. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/search.h"
#include "pipeline/judge.h"
#include "pipeline/model_impl.h"
#include "quant/recipe_layers.h"

typedef struct ranking {
    cr_judge *judge;
    const cr_model *a, *b;
    cr_recipe_layers layers;
    bool *keep;
    const cr_cost_options *options;
} ranking;

static cr_status judge(ranking *r, const cr_recipe *recipe, cr_output_cost *out, cr_error *err)
{
    cr_verdict v;
    CR_TRY(cr_judge_try(r->judge, r->b, recipe, 0, r->options->exact, &v, err));
    *out = (cr_output_cost){v.error, v.agreement};
    return CR_OK;
}

/* All layers are `others`, layer i the opposite. */
static cr_status cost_with(ranking *r, size_t i, bool others, cr_output_cost *out, cr_error *err)
{
    cr_recipe *part;
    for (size_t k = 0; k < r->layers.count; k++) r->keep[k] = others != (k == i);
    CR_TRY(cr_recipe_subset(&r->layers, r->keep, others, r->a->graph, &part, err));
    const cr_status st = judge(r, part, out, err);
    cr_recipe_release(&part);
    return st;
}

static int dearest_first(const void *a, const void *b)
{
    const cr_layer_cost *x = a, *y = b;
    if (x->alone.error != y->alone.error) return x->alone.error < y->alone.error ? 1 : -1;
    if (x->without.error != y->without.error) return x->without.error > y->without.error ? 1 : -1;
    return strcmp(x->node, y->node);
}

static cr_status rank(ranking *r, const cr_progress *progress, cr_layer_costs *out, cr_error *err)
{
    const size_t n = r->layers.count;
    out->layers = cr_calloc(n + 1, sizeof *out->layers);
    r->keep = cr_calloc(n + 1, sizeof *r->keep);
    if (!out->layers || !r->keep) return CR_NOMEM(err);
    out->pictures = cr_judge_pictures(r->judge);
    CR_TRY(judge(r, r->b->recipe, &out->all, err));
    for (size_t i = 0; i < n; i++) {
        cr_layer_cost *c = &out->layers[out->count++];
        c->node = r->layers.node[i]->name;
        CR_TRY(cost_with(r, i, false, &c->alone, err));
        CR_TRY(cost_with(r, i, true, &c->without, err));
        if (!cr_report(progress, "ranking layers", i + 1, n))
            return cr_fail(err, CR_ERR_CANCELLED, "cancelled");
    }
    if (n) qsort(out->layers, n, sizeof *out->layers, dearest_first);
    return CR_OK;
}

cr_status cr_rank_layers(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                         const cr_cost_options *options, const cr_progress *progress,
                         cr_layer_costs *out, cr_error *err)
{
    *out = (cr_layer_costs){0};
    CR_CHECK(b->recipe, err, CR_ERR_ARGUMENT, "%s: nothing in it is quantized", b->info.path);
    ranking r = {.a = a, .b = b, .options = options};
    const cr_judge_options o = {.pictures = options->pictures, .threads = options->threads};
    cr_status st = cr_recipe_layers_find(cr_model_graph(b), b->recipe, &r.layers, err);
    if (st == CR_OK) st = cr_judge_open(a, pictures, &o, progress, &r.judge, err);
    if (st == CR_OK) st = rank(&r, progress, out, err);
    cr_judge_close(&r.judge);
    cr_recipe_layers_release(&r.layers);
    cr_free(r.keep);
    if (st != CR_OK) cr_layer_costs_free(out);
    return st;
}

void cr_layer_costs_free(cr_layer_costs *costs)
{
    cr_free(costs->layers);
    *costs = (cr_layer_costs){0};
}
