/* Metadata of a checkpoint, spelled as Python spells literals. See torch_meta.h. */
#include "torch/torch_meta.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

typedef struct text {
    char *s;
    size_t n, cap;
    bool failed;
} text;

static void put(text *t, char c)
{
    if (t->failed || !cr_grow((void **)&t->s, &t->cap, t->n + 1, 1)) {
        t->failed = true;
        return;
    }
    t->s[t->n++] = c;
    t->s[t->n] = 0;
}

static void put_all(text *t, const char *s)
{
    for (; *s; s++) put(t, *s);
}

/* repr() of a string: single quotes, double ones around a single one; control characters are not
 * worth keeping in a class name. */
static void put_quoted(text *t, const char *s)
{
    const char quote = strchr(s, '\'') && !strchr(s, '"') ? '"' : '\'';
    put(t, quote);
    for (; *s; s++) {
        if (*s == quote || *s == '\\') put(t, '\\');
        put(t, (unsigned char)*s < 32 ? '?' : *s);
    }
    put(t, quote);
}

static void put_name(text *t, int64_t index, const cr_pkl *name)
{
    char number[40];
    snprintf(number, sizeof number, "%s%lld: ", t->n > 1 ? ", " : "", (long long)index);
    put_all(t, number);
    snprintf(number, sizeof number, "%lld", (long long)cr_pkl_int(name, index));
    put_quoted(t, name->kind == CR_PKL_STRING ? name->text.s : number);
}

/* {0: 'person', ...} of a dict or list of names; false if it is neither. */
static bool spell_names(text *t, const cr_pkl *names)
{
    if (!names || (names->kind != CR_PKL_DICT && names->kind != CR_PKL_LIST)) return false;
    const bool dict = names->kind == CR_PKL_DICT;
    put(t, '{');
    for (size_t i = 0; i < names->list.count; i += dict ? 2 : 1) {
        const int64_t key = dict ? cr_pkl_int(names->list.item[i], -1) : (int64_t)i;
        if (key < 0) return false;
        put_name(t, key, names->list.item[dict ? i + 1 : i]);
    }
    put(t, '}');
    return names->list.count > 0;
}

static cr_status set(cr_net *net, const char *key, const char *value)
{
    return cr_graph_set_meta(net->g, key, value) ? CR_OK : CR_NOMEM(net->err);
}

static cr_status set_pair(cr_net *net, const char *key, const int64_t v[2])
{
    char s[80];
    snprintf(s, sizeof s, "[%lld, %lld]", (long long)v[0], (long long)v[1]);
    return set(net, key, s);
}

static cr_status set_number(cr_net *net, const char *key, int64_t v)
{
    char s[40];
    snprintf(s, sizeof s, "%lld", (long long)v);
    return set(net, key, s);
}

static cr_status set_copied(cr_net *net, const cr_pkl *root, const char *key)
{
    const cr_pkl *v = cr_pkl_get(root, key);
    return v && v->kind == CR_PKL_STRING ? set(net, key, v->text.s) : CR_OK;
}

static cr_status set_names(cr_net *net, const cr_pkl *names)
{
    text t = {0};
    cr_status st = CR_OK;
    if (spell_names(&t, names) && !t.failed) st = set(net, "names", t.s);
    if (t.failed) st = CR_NOMEM(net->err);
    cr_free(t.s);
    return st;
}

void cr_torch_trained_size(const cr_pkl *root, const cr_mod *model, int64_t size[2])
{
    const cr_pkl *args = cr_pkl_get(root, "train_args"), *found = cr_pkl_get(args, "imgsz");
    const cr_mod in_args = {.v = cr_mod_attr(model, "args")}; /* a namespace in older versions */
    if (!found) found = cr_pkl_get(cr_pkl_get(root, "opt"), "imgsz"); /* YOLOv5 */
    if (!found) found = cr_pkl_get(in_args.v, "imgsz");
    if (!found) found = cr_mod_attr(&in_args, "imgsz");
    const bool list = found && (found->kind == CR_PKL_LIST || found->kind == CR_PKL_TUPLE);
    const size_t n = list ? found->list.count : 0;
    size[0] = n ? cr_pkl_int(found->list.item[0], 0) : cr_pkl_int(list ? NULL : found, 0);
    size[1] = n > 1 ? cr_pkl_int(found->list.item[1], 0) : size[0];
    for (int d = 0; d < 2; d++)
        if (size[d] < 1 || size[d] > 1 << 14) size[0] = size[1] = 0;
}

cr_status cr_torch_meta(cr_net *net, const cr_pkl *root, const cr_mod *model, const cr_mod *head,
                        const char *task, const int64_t size[2], int64_t stride)
{
    int64_t points[2];
    const bool own = !strncmp(model->v->object.cls->module, "ultralytics.", 12);
    if (own) CR_TRY(set(net, "author", "Ultralytics"));
    CR_TRY(set_copied(net, root, "date"));
    CR_TRY(set_copied(net, root, "version"));
    CR_TRY(set_copied(net, root, "license"));
    CR_TRY(set_copied(net, root, "docs"));
    CR_TRY(set_number(net, "stride", stride));
    CR_TRY(set(net, "task", task));
    CR_TRY(set(net, "head", cr_pkl_class(head->v)));
    CR_TRY(set(net, "batch", "1"));
    CR_TRY(set_pair(net, "imgsz", size));
    CR_TRY(set_names(net, cr_mod_attr(model, "names")));
    CR_TRY(set(net, "end2end", cr_torch_head_end2end(head) ? "True" : "False"));
    if (cr_mod_ints(head, "kpt_shape", points, 2) == 2) CR_TRY(set_pair(net, "kpt_shape", points));
    const char *said = cr_graph_meta(net->g, "version");
    net->g->producer = cr_arena_printf(&net->g->arena, "%s%s%s", own ? "Ultralytics" : "YOLOv5",
                                       said ? " " : "", said ? said : "");
    return net->g->producer ? CR_OK : CR_NOMEM(net->err);
}
