/* What a recipe changes in the float graph before its entries apply: steps that rewrite nodes, and
 * values of constants. Both are data in the recipe, so a recipe file carries all that a plan
 * decided and the model keeps its float graph: dropping the recipe brings it back.
 *
 *     RESTORE   maker ─ T' ─ Mul(f[c]) ─ T ─ readers and outputs
 *     BRANCH    T ─┬─ other readers          SPLIT    T ─┬─ other readers
 *                  └─ Mul(f[c]) ─ T' ─ reader            └─ Concat(T, Gather(T, channels)) ─ T' ─
 * Conv
 *     GROUPS    channel_groups.h
 *
 * Rejected: storing the rewritten graph in the recipe (twice the size, and nothing could be checked
 * against the model), naming readers by node (names of nodes need not be unique; names of tensors
 * are). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "graph/passes.h"
#include "graph/recipe.h"

/* ---- adding ---- */

const cr_recipe_value *cr_recipe_find_value(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; r && i < r->value_count; i++)
        if (!strcmp(r->values[i].tensor, tensor)) return &r->values[i];
    return NULL;
}

cr_status cr_recipe_set_value(cr_recipe *r, const char *tensor, const cr_shape *shape,
                              const float *data, cr_error *err)
{
    const int64_t count = cr_shape_count(shape);
    CR_CHECK(cr_shape_known(shape) && count > 0, err, CR_ERR_FORMAT,
             "recipe: tensor '%s': values without a shape", tensor);
    for (int64_t i = 0; i < count; i++)
        CR_CHECK(isfinite(data[i]), err, CR_ERR_FORMAT,
                 "recipe: tensor '%s': a value is not a finite number", tensor);
    cr_recipe_value *v = (cr_recipe_value *)cr_recipe_find_value(r, tensor);
    if (!v) {
        if (!cr_grow((void **)&r->values, &r->value_cap, r->value_count, sizeof *r->values))
            return CR_NOMEM(err);
        const cr_recipe_value fresh = {cr_arena_strdup(&r->arena, tensor), *shape, NULL};
        if (!fresh.tensor) return CR_NOMEM(err);
        r->values[r->value_count] = fresh;
        v = &r->values[r->value_count];
    }
    float *copy = v->data && cr_shape_equal(&v->shape, shape)
                      ? v->data
                      : cr_arena_alloc(&r->arena, (size_t)count * sizeof *copy);
    if (!copy) return CR_NOMEM(err);
    memmove(copy, data, (size_t)count * sizeof *copy);
    v->shape = *shape;
    v->data = copy;
    if (v == &r->values[r->value_count]) r->value_count++;
    return CR_OK;
}

bool cr_recipe_changes_graph(const cr_recipe *r)
{
    return r && (r->value_count || r->rewrite_count);
}

static cr_status check_step(const cr_rewrite *s, cr_error *err)
{
    CR_CHECK(s->kind >= CR_REWRITE_BRANCH && s->kind <= CR_REWRITE_OUTPUTS, err, CR_ERR_FORMAT,
             "recipe: a rewrite of no known kind");
    CR_CHECK(s->kind != CR_REWRITE_RESTORE || (s->factor_count && s->channel_count == 1), err, CR_ERR_FORMAT,
             "recipe: restoring '%s' needs factors and one axis", s->tensor);
    for (size_t i = 0; i < s->factor_count; i++)
        CR_CHECK(isfinite(s->factor[i]) && s->factor[i] != 0, err, CR_ERR_FORMAT,
                 "recipe: rewrite of '%s': factor %g", s->tensor, (double)s->factor[i]);
    CR_CHECK(s->kind != CR_REWRITE_GROUPS || cr_groups_valid(s->channel, s->channel_count), err, CR_ERR_FORMAT,
             "recipe: groups of '%s': need their number, their sizes and each channel once", s->tensor);
    if (s->kind != CR_REWRITE_SPLIT) return CR_OK;
    CR_CHECK(s->reader_count == 1 && s->channel_count > 0, err, CR_ERR_FORMAT,
             "recipe: a split of '%s' needs one reader and a list of channels", s->tensor);
    for (size_t i = 0; i < s->channel_count; i++)
        CR_CHECK(s->channel[i] >= 0 && (i == 0 || s->channel[i] > s->channel[i - 1]), err,
                 CR_ERR_FORMAT, "recipe: a split of '%s': channels must be in ascending order",
                 s->tensor);
    return CR_OK;
}

