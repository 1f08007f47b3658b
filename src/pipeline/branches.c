/* The metadata of a detached head (CR_META_BRANCHES), which any host can read:
 *
 *     {"boxes": "distances", "bins": [0, 1, ..., 15], "point": 0.5, "classes": 80,
 *      "keypoints": 17, "keypoint_values": 3, "keypoint_scale": 2, "keypoint_offset": 0,
 *      "family": "YOLOv8-style detector",
 *      "picture": {"fit": "letterbox", "bgr": false, "pad": 114, "mean": [0, 0, 0], "div": [...]},
 *      "branches": [{"output": "name", "part": "box", "first": 0, "channels": 64, "stride": 8,
 *                    "sigmoid": false}, ...]}
 *
 * "sigmoid": one is still to be taken. The arithmetic is in crayon/detect.h (cr_branches). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/model_impl.h"

static const char *const parts[] = {"box", "score", "objectness", "keypoint"}; /* cr_branch_part */
enum { PARTS = 4, MAX_CLASSES = 100000, MAX_KEYPOINTS = 1000, MAX_STRIDE = 1024, FITS = 4 };

/* ---- writing ---- */

static json_t *picture_json(const cr_preprocess *p)
{
    return json_pack("{s:s, s:b, s:i, s:[f,f,f], s:[f,f,f]}", "fit", cr_fit_name(p->fit), "bgr",
                     p->bgr, "pad", p->pad, "mean", (double)p->mean[0], (double)p->mean[1],
                     (double)p->mean[2], "div", (double)p->div[0], (double)p->div[1],
                     (double)p->div[2]);
}

static json_t *branch_json(const cr_graph *g, const cr_branch *b)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:b}", "output", g->outputs[b->output]->name,
                     "part", parts[b->part], "first", b->first, "channels", b->channels, "stride",
                     b->stride, "sigmoid", b->logits);
}

cr_status cr_branches_write(const cr_graph *g, const cr_head *head, const cr_branches *b,
                            const cr_model_info *info, const char **text, cr_arena *arena,
                            cr_error *err)
{
    json_t *list = json_array();
    for (int i = 0; i < b->count; i++) json_array_append_new(list, branch_json(g, &b->items[i]));
    json_t *bins = json_array();
    for (int i = 0; i < b->bins; i++)
        json_array_append_new(bins, json_real((double)b->bin_value[i]));
    json_t *root = json_pack(
        "{s:s, s:o, s:f, s:i, s:i, s:i, s:f, s:f, s:s, s:o, s:o}", "boxes",
        b->exponent ? "exponent" : "distances", "bins", bins, "point", (double)b->offset, "classes",
        head->classes, "keypoints", head->keypoints, "keypoint_values", head->keypoint_dims,
        "keypoint_scale", (double)b->keypoint_scale, "keypoint_offset", (double)b->keypoint_offset,
        "family", info->family, "picture", picture_json(&info->preprocess), "branches", list);
    char *dump = root ? json_dumps(root, JSON_REAL_PRECISION(9)) : NULL;
    *text = dump ? cr_arena_strdup(arena, dump) : NULL;
    free(dump);
    json_decref(root);
    CR_CHECK(*text, err, CR_ERR_FORMAT, "the head's outputs have names that JSON cannot hold");
    return CR_OK;
}

/* ---- reading ---- */

static bool get_int(const json_t *o, const char *key, int lo, int hi, int *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
        return false;
    *out = (int)json_integer_value(v);
    return true;
}

static bool get_float(const json_t *o, const char *key, float *out)
{
    const json_t *v = json_object_get(o, key);
    const double x = json_number_value(v);
    if (!json_is_number(v) || !(fabs(x) <= 1e6)) return false;
    *out = (float)x;
    return true;
}

static bool get_triple(const json_t *o, const char *key, bool nonzero, float out[3])
{
    const json_t *list = json_object_get(o, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *v = json_array_get(list, i);
        const double x = json_number_value(v);
        if (!json_is_number(v) || !(fabs(x) <= 1e6) || (nonzero && x == 0)) return false;
        out[i] = (float)x;
    }
    return json_array_size(list) == 3;
}

static bool get_picture(const json_t *o, cr_preprocess *p)
{
    const char *fit = json_string_value(json_object_get(o, "fit"));
    const json_t *bgr = json_object_get(o, "bgr");
    int pad;
    cr_preprocess made = *p;
    if (!fit || !json_is_boolean(bgr) || !get_int(o, "pad", 0, 255, &pad) ||
        !get_triple(o, "mean", false, made.mean) || !get_triple(o, "div", true, made.div))
        return false;
    made.bgr = json_is_true(bgr);
    made.pad = (uint8_t)pad;
    for (int f = 0; f < FITS; f++) {
        if (strcmp(fit, cr_fit_name((cr_fit)f))) continue;
        made.fit = (cr_fit)f;
        *p = made;
        return true;
    }
    return false;
}

