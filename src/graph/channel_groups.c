#include "graph/channel_groups.h"

#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

/* ---- what can be divided ---- */

static bool is_output(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return false;
}

static bool contains(const cr_tensor *const *list, int n, const cr_tensor *t)
{
    for (int i = 0; i < n; i++)
        if (list[i] == t) return true;
    return false;
}

static bool is_map(const cr_tensor *t)
{
    return t && !t->data && t->dtype == CR_DT_F32 && t->shape.rank == 4 && cr_shape_known(&t->shape);
}

static bool is_float_const(const cr_tensor *t)
{
    return t->data && t->dtype == CR_DT_F32;
}

static bool is_plain_conv(const cr_node *n)
{
    if (n->op->kind != CR_OP_Conv || n->n_in < 2 || !n->in[1] || !is_map(n->in[0])) return false;
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    return is_float_const(n->in[1]) && n->in[1]->shape.rank == 4 && (!b || is_float_const(b)) &&
           is_map(n->out[0]);
}

static bool is_dense(const cr_node *n)
{
    return is_plain_conv(n) && cr_attr_int(n, "group", 1) == 1;
}

static bool is_depthwise(const cr_node *n)
{
    if (!is_plain_conv(n)) return false;
    const int64_t groups = cr_attr_int(n, "group", 1);
    return groups > 1 && groups == n->in[0]->shape.dim[1] && groups == n->in[1]->shape.dim[0];
}

/* Each channel by itself, and all of them alike: constants beside it are scalars. */
static bool is_elementwise(const cr_node *n)
{
    const bool kind = (n->op->flags & CR_OPF_UNARY) || n->op->kind == CR_OP_Mul ||
                      n->op->kind == CR_OP_Add;
    if (!kind || n->n_out != 1 || !is_map(n->out[0])) return false;
    for (int k = 0; k < n->n_in; k++) {
        const cr_tensor *t = n->in[k];
        if (t && (t->data ? cr_shape_count(&t->shape) != 1
                          : !cr_shape_equal(&t->shape, &n->out[0]->shape)))
            return false;
    }
    for (int a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].type == CR_ATTR_TENSOR) return false;
    return n->n_in > 0;
}

static bool keeps_channels(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_MaxPool:
    case CR_OP_AveragePool:
    case CR_OP_GlobalAveragePool:
    case CR_OP_GlobalMaxPool:
        return n->n_out == 1 && is_map(n->out[0]);
    case CR_OP_Resize:
        return is_map(n->out[0]) && n->in[0]->shape.dim[1] == n->out[0]->shape.dim[1] &&
               strcmp(cr_attr_string(n, "mode", "nearest"), "cubic");
    default:
        return false;
    }
}

/* How often n reads t. */
static int reads(const cr_node *n, const cr_tensor *t)
{
    int count = 0;
    for (int k = 0; k < n->n_in; k++) count += n->in[k] == t;
    return count;
}

static bool has_node(cr_node *const *list, int n, const cr_node *node)
{
    for (int i = 0; i < n; i++)
        if (list[i] == node) return true;
    return false;
}

static bool find_readers(const cr_graph *g, cr_group_site *s)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (!reads(n, s->tensor)) continue;
        if (!is_depthwise(n) || reads(n, s->tensor) > 1 || s->reader_count == CR_GROUP_MOST) return false;
        s->readers[s->reader_count++] = n;
    }
    return s->reader_count > 0;
}

/* From y back to one dense convolution, through what nothing else reads. */
static bool find_maker(cr_group_site *s)
{
    s->divided[s->divided_count++] = s->tensor;
    for (int i = 0; i < s->divided_count; i++) {
        cr_node *n = s->divided[i]->producer;
        if (!n) return false;
        if (is_dense(n)) {
            if (s->maker && s->maker != n) return false;
            s->maker = n;
            continue;
        }
        if (!is_elementwise(n) || s->between_count == CR_GROUP_MOST) return false;
        if (has_node(s->between, s->between_count, n)) return false;
        s->between[s->between_count++] = n;
        for (int k = 0; k < n->n_in; k++) {
            if (!n->in[k] || n->in[k]->data) continue;
            if (contains(s->divided, s->divided_count, n->in[k])) continue;
            if (s->divided_count == CR_GROUP_MOST) return false;
            s->divided[s->divided_count++] = n->in[k];
        }
    }
    return s->maker != NULL;
}

