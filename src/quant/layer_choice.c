#include "quant/layer_choice.h"

#include <fnmatch.h>
#include <string.h>

#include "base/error.h"
#include "base/nearest.h"
#include "graph/channel_groups.h"

static cr_status no_match(const cr_graph *g, const char *glob, cr_error *err)
{
    char text[320];
    cr_nearest near = cr_nearest_to(glob);
    for (size_t i = 0; i < g->node_count; i++) cr_nearest_see(&near, g->nodes[i]->name);
    return cr_fail(err, CR_ERR_ARGUMENT, "no node's name matches '%.96s'; near names: %s", glob,
                   cr_nearest_text(&near, text, sizeof text));
}

/* How long `name` is without the ending of a part (cr_group_part_name); 0: it has none. */
static size_t whole_length(const char *name)
{
    const char *mark = NULL;
    for (const char *at = strstr(name, CR_PART_MARK); at; at = strstr(at + 1, CR_PART_MARK)) mark = at;
    if (!mark || !mark[strlen(CR_PART_MARK)]) return 0;
    const char *digits = mark + strlen(CR_PART_MARK);
    return digits[strspn(digits, "0123456789")] ? 0 : (size_t)(mark - name);
}

static bool matches_start(const char *glob, const char *name, size_t length)
{
    char *whole = length ? cr_malloc(length + 1) : NULL;
    bool fits = false;
    if (whole) {
        memcpy(whole, name, length);
        whole[length] = 0;
        fits = !fnmatch(glob, whole, 0);
    }
    cr_free(whole);
    return fits;
}

/* A pattern of a whole layer speaks of its parts, too. */
static bool matches(const char *glob, const char *name)
{
    return !fnmatch(glob, name, 0) || matches_start(glob, name, whole_length(name));
}

/* A pattern that names a part means nothing to the graph before layers are divided, and is no mistake. */
static bool names_part(const cr_graph *g, const char *glob)
{
    const size_t length = whole_length(glob);
    char *whole = length ? cr_malloc(length + 1) : NULL;
    bool any = false;
    if (whole) {
        memcpy(whole, glob, length);
        whole[length] = 0;
    }
    for (size_t i = 0; whole && !any && i < g->node_count; i++) any = !fnmatch(whole, g->nodes[i]->name, 0);
    cr_free(whole);
    return any;
}

/* Gives every node that matches the pattern its precision. */
static cr_status choose(const cr_graph *g, const char *glob, cr_layer_precision precision,
                        cr_layer_precision *out, cr_error *err)
{
    bool any = false;
    for (size_t i = 0; i < g->node_count; i++) {
        if (!matches(glob, g->nodes[i]->name)) continue;
        out[i] = precision;
        any = true;
    }
    return any || names_part(g, glob) ? CR_OK : no_match(g, glob, err);
}

cr_status cr_layer_choices(const cr_graph *g, const cr_quantize_options *o,
                           cr_layer_precision **out, cr_error *err)
{
    cr_status st = CR_OK;
    cr_layer_precision *p = cr_calloc(g->node_count, sizeof *p);
    *out = NULL;
    if (!p) return CR_NOMEM(err);
    for (size_t i = 0; i < o->layer_count; i++)
        CR_TRY_GOTO(choose(g, o->layers[i].nodes, o->layers[i].precision, p, err), done);
    if (o->only_count) {
        cr_layer_precision *named = cr_calloc(g->node_count, sizeof *named);
        if (!named) st = CR_NOMEM(err);
        for (size_t i = 0; st == CR_OK && i < o->only_count; i++)
            st = choose(g, o->only[i], CR_LAYER_FLOAT, named, err);
        for (size_t i = 0; st == CR_OK && i < g->node_count; i++)
            if (named[i] != CR_LAYER_FLOAT) p[i] = CR_LAYER_FLOAT;
        cr_free(named);
        if (st != CR_OK) goto done;
    }
    for (size_t i = 0; i < o->keep_float_count; i++)
        CR_TRY_GOTO(choose(g, o->keep_float[i], CR_LAYER_FLOAT, p, err), done);
    *out = p;
    p = NULL;
done:
    cr_free(p);
    return st;
}
