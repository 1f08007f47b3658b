/* Checkpoint to graph: finds the model, walks its layers, adds what is said about it.
 *
 * A model is a list of layers; layer i reads the layers `f` (-1: the one before, -1 of layer 0: the
 * picture), and the last one is the head. That is all the structure there is; the configuration
 * (yaml) that the modules were built from is in the file, too, but need not be what they are after
 * pruning or surgery, so it is not used. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "torch/torch.h"
#include "torch/torch_meta.h"

enum {
    MAX_LAYERS = 256,
    MAX_OUTPUTS = 8,         /* of a layer that splits (CBLinear) */
    WEIGHTS_BASE = 64 << 20, /* constants may take this many bytes ... */
    WEIGHTS_FACTOR = 8,      /* ... and this many per byte of the file */
    USUAL_SIZE = 640,

};

typedef struct layer_out {
    cr_tensor *part[MAX_OUTPUTS];
    int count;
} layer_out;

typedef struct walk {
    cr_net *net;
    cr_mod root;
    cr_tensor *picture;
    layer_out layers[MAX_LAYERS];
    size_t count;
    cr_tensor *outputs[2];
    int output_count;
} walk;

/* ---- layers ---- */

/* What layer i reads as its k-th source; NULL and an error if there is no such layer before it. */
static const layer_out *source(walk *w, size_t i, int64_t f, const layer_out *picture)
{
    const int64_t at = f < 0 ? (int64_t)i + f : f;
    if (f == -1 && i == 0) return picture;
    if (at >= 0 && at < (int64_t)i) return &w->layers[at];
    cr_net_fail(w->net, CR_ERR_FORMAT, "model.%zu reads layer %lld", i, (long long)f);
    return NULL;
}

typedef struct sources {
    const layer_out *from[MAX_LAYERS];
    size_t count;
} sources;

static bool read_sources(walk *w, const cr_mod *m, size_t i, const layer_out *picture, sources *s)
{
    int64_t list[MAX_LAYERS];
    const cr_pkl *f = cr_mod_attr(m, "f");
    s->count = cr_mod_ints(m, "f", list, MAX_LAYERS);
    if (!s->count && f && (f->kind == CR_PKL_INT || f->kind == CR_PKL_FLOAT)) {
        list[0] = cr_pkl_int(f, INT64_MAX);
        s->count = 1;
    }
    if (!s->count) cr_net_fail(w->net, CR_ERR_FORMAT, "%s does not say what it reads", m->path);
    for (size_t k = 0; k < s->count; k++) {
        s->from[k] = source(w, i, list[k], picture);
        if (!s->from[k]) return false;
    }
    return w->net->st == CR_OK;
}

/* Sources of one tensor each; false if one has several. */
static bool plain(walk *w, const cr_mod *m, const sources *s, cr_tensor **x)
{
    for (size_t k = 0; k < s->count; k++) {
        x[k] = s->from[k]->part[0];
        if (s->from[k]->count == 1) continue;
        cr_net_fail(w->net, CR_ERR_FORMAT, "%s reads several tensors at once", m->path);
        return false;
    }
    return true;
}

static void split_layer(walk *w, const cr_mod *m, cr_tensor *x, layer_out *out)
{
    int64_t sizes[MAX_OUTPUTS];
    const size_t n = cr_mod_ints(m, "c2s", sizes, MAX_OUTPUTS);
    if (!n) cr_net_fail(w->net, CR_ERR_UNSUPPORTED, "%s: no or too many parts", m->path);
    cr_tensor *y = cr_net_run_child(w->net, m, "conv", x);
    if (n == 1)
        out->part[0] = y;
    else if (n)
        cr_net_split(w->net, m, 1, y, sizes, (int)n, out->part);
    out->count = (int)n;
}

/* x, enlarged to the size of `like` by nearest neighbours. */
static cr_tensor *enlarge(cr_net *net, const cr_mod *m, cr_tensor *x, const cr_tensor *like)
{
    if (!x || !like) return NULL;
    const int64_t dims[4] = {cr_net_dim(x, 0), cr_net_dim(x, 1), cr_net_dim(like, 2),
                             cr_net_dim(like, 3)};
    if (dims[2] == cr_net_dim(x, 2) && dims[3] == cr_net_dim(x, 3)) return x;
    cr_tensor *in[4] = {x, NULL, NULL, cr_net_const_i64(net, m, dims, 4)};
    const cr_attr attrs[] = {CR_A_STRING("coordinate_transformation_mode", "asymmetric"),
                             CR_A_STRING("mode", "nearest"), CR_A_STRING("nearest_mode", "floor")};
    return cr_net_op(net, m, CR_OP_Resize, in, 4, attrs, 3);
}

