/* expat drives; a stack of where we are decides what an element means. Elements that we do not know
 * are skipped with all that is in them. Document types are refused: an IR has none, and entities are
 * the way in for files that grow while they are read. */
#include "openvino/ir_xml.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

enum { MAX_DEPTH = 32, MAX_PORTS = 1 << 16, MAX_FACT_PATH = 256 };

typedef enum place { OUTSIDE, NET, LAYERS, LAYER, INPUT, OUTPUT, EDGES, FACTS, LEAF } place;

typedef struct edge {
    int64_t from_layer, from_port, to_layer, to_port;
} edge;

typedef struct parser {
    cr_ir *ir;
    XML_Parser xml;
    cr_error *err;
    cr_status status;
    place stack[MAX_DEPTH];
    int depth, skip; /* skip: so many elements deep in one that we do not know */
    edge *edges;
    size_t edge_count, edge_cap;
    char path[MAX_FACT_PATH]; /* of a fact */
    bool seen_net;
} parser;

#define FAIL(p, code, ...)                                                                         \
    do {                                                                                           \
        (p)->status = cr_fail((p)->err, code, __VA_ARGS__);                                        \
        XML_StopParser((p)->xml, XML_FALSE);                                                       \
        return;                                                                                    \
    } while (0)

static unsigned long line_of(const parser *p)
{
    return (unsigned long)XML_GetCurrentLineNumber(p->xml);
}

static const char *find(const char **atts, const char *key)
{
    for (; atts[0]; atts += 2)
        if (!strcmp(atts[0], key)) return atts[1];
    return NULL;
}

const char *cr_ir_attr(const cr_ir_layer *l, const char *key)
{
    return l->attrs ? find(l->attrs, key) : NULL;
}

const char *cr_ir_fact(const cr_ir *ir, const char *path)
{
    for (size_t i = 0; i < ir->fact_count; i++)
        if (!strcmp(ir->facts[2 * i], path)) return ir->facts[2 * i + 1];
    return NULL;
}

static bool read_id(const char **atts, const char *key, int64_t *out)
{
    const char *text = find(atts, key);
    char *end;
    if (!text || !*text) return false;
    *out = strtoll(text, &end, 10);
    return !*end;
}

/* ---- elements ---- */

static int version_of(const char *space)
{
    int version;
    char rest;
    if (!space || sscanf(space, "opset%d%c", &version, &rest) != 1 || version < 1) return -1;
    return version;
}

static void begin_layer(parser *p, const char **atts)
{
    cr_ir *ir = p->ir;
    if (ir->layer_count >= CR_MAX_NODES)
        FAIL(p, CR_ERR_LIMIT, "more than %d layers", CR_MAX_NODES);
    if (!cr_grow((void **)&ir->layers, &ir->layer_cap, ir->layer_count, sizeof *ir->layers))
        FAIL(p, CR_ERR_MEMORY, "out of memory");
    cr_ir_layer *l = &ir->layers[ir->layer_count];
    *l = (cr_ir_layer){.name = find(atts, "name"), .type = find(atts, "type")};
    const char *space = find(atts, "version");
    if (!read_id(atts, "id", &l->id) || !l->type)
        FAIL(p, CR_ERR_FORMAT, "line %lu: a layer without id or type", line_of(p));
    l->version = version_of(space);
    l->name = cr_arena_strdup(&ir->arena, l->name ? l->name : l->type);
    l->type = cr_arena_strdup(&ir->arena, l->type);
    l->space = cr_arena_strdup(&ir->arena, space ? space : "?");
    if (!l->name || !l->type || !l->space) FAIL(p, CR_ERR_MEMORY, "out of memory");
    ir->layer_count++;
}

