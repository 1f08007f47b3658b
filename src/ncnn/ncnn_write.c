/* The whole of an ncnn model: inputs, layers in the graph's order, copies for second readers. */
#include "ncnn/ncnn_write.h"

#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "ncnn/ncnn_out.h"

enum { MAGIC = 7767517, MAX_NAME = 200 }; /* ncnn reads names of up to 255 bytes */

/* ---- names ---- */

/* Words of a line are divided by blanks. */
static const char *unique_name(cr_ncnn_out *w, cr_names *taken, const char *stem)
{
    const size_t length = strlen(stem);
    char *name = cr_arena_strndup(&w->arena, stem, length < MAX_NAME ? length : MAX_NAME);
    if (!name) return NULL;
    for (char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f) *c = '_';
    if (!*name) name = cr_arena_strdup(&w->arena, "blob");
    const char *tried = name;
    for (int k = 1; tried && cr_names_get(taken, tried); k++)
        tried = cr_arena_printf(&w->arena, "%s_%d", name, k);
    return tried && cr_names_put(taken, tried, w) ? tried : NULL;
}

static int new_blob(cr_ncnn_out *w, const char *name)
{
    if (!name || w->blob_count > INT_MAX / 2 ||
        !cr_grow((void **)&w->blob_names, &w->blob_cap, w->blob_count, sizeof *w->blob_names))
        return -1;
    w->blob_names[w->blob_count] = name;
    return (int)w->blob_count++;
}

/* ---- layers ---- */

static cr_ncnn_layer *new_layer(cr_ncnn_out *w, const char *type, const char *stem, int n_in, int n_out)
{
    cr_ncnn_layer *l = cr_arena_alloc(&w->arena, sizeof *l);
    const size_t blobs = (size_t)n_in + (size_t)n_out;
    int *both = cr_arena_alloc(&w->arena, (blobs + 1) * sizeof *both);
    if (!l || !both) return NULL;
    for (size_t i = 0; i < blobs; i++) both[i] = -1;
    *l = (cr_ncnn_layer){type, unique_name(w, &w->layer_names, stem), "", n_in, n_out, both, both + n_in};
    return l->name ? l : NULL;
}

cr_ncnn_layer *cr_ncnn_layer_add(cr_ncnn_out *w, const char *type, int n_in, int n_out)
{
    if (!cr_grow((void **)&w->layers, &w->layer_cap, w->layer_count, sizeof *w->layers)) return NULL;
    cr_ncnn_layer *l = new_layer(w, type, w->n ? w->n->name : type, n_in, n_out);
    if (l) w->layers[w->layer_count++] = l;
    return l;
}

static bool add_text(cr_ncnn_layer *l, const char *text)
{
    if (text) l->params = text;
    return text != NULL;
}

bool cr_ncnn_int(cr_ncnn_out *w, cr_ncnn_layer *l, int key, int64_t v)
{
    return add_text(l, cr_arena_printf(&w->arena, "%s %d=%lld", l->params, key, (long long)v));
}

bool cr_ncnn_float(cr_ncnn_out *w, cr_ncnn_layer *l, int key, float v)
{
    return add_text(l, cr_arena_printf(&w->arena, "%s %d=%.8e", l->params, key, (double)v));
}

enum { FIRST_ARRAY = -23300 }; /* minus the key */

bool cr_ncnn_ints(cr_ncnn_out *w, cr_ncnn_layer *l, int key, const int64_t *v, size_t n)
{
    const char *text = cr_arena_printf(&w->arena, "%s %d=%zu", l->params, FIRST_ARRAY - key, n);
    for (size_t i = 0; text && i < n; i++)
        text = cr_arena_printf(&w->arena, "%s,%lld", text, (long long)v[i]);
    return add_text(l, text);
}

bool cr_ncnn_floats(cr_ncnn_out *w, cr_ncnn_layer *l, int key, const float *v, size_t n)
{
    const char *text = cr_arena_printf(&w->arena, "%s %d=%zu", l->params, FIRST_ARRAY - key, n);
    for (size_t i = 0; text && i < n; i++)
        text = cr_arena_printf(&w->arena, "%s,%.8e", text, (double)v[i]);
    return add_text(l, text);
}