static void *copy_bytes(cr_arena *a, const void *from, size_t count, size_t size)
{
    void *to = cr_arena_alloc(a, count * size + 1);
    if (to && count) memcpy(to, from, count * size);
    return to;
}

cr_status cr_recipe_add_rewrite(cr_recipe *r, const cr_rewrite *given, cr_error *err)
{
    CR_TRY(check_step(given, err));
    if (!cr_grow((void **)&r->rewrites, &r->rewrite_cap, r->rewrite_count, sizeof *r->rewrites))
        return CR_NOMEM(err);
    cr_rewrite s = *given;
    s.tensor = cr_arena_strdup(&r->arena, given->tensor);
    s.result = cr_arena_strdup(&r->arena, given->result);
    s.readers = cr_arena_alloc(&r->arena, (given->reader_count + 1) * sizeof *s.readers);
    s.factor = copy_bytes(&r->arena, given->factor, given->factor_count, sizeof *s.factor);
    s.channel = copy_bytes(&r->arena, given->channel, given->channel_count, sizeof *s.channel);
    if (!s.tensor || !s.result || !s.readers || !s.factor || !s.channel) return CR_NOMEM(err);
    for (size_t i = 0; i < s.reader_count; i++)
        if (!(s.readers[i] = cr_arena_strdup(&r->arena, given->readers[i]))) return CR_NOMEM(err);
    r->rewrites[r->rewrite_count++] = s;
    return CR_OK;
}

/* ---- replaying ---- */

static bool is_reader(const cr_rewrite *s, const cr_node *n)
{
    for (size_t i = 0; i < s->reader_count; i++)
        if (n->n_out > 0 && n->out[0] && !strcmp(n->out[0]->name, s->readers[i])) return true;
    return s->reader_count == 0;
}

/* The chosen readers of t, but not `maker`, read `result`. */
static cr_status redirect(cr_graph *g, const cr_rewrite *s, const cr_tensor *t, cr_tensor *result,
                          const cr_node *maker, cr_error *err)
{
    size_t moved = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        bool reads = false;
        if (n == maker || !is_reader(s, n)) continue;
        for (int k = 0; k < n->n_in; k++) {
            if (n->in[k] != t) continue;
            n->in[k] = result;
            reads = true;
        }
        moved += reads;
    }
    CR_CHECK(moved >= (s->reader_count ? s->reader_count : 1), err, CR_ERR_ARGUMENT,
             "recipe: rewrite of '%s': a reader is not in the model", s->tensor);
    return CR_OK;
}

static cr_status add_result(cr_graph *g, const cr_rewrite *s, const cr_shape *shape,
                            cr_tensor **result, cr_error *err)
{
    CR_CHECK(!cr_graph_find(g, s->result), err, CR_ERR_ARGUMENT,
             "recipe: rewrite of '%s': the model has a tensor '%s' already", s->tensor, s->result);
    *result = cr_graph_add_tensor(g, s->result, CR_DT_F32, *shape);
    return *result ? CR_OK : CR_NOMEM(err);
}

static cr_status add_factors(cr_graph *g, const cr_rewrite *s, const cr_shape *shape,
                             int64_t axis, cr_tensor **out, cr_error *err)
{
    CR_CHECK(axis >= 0 && axis < shape->rank && shape->dim[axis] == (int64_t)s->factor_count, err,
             CR_ERR_ARGUMENT, "recipe: rewrite of '%s': %zu factors do not fit its axis %lld",
             s->tensor, s->factor_count, (long long)axis);
    cr_shape by_channel = {.rank = shape->rank};
    for (int d = 0; d < shape->rank; d++) by_channel.dim[d] = d == axis ? shape->dim[d] : 1;
    *out = cr_graph_new_const(g, s->result, CR_DT_F32, by_channel);
    if (!*out) return CR_NOMEM(err);
    memcpy((*out)->data, s->factor, s->factor_count * sizeof *s->factor);
    return CR_OK;
}