static int find_output(const cr_graph *g, const char *name)
{
    for (size_t i = 0; name && i < g->output_count; i++)
        if (!strcmp(g->outputs[i]->name, name)) return (int)i;
    return -1;
}

static int channels_of(cr_branch_part part, const cr_head *h, const cr_branches *b)
{
    switch (part) {
    case CR_BRANCH_BOX:
        return 4 * b->bins;
    case CR_BRANCH_SCORE:
        return h->classes;
    case CR_BRANCH_OBJECT:
        return 1;
    default:
        return h->keypoints * h->keypoint_dims;
    }
}

static bool get_branch(const cr_graph *g, const json_t *o, const cr_head *h, cr_branches *b)
{
    const char *part = json_string_value(json_object_get(o, "part"));
    const json_t *sigmoid = json_object_get(o, "sigmoid");
    cr_branch *made = &b->items[b->count];
    int kind = 0;
    while (part && kind < PARTS && strcmp(part, parts[kind])) kind++;
    made->output = find_output(g, json_string_value(json_object_get(o, "output")));
    if (!part || kind == PARTS || made->output < 0 || !json_is_boolean(sigmoid) ||
        !get_int(o, "first", 0, INT32_MAX / 2, &made->first) ||
        !get_int(o, "channels", 1, INT32_MAX / 2, &made->channels) ||
        !get_int(o, "stride", 1, MAX_STRIDE, &made->stride))
        return false;
    made->part = (cr_branch_part)kind;
    made->logits = json_is_true(sigmoid);
    const cr_shape *s = &g->outputs[made->output]->shape;
    if (s->rank != 4 || made->channels != channels_of(made->part, h, b)) return false;
    b->count++;
    return s->dim[1] >= made->first + made->channels &&
           (b->count < 2 || made->stride >= made[-1].stride);
}

static bool get_bins(const json_t *list, cr_branches *b)
{
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n && n <= CR_MAX_BRANCH_BINS; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v) || !(fabs(json_number_value(v)) <= 1e6)) return false;
        b->bin_value[i] = (float)json_number_value(v);
    }
    b->bins = (int)n;
    return n >= 1 && n <= CR_MAX_BRANCH_BINS;
}

static bool get_all(const cr_graph *g, const json_t *root, cr_head *h, cr_branches *b,
                    cr_preprocess *pre)
{
    const char *boxes = json_string_value(json_object_get(root, "boxes"));
    const json_t *list = json_object_get(root, "branches");
    if (!boxes || (strcmp(boxes, "distances") && strcmp(boxes, "exponent")) ||
        !get_bins(json_object_get(root, "bins"), b) || !get_float(root, "point", &b->offset) ||
        !get_int(root, "classes", 1, MAX_CLASSES, &h->classes) ||
        !get_int(root, "keypoints", 0, MAX_KEYPOINTS, &h->keypoints) ||
        !get_int(root, "keypoint_values", 0, 3, &h->keypoint_dims) ||
        !get_float(root, "keypoint_scale", &b->keypoint_scale) ||
        !get_float(root, "keypoint_offset", &b->keypoint_offset) ||
        !get_picture(json_object_get(root, "picture"), pre) || json_array_size(list) < 2 ||
        json_array_size(list) > CR_MAX_BRANCHES)
        return false;
    b->exponent = !strcmp(boxes, "exponent");
    if (h->keypoints && h->keypoint_dims < 2) return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!get_branch(g, json_array_get(list, i), h, b)) return false;
    return true;
}

cr_status cr_branches_read(const cr_graph *g, cr_head *head, cr_branches *b, cr_preprocess *pre,
                           const char **family, bool *found, cr_arena *arena, cr_error *err)
{
    const char *text = cr_graph_meta(g, CR_META_BRANCHES);
    const cr_shape *in = g->input_count ? &g->inputs[0]->shape : NULL;
    *found = text != NULL;
    if (!text) return CR_OK;
    CR_CHECK(in && in->rank == 4 && cr_shape_known(in), err, CR_ERR_FORMAT,
             "metadata %s: the input is not one picture", CR_META_BRANCHES);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_head h = {.kind = CR_HEAD_BRANCHES,
                 .input_width = (int)in->dim[3],
                 .input_height = (int)in->dim[2],
                 .branches = b};
    cr_branches made = {0};
    const bool good = root && get_all(g, root, &h, &made, pre);
    const char *name = json_string_value(json_object_get(root, "family"));
    if (good && name) *family = cr_arena_strdup(arena, name);
    json_decref(root);
    CR_CHECK(good, err, CR_ERR_FORMAT, "metadata %s: does not describe the outputs",
             CR_META_BRANCHES);
    *b = made;
    *head = h;
    return *family ? CR_OK : CR_NOMEM(err);
}
