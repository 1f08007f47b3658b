/* recipe.json:
 *
 *     {"format": "crayon-recipe", "version": 1,
 *      "facts": {"calibration": "mse", "pictures": "128", ...},
 *      "activations": {"images": {"type": "uint8", "scale": [0.0039], "zero_point": [0],
 *                                 "note": "convolution input, mse"}, ...},  (or "dynamic": true)
 *      "weights": {"model.0.conv.weight": {"type": "int4", "axis": 1, "block": 32,
 *                                          "range": [-7, 7], "scale": [...], ...}, ...},
 *      "placement": [{"tensor": "images", "shape": "1x3x640x640", "role": "input"},
 *                    {"tensor": "model.0.conv.weight", "weight": true, "op": "Conv", "node": ...,
 *                     "role": "body", "why": "..."}, ...],                  (explain.h)
 *      "rewrites": [...], "values": {...}}                              (recipe_changes.c) */
#include <string.h>

#include "base/error.h"
#include "quant/json_io.h"
#include "quant/plan.h"
#include "quant/recipe_changes.h"

static json_t *entry_json(const cr_recipe_entry *e)
{
    json_t *o = json_object(), *z = json_array();
    json_object_set_new(o, "type", json_string(cr_dtype_key(e->q.type)));
    if (e->q.axis >= 0) json_object_set_new(o, "axis", json_integer(e->q.axis));
    if (e->q.block) json_object_set_new(o, "block", json_integer(e->q.block));
    if (e->q.lo || e->q.hi) json_object_set_new(o, "range", json_pack("[i,i]", e->q.lo, e->q.hi));
    json_object_set_new(o, "scale", cr_json_floats(e->q.scale, e->q.count));
    for (size_t i = 0; i < e->q.count; i++)
        json_array_append_new(z, json_integer(e->q.zero_point[i]));
    json_object_set_new(o, "zero_point", z);
    if (e->q.dynamic) json_object_set_new(o, "dynamic", json_true());
    if (e->note[0]) json_object_set_new(o, "note", json_string(e->note));
    return o;
}

static void set_text(json_t *o, const char *key, const char *text)
{
    if (text[0]) json_object_set_new(o, key, json_string(text));
}

static json_t *places_json(const cr_recipe *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->place_count; i++) {
        const cr_recipe_place *p = &r->places[i];
        json_t *o = json_object();
        set_text(o, "tensor", p->tensor);
        if (p->is_weight) json_object_set_new(o, "weight", json_true());
        set_text(o, "shape", p->shape);
        set_text(o, "op", p->op);
        set_text(o, "node", p->node);
        set_text(o, "role", p->role);
        set_text(o, "why", p->why);
        json_array_append_new(list, o);
    }
    return list;
}

cr_status cr_recipe_write(const cr_recipe *r, const char *path, cr_error *err)
{
    json_t *root = json_pack("{s:s, s:i}", "format", "crayon-recipe", "version", 1);
    json_t *facts = json_object(), *acts = json_object(), *weights = json_object();
    int failed = 0; /* no memory, or a name that is not UTF-8 */
    for (size_t i = 0; i < r->fact_count; i++)
        failed |= json_object_set_new(facts, r->facts[2 * i], json_string(r->facts[2 * i + 1]));
    for (size_t i = 0; i < r->count; i++)
        failed |= json_object_set_new(r->entries[i].is_weight ? weights : acts,
                                      r->entries[i].tensor, entry_json(&r->entries[i]));
    json_object_set_new(root, "facts", facts);
    json_object_set_new(root, "activations", acts);
    json_object_set_new(root, "weights", weights);
    if (r->place_count) failed |= json_object_set_new(root, "placement", places_json(r));
    failed |= !cr_recipe_changes_write(r, root);
    const cr_status st = failed ? cr_fail(err, CR_ERR_FORMAT, "%s: cannot write names as JSON", path)
                                : cr_json_write(path, root, err);
    json_decref(root);
    return st;
}

static cr_status read_codes(const json_t *a, int32_t *out, size_t n, const char *tensor,
                            const char *key, cr_error *err)
{
    CR_CHECK(json_is_array(a) && json_array_size(a) == n, err, CR_ERR_FORMAT,
             "tensor '%s': %s must have as many numbers as scale", tensor, key);
    for (size_t i = 0; i < n; i++) {
        const json_int_t v = json_integer_value(json_array_get(a, i));
        CR_CHECK(json_is_integer(json_array_get(a, i)) && v >= INT32_MIN && v <= INT32_MAX, err,
                 CR_ERR_FORMAT, "tensor '%s': %s must be whole numbers of 32 bits", tensor, key);
        out[i] = (int32_t)v;
    }
    return CR_OK;
}