static cr_status replay_restore(cr_graph *g, const cr_rewrite *s, cr_tensor *t, cr_error *err)
{
    cr_node *maker = t->producer;
    cr_tensor *result;
    CR_CHECK(maker, err, CR_ERR_ARGUMENT, "recipe: rewrite of '%s': is an input", s->tensor);
    CR_TRY(add_result(g, s, &t->shape, &result, err));
    cr_node *n = cr_graph_add_node(g, CR_OP_Mul, s->result, 2, 1, 0);
    if (!n) return CR_NOMEM(err);
    for (int k = 0; k < maker->n_out; k++)
        if (maker->out[k] == t) maker->out[k] = result;
    n->in[0] = result;
    n->out[0] = t;
    return add_factors(g, s, &t->shape, s->channel[0], &n->in[1], err);
}

static cr_status replay_branch(cr_graph *g, const cr_rewrite *s, cr_tensor *t, cr_error *err)
{
    cr_tensor *result;
    CR_TRY(add_result(g, s, &t->shape, &result, err));
    cr_node *n = cr_graph_add_node(g, s->factor_count ? CR_OP_Mul : CR_OP_Identity, s->result,
                                   s->factor_count ? 2 : 1, 1, 0);
    if (!n) return CR_NOMEM(err);
    n->in[0] = t;
    n->out[0] = result;
    if (s->factor_count) CR_TRY(add_factors(g, s, &t->shape, 1, &n->in[1], err));
    return redirect(g, s, t, result, n, err);
}

static cr_node *find_split_reader(const cr_graph *g, const cr_rewrite *s, const cr_tensor *t)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_Conv && n->in[0] == t && is_reader(s, n)) return n;
    }
    return NULL;
}

/* W' [O, C + k, ...]: the listed input channels halved, and once more behind the others. */
static void split_weights(const cr_tensor *w, const cr_rewrite *s, float *out)
{
    const int64_t channels = w->shape.dim[1], k = (int64_t)s->channel_count;
    int64_t each = 1;
    for (int d = 2; d < w->shape.rank; d++) each *= w->shape.dim[d];
    for (int64_t o = 0; o < w->shape.dim[0]; o++) {
        const float *from = (const float *)w->data + o * channels * each;
        float *to = out + o * (channels + k) * each;
        memcpy(to, from, (size_t)(channels * each) * sizeof *to);
        for (int64_t i = 0; i < k; i++)
            for (int64_t e = 0; e < each; e++)
                to[(channels + i) * each + e] = to[s->channel[i] * each + e] *= .5f;
    }
}

static cr_status replay_split(cr_graph *g, const cr_rewrite *s, cr_tensor *t, cr_error *err)
{
    cr_node *conv = find_split_reader(g, s, t);
    CR_CHECK(conv, err, CR_ERR_ARGUMENT, "recipe: split of '%s': no such convolution reads it",
             s->tensor);
    const cr_tensor *w = conv->in[1];
    const int64_t k = (int64_t)s->channel_count;
    CR_CHECK(w->data && w->dtype == CR_DT_F32 && w->shape.rank >= 3 && t->shape.rank >= 2 &&
                 w->shape.dim[1] == t->shape.dim[1] && s->channel[k - 1] < t->shape.dim[1] &&
                 k <= t->shape.dim[1],
             err, CR_ERR_ARGUMENT, "recipe: split of '%s': does not fit its convolution",
             s->tensor);
    cr_shape grown = t->shape, chosen = t->shape, weights = w->shape;
    grown.dim[1] += k;
    chosen.dim[1] = k;
    weights.dim[1] += k;
    cr_tensor *result;
    CR_TRY(add_result(g, s, &grown, &result, err));
    cr_tensor *part = cr_graph_new_tensor(g, s->result, CR_DT_F32, chosen);
    cr_tensor *index = cr_graph_const_i64(g, s->result, s->channel, s->channel_count);
    cr_tensor *halved = cr_graph_new_const(g, w->name, CR_DT_F32, weights);
    cr_node *gather = cr_graph_add_node(g, CR_OP_Gather, s->result, 2, 1, 1);
    cr_node *join = cr_graph_add_node(g, CR_OP_Concat, s->result, 2, 1, 1);
    if (!part || !index || !halved || !gather || !join) return CR_NOMEM(err);
    split_weights(w, s, halved->data);
    cr_attr_set_int(&gather->attrs[0], "axis", 1);
    cr_attr_set_int(&join->attrs[0], "axis", 1);
    gather->in[0] = join->in[0] = t;
    gather->in[1] = index;
    gather->out[0] = join->in[1] = part;
    join->out[0] = conv->in[0] = result;
    conv->in[1] = halved;
    return CR_OK;
}