static void read_data(parser *p, const char **atts)
{
    cr_ir_layer *l = &p->ir->layers[p->ir->layer_count - 1];
    size_t n = 0;
    while (atts[n]) n++;
    if (l->attrs) FAIL(p, CR_ERR_FORMAT, "line %lu: layer '%s' has data twice", line_of(p), l->name);
    l->attrs = cr_arena_alloc(&p->ir->arena, (n + 2) * sizeof *l->attrs);
    for (size_t i = 0; l->attrs && i < n; i++)
        if (!(l->attrs[i] = cr_arena_strdup(&p->ir->arena, atts[i]))) l->attrs = NULL;
    if (!l->attrs) FAIL(p, CR_ERR_MEMORY, "out of memory");
}

static void begin_port(parser *p, const char **atts, bool input)
{
    cr_ir_layer *l = &p->ir->layers[p->ir->layer_count - 1];
    cr_ir_port **list = input ? &l->in : &l->out;
    size_t *count = input ? &l->in_count : &l->out_count, *cap = input ? &l->in_cap : &l->out_cap;
    int64_t id;
    if (!read_id(atts, "id", &id) || *count >= MAX_PORTS)
        FAIL(p, CR_ERR_FORMAT, "line %lu: a port without id, or too many", line_of(p));
    if (!cr_grow((void **)list, cap, *count, sizeof **list)) FAIL(p, CR_ERR_MEMORY, "out of memory");
    const char *names = find(atts, "names");
    names = cr_arena_strdup(&p->ir->arena, names ? names : "");
    if (!names) FAIL(p, CR_ERR_MEMORY, "out of memory");
    (*list)[(*count)++] = (cr_ir_port){id, names};
}

static void read_edge(parser *p, const char **atts)
{
    edge e;
    if (!read_id(atts, "from-layer", &e.from_layer) || !read_id(atts, "from-port", &e.from_port) ||
        !read_id(atts, "to-layer", &e.to_layer) || !read_id(atts, "to-port", &e.to_port))
        FAIL(p, CR_ERR_FORMAT, "line %lu: an edge without its four numbers", line_of(p));
    if (!cr_grow((void **)&p->edges, &p->edge_cap, p->edge_count, sizeof *p->edges))
        FAIL(p, CR_ERR_MEMORY, "out of memory");
    p->edges[p->edge_count++] = e;
}

/* A path that is too long is cut: nothing asks for such a fact. */
static void push_fact(parser *p, const char *name, const char **atts)
{
    const size_t used = strlen(p->path);
    snprintf(p->path + used, sizeof p->path - used, "/%s", name);
    const char *value = find(atts, "value");
    if (!value) return;
    cr_ir *ir = p->ir;
    size_t pairs = ir->fact_count;
    if (!cr_grow((void **)&ir->facts, &ir->fact_cap, pairs, 2 * sizeof *ir->facts))
        FAIL(p, CR_ERR_MEMORY, "out of memory");
    ir->facts[2 * pairs] = cr_arena_strdup(&ir->arena, p->path + 1);
    ir->facts[2 * pairs + 1] = cr_arena_strdup(&ir->arena, value);
    if (!ir->facts[2 * pairs] || !ir->facts[2 * pairs + 1]) FAIL(p, CR_ERR_MEMORY, "out of memory");
    ir->fact_count++;
}