/* CBFuse: part idx[k] of each source but the last, enlarged to the last one's size, and summed. */
static cr_tensor *fuse_layer(walk *w, const cr_mod *m, const sources *s)
{
    int64_t idx[MAX_LAYERS];
    const size_t last = s->count - 1;
    if (cr_mod_ints(m, "idx", idx, MAX_LAYERS) < last)
        return cr_net_fail(w->net, CR_ERR_FORMAT, "%s does not say which parts it reads", m->path);
    cr_tensor *target = s->from[last]->part[0], *sum = NULL;
    for (size_t k = 0; k < last; k++) {
        if (idx[k] < 0 || idx[k] >= s->from[k]->count)
            return cr_net_fail(w->net, CR_ERR_FORMAT, "%s reads a part that is not there", m->path);
        cr_tensor *x = enlarge(w->net, m, s->from[k]->part[idx[k]], target);
        sum = sum ? cr_net_binary(w->net, m, CR_OP_Add, sum, x) : x;
    }
    return sum ? cr_net_binary(w->net, m, CR_OP_Add, sum, target) : target;
}

static void run_layer(walk *w, const cr_mod *m, const sources *s, layer_out *out)
{
    const char *name = cr_pkl_class(m->v);
    const cr_torch_head *head = cr_torch_head_find(name);
    cr_tensor *x[MAX_LAYERS];
    out->count = 1;
    if (!strcmp(name, "CBFuse")) {
        out->part[0] = fuse_layer(w, m, s);
        return;
    }
    if (!plain(w, m, s, x)) return;
    if (head) {
        w->output_count = head->forward(w->net, m, x, s->count, w->outputs);
    } else if (!strcmp(name, "Concat")) {
        out->part[0] = cr_net_concat(w->net, m, cr_mod_int(m, "d", 1), x, s->count);
    } else if (s->count > 1) {
        cr_net_fail(
            w->net, CR_ERR_UNSUPPORTED,
            "%s: a module of class '%.60s' that reads several layers is not known here: export "
            "the model to ONNX and read that file",
            m->path, name);
    } else if (!strcmp(name, "CBLinear")) {
        split_layer(w, m, x[0], out);
    } else {
        out->part[0] = cr_net_run(w->net, *m, x[0]);
    }
}

static void walk_layers(walk *w)
{
    const layer_out picture = {{w->picture}, 1};
    for (size_t i = 0; i < w->count && w->net->st == CR_OK; i++) {
        sources s;
        const cr_mod m = cr_mod_item(w->net, &w->root, "model", i);
        if (!m.v) cr_net_fail(w->net, CR_ERR_FORMAT, "layer %s is missing", m.path);
        if (w->output_count)
            cr_net_fail(w->net, CR_ERR_UNSUPPORTED, "%s stands behind the model's head", m.path);
        if (w->net->st == CR_OK && read_sources(w, &m, i, &picture, &s))
            run_layer(w, &m, &s, &w->layers[i]);
    }
    if (!w->output_count && w->net->st == CR_OK) { /* a classifier, or a backbone alone */
        w->outputs[0] = w->layers[w->count - 1].part[0];
        w->output_count = 1;
    }
}

/* ---- the whole ---- */

/* The averaged model if there is one, else the model itself. */
static cr_status find_model(const cr_pkl *root, cr_mod *out, cr_error *err)
{
    const cr_pkl *v = cr_pkl_get(root, "ema");
    if (!v || v->kind != CR_PKL_OBJECT) v = cr_pkl_get(root, "model");
    if (!v && root->kind == CR_PKL_OBJECT) v = root;
    CR_CHECK(v || root->kind == CR_PKL_DICT, err, CR_ERR_FORMAT, "the checkpoint holds no model");
    CR_CHECK(v && v->kind == CR_PKL_OBJECT, err, CR_ERR_UNSUPPORTED,
             "holds tensors, but not the modules that say what to do with them (a state dict); "
             "the file that Ultralytics' training wrote is needed, or an ONNX export");
    *out = (cr_mod){v, "", "", ""};
    CR_CHECK(
        cr_mod_count(out, "model") > 0, err, CR_ERR_UNSUPPORTED,
        "the checkpoint holds a '%.60s', which is no model of Ultralytics' kind: export it to ONNX",
        cr_pkl_class(v));
    CR_CHECK(cr_mod_count(out, "model") <= MAX_LAYERS, err, CR_ERR_LIMIT,
             "the model has %zu layers", cr_mod_count(out, "model"));
    return CR_OK;
}

/* The largest stride; 1 where nothing is said (classifiers). */
static int64_t stride_of(cr_net *net, const cr_mod *model, const cr_mod *head)
{
    float s[CR_HEAD_MAX_LEVELS];
    float most = 1;
    size_t n = cr_mod_floats(net, head, "stride", s, CR_HEAD_MAX_LEVELS);
    if (!n) n = cr_mod_floats(net, model, "stride", s, CR_HEAD_MAX_LEVELS);
    for (size_t i = 0; i < n; i++)
        if (s[i] > most && s[i] <= 1 << 12) most = s[i];
    return (int64_t)most;
}

