/* The reader: layers in an order in which each finds its inputs made, then names and metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "openvino/ir_import.h"

enum { BUDGET_FACTOR = 8, BUDGET_BASE = 64 << 20, NAMED = 5 };
static const size_t default_limit = (size_t)2 << 30;

/* ---- what there is to read ---- */

static bool is_port(const cr_ir_layer *l)
{
    return !strcmp(l->type, "Parameter") || !strcmp(l->type, "Const") || !strcmp(l->type, "Result");
}

/* Up to five layers that we do not have, in one message. */
static cr_status check_layers(const cr_ir *ir, cr_error *err)
{
    char list[360] = "";
    size_t used = 0, missing = 0;
    for (size_t i = 0; i < ir->layer_count; i++) {
        const cr_ir_layer *l = &ir->layers[i];
        if (is_port(l) || cr_ir_find_reader(l)) continue;
        if (missing++ < NAMED && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%.32s of %.12s ('%.32s')",
                                     missing > 1 ? ", " : "", l->type, l->space, l->name);
    }
    CR_CHECK(!missing, err, CR_ERR_UNSUPPORTED, "%zu layers are not supported: %s%s", missing, list,
             missing > NAMED ? ", ..." : "");
    return CR_OK;
}

static cr_status make_values(cr_ir_import *m, cr_error *err)
{
    const cr_ir *ir = m->ir;
    m->values = cr_arena_alloc(&m->g->arena, (ir->layer_count + 1) * sizeof *m->values);
    if (!m->values) return CR_NOMEM(err);
    for (size_t i = 0; i < ir->layer_count; i++) {
        m->values[i] = cr_arena_alloc(&m->g->arena, (ir->layers[i].out_count + 1) * sizeof **m->values);
        if (!m->values[i]) return CR_NOMEM(err);
    }
    for (size_t i = 0; i < ir->layer_count; i++)
        for (size_t k = 0; k < ir->layers[i].in_count; k++)
            if (ir->layers[i].from_layer[k] >= 0) {
                cr_ir_value *v =
                    &m->values[ir->layers[i].from_layer[k]][ir->layers[i].from_port[k]];
                v->uses++;
                v->fakes += k == 0 && !strcmp(ir->layers[i].type, "FakeQuantize");
            }
    return CR_OK;
}

/* ---- ports of the model ---- */

/* "1,3,640,640"; an open dimension is "?", "-1" or a range: the first is 1, pictures' sides are the
 * options'. */
static cr_status read_shape(cr_ir_import *m, cr_shape *out, cr_error *err)
{
    const char *at = cr_ir_text(m, "shape", "");
    *out = (cr_shape){0};
    while (*(at += strspn(at, " ,"))) {
        char *end;
        CR_CHECK(out->rank < CR_MAX_RANK, err, CR_ERR_LIMIT, "more than %d axes", CR_MAX_RANK);
        long long v = *at == '?' ? -1 : strtoll(at, &end, 10);
        if (*at == '?') end = (char *)(uintptr_t)at + 1;
        CR_CHECK(end > at, err, CR_ERR_FORMAT, "shape '%.40s'", cr_ir_text(m, "shape", ""));
        if (!strncmp(end, "..", 2)) {
            v = -1;
            end += 2 + strspn(end + 2, "0123456789");
        }
        out->dim[out->rank++] = v;
        at = end;
    }
    for (int d = 0; d < out->rank; d++) {
        if (out->dim[d] == -1 && d == 0) out->dim[d] = 1;
        if (out->dim[d] == -1 && out->rank == 4 && d > 1)
            out->dim[d] = d == 2 ? m->options->height : m->options->width;
        CR_CHECK(out->dim[d] > 0, err, CR_ERR_ARGUMENT,
                 "axis %d of input '%s' is open: give the size (--imgsz)", d, m->l->name);
    }
    CR_CHECK(cr_shape_count(out) > 0, err, CR_ERR_LIMIT, "input '%s' is too large", m->l->name);
    return CR_OK;
}