static bool is_closed(const cr_graph *g, const cr_group_site *s)
{
    for (int i = 0; i < s->divided_count; i++) {
        const cr_tensor *t = s->divided[i];
        int uses = t == s->tensor ? s->reader_count : 0;
        for (int k = 0; k < s->between_count; k++) uses += reads(s->between[k], t);
        if (t->uses != uses || is_output(g, t)) return false;
    }
    return true;
}

static cr_node *only_reader(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->node_count && t->uses == 1; i++)
        if (reads(g->nodes[i], t)) return g->nodes[i];
    return NULL;
}

/* An activation behind the reader is divided with it, so that a kernel can still apply both. */
static void find_joint(const cr_graph *g, cr_group_site *s, int r)
{
    const cr_tensor *z = s->readers[r]->out[0];
    cr_node *n = is_output(g, z) ? NULL : only_reader(g, z);
    const bool taken = n && (n->op->flags & CR_OPF_UNARY) && is_elementwise(n);
    s->tails[r] = taken ? n : NULL;
    s->joints[r] = taken ? n->out[0] : z;
    if (taken) s->divided[s->divided_count++] = z;
    s->permuted[s->permuted_count++] = s->joints[r];
}

/* Follows the new order of channels to the convolutions that take it up. */
static bool follow(const cr_graph *g, cr_group_site *s)
{
    enum { MOST = 4 * CR_GROUP_MOST };
    for (int i = 0; i < s->permuted_count; i++) {
        const cr_tensor *t = s->permuted[i];
        if (is_output(g, t)) return false;
        for (size_t k = 0; k < g->node_count; k++) {
            cr_node *n = g->nodes[k];
            if (!reads(n, t)) continue;
            const bool conv = n->in[0] == t && reads(n, t) == 1 && (is_dense(n) || is_depthwise(n));
            if (!conv && !is_elementwise(n) && !(keeps_channels(n) && n->in[0] == t)) return false;
            if (conv && s->behind_count == MOST) return false;
            if (conv) s->behind[s->behind_count++] = n;
            if (conv && is_dense(n)) continue;
            if (contains(s->permuted, s->permuted_count, n->out[0])) continue;
            if (s->permuted_count == MOST) return false;
            s->permuted[s->permuted_count++] = n->out[0];
        }
    }
    return true;
}

/* Sums and products of two tensors need both in the new order. */
static bool meets_itself(const cr_graph *g, const cr_group_site *s)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_Mul && n->op->kind != CR_OP_Add) continue;
        if (!contains(s->permuted, s->permuted_count, n->out[0])) continue;
        if (contains(s->joints, s->reader_count, n->out[0])) continue;
        for (int k = 0; k < n->n_in; k++)
            if (!n->in[k]->data && !contains(s->permuted, s->permuted_count, n->in[k])) return false;
    }
    return true;
}

bool cr_group_site_find(const cr_graph *g, const cr_tensor *y, cr_group_site *s)
{
    *s = (cr_group_site){.tensor = y};
    if (!is_map(y) || y->shape.dim[1] < 2) return false;
    s->channels = y->shape.dim[1];
    if (!find_readers(g, s) || !find_maker(s) || !is_closed(g, s)) return false;
    for (int r = 0; r < s->reader_count; r++) find_joint(g, s, r);
    return follow(g, s) && meets_itself(g, s);
}

/* ---- dividing ---- */

const char *cr_group_part_name(cr_arena *a, const char *name, int part)
{
    return cr_arena_printf(a, "%s" CR_PART_MARK "%d", name, part);
}

bool cr_groups_valid(const int64_t *list, size_t count)
{
    int64_t sum = 0;
    if (count < 5 || list[0] < 2 || (size_t)list[0] > count / 2) return false;
    const int64_t groups = list[0], channels = (int64_t)count - 1 - groups;
    for (int64_t k = 1; k <= groups; k++) {
        if (list[k] < 1 || list[k] > channels) return false;
        sum += list[k];
    }
    if (sum != channels) return false;
    bool *seen = cr_calloc((size_t)channels, sizeof *seen), fine = seen != NULL;
    for (int64_t i = 0; fine && i < channels; i++) {
        const int64_t c = list[1 + groups + i];
        fine = c >= 0 && c < channels && !seen[c];
        if (fine) seen[c] = true;
    }
    cr_free(seen);
    return fine;
}

