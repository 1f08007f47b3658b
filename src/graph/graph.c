/* Graph storage, attribute access, topological order. Names are looked up by plain search here;
 * readers and passes that need many look-ups build a cr_names map (graph/names.h). */
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/infer_all.h"

static const cr_op_def table[CR_OP_COUNT] = {
#define CR_OP(name, domain, stem, min_in, max_in, min_out, max_out, flags)                         \
    [CR_OP_##name] = {CR_OP_##name, #name,   domain,  min_in,         max_in,                      \
                      min_out,      max_out, (flags), cr_infer_##stem},
#include "graph/ops.inc"
#undef CR_OP
};

const cr_op_def *cr_op_find(const char *domain, const char *name)
{
    if (!strcmp(domain, "ai.onnx")) domain = "";
    for (int i = 1; i < CR_OP_COUNT; i++)
        if (!strcmp(table[i].name, name) && !strcmp(table[i].domain, domain)) return &table[i];
    return NULL;
}

const cr_op_def *cr_op_get(cr_op_kind kind) { return &table[kind]; }

bool cr_shape_known(const cr_shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0) return false;
    return s->rank >= 0;
}

int64_t cr_shape_count(const cr_shape *s)
{
    const int64_t limit = (int64_t)1 << 40;
    if (!cr_shape_known(s)) return -1;
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < s->rank; i++) { /* the others are limited beside a 0, too: strides */
        empty = empty || s->dim[i] == 0;
        if (s->dim[i] == 0) continue;
        if (s->dim[i] > limit / n) return -1;
        n *= s->dim[i];
    }
    return empty ? 0 : n;
}

bool cr_shape_equal(const cr_shape *a, const cr_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

const char *cr_shape_text(const cr_shape *s, char *buf, size_t n)
{
    if (s->rank < 0) {
        snprintf(buf, n, "unknown");
    } else if (s->rank == 0) {
        snprintf(buf, n, "scalar");
    } else {
        size_t used = 0;
        for (int i = 0; i < s->rank && used < n; i++) {
            char dim[24] = "?";
            if (s->dim[i] >= 0) snprintf(dim, sizeof dim, "%lld", (long long)s->dim[i]);
            const int w = snprintf(buf + used, n - used, "%s%s", i ? "x" : "", dim);
            used += w > 0 ? (size_t)w : 0;
        }
    }
    return buf;
}

cr_status cr_graph_create(cr_graph **out, cr_error *err)
{
    *out = cr_calloc(1, sizeof **out);
    if (!*out) return CR_NOMEM(err);
    (*out)->name = "";
    (*out)->producer = "";
    return CR_OK;
}

static void drop_attr_data(cr_node *n)
{
    for (int a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].type == CR_ATTR_TENSOR && n->attrs[a].tensor)
            cr_tensor_drop_data(n->attrs[a].tensor);
}

void cr_graph_free(cr_graph **gp)
{
    if (!gp || !*gp) return;
    cr_graph *g = *gp;
    for (size_t i = 0; i < g->tensor_count; i++) cr_tensor_drop_data(g->tensors[i]);
    for (size_t i = 0; i < g->node_count; i++) drop_attr_data(g->nodes[i]);
    cr_free(g->tensors);
    cr_free(g->nodes);
    cr_arena_free(&g->arena);
    cr_free(g);
    *gp = NULL;
}

cr_tensor *cr_graph_add_tensor(cr_graph *g, const char *name, cr_dtype dtype, cr_shape shape)
{
    if (!cr_grow((void **)&g->tensors, &g->tensor_cap, g->tensor_count, sizeof *g->tensors))
        return NULL;
    cr_tensor *t = cr_arena_alloc(&g->arena, sizeof *t);
    if (!t || !(t->name = cr_arena_strdup(&g->arena, name))) return NULL;
    t->dtype = dtype;
    t->shape = shape;
    t->id = (int)g->tensor_count;
    g->tensors[g->tensor_count++] = t;
    return t;
}