/* What an element is in the place where it stands; OUTSIDE: unknown. */
static place enter(place where, const char *name)
{
    static const struct {
        place in;
        const char *name;
        place to;
    } rules[] = {
        {OUTSIDE, "net", NET},      {NET, "layers", LAYERS}, {NET, "edges", EDGES},
        {NET, "rt_info", FACTS},    {LAYERS, "layer", LAYER}, {LAYER, "input", INPUT},
        {LAYER, "output", OUTPUT},  {LAYER, "data", LEAF},   {INPUT, "port", LEAF},
        {OUTPUT, "port", LEAF},     {EDGES, "edge", LEAF},
    };
    if (where == FACTS) return FACTS;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].in == where && !strcmp(rules[i].name, name)) return rules[i].to;
    return OUTSIDE;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **atts)
{
    parser *p = user;
    const place where = p->depth ? p->stack[p->depth - 1] : OUTSIDE;
    const place to = enter(where, name);
    if (p->status != CR_OK) return;
    if (!p->depth && to != NET) FAIL(p, CR_ERR_FORMAT, "the root element is not <net>");
    p->seen_net = true;
    if (!p->skip && where == LAYER && (!strcmp(name, "body") || strstr(name, "_body")))
        FAIL(p, CR_ERR_UNSUPPORTED, "layer '%s' (%s) has a body of its own",
             p->ir->layers[p->ir->layer_count - 1].name, p->ir->layers[p->ir->layer_count - 1].type);
    if (p->skip || to == OUTSIDE) {
        p->skip++;
        return;
    }
    if (p->depth == MAX_DEPTH) FAIL(p, CR_ERR_LIMIT, "elements nest more than %d deep", MAX_DEPTH);
    p->stack[p->depth++] = to;
    if (to == LAYER) begin_layer(p, atts);
    else if (where == FACTS) push_fact(p, name, atts);
    else if (to == LEAF && where == LAYER) read_data(p, atts);
    else if (to == LEAF && where == EDGES) read_edge(p, atts);
    else if (to == LEAF) begin_port(p, atts, where == INPUT);
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
    parser *p = user;
    (void)name;
    if (p->skip) {
        p->skip--;
        return;
    }
    if (p->depth > 0) p->depth--;
    char *slash = strrchr(p->path, '/');
    if (slash) *slash = 0;
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *sysid,
                               const XML_Char *pubid, int internal)
{
    parser *p = user;
    (void)name, (void)sysid, (void)pubid, (void)internal;
    FAIL(p, CR_ERR_FORMAT, "a document type, which an IR has not");
}

/* ---- edges ---- */

typedef struct known { /* a layer's number */
    int64_t id;
    int index;
} known;

static int by_id(const void *a, const void *b)
{
    const known *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static cr_ir_layer *layer_of(cr_ir *ir, const known *map, int64_t id)
{
    const known key = {id, 0};
    const known *k = bsearch(&key, map, ir->layer_count, sizeof *map, by_id);
    return k ? &ir->layers[k->index] : NULL;
}

static int port_of(const cr_ir_port *list, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id) return (int)i;
    return -1;
}

static cr_status connect(cr_ir *ir, const known *map, const edge *e, cr_error *err)
{
    const cr_ir_layer *from = layer_of(ir, map, e->from_layer);
    cr_ir_layer *to = layer_of(ir, map, e->to_layer);
    const int out = from ? port_of(from->out, from->out_count, e->from_port) : -1;
    const int in = to ? port_of(to->in, to->in_count, e->to_port) : -1;
    CR_CHECK(out >= 0 && in >= 0, err, CR_ERR_FORMAT,
             "an edge from port %lld of layer %lld to port %lld of layer %lld: there is no such port",
             (long long)e->from_port, (long long)e->from_layer, (long long)e->to_port,
             (long long)e->to_layer);
    CR_CHECK(to->from_layer[in] < 0, err, CR_ERR_FORMAT, "two edges end at port %lld of layer '%s'",
             (long long)e->to_port, to->name);
    to->from_layer[in] = (int)(from - ir->layers);
    to->from_port[in] = out;
    return CR_OK;
}

static cr_status connect_all(cr_ir *ir, known *map, const parser *p, cr_error *err)
{
    for (size_t i = 0; i < ir->layer_count; i++) {
        cr_ir_layer *l = &ir->layers[i];
        map[i] = (known){l->id, (int)i};
        l->from_layer = cr_arena_alloc(&ir->arena, (l->in_count + 1) * sizeof *l->from_layer);
        l->from_port = cr_arena_alloc(&ir->arena, (l->in_count + 1) * sizeof *l->from_port);
        if (!l->from_layer || !l->from_port) return CR_NOMEM(err);
        for (size_t k = 0; k < l->in_count; k++) l->from_layer[k] = -1;
    }
    qsort(map, ir->layer_count, sizeof *map, by_id);
    for (size_t i = 1; i < ir->layer_count; i++)
        CR_CHECK(map[i].id != map[i - 1].id, err, CR_ERR_FORMAT, "two layers have the id %lld",
                 (long long)map[i].id);
    for (size_t i = 0; i < p->edge_count; i++) CR_TRY(connect(ir, map, &p->edges[i], err));
    return CR_OK;
}