bool cr_ncnn_gives(cr_ncnn_out *w, cr_ncnn_layer *l, int k, const cr_tensor *t)
{
    return (l->out[k] = w->blob[t->id] = new_blob(w, unique_name(w, &w->names, t->name))) >= 0;
}

int cr_ncnn_inner(cr_ncnn_out *w, cr_ncnn_layer *l, int k, const char *stem)
{
    const char *name = cr_arena_printf(&w->arena, "%s.%s", w->n->out[0]->name, stem);
    return l->out[k] = name ? new_blob(w, unique_name(w, &w->names, name)) : -1;
}

cr_ncnn_layer *cr_ncnn_outer(cr_ncnn_out *w, const char *type, int in)
{
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, type, 1, 1);
    if (!l || !cr_ncnn_gives(w, l, 0, w->n->out[0])) return NULL;
    l->in[0] = in;
    return l;
}

/* ---- blobs ---- */

int cr_ncnn_axes(const cr_shape *s, int64_t out[CR_NCNN_MAX_AXES])
{
    const int skip = cr_ncnn_batch(s);
    if (s->rank < 0 || s->rank - skip > CR_NCNN_MAX_AXES) return 0;
    if (s->rank == 0) return (int)(out[0] = 1);
    for (int i = skip; i < s->rank; i++) {
        if (s->dim[i] < 1 || s->dim[i] > INT_MAX) return 0;
        out[i - skip] = s->dim[i];
    }
    return s->rank - skip;
}

cr_status cr_ncnn_axis(int64_t axis, const cr_shape *s, int *out, cr_error *err)
{
    const int skip = cr_ncnn_batch(s);
    if (axis < 0) axis += s->rank;
    CR_CHECK(axis >= skip && axis < s->rank, err, CR_ERR_UNSUPPORTED,
             "along the batch, which ncnn has not");
    *out = (int)axis - skip;
    return CR_OK;
}

/* w, h, d, c from axes that are listed outermost first. */
static bool put_dims(cr_ncnn_out *w, cr_ncnn_layer *l, const int64_t *dims, int axes)
{
    static const int keys[CR_NCNN_MAX_AXES][CR_NCNN_MAX_AXES] = {
        {0}, {1, 0}, {2, 1, 0}, {2, 11, 1, 0}};
    bool ok = true;
    for (int i = axes - 1; i >= 0; i--) ok = ok && cr_ncnn_int(w, l, keys[axes - 1][i], dims[i]);
    return ok;
}

/* A constant as a layer of its own with so many axes. */
static cr_status put_constant(cr_ncnn_out *w, const cr_tensor *t, int axes, int *out, cr_error *err)
{
    const cr_shape *s = &t->shape;
    int64_t dims[CR_NCNN_MAX_AXES] = {1, 1, 1, 1};
    const int64_t count = cr_shape_count(s);
    int skip = 0;
    while (skip < s->rank && s->rank - skip > axes && s->dim[skip] == 1) skip++;
    CR_CHECK(t->dtype == CR_DT_F32 && count > 0 && axes && s->rank - skip <= axes, err, CR_ERR_UNSUPPORTED,
             "constant '%.80s' of type %s and rank %d", t->name, cr_dtype_key(t->dtype), s->rank);
    for (int i = skip; i < s->rank; i++) dims[axes - s->rank + i] = s->dim[i];
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "MemoryData", 0, 1);
    const char *name = l ? unique_name(w, &w->names, t->name) : NULL;
    if (!name || !put_dims(w, l, dims, axes) || (*out = l->out[0] = new_blob(w, name)) < 0)
        return CR_NOMEM(err);
    /* 21: 0: with a tag in front, as weights are */
    if (w->options->half || w->options->tables) {
        if (!cr_ncnn_int(w, l, 21, 0)) return CR_NOMEM(err);
        cr_ncnn_put_values(w, t->data, (size_t)count);
    } else {
        cr_ncnn_put_floats(w, t->data, (size_t)count);
    }
    return CR_OK;
}