/* The first of a port's names, or the layer's. */
static const char *port_name(cr_ir_import *m, const cr_ir_layer *l, size_t port)
{
    const char *names = port < l->out_count ? l->out[port].names : "";
    const size_t n = strcspn(names, ",");
    return n ? cr_arena_strndup(&m->g->arena, names, n) : l->name;
}

static cr_status read_parameter(cr_ir_import *m, cr_error *err)
{
    cr_shape shape;
    const cr_dtype dtype = cr_ir_dtype(cr_ir_attr(m->l, "element_type"));
    CR_CHECK(dtype != CR_DT_NONE, err, CR_ERR_UNSUPPORTED, "an input of type '%.20s'",
             cr_ir_text(m, "element_type", "?"));
    CR_CHECK(m->l->out_count == 1, err, CR_ERR_FORMAT, "%zu outputs", m->l->out_count);
    CR_TRY(read_shape(m, &shape, err));
    const char *name = port_name(m, m->l, 0);
    if (!name) return CR_NOMEM(err);
    if (cr_names_get(&m->names, name)) name = m->l->name;
    CR_CHECK(!cr_names_get(&m->names, name), err, CR_ERR_FORMAT, "two inputs are named '%s'", name);
    cr_tensor *t = cr_graph_add_tensor(m->g, name, dtype, shape);
    if (!t || !cr_names_put(&m->names, t->name, t)) return CR_NOMEM(err);
    m->g->inputs[m->g->input_count++] = t;
    return cr_ir_give(m, 0, t, err);
}

static bool is_port_tensor(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == t) return true;
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return t->data != NULL;
}

/* An output of codes that are passed on: the values in front of their pair have its name. They get
 * another. */
static cr_status free_name(cr_ir_import *m, const cr_tensor *t, const char *name, cr_error *err)
{
    const cr_node *dq = t->producer, *q;
    if (*t->name || !dq || !dq->op || dq->op->kind != CR_OP_DequantizeLinear) return CR_OK;
    q = dq->in[0]->producer;
    if (!q || !q->op || q->op->kind != CR_OP_QuantizeLinear || q->in[0] != cr_names_get(&m->names, name))
        return CR_OK;
    const char *inner = cr_arena_printf(&m->g->arena, "%s/float", name);
    if (!inner) return CR_NOMEM(err);
    if (cr_names_get(&m->names, inner)) return CR_OK;
    q->in[0]->name = inner;
    return cr_names_put(&m->names, inner, q->in[0]) && cr_names_put(&m->names, name, (void *)(uintptr_t)t)
               ? CR_OK
               : CR_NOMEM(err);
}

static cr_status read_result(cr_ir_import *m, cr_error *err)
{
    cr_tensor *t;
    CR_TRY(cr_ir_in(m, 0, &t, err));
    if (is_port_tensor(m->g, t)) {
        CR_TRY(cr_ir_unary(m, CR_OP_Identity, t, &t, err));
        t->name = m->l->name;
    }
    const char *name =
        port_name(m, &m->ir->layers[m->l->from_layer[0]], (size_t)m->l->from_port[0]);
    if (!name) return CR_NOMEM(err);
    CR_TRY(free_name(m, t, name, err));
    if (!cr_names_get(&m->names, name) || (cr_names_get(&m->names, name) == t && !*t->name)) {
        t->name = cr_arena_strdup(&m->g->arena, name);
        if (!t->name) t->name = "";
        if (!*t->name || !cr_names_put(&m->names, t->name, t)) return CR_NOMEM(err);
    } else if (cr_names_get(&m->names, name) != t && t->name == m->l->name) {
        t->name = cr_arena_printf(&m->g->arena, "%s.output%zu", name, m->g->output_count);
        if (!t->name) t->name = "";
        if (!*t->name || cr_names_get(&m->names, t->name) ||
            !cr_names_put(&m->names, t->name, t))
            return CR_NOMEM(err);
    }
    m->g->outputs[m->g->output_count++] = t;
    return CR_OK;
}