/* What only the old outputs needed goes with them. */
static cr_status replay_outputs(cr_graph *g, const cr_rewrite *s, cr_error *err)
{
    cr_tensor **outputs = cr_arena_alloc(&g->arena, (s->reader_count + 1) * sizeof *outputs);
    CR_CHECK(s->reader_count > 0, err, CR_ERR_ARGUMENT, "recipe: a list of outputs is empty");
    if (!outputs || !cr_graph_set_meta(g, CR_META_BRANCHES, s->result)) return CR_NOMEM(err);
    for (size_t i = 0; i < s->reader_count; i++) {
        outputs[i] = cr_graph_find(g, s->readers[i]);
        CR_CHECK(outputs[i] && outputs[i]->producer, err, CR_ERR_ARGUMENT,
                 "recipe: the model makes no tensor '%s', which is to be an output", s->readers[i]);
    }
    g->outputs = outputs;
    g->output_count = s->reader_count;
    return cr_graph_compact(g, err);
}

static cr_status replay(cr_graph *g, const cr_rewrite *s, cr_error *err)
{
    cr_tensor *t = cr_graph_find(g, s->tensor);
    CR_CHECK(t && !t->data && t->dtype == CR_DT_F32 && cr_shape_known(&t->shape), err,
             CR_ERR_ARGUMENT, "recipe: rewrite of '%s': the model has no such activation",
             s->tensor);
    switch (s->kind) {
    case CR_REWRITE_BRANCH: CR_TRY(replay_branch(g, s, t, err)); break;
    case CR_REWRITE_SPLIT: CR_TRY(replay_split(g, s, t, err)); break;
    case CR_REWRITE_RESTORE: CR_TRY(replay_restore(g, s, t, err)); break;
    case CR_REWRITE_GROUPS: CR_TRY(cr_groups_replay(g, s, t, err)); break;
    case CR_REWRITE_OUTPUTS: CR_TRY(replay_outputs(g, s, err)); break;
    }
    return cr_graph_index(g, err);
}

static cr_status put_value(cr_graph *g, const cr_recipe_value *v, cr_error *err)
{
    cr_tensor *t = cr_graph_find(g, v->tensor);
    CR_CHECK(t && t->data && t->dtype == CR_DT_F32 && cr_shape_equal(&t->shape, &v->shape), err,
             CR_ERR_ARGUMENT, "recipe: the values of '%s' do not fit the model", v->tensor);
    memcpy(t->data, v->data, cr_tensor_bytes(t));
    return CR_OK;
}

cr_status cr_recipe_apply(const cr_recipe *r, const cr_graph *source, cr_graph **out, cr_error *err)
{
    cr_graph *g;
    *out = NULL;
    CR_TRY(cr_graph_clone(source, &g, err));
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < r->rewrite_count; i++)
        st = replay(g, &r->rewrites[i], err);
    if (st == CR_OK && r->rewrite_count) st = cr_graph_compact(g, err);
    for (size_t i = 0; st == CR_OK && i < r->value_count; i++)
        st = put_value(g, &r->values[i], err);
    if (st == CR_OK && r->rewrite_count) st = cr_graph_infer(g, err);
    if (st != CR_OK) cr_graph_free(&g);
    *out = g;
    return st;
}