cr_status cr_ncnn_blob_of(cr_ncnn_out *w, const cr_tensor *t, int *out, cr_error *err)
{
    int64_t dims[CR_NCNN_MAX_AXES];
    if (t->data) return put_constant(w, t, cr_ncnn_axes(&t->shape, dims), out, err);
    *out = w->blob[t->id];
    CR_CHECK(*out >= 0, err, CR_ERR_UNSUPPORTED, "reads '%.80s', which is not computed here", t->name);
    return CR_OK;
}

cr_status cr_ncnn_reshape(cr_ncnn_out *w, int in, const int64_t *dims, int axes, const cr_tensor *t,
                          int *out, cr_error *err)
{
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Reshape", 1, 1);
    if (!l || !put_dims(w, l, dims, axes)) return CR_NOMEM(err);
    l->in[0] = in;
    if (t ? !cr_ncnn_gives(w, l, 0, t) : cr_ncnn_inner(w, l, 0, "reshaped") < 0) return CR_NOMEM(err);
    *out = l->out[0];
    return CR_OK;
}

cr_status cr_ncnn_gives_as(cr_ncnn_out *w, cr_ncnn_layer *l, int k, int axes, const cr_tensor *t,
                           cr_error *err)
{
    int64_t dims[CR_NCNN_MAX_AXES];
    const int own = cr_ncnn_axes(&t->shape, dims);
    int made;
    if (axes == own) return cr_ncnn_gives(w, l, k, t) ? CR_OK : CR_NOMEM(err);
    if ((made = cr_ncnn_inner(w, l, k, "made")) < 0) return CR_NOMEM(err);
    return cr_ncnn_reshape(w, made, dims, own, t, &made, err);
}

cr_status cr_ncnn_blob_as(cr_ncnn_out *w, const cr_tensor *t, int axes, int *out, cr_error *err)
{
    int64_t own[CR_NCNN_MAX_AXES], dims[CR_NCNN_MAX_AXES] = {1, 1, 1, 1};
    if (t->data) return put_constant(w, t, axes, out, err);
    CR_TRY(cr_ncnn_blob_of(w, t, out, err));
    const int n = cr_ncnn_axes(&t->shape, own);
    if (n >= axes) return CR_OK;
    for (int i = 0; i < n; i++) dims[axes - n + i] = own[i];
    return cr_ncnn_reshape(w, *out, dims, axes, NULL, out, err);
}

cr_status cr_ncnn_list_in(const cr_ncnn_out *w, int k, int64_t out[2 * CR_MAX_RANK], size_t *count,
                          cr_error *err)
{
    const cr_tensor *t = k < w->n->n_in ? w->n->in[k] : NULL;
    *count = 0;
    if (!t) return CR_OK;
    const int64_t n = cr_shape_count(&t->shape);
    CR_CHECK(t->data && n >= 0 && n <= 2 * CR_MAX_RANK, err, CR_ERR_UNSUPPORTED,
             "'%.80s' is computed, not given", t->name);
    for (*count = 0; *count < (size_t)n; ++*count) out[*count] = cr_tensor_get_i64(t, *count);
    return CR_OK;
}

/* ---- the graph ---- */

static cr_status put_inputs(cr_ncnn_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->input_count; i++) {
        const cr_tensor *t = w->g->inputs[i];
        int64_t dims[CR_NCNN_MAX_AXES];
        const int axes = cr_ncnn_axes(&t->shape, dims);
        cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Input", 0, 1);
        if (!l || !put_dims(w, l, dims, axes) || !cr_ncnn_gives(w, l, 0, t)) return CR_NOMEM(err);
    }
    return CR_OK;
}

static cr_status put_nodes(cr_ncnn_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->node_count; i++) {
        const cr_node *n = w->n = w->g->nodes[i];
        if (w->merged[i]) continue;
        cr_ncnn_put *put = cr_ncnn_find_put(n);
        CR_CHECK(put, err, CR_ERR_UNSUPPORTED, "node '%.80s': ncnn as it is written here has no %s",
                 n->name, n->op->name);
        const cr_status st = put(w, err);
        if (st != CR_OK) return cr_fail_prefix(err, st, "node '%.80s' (%s)", n->name, n->op->name);
    }
    return CR_OK;
}

/* ---- what can be written at all ---- */