/* One group: its channels, and what has been made of it. */
typedef struct part {
    cr_graph *g;
    const cr_group_site *site;
    const int64_t *channel;
    int64_t count;
    int number;
    cr_tensor *made[3 * CR_GROUP_MOST]; /* of site->divided */
} part;

static cr_tensor *part_of(const part *p, const cr_tensor *t)
{
    for (int i = 0; i < p->site->divided_count; i++)
        if (p->site->divided[i] == t) return p->made[i];
    return NULL;
}

static cr_tensor *new_part(const part *p, const cr_tensor *t)
{
    const char *name = cr_group_part_name(&p->g->arena, t->name, p->number);
    cr_shape shape = t->shape;
    shape.dim[1] = p->count;
    return name ? cr_graph_add_tensor(p->g, name, CR_DT_F32, shape) : NULL;
}

/* Those outputs of a convolution's constant that the part has. */
static cr_tensor *new_rows(const part *p, const cr_tensor *w)
{
    const char *name = cr_group_part_name(&p->g->arena, w->name, p->number);
    cr_shape shape = w->shape;
    const size_t each = cr_tensor_bytes(w) / (size_t)w->shape.dim[0];
    shape.dim[0] = p->count;
    cr_tensor *t = name ? cr_graph_add_const(p->g, name, CR_DT_F32, shape) : NULL;
    for (int64_t i = 0; t && i < p->count; i++)
        memcpy((char *)t->data + (size_t)i * each, (char *)w->data + (size_t)p->channel[i] * each, each);
    return t;
}

/* n, for the part: inputs and the output as given, scalars shared. */
static cr_node *new_node(const part *p, const cr_node *n, cr_tensor *out)
{
    const char *name = cr_group_part_name(&p->g->arena, n->name, p->number);
    cr_node *copy = name && out
                        ? cr_graph_add_node(p->g, n->op->kind, name, n->n_in, n->n_out, n->n_attrs)
                        : NULL;
    if (!copy) return NULL;
    for (int k = 0; k < n->n_in; k++) {
        cr_tensor *mine = n->in[k] ? part_of(p, n->in[k]) : NULL;
        copy->in[k] = mine ? mine : n->in[k];
    }
    for (int a = 0; a < n->n_attrs; a++) copy->attrs[a] = n->attrs[a];
    copy->out[0] = out;
    return copy;
}

static bool new_conv(const part *p, const cr_node *n, cr_tensor *out)
{
    cr_node *copy = new_node(p, n, out);
    if (!copy || !(copy->in[1] = new_rows(p, n->in[1]))) return false;
    if (n->n_in > 2 && n->in[2] && !(copy->in[2] = new_rows(p, n->in[2]))) return false;
    for (int a = 0; a < copy->n_attrs && n != p->site->maker; a++)
        if (!strcmp(copy->attrs[a].name, "group")) copy->attrs[a].i = p->count;
    return true;
}

/* ends[r]: what is joined. */
static bool make_part(part *p, cr_tensor **ends)
{
    const cr_group_site *s = p->site;
    for (int i = 0; i < s->divided_count; i++)
        if (!(p->made[i] = new_part(p, s->divided[i]))) return false;
    if (!new_conv(p, s->maker, part_of(p, s->maker->out[0]))) return false;
    for (int i = 0; i < s->between_count; i++)
        if (!new_node(p, s->between[i], part_of(p, s->between[i]->out[0]))) return false;
    for (int r = 0; r < s->reader_count; r++) {
        if (!(ends[r] = new_part(p, s->joints[r]))) return false;
        cr_tensor *z = s->tails[r] ? part_of(p, s->readers[r]->out[0]) : ends[r];
        if (!new_conv(p, s->readers[r], z)) return false;
        if (s->tails[r] && !new_node(p, s->tails[r], ends[r])) return false;
    }
    return true;
}

