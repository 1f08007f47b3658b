#include "quant/prior.h"

#include <string.h>

static const double worse = 1.1; /* errors of 1 and 1.1 are told apart by no 128 pictures */

static const cr_recipe_entry *find(const cr_recipe *r, const char *tensor, bool is_weight)
{
    for (size_t i = 0; r && i < r->count; i++)
        if (r->entries[i].is_weight == is_weight && !strcmp(r->entries[i].tensor, tensor))
            return &r->entries[i];
    return NULL;
}

static bool is_byte(cr_dtype t)
{
    return t == CR_DT_I8 || t == CR_DT_U8;
}

const cr_recipe_entry **cr_prior_sources(const cr_recipe *prior, const cr_graph *g,
                                         const cr_placement_map *map)
{
    const cr_recipe_entry **list = cr_calloc(g->tensor_count + 1, sizeof *list);
    for (size_t i = 0; list && i < g->tensor_count; i++) {
        const cr_tensor *source = map->source[i];
        if (!source || (list[source->id] && source != g->tensors[i])) continue;
        const cr_recipe_entry *e = find(prior, g->tensors[i]->name, false);
        if (e && is_byte(e->q.type) && e->q.count == 1 && !e->q.dynamic) list[source->id] = e;
    }
    return list;
}

bool cr_prior_range(const cr_recipe_entry *prior, cr_dtype type, float *scale, int32_t *zero_point)
{
    if (!prior || !is_byte(type)) return false;
    const int32_t shift = prior->q.type == type ? 0 : type == CR_DT_U8 ? 128 : -128;
    *scale = prior->q.scale[0];
    *zero_point = prior->q.zero_point[0] + shift;
    return true;
}

static double error_of(const cr_tensor_stats *seen, cr_dtype type, float scale, int32_t zero_point)
{
    int32_t lo, hi;
    cr_qtype_range(type, &lo, &hi);
    return cr_range_error(&seen->all, (double)scale * (lo - zero_point),
                          (double)scale * (hi - zero_point), 256, false, 2);
}

bool cr_prior_is_good(const cr_recipe_entry *prior, const cr_tensor_stats *seen, cr_dtype type,
                      float scale, int32_t zero_point)
{
    float s;
    int32_t z;
    if (!cr_prior_range(prior, type, &s, &z)) return false;
    return error_of(seen, type, s, z) <= worse * error_of(seen, type, scale, zero_point);
}

const cr_recipe_entry *cr_prior_weight(const cr_recipe *prior, const cr_node *n,
                                       const cr_weight_form *form)
{
    const cr_recipe_entry *e = find(prior, n->in[1]->name, true);
    if (!e || form->block || e->q.block || form->reduced) return NULL;
    if (!cr_q_fits(&e->q, &n->in[1]->shape)) return NULL;
    const bool same = e->q.type == form->type || (is_byte(e->q.type) && is_byte(form->type));
    const bool right_axis = e->q.count == 1 || e->q.axis == form->axis;
    return same && right_axis ? e : NULL;
}
