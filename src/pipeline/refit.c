/* cr_refit: tuning (quant/tune.h) with the original network as what layers should give.
 *
 * Tuning finds the least-squares weights of a layer and puts them on a grid; here that grid is
 * eight bits over twice the range that the weights had, which is fine enough for weights that
 * training will move, and the codes go as soon as they are found. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/train.h"
#include "pipeline/model_impl.h"
#include "quant/tune.h"

static const float room = 2;
static const double damping = .4;
static const size_t memory = (size_t)384 << 20; /* some thirty pictures of 640x640 */

/* A scale per output channel of a convolution. */
static cr_status add_weight(cr_recipe *r, const cr_tensor *w, cr_error *err)
{
    const int64_t n = w->shape.dim[0], each = cr_shape_count(&w->shape) / n;
    float *scale = cr_calloc((size_t)n, sizeof *scale);
    int32_t *zero = cr_calloc((size_t)n, sizeof *zero);
    cr_status st = scale && zero ? CR_OK : CR_NOMEM(err);
    for (int64_t c = 0; st == CR_OK && c < n; c++) {
        float most = 0;
        for (int64_t i = 0; i < each; i++)
            most = fmaxf(most, fabsf(((const float *)w->data)[c * each + i]));
        scale[c] = most > 0 ? most * room / 127 : 1;
    }
    const cr_qparams q = {
        .type = CR_DT_I8, .axis = 0, .count = (size_t)n, .scale = scale, .zero_point = zero};
    if (st == CR_OK) st = cr_recipe_add(r, w->name, true, &q, "", err);
    cr_free(scale);
    cr_free(zero);
    return st;
}

/* The last convolutions stay: nearly all of a picture is background, and least squares would give
 * up the few scores that matter for it. */
static cr_status plan(const cr_graph *g, const cr_role *roles, cr_recipe *r, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const bool conv =
            roles[i] == CR_ROLE_BODY && n->op->kind == CR_OP_Conv && cr_has_weights(n);
        if (conv && n->in[1]->dtype == CR_DT_F32 && n->in[1]->uses == 1)
            CR_TRY(add_weight(r, n->in[1], err));
    }
    return CR_OK;
}

static void take_values(cr_graph *g, const cr_recipe *r)
{
    for (size_t i = 0; i < r->value_count; i++) {
        cr_tensor *t = cr_graph_find(g, r->values[i].tensor);
        if (t && t->data) memcpy(t->data, r->values[i].data, cr_tensor_bytes(t));
    }
}

typedef struct source {
    const cr_preprocess *pre;
    const cr_image_list *list;
    cr_image_reader *reader;
} source;

static cr_status fill(void *user, size_t index, float *input, cr_error *err)
{
    const source *s = user;
    cr_image img;
    CR_TRY(cr_image_reader_read(s->reader, s->list->paths[index], &img, err));
    const cr_status st = cr_preprocess_run(s->pre, &img, input, NULL, err);
    cr_image_free(&img);
    return st;
}

cr_status cr_refit(cr_model *m, const cr_model *original, const cr_image_list *pictures,
                   uint64_t seed, int threads, const cr_progress *progress, cr_tune_report *report,
                   cr_error *err)
{
    cr_tune_report unused;
    cr_recipe *r = NULL;
    source s = {&original->info.preprocess, pictures, NULL};
    cr_tune_options o = cr_tune_options_default();
    cr_status st = CR_OK;
    CR_CHECK(!m->recipe && !original->recipe, err, CR_ERR_ARGUMENT,
             "%s: float models are refitted, before they are quantized", m->info.path);
    CR_CHECK(m->info.batch == 1 && pictures->count, err, CR_ERR_ARGUMENT,
             "refitting needs pictures, and a model of one at a time");
    o.exact = original->graph;
    o.damping = damping;
    o.memory = memory;
    o.centre = true;
    o.sweeps = 0;
    o.seed = seed;
    o.threads = threads;
    CR_TRY_GOTO(cr_recipe_create(&r, err), done);
    CR_TRY_GOTO(plan(m->graph, m->roles, r, err), done);
    CR_TRY_GOTO(cr_image_reader_create(&s.reader, err), done);
    CR_TRY_GOTO(cr_tune_weights(m->graph, r, pictures->count, fill, &s, &o, progress,
                                report ? report : &unused, err),
                done);
    take_values(m->graph, r);
done:
    cr_image_reader_free(&s.reader);
    cr_recipe_release(&r);
    return st;
}