cr_tensor *cr_graph_add_const(cr_graph *g, const char *name, cr_dtype dtype, cr_shape shape)
{
    cr_tensor *t = cr_graph_add_tensor(g, name, dtype, shape);
    return t && cr_tensor_alloc(t) ? t : NULL;
}

cr_tensor *cr_graph_find(const cr_graph *g, const char *name)
{
    for (size_t i = 0; i < g->tensor_count; i++)
        if (!strcmp(g->tensors[i]->name, name)) return g->tensors[i];
    return NULL;
}

/* `stem` itself when free, else stem.1, stem.2 ... The tensor count makes a good first guess. */
static const char *unique_name(cr_graph *g, const char *stem)
{
    if (!cr_graph_find(g, stem)) return stem;
    for (size_t i = g->tensor_count;; i++) {
        const char *name = cr_arena_printf(&g->arena, "%s.%zu", stem, i);
        if (!name || !cr_graph_find(g, name)) return name;
    }
}

cr_tensor *cr_graph_new_tensor(cr_graph *g, const char *stem, cr_dtype dtype, cr_shape shape)
{
    const char *name = unique_name(g, stem);
    return name ? cr_graph_add_tensor(g, name, dtype, shape) : NULL;
}

cr_tensor *cr_graph_new_const(cr_graph *g, const char *stem, cr_dtype dtype, cr_shape shape)
{
    const char *name = unique_name(g, stem);
    return name ? cr_graph_add_const(g, name, dtype, shape) : NULL;
}

cr_tensor *cr_graph_const_i64(cr_graph *g, const char *stem, const int64_t *values, size_t n)
{
    cr_tensor *t = cr_graph_new_const(g, stem, CR_DT_I64, (cr_shape){1, {(int64_t)n}});
    if (t && n) memcpy(t->data, values, n * sizeof *values);
    return t;
}

cr_tensor *cr_graph_const_f32(cr_graph *g, const char *stem, float value)
{
    cr_tensor *t = cr_graph_new_const(g, stem, CR_DT_F32, (cr_shape){0, {0}});
    if (t) *(float *)t->data = value;
    return t;
}

cr_node *cr_graph_add_node(cr_graph *g, cr_op_kind kind, const char *name, int n_in, int n_out,
                           int n_attrs)
{
    if (!cr_grow((void **)&g->nodes, &g->node_cap, g->node_count, sizeof *g->nodes)) return NULL;
    cr_node *n = cr_arena_alloc(&g->arena, sizeof *n);
    if (!n) return NULL;
    n->name = cr_arena_strdup(&g->arena, name);
    n->op = cr_op_get(kind);
    n->in = cr_arena_alloc(&g->arena, (size_t)n_in * sizeof *n->in);
    n->out = cr_arena_alloc(&g->arena, (size_t)n_out * sizeof *n->out);
    n->attrs = cr_arena_alloc(&g->arena, (size_t)n_attrs * sizeof *n->attrs);
    if (!n->name || !n->in || !n->out || !n->attrs) return NULL;
    n->n_in = n_in;
    n->n_out = n_out;
    n->n_attrs = n_attrs;
    n->index = (int)g->node_count;
    g->nodes[g->node_count++] = n;
    return n;
}

const char *cr_graph_meta(const cr_graph *g, const char *key)
{
    for (size_t i = 0; i < g->meta_count; i++)
        if (!strcmp(g->meta[2 * i], key)) return g->meta[2 * i + 1];
    return NULL;
}