/* ---- layers ---- */

static cr_status read_layer(cr_ir_import *m, cr_error *err)
{
    bool taken;
    if (!strcmp(m->l->type, "Const")) return CR_OK; /* when it is read */
    if (!strcmp(m->l->type, "Parameter")) return read_parameter(m, err);
    if (!strcmp(m->l->type, "Result")) return CR_OK; /* in the file's order, when all are made */
    CR_TRY(cr_ir_continue_packed(m, &taken, err));
    return taken ? CR_OK : cr_ir_find_reader(m->l)(m, err);
}

static cr_status in_layer(const cr_ir_import *m, cr_status st, cr_error *err)
{
    if (st == CR_OK || st == CR_ERR_MEMORY) return st;
    return cr_fail_prefix(err, st, "layer '%.80s' (%.32s)", m->l->name, m->l->type);
}

static cr_status read_layers(cr_ir_import *m, cr_error *err)
{
    const cr_ir *ir = m->ir;
    for (size_t i = 0; i < ir->layer_count; i++) {
        m->l = &ir->layers[ir->order[i]];
        CR_TRY(in_layer(m, read_layer(m, err), err));
    }
    for (size_t i = 0; i < ir->layer_count; i++) {
        m->l = &ir->layers[i];
        if (!strcmp(m->l->type, "Result")) CR_TRY(in_layer(m, read_result(m, err), err));
    }
    return m->g->output_count ? CR_OK
                              : cr_fail(err, CR_ERR_FORMAT, "the model has no Result layer");
}

/* Tensors between the layers' own, and constants made here. */
static cr_status name_rest(cr_ir_import *m, cr_error *err)
{
    cr_graph *g = m->g;
    for (size_t i = 0; i < g->tensor_count; i++) {
        cr_tensor *t = g->tensors[i];
        if (*t->name) continue;
        const char *stem = t->producer && t->producer->op ? t->producer->name : "constant";
        const char *name;
        size_t k = i;
        do name = cr_arena_printf(&g->arena, "%s.%zu", stem, k++);
        while (name && cr_names_get(&m->names, name));
        if (!name || !cr_names_put(&m->names, name, t)) return CR_NOMEM(err);
        t->name = name;
    }
    return CR_OK;
}

/* ---- metadata ---- */

/* "person traffic_light" as {0: 'person', 1: 'traffic light'}. */
static cr_status read_labels(cr_graph *g, const char *labels, cr_error *err)
{
    const size_t room = 16 * (strlen(labels) + 4);
    char *text = cr_malloc(room);
    if (!text) return CR_NOMEM(err);
    size_t n = 0, used = 1;
    text[0] = '{';
    while (*(labels += strspn(labels, " "))) {
        const size_t length = strcspn(labels, " ");
        used += (size_t)snprintf(text + used, room - used, "%s%zu: '", n ? ", " : "", n);
        n++;
        for (size_t i = 0; i < length; i++)
            text[used++] = labels[i] == '_' ? ' ' : labels[i] == '\'' ? '"' : labels[i];
        text[used++] = '\'';
        labels += length;
    }
    memcpy(text + used, "}", 2);
    const bool ok = cr_graph_set_meta(g, "names", text);
    cr_free(text);
    return ok ? CR_OK : CR_NOMEM(err);
}

/* Ultralytics and the Model API write model_info; what the graph's metadata says we write as
 * metadata/KEY (ir_write.c). */