/* Depth first with a stack of its own: behind[i] says how many inputs of i have been looked at. */
static cr_status sort_layers(cr_ir *ir, cr_error *err)
{
    const size_t n = ir->layer_count;
    size_t done = 0;
    ir->order = cr_arena_alloc(&ir->arena, (n + 1) * sizeof *ir->order);
    size_t *looked = cr_calloc(n + 1, sizeof *looked);
    int *stack = cr_calloc(n + 1, sizeof *stack);
    unsigned char *state = cr_calloc(n + 1, 1); /* 1: on the stack, 2: in order */
    cr_status st = ir->order && looked && stack && state ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < n; i++) {
        size_t depth = 0;
        if (state[i]) continue;
        stack[depth++] = (int)i;
        state[i] = 1;
        while (st == CR_OK && depth) {
            const int k = stack[depth - 1];
            const cr_ir_layer *l = &ir->layers[k];
            if (looked[k] == l->in_count) {
                state[k] = 2;
                ir->order[done++] = k;
                depth--;
                continue;
            }
            const int from = l->from_layer[looked[k]++];
            if (from < 0 || state[from] == 2) continue;
            if (state[from] == 1)
                st = cr_fail(err, CR_ERR_FORMAT, "layer '%s' reads what it makes", l->name);
            state[from] = 1;
            stack[depth++] = from; /* at most n: each layer once */
        }
    }
    cr_free(looked);
    cr_free(stack);
    cr_free(state);
    return st;
}

static cr_status connect_layers(const parser *p, cr_ir *ir, cr_error *err)
{
    known *map = cr_malloc((ir->layer_count + 1) * sizeof *map);
    if (!map) return CR_NOMEM(err);
    cr_status st = connect_all(ir, map, p, err);
    cr_free(map);
    return st == CR_OK ? sort_layers(ir, err) : st;
}

/* ---- the whole ---- */

static cr_status run_expat(parser *p, const char *xml, size_t size)
{
    enum { PIECE = 1 << 24 };
    for (size_t at = 0;;) {
        const size_t n = size - at < PIECE ? size - at : PIECE;
        const bool last = at + n == size;
        if (XML_Parse(p->xml, xml + at, (int)n, last) != XML_STATUS_OK) {
            if (p->status != CR_OK) return p->status;
            const enum XML_Error code = XML_GetErrorCode(p->xml);
            if (code == XML_ERROR_NO_MEMORY) return CR_NOMEM(p->err);
            return cr_fail(p->err, CR_ERR_FORMAT, "line %lu: %s", line_of(p), XML_ErrorString(code));
        }
        at += n;
        if (last) return p->seen_net ? CR_OK : cr_fail(p->err, CR_ERR_FORMAT, "no <net> element");
    }
}

cr_status cr_ir_parse(const void *xml, size_t size, cr_ir *out, cr_error *err)
{
    static const XML_Memory_Handling_Suite memory = {cr_malloc, cr_realloc, cr_free};
    parser p = {.ir = out, .err = err, .status = CR_OK};
    *out = (cr_ir){.layers = NULL};
    p.xml = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (!p.xml) return CR_NOMEM(err);
    XML_SetUserData(p.xml, &p);
    XML_SetElementHandler(p.xml, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
    cr_status st = run_expat(&p, xml, size);
    XML_ParserFree(p.xml);
    if (st == CR_OK) st = connect_layers(&p, out, err);
    cr_free(p.edges);
    return st;
}

void cr_ir_free(cr_ir *ir)
{
    for (size_t i = 0; i < ir->layer_count; i++) {
        cr_free(ir->layers[i].in);
        cr_free(ir->layers[i].out);
    }
    cr_free(ir->layers);
    cr_free(ir->facts);
    cr_arena_free(&ir->arena);
    *ir = (cr_ir){.layers = NULL};
}