bool cr_graph_set_meta(cr_graph *g, const char *key, const char *value)
{
    char *v = cr_arena_strdup(&g->arena, value);
    if (!v) return false;
    for (size_t i = 0; i < g->meta_count; i++) {
        if (strcmp(g->meta[2 * i], key)) continue;
        g->meta[2 * i + 1] = v;
        return true;
    }
    const char **grown = cr_arena_alloc(&g->arena, (g->meta_count + 1) * 2 * sizeof *grown);
    char *k = cr_arena_strdup(&g->arena, key);
    if (!grown || !k) return false;
    if (g->meta_count) memcpy(grown, g->meta, g->meta_count * 2 * sizeof *grown);
    grown[2 * g->meta_count] = k;
    grown[2 * g->meta_count + 1] = v;
    g->meta = grown;
    g->meta_count++;
    return true;
}

cr_status cr_graph_has_weights(const cr_graph *g, cr_error *err)
{
    CR_CHECK(!g->weights_given, err, CR_ERR_ARGUMENT,
             "the model's weights were given to what runs it (cr_model_give_weights)");
    return CR_OK;
}

size_t cr_tensor_bytes(const cr_tensor *t)
{
    const int64_t n = cr_shape_count(&t->shape);
    return n < 0 ? 0 : (size_t)n * cr_dtype_size(t->dtype);
}

bool cr_tensor_alloc(cr_tensor *t)
{
    if (cr_shape_count(&t->shape) < 0 || t->dtype == CR_DT_NONE) return false;
    void *data = cr_aligned_alloc(cr_tensor_bytes(t));
    if (!data) return false;
    memset(data, 0, cr_tensor_bytes(t));
    cr_tensor_drop_data(t);
    t->data = data;
    return true;
}

void cr_tensor_drop_data(cr_tensor *t)
{
    cr_aligned_free(t->data);
    t->data = NULL;
}

const cr_attr *cr_attr_find(const cr_node *n, const char *name)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].name && !strcmp(n->attrs[i].name, name)) return &n->attrs[i];
    return NULL;
}

int64_t cr_attr_int(const cr_node *n, const char *name, int64_t fallback)
{
    const cr_attr *a = cr_attr_find(n, name);
    return a && a->type == CR_ATTR_INT ? a->i : fallback;
}

float cr_attr_float(const cr_node *n, const char *name, float fallback)
{
    const cr_attr *a = cr_attr_find(n, name);
    return a && a->type == CR_ATTR_FLOAT ? a->f : fallback;
}

const char *cr_attr_string(const cr_node *n, const char *name, const char *fallback)
{
    const cr_attr *a = cr_attr_find(n, name);
    return a && a->type == CR_ATTR_STRING ? a->s : fallback;
}

const int64_t *cr_attr_ints(const cr_node *n, const char *name, size_t *count)
{
    const cr_attr *a = cr_attr_find(n, name);
    *count = a && a->type == CR_ATTR_INTS ? a->count : 0;
    return *count ? a->ints : NULL;
}

const float *cr_attr_floats(const cr_node *n, const char *name, size_t *count)
{
    const cr_attr *a = cr_attr_find(n, name);
    *count = a && a->type == CR_ATTR_FLOATS ? a->count : 0;
    return *count ? a->floats : NULL;
}

void cr_attr_set_int(cr_attr *a, const char *name, int64_t value)
{
    *a = (cr_attr){.name = name, .type = CR_ATTR_INT, .i = value};
}

void cr_attr_set_float(cr_attr *a, const char *name, float value)
{
    *a = (cr_attr){.name = name, .type = CR_ATTR_FLOAT, .f = value};
}

bool cr_attr_set_string(cr_graph *g, cr_attr *a, const char *name, const char *value)
{
    *a = (cr_attr){.name = name, .type = CR_ATTR_STRING, .count = strlen(value)};
    a->s = cr_arena_strdup(&g->arena, value);
    return a->s != NULL;
}

bool cr_attr_set_ints(cr_graph *g, cr_attr *a, const char *name, const int64_t *v, size_t count)
{
    *a = (cr_attr){.name = name, .type = CR_ATTR_INTS, .count = count};
    a->ints = cr_arena_alloc(&g->arena, count * sizeof *v);
    if (a->ints && count) memcpy(a->ints, v, count * sizeof *v);
    return a->ints != NULL;
}