static cr_status check(const cr_ncnn_out *w, cr_error *err)
{
    int64_t dims[CR_NCNN_MAX_AXES];
    for (size_t i = 0; i < w->g->tensor_count; i++) {
        const cr_tensor *t = w->g->tensors[i];
        char text[96];
        if (t->data || (!t->producer && !t->uses)) continue;
        CR_CHECK(t->dtype == CR_DT_F32, err, CR_ERR_UNSUPPORTED,
                 "tensor '%.80s' is of type %s, ncnn computes in float32", t->name,
                 cr_dtype_key(t->dtype));
        CR_CHECK(cr_ncnn_axes(&t->shape, dims), err, CR_ERR_UNSUPPORTED,
                 "tensor '%.80s' is %s; ncnn has tensors of one to four axes",
                 t->name, cr_shape_text(&t->shape, text, sizeof text));
    }
    return CR_OK;
}

static cr_status find_readers(cr_ncnn_out *w, cr_error *err)
{
    const size_t tensors = w->g->tensor_count, nodes = w->g->node_count;
    w->reader = cr_calloc(tensors + 1, sizeof *w->reader);
    w->blob = cr_calloc(tensors + 1, sizeof *w->blob);
    w->merged = cr_calloc(nodes + 1, sizeof *w->merged);
    if (!w->reader || !w->blob || !w->merged) return CR_NOMEM(err);
    for (size_t i = 0; i < tensors; i++) w->blob[i] = -1;
    for (size_t i = 0; i < nodes; i++)
        for (int k = 0; k < w->g->nodes[i]->n_in; k++) {
            const cr_tensor *t = w->g->nodes[i]->in[k];
            if (t && t->uses == 1) w->reader[t->id] = w->g->nodes[i];
        }
    return CR_OK;
}

/* ---- one reader per blob ---- */

static bool is_output_blob(const cr_ncnn_out *w, int b)
{
    for (size_t i = 0; i < w->g->output_count; i++)
        if (w->blob[w->g->outputs[i]->id] == b) return true;
    return false;
}

typedef struct copies {
    int *readers; /* by blob; whoever asks for an output of the graph is one */
    int *next;    /* by blob: the copy that is not given away yet; 0: there are none */
} copies;

static void count_readers(const cr_ncnn_out *w, copies *c)
{
    for (size_t i = 0; i < w->layer_count; i++)
        for (int k = 0; k < w->layers[i]->n_in; k++) c->readers[w->layers[i]->in[k]]++;
    for (size_t b = 0; b < w->blob_count; b++)
        if (c->readers[b] && is_output_blob(w, (int)b)) c->readers[b]++;
}

/* The layer behind the one that makes b. An output's name goes to the last copy, which no layer
 * reads. */
static cr_status add_split(cr_ncnn_out *w, copies *c, int b, cr_error *err)
{
    const int n = c->readers[b];
    const char *own = w->blob_names[b];
    const char *stem = cr_arena_printf(&w->arena, "%s_splitncnn", own);
    cr_ncnn_layer *l = stem ? cr_ncnn_layer_add(w, "Split", 1, n) : NULL;
    if (!l) return CR_NOMEM(err);
    l->in[0] = b;
    for (int k = 0; k < n; k++) {
        const char *name = cr_arena_printf(&w->arena, "%s_%d", stem, k);
        if (!name || (l->out[k] = new_blob(w, unique_name(w, &w->names, name))) < 0)
            return CR_NOMEM(err);
    }
    c->next[b] = l->out[0];
    if (!is_output_blob(w, b)) return CR_OK;
    const char *made = cr_arena_printf(&w->arena, "%s_made", own);
    if (!made || !(w->blob_names[b] = unique_name(w, &w->names, made))) return CR_NOMEM(err);
    w->blob_names[l->out[n - 1]] = own;
    return CR_OK;
}

static cr_status share_blobs(cr_ncnn_out *w, copies *c, cr_error *err)
{
    const size_t count = w->layer_count, blobs = w->blob_count;
    cr_ncnn_layer **layers = w->layers;
    cr_status st = CR_OK;
    w->layers = NULL; /* they are listed anew */
    w->layer_count = w->layer_cap = 0;
    w->n = NULL;
    for (size_t i = 0; st == CR_OK && i < count; i++) {
        cr_ncnn_layer *l = layers[i];
        for (int k = 0; k < l->n_in; k++)
            if (c->next[l->in[k]]) l->in[k] = c->next[l->in[k]]++;
        if (!cr_grow((void **)&w->layers, &w->layer_cap, w->layer_count, sizeof *w->layers))
            st = CR_NOMEM(err);
        if (st == CR_OK) w->layers[w->layer_count++] = l;
        for (int k = 0; st == CR_OK && k < l->n_out; k++)
            if ((size_t)l->out[k] < blobs && c->readers[l->out[k]] > 1)
                st = add_split(w, c, l->out[k], err);
    }
    cr_free(layers);
    return st;
}