static cr_status choose_size(const walk *w, const cr_pkl *root, const cr_torch_options *o,
                             int64_t stride, int64_t size[2], cr_error *err)
{
    cr_torch_trained_size(root, &w->root, size);
    for (int d = 0; d < 2; d++) {
        const int64_t wanted = d ? o->width : o->height;
        if (wanted)
            CR_CHECK(wanted > 0 && wanted <= 1 << 14 && wanted % stride == 0, err, CR_ERR_ARGUMENT,
                     "--imgsz %lld: must be a multiple of the model's stride %lld",
                     (long long)wanted, (long long)stride);
        if (wanted) size[d] = wanted;
        if (!size[d]) size[d] = USUAL_SIZE;
        size[d] = (size[d] + stride - 1) / stride * stride;
    }
    return CR_OK;
}

static cr_status add_picture(walk *w, const int64_t size[2], cr_error *err)
{
    const cr_pkl *yaml = cr_mod_attr(&w->root, "yaml");
    const cr_pkl *said =
        cr_pkl_get(yaml, "channels") ? cr_pkl_get(yaml, "channels") : cr_pkl_get(yaml, "ch");
    const int64_t channels = cr_pkl_int(said, 3);
    cr_graph *g = w->net->g;
    CR_CHECK(channels > 0 && channels <= 1024, err, CR_ERR_FORMAT, "pictures of %lld channels",
             (long long)channels);
    w->picture =
        cr_graph_add_tensor(g, "images", CR_DT_F32, (cr_shape){4, {1, channels, size[0], size[1]}});
    g->inputs = cr_arena_alloc(&g->arena, sizeof *g->inputs);
    if (!w->picture || !g->inputs) return CR_NOMEM(err);
    g->inputs[g->input_count++] = w->picture;
    return CR_OK;
}

static cr_status add_outputs(walk *w, cr_error *err)
{
    cr_graph *g = w->net->g;
    g->outputs = cr_arena_alloc(&g->arena, (size_t)w->output_count * sizeof *g->outputs);
    if (!g->outputs) return CR_NOMEM(err);
    for (int k = 0; k < w->output_count; k++) {
        w->outputs[k]->name = cr_arena_printf(&g->arena, "output%d", k);
        if (!w->outputs[k]->name) return CR_NOMEM(err);
        g->outputs[g->output_count++] = w->outputs[k];
    }
    return CR_OK;
}

static cr_status build(walk *w, const cr_torch_options *o, cr_error *err)
{
    cr_net *net = w->net;
    const cr_pkl *root = cr_checkpoint_root(net->file);
    int64_t size[2];
    CR_TRY(find_model(root, &w->root, err));
    w->count = cr_mod_count(&w->root, "model");
    const cr_mod last = cr_mod_item(net, &w->root, "model", w->count - 1);
    const cr_torch_head *head = cr_torch_head_find(cr_pkl_class(last.v));
    const int64_t stride = stride_of(net, &w->root, &last);
    CR_TRY(choose_size(w, root, o, stride, size, err));
    CR_TRY(add_picture(w, size, err));
    walk_layers(w);
    CR_TRY(net->st);
    CR_TRY(add_outputs(w, err));
    const char *task = head                                        ? head->task
                       : !strcmp(cr_pkl_class(last.v), "Classify") ? "classify"
                                                                   : "";
    CR_TRY(cr_torch_meta(net, root, &w->root, &last, task, size, stride));
    net->g->name = "main_graph";
    return cr_graph_index(net->g, err);
}

static cr_status parse(const unsigned char *bytes, size_t size, const cr_torch_options *options,
                       cr_graph **out, cr_error *err)
{
    static const cr_torch_options defaults;
    cr_error own = {0};
    cr_status st;
    if (!err) err = &own;
    cr_net net = {.err = err};
    walk *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    w->net = &net;
    net.weights_left = size > (SIZE_MAX - WEIGHTS_BASE) / WEIGHTS_FACTOR
                           ? SIZE_MAX
                           : WEIGHTS_BASE + size * WEIGHTS_FACTOR;
    CR_TRY_GOTO(cr_checkpoint_open(bytes, size, &net.file, err), done);
    CR_TRY_GOTO(cr_graph_create(&net.g, err), done);
    CR_TRY_GOTO(build(w, options ? options : &defaults, err), done);
    *out = net.g;
    net.g = NULL;
done:
    cr_names_free(&net.counts);
    cr_names_free(&net.weights);
    cr_graph_free(&net.g);
    cr_checkpoint_close(&net.file);
    cr_free(w);
    return st;
}

cr_status cr_torch_parse(const unsigned char *bytes, size_t size, const char *label,
                         const cr_torch_options *options, cr_graph **out, cr_error *err)
{
    *out = NULL;
    const cr_status st = parse(bytes, size, options, out, err);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "%s", label);
}

cr_status cr_torch_read(const char *path, const cr_torch_options *options, cr_graph **out,
                        cr_error *err)
{
    *out = NULL;
    const size_t limit = options && options->max_bytes ? options->max_bytes : (size_t)1 << 31;
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, limit, &bytes, &size, err));
    const cr_status st = cr_torch_parse(bytes, size, path, options, out, err);
    cr_free(bytes);
    return st;
}