static cr_status read_facts(const cr_ir *ir, cr_graph *g, cr_error *err)
{
    static const char own[] = "metadata/";
    const char *labels = cr_ir_fact(ir, "model_info/labels");
    const char *type = cr_ir_fact(ir, "model_info/model_type");
    const char *framework = cr_ir_fact(ir, "conversion_parameters/framework");
    bool ok = true;
    if (labels) CR_TRY(read_labels(g, labels, err));
    if (type && !strcmp(type, "YOLO")) ok &= cr_graph_set_meta(g, "task", "detect");
    for (size_t i = 0; i < ir->fact_count; i++)
        if (!strncmp(ir->facts[2 * i], own, sizeof own - 1))
            ok &= cr_graph_set_meta(g, ir->facts[2 * i] + sizeof own - 1, ir->facts[2 * i + 1]);
    g->producer = cr_arena_printf(&g->arena, "OpenVINO%s%s", framework ? " from " : "",
                                  framework ? framework : "");
    return ok && g->producer ? CR_OK : CR_NOMEM(err);
}

/* ---- the whole ---- */

static cr_status build(cr_ir_import *m, cr_error *err)
{
    const cr_ir *ir = m->ir;
    CR_TRY(check_layers(ir, err));
    CR_TRY(make_values(m, err));
    m->g->inputs = cr_arena_alloc(&m->g->arena, (ir->layer_count + 1) * sizeof *m->g->inputs);
    m->g->outputs = cr_arena_alloc(&m->g->arena, (ir->layer_count + 1) * sizeof *m->g->outputs);
    if (!m->g->inputs || !m->g->outputs) return CR_NOMEM(err);
    CR_TRY(read_layers(m, err));
    CR_TRY(name_rest(m, err));
    CR_TRY(read_facts(ir, m->g, err));
    return cr_graph_compact(m->g, err);
}

cr_status cr_openvino_parse(const void *xml, size_t xml_size, const void *bin, size_t bin_size,
                            const char *label, const cr_openvino_options *o, cr_run_fn run,
                            cr_graph **out, cr_error *err)
{
    static const cr_openvino_options defaults = {0};
    cr_ir ir = {.layers = NULL};
    cr_ir_import m = {.ir = &ir, .options = o ? o : &defaults, .run = run, .bin = bin,
                      .bin_size = bin ? bin_size : 0};
    *out = NULL;
    m.budget = BUDGET_BASE + (m.bin_size < SIZE_MAX / 16 ? m.bin_size * BUDGET_FACTOR : m.bin_size);
    cr_status st = cr_ir_parse(xml, xml_size, &ir, err);
    if (st == CR_OK) st = cr_graph_create(&m.g, err);
    if (st == CR_OK) st = build(&m, err);
    cr_names_free(&m.names);
    cr_ir_free(&ir);
    if (st == CR_OK) *out = m.g;
    else cr_graph_free(&m.g);
    return st == CR_OK ? st : cr_fail_prefix(err, st, "%s", label);
}

bool cr_openvino_recognize(const void *bytes, size_t size)
{
    char text[65];
    const size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, bytes, n);
    text[n] = 0;
    return strlen(text) == n && strstr(text, "<net ") != NULL;
}

static cr_status read_bin(const char *path, size_t limit, unsigned char **bytes, size_t *size,
                          cr_error *err)
{
    const size_t n = strlen(path), stem = n > 4 && !strcmp(path + n - 4, ".xml") ? n - 4 : n;
    char *name = cr_malloc(stem + 5);
    if (!name) return CR_NOMEM(err);
    memcpy(name, path, stem);
    memcpy(name + stem, ".bin", 5);
    const cr_status st = cr_file_read(name, limit, bytes, size, err);
    cr_free(name);
    return st;
}

cr_status cr_openvino_read(const char *path, const cr_openvino_options *o, cr_run_fn run,
                           cr_graph **out, cr_error *err)
{
    unsigned char *xml = NULL, *bin = NULL;
    size_t xml_size = 0, bin_size = 0;
    const size_t limit = o && o->max_bytes ? o->max_bytes : default_limit;
    *out = NULL;
    cr_status st = cr_file_read(path, limit, &xml, &xml_size, err);
    if (st == CR_OK) st = read_bin(path, limit, &bin, &bin_size, err);
    if (st == CR_OK)
        st = cr_openvino_parse(xml, xml_size, bin, bin_size, path, o, run, out, err);
    cr_free(xml);
    cr_free(bin);
    return st;
}