static bool join(cr_graph *g, const cr_tensor *joint, cr_tensor *const *ends, int stride, int groups)
{
    const char *name = cr_arena_printf(&g->arena, "%s_joint", joint->name);
    cr_node *n = name ? cr_graph_add_node(g, CR_OP_Concat, name, groups, 1, 1) : NULL;
    if (!n) return false;
    cr_attr_set_int(&n->attrs[0], "axis", 1);
    for (int k = 0; k < groups; k++) n->in[k] = ends[k * stride];
    n->out[0] = (cr_tensor *)joint;
    return true;
}

/* Inputs of a dense convolution, or outputs (which are inputs) of a depthwise one. */
static cr_tensor *reorder(cr_graph *g, const cr_tensor *w, bool columns, const int64_t *order)
{
    cr_tensor *t = cr_graph_new_const(g, w->name, CR_DT_F32, w->shape);
    const int64_t rows = columns ? w->shape.dim[0] : 1, inner = columns ? w->shape.dim[1] : w->shape.dim[0];
    const size_t each = cr_tensor_bytes(w) / (size_t)(rows * inner);
    for (int64_t r = 0; t && r < rows; r++)
        for (int64_t i = 0; i < inner; i++)
            memcpy((char *)t->data + (size_t)(r * inner + i) * each,
                   (char *)w->data + (size_t)(r * inner + order[i]) * each, each);
    return t;
}

static bool take_up(cr_graph *g, cr_node *n, const int64_t *order)
{
    const bool columns = cr_attr_int(n, "group", 1) == 1;
    if (!(n->in[1] = reorder(g, n->in[1], columns, order))) return false;
    if (columns || n->n_in < 3 || !n->in[2]) return true;
    return (n->in[2] = reorder(g, n->in[2], false, order)) != NULL;
}

static void remove_whole(cr_graph *g, const cr_group_site *s)
{
    size_t kept = 0;
    cr_graph_kill(s->maker);
    for (int i = 0; i < s->between_count; i++) cr_graph_kill(s->between[i]);
    for (int r = 0; r < s->reader_count; r++) {
        cr_graph_kill(s->readers[r]);
        if (s->tails[r]) cr_graph_kill(s->tails[r]);
    }
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op) g->nodes[kept++] = g->nodes[i];
    g->node_count = kept;
}

static bool names_are_free(const cr_graph *g, const cr_group_site *s, int groups, cr_arena *a)
{
    for (int k = 0; k < groups; k++)
        for (int i = 0; i < s->divided_count + s->reader_count; i++) {
            const cr_tensor *t = i < s->divided_count ? s->divided[i] : s->joints[i - s->divided_count];
            const char *name = cr_group_part_name(a, t->name, k);
            if (!name || cr_graph_find(g, name)) return false;
        }
    return true;
}

cr_status cr_groups_replay(cr_graph *g, const cr_rewrite *step, const cr_tensor *y, cr_error *err)
{
    cr_group_site s;
    const int groups = (int)step->channel[0];
    const int64_t *order = step->channel + 1 + groups;
    CR_CHECK(cr_group_site_find(g, y, &s) && s.channels == (int64_t)step->channel_count - 1 - groups, err,
             CR_ERR_ARGUMENT, "recipe: groups of '%s': do not fit the layers around it", step->tensor);
    CR_CHECK(names_are_free(g, &s, groups, &g->arena), err, CR_ERR_ARGUMENT,
             "recipe: groups of '%s': the model has tensors of their names", step->tensor);
    cr_tensor **ends = cr_calloc((size_t)(groups * s.reader_count), sizeof *ends);
    bool fine = ends != NULL;
    int64_t first = 0;
    for (int k = 0; fine && k < groups; k++) {
        part p = {g, &s, order + first, step->channel[1 + k], k, {0}};
        fine = make_part(&p, ends + k * s.reader_count);
        first += p.count;
    }
    for (int i = 0; fine && i < s.behind_count; i++) fine = take_up(g, s.behind[i], order);
    if (fine) remove_whole(g, &s);
    for (int r = 0; fine && r < s.reader_count; r++)
        fine = join(g, s.joints[r], ends + r, s.reader_count, groups);
    cr_free(ends);
    return fine ? CR_OK : CR_NOMEM(err);
}