static cr_status put_copies(cr_ncnn_out *w, cr_error *err)
{
    copies c = {.readers = cr_calloc(w->blob_count + 1, sizeof *c.readers),
                .next = cr_calloc(w->blob_count + 1, sizeof *c.next)};
    cr_status st = c.readers && c.next ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        count_readers(w, &c);
        st = share_blobs(w, &c, err);
    }
    cr_free(c.readers);
    cr_free(c.next);
    return st;
}

/* ---- the .param ---- */

static void print_param(FILE *f, const cr_ncnn_out *w)
{
    fprintf(f, "%d\n%zu %zu\n", MAGIC, w->layer_count, w->blob_count);
    for (size_t i = 0; i < w->layer_count; i++) {
        const cr_ncnn_layer *l = w->layers[i];
        fprintf(f, "%-22s %-32s %d %d", l->type, l->name, l->n_in, l->n_out);
        for (int k = 0; k < l->n_in; k++) fprintf(f, " %s", w->blob_names[l->in[k]]);
        for (int k = 0; k < l->n_out; k++) fprintf(f, " %s", w->blob_names[l->out[k]]);
        fprintf(f, "%s\n", l->params); /* the stream remembers a failure */
    }
}

/* ---- the two files ---- */

static cr_status put_all(cr_ncnn_out *w, const cr_recipe *r, FILE *param, cr_error *err)
{
    CR_TRY(cr_recipe_bind(r, w->g, &w->entries, err));
    CR_TRY(check(w, err));
    CR_TRY(find_readers(w, err));
    CR_TRY(put_inputs(w, err));
    CR_TRY(put_nodes(w, err));
    CR_TRY(put_copies(w, err));
    print_param(param, w);
    return CR_OK;
}

static void free_writer(cr_ncnn_out *w)
{
    cr_names_free(&w->names);
    cr_names_free(&w->layer_names);
    cr_arena_free(&w->arena);
    cr_free(w->layers);
    cr_free(w->blob_names);
    cr_free(w->entries);
    cr_free(w->reader);
    cr_free(w->blob);
    cr_free(w->merged);
}

static char *bin_path(const char *path)
{
    static const char ending[] = ".param";
    const size_t n = strlen(path), e = sizeof ending - 1;
    const size_t stem = n > e && !strcmp(path + n - e, ending) ? n - e : n;
    char *name = cr_malloc(stem + 5);
    if (!name) return NULL;
    memcpy(name, path, stem);
    memcpy(name + stem, ".bin", 5);
    return name;
}

cr_status cr_ncnn_write(const cr_graph *g, const cr_recipe *r, const cr_ncnn_write_options *o,
                        const char *path, cr_error *err)
{
    static const cr_ncnn_write_options defaults = {0};
    cr_ncnn_out w = {.g = g, .options = o ? o : &defaults};
    cr_outfile *param = NULL, *bin = NULL;
    char *name = bin_path(path);
    cr_status st = name ? cr_outfile_open(path, &param, err) : CR_NOMEM(err);
    if (st == CR_OK) st = cr_outfile_open(name, &bin, err);
    if (st == CR_OK) {
        w.bin = cr_outfile_stream(bin);
        st = put_all(&w, r, cr_outfile_stream(param), err);
        if (st != CR_OK) st = cr_fail_prefix(err, st, "%s", path);
    }
    /* the .param last: what it speaks of lies there when it appears */
    if (st == CR_OK) st = cr_outfile_commit(&bin, err);
    if (st == CR_OK) st = cr_outfile_commit(&param, err);
    cr_outfile_abort(&bin);
    cr_outfile_abort(&param);
    free_writer(&w);
    cr_free(name);
    return st;
}