/* What they mean together, cr_recipe_add checks. */
static cr_status read_form(const json_t *o, const char *tensor, cr_qparams *q, cr_error *err)
{
    const json_t *block = json_object_get(o, "block"), *range = json_object_get(o, "range");
    const json_int_t b = json_integer_value(block);
    CR_CHECK(!block || (json_is_integer(block) && b > 0 && b <= INT32_MAX), err, CR_ERR_FORMAT,
             "tensor '%s': block must be a whole number above 0", tensor);
    q->block = b;
    q->dynamic = json_is_true(json_object_get(o, "dynamic"));
    if (!range) return CR_OK;
    int32_t codes[2];
    CR_CHECK(json_array_size(range) == 2, err, CR_ERR_FORMAT,
             "tensor '%s': range must be two codes", tensor);
    CR_TRY(read_codes(range, codes, 2, tensor, "range", err));
    q->lo = codes[0];
    q->hi = codes[1];
    return CR_OK;
}

static cr_status read_entry(cr_recipe *r, const char *tensor, const json_t *o, bool is_weight,
                            cr_error *err)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    const char *note = json_string_value(json_object_get(o, "note"));
    const json_t *axis = json_object_get(o, "axis"), *scale = json_object_get(o, "scale");
    const size_t n = json_array_size(scale);
    CR_CHECK(type && n > 0 && (!axis || json_is_integer(axis)), err, CR_ERR_FORMAT,
             "tensor '%s': needs type, scale and zero_point", tensor);
    cr_status st = CR_OK;
    float *s = cr_calloc(n, sizeof *s);
    int32_t *z = cr_calloc(n, sizeof *z);
    if (!s || !z) {
        st = CR_NOMEM(err);
        goto done;
    }
    if (!cr_json_get_floats(scale, s, n)) {
        st = cr_fail(err, CR_ERR_FORMAT, "tensor '%s': scale must be a list of numbers", tensor);
        goto done;
    }
    CR_TRY_GOTO(read_codes(json_object_get(o, "zero_point"), z, n, tensor, "zero_point", err), done);
    const json_int_t a = axis ? json_integer_value(axis) : -1;
    if (a < -1 || a >= CR_MAX_RANK) {
        st = cr_fail(err, CR_ERR_FORMAT, "tensor '%s': axis out of range", tensor);
        goto done;
    }
    cr_qparams q = {cr_dtype_from_key(type), (int)a, n, s, z};
    CR_TRY_GOTO(read_form(o, tensor, &q, err), done);
    st = cr_recipe_add(r, tensor, is_weight, &q, note, err);
done:
    cr_free(s);
    cr_free(z);
    return st;
}

static cr_status read_entries(cr_recipe *r, json_t *group, bool is_weight, cr_error *err)
{
    const char *tensor;
    json_t *entry;
    CR_CHECK(json_is_object(group), err, CR_ERR_FORMAT, "no \"activations\" or \"weights\" object");
    json_object_foreach(group, tensor, entry) CR_TRY(read_entry(r, tensor, entry, is_weight, err));
    return CR_OK;
}

static cr_status read_places(cr_recipe *r, const json_t *list, cr_error *err)
{
    CR_CHECK(!list || json_is_array(list), err, CR_ERR_FORMAT, "placement must be a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const cr_recipe_place p = {json_string_value(json_object_get(o, "tensor")),
                                   json_is_true(json_object_get(o, "weight")),
                                   json_string_value(json_object_get(o, "shape")),
                                   json_string_value(json_object_get(o, "op")),
                                   json_string_value(json_object_get(o, "node")),
                                   json_string_value(json_object_get(o, "role")),
                                   json_string_value(json_object_get(o, "why"))};
        CR_CHECK(p.tensor, err, CR_ERR_FORMAT, "placement: number %zu names no tensor", i + 1);
        if (!cr_recipe_add_place(r, &p)) return CR_NOMEM(err);
    }
    return CR_OK;
}

cr_status cr_recipe_read(const char *path, cr_recipe **out, cr_error *err)
{
    json_t *root, *value;
    const char *key;
    *out = NULL;
    CR_TRY(cr_json_read(path, "crayon-recipe", &root, err));
    cr_recipe *r = NULL;
    cr_status st = cr_recipe_create(&r, err);
    if (st == CR_OK) st = read_entries(r, json_object_get(root, "activations"), false, err);
    if (st == CR_OK) st = read_entries(r, json_object_get(root, "weights"), true, err);
    if (st == CR_OK)
        json_object_foreach(json_object_get(root, "facts"), key, value)
            if (json_is_string(value) && !cr_recipe_set_fact(r, key, json_string_value(value)))
                st = CR_NOMEM(err);
    if (st == CR_OK) st = read_places(r, json_object_get(root, "placement"), err);
    if (st == CR_OK) st = cr_recipe_changes_read(r, root, err);
    json_decref(root);
    if (st != CR_OK) {
        cr_recipe_release(&r);
        return cr_fail_prefix(err, st, "%s", path);
    }
    *out = r;
    return CR_OK;
}
