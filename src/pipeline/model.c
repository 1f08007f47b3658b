/* The model facade: open (read, prepare, take the recipe out, describe) and answer questions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "graph/passes.h"
#include "onnx/qdq.h"
#include "onnx/qop.h"
#include "ops/ref.h"
#include "pipeline/formats.h"
#include "quant/head_parts.h"
#include "runtime/runtime.h"

cr_model_options cr_model_options_default(void)
{
    return (cr_model_options){.max_bytes = (size_t)2 << 30};
}

static cr_status note_file_nodes(cr_model *m, cr_error *err)
{
    const cr_graph *g = m->graph;
    m->file_nodes = cr_arena_alloc(&m->arena, (g->node_count + 1) * sizeof *m->file_nodes);
    if (!m->file_nodes) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++)
        m->file_nodes[i] = (cr_file_node){g->nodes[i]->name, g->nodes[i]->op->name};
    m->file_node_count = g->node_count;
    return CR_OK;
}

const cr_file_node *cr_model_file_nodes(const cr_model *m, size_t *count)
{
    *count = m->file_node_count;
    return m->file_nodes;
}

static cr_status read_graph(const char *path, const cr_model_options *o, cr_model *m, cr_error *err)
{
    const cr_format *format;
    CR_TRY(cr_format_of_file(path, &format, err));
    CR_TRY(format->read(path, o, &m->graph, err));
    m->info.format = format->name;
    CR_TRY(note_file_nodes(m, err));
    CR_TRY(cr_doctor_file(m->graph, o->mend, &m->notes, err));
    CR_TRY(cr_qop_read(m->graph, err));
    CR_TRY(cr_graph_prepare(m->graph, cr_op_run, err));
    CR_TRY(cr_qdq_read(m->graph, &m->recipe, err));
    CR_TRY(cr_graph_infer(m->graph, err));
    return o->batch ? cr_graph_set_batch(m->graph, o->batch, err) : CR_OK;
}

static int bits_of(cr_dtype t)
{
    static const int bits[CR_DT_COUNT] = {
        [CR_DT_I16] = 16, [CR_DT_U16] = 16, [CR_DT_I8] = 8, [CR_DT_U8] = 8, [CR_DT_I4] = 4,
        [CR_DT_U4] = 4,   [CR_DT_I2] = 2,   [CR_DT_U2] = 2, [CR_DT_I1] = 1};
    return bits[t];
}

static bool is_weight(const cr_tensor *t)
{
    return t->data && (t->dtype == CR_DT_F32 || bits_of(t->dtype) > 0);
}

static int by_count(const void *a, const void *b)
{
    const cr_op_count *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return strcmp(x->op, y->op);
}

static cr_status count_ops(cr_model *m, cr_error *err)
{
    cr_op_count *list = cr_arena_alloc(&m->arena, CR_OP_COUNT * sizeof *list);
    if (!list) return CR_NOMEM(err);
    size_t used[CR_OP_COUNT] = {0}, n = 0;
    for (size_t i = 0; i < m->graph->node_count; i++) used[m->graph->nodes[i]->op->kind]++;
    for (int k = 1; k < CR_OP_COUNT; k++)
        if (used[k]) list[n++] = (cr_op_count){cr_op_get((cr_op_kind)k)->name, used[k]};
    qsort(list, n, sizeof *list, by_count);
    m->info.ops = list;
    m->info.op_count = n;
    return CR_OK;
}

cr_status cr_model_recount(cr_model *m, cr_error *err)
{
    const cr_graph *g = m->graph;
    cr_model_info *info = &m->info;
    info->nodes = g->node_count;
    info->tensors = g->tensor_count;
    info->parameters = info->macs = 0;
    for (size_t i = 0; i < g->tensor_count; i++)
        if (is_weight(g->tensors[i]))
            info->parameters += (uint64_t)cr_shape_count(&g->tensors[i]->shape);
    for (size_t i = 0; i < g->node_count; i++) info->macs += cr_node_macs(g->nodes[i]);
    CR_TRY(count_ops(m, err));
    cr_free(m->roles);
    m->roles = NULL;
    return cr_roles_find(g, &m->roles, err);
}

/* With the .bin beside an OpenVINO IR's .xml. */
static uint64_t bytes_of(const char *path)
{
    struct stat file;
    const size_t n = strlen(path);
    if (stat(path, &file)) return 0;
    uint64_t bytes = (uint64_t)file.st_size;
    char *bin = n > 4 && !strcmp(path + n - 4, ".xml") ? cr_strdup(path) : NULL;
    if (bin) memcpy(bin + n - 4, ".bin", 4);
    if (bin && !stat(bin, &file)) bytes += (uint64_t)file.st_size;
    cr_free(bin);
    return bytes;
}

static cr_status describe(cr_model *m, const char *path, cr_error *err)
{
    const cr_graph *g = m->graph;
    cr_model_info *info = &m->info;
    info->path = cr_arena_strdup(&m->arena, path);
    if (!info->path) return CR_NOMEM(err);
    info->producer = g->producer;
    info->opset = g->source_opset;
    info->ir_version = g->source_ir;
    info->file_bytes = bytes_of(path);
    CR_TRY(cr_model_recount(m, err));
    CR_TRY(cr_family_guess(m, err));
    m->head = m->info.head;
    cr_model_describe_recipe(m);
    return CR_OK;
}

/* "int8" where every entry has 8 bits; else the narrowest weights and the widest activations:
 * "int4 weights", "int8 weights, int16". */
static const char *precision_of(cr_model *m)
{
    cr_dtype weights = CR_DT_NONE, activations = CR_DT_NONE;
    bool bytes = true;
    char text[64];
    for (size_t i = 0; i < m->recipe->count; i++) {
        const cr_recipe_entry *e = &m->recipe->entries[i];
        const int bits = bits_of(e->q.type);
        bytes &= bits == 8;
        if (e->is_weight && (!weights || bits < bits_of(weights))) weights = e->q.type;
        if (!e->is_weight && bits > bits_of(activations)) activations = e->q.type;
    }
    for (size_t i = 0; i < m->recipe->count; i++)
        if (m->recipe->entries[i].q.dynamic) return "int8, dynamic";
    if (bytes && (activations || !weights)) return "int8";
    snprintf(text, sizeof text, "%s%s%s%s", weights ? cr_dtype_key(weights) : "",
             weights ? " weights" : "", weights && activations ? ", " : "",
             activations ? cr_dtype_key(activations) : "");
    const char *kept = cr_arena_strdup(&m->arena, text);
    return kept ? kept : "quantized";
}

void cr_model_describe_recipe(cr_model *m)
{
    cr_model_info *info = &m->info;
    info->quantized = m->recipe != NULL;
    info->activation_entries = info->weight_entries = 0;
    info->precision = m->bf16 ? "bfloat16" : "float32";
    for (size_t i = 0; m->recipe && i < m->recipe->count; i++) {
        if (m->recipe->entries[i].is_weight) info->weight_entries++;
        else info->activation_entries++;
    }
    if (info->quantized) info->precision = precision_of(m);
    for (size_t i = 0; !info->quantized && i < m->graph->node_count; i++)
        if (m->graph->nodes[i]->op->flags & CR_OPF_QUANT) info->precision = "int8 (operators)";
}

cr_status cr_model_attach(cr_model *m, cr_recipe *r, cr_error *err)
{
    cr_graph *applied = NULL;
    const cr_recipe_entry **found = NULL;
    if (cr_recipe_changes_graph(r)) CR_TRY(cr_recipe_apply(r, m->graph, &applied, err));
    cr_status st = r ? cr_recipe_bind(r, applied ? applied : m->graph, &found, err) : CR_OK;
    cr_free(found);
    if (st != CR_OK) {
        cr_graph_free(&applied);
        return st;
    }
    cr_preprocess ignored;
    const char *family;
    cr_head head = m->head;
    cr_branches branches = m->branches;
    bool detached = false;
    if (applied)
        st = cr_branches_read(applied, &head, &branches, &ignored, &family, &detached, &m->arena,
                              err);
    if (st != CR_OK) {
        cr_graph_free(&applied);
        return st;
    }
    if (m->recipe != r) cr_recipe_release(&m->recipe);
    cr_graph_free(&m->applied);
    m->recipe = r;
    m->applied = applied;
    m->info.head = head;
    m->branches = branches;
    if (head.kind == CR_HEAD_BRANCHES) m->info.head.branches = &m->branches;
    cr_model_describe_recipe(m);
    return CR_OK;
}

cr_status cr_model_open(const char *path, const cr_model_options *options, cr_model **out,
                        cr_error *err)
{
    *out = NULL;
    const cr_model_options defaults = cr_model_options_default();
    cr_model *m = cr_calloc(1, sizeof *m);
    if (!m) return CR_NOMEM(err);
    if (!options) options = &defaults;
    m->notes.arena = &m->arena;
    m->bf16 = options->precision == CR_PRECISION_BF16 ||
              (options->precision == CR_PRECISION_AUTO && cr_program_bf16_native());
    cr_status st = read_graph(path, options, m, err);
    if (st == CR_OK) st = describe(m, path, err);
    if (st != CR_OK) {
        cr_model_free(&m);
        /* readers name the file themselves; passes behind them know nodes only */
        if (err && strncmp(err->message, path, strlen(path))) cr_fail_prefix(err, st, "%s", path);
        return st;
    }
    *out = m;
    return CR_OK;
}

cr_status cr_model_of_graph(cr_graph *g, const char *path, cr_model **out, cr_error *err)
{
    *out = NULL;
    cr_model *m = cr_calloc(1, sizeof *m);
    if (!m) {
        cr_graph_free(&g);
        return CR_NOMEM(err);
    }
    m->graph = g;
    m->info.format = "ONNX";
    m->notes.arena = &m->arena;
    cr_status st = note_file_nodes(m, err);
    if (st == CR_OK) st = cr_graph_prepare(m->graph, cr_op_run, err);
    if (st == CR_OK) st = cr_graph_infer(m->graph, err);
    if (st == CR_OK) st = describe(m, path, err);
    if (st != CR_OK) {
        cr_model_free(&m);
        return st;
    }
    *out = m;
    return CR_OK;
}

void cr_model_free(cr_model **mp)
{
    if (!mp || !*mp) return;
    cr_model *m = *mp;
    cr_graph_free(&m->graph);
    cr_graph_free(&m->read);
    cr_graph_free(&m->applied);
    cr_graph_free(&m->stored);
    cr_recipe_release(&m->recipe);
    cr_recipe_release(&m->prior);
    cr_free(m->notes.list);
    cr_free(m->roles);
    cr_arena_free(&m->arena);
    cr_free(m);
    *mp = NULL;
}

void cr_model_give_weights(cr_model *m) { m->gives = true; }

const cr_model_info *cr_model_get_info(const cr_model *m) { return &m->info; }

void cr_model_set_preprocess(cr_model *m, const cr_preprocess *pre)
{
    m->info.preprocess = *pre;
    m->info.preprocess_why = "given by the user";
}

size_t cr_model_port_count(const cr_model *m, cr_port port)
{
    const cr_graph *g = cr_model_graph(m);
    return port == CR_PORT_INPUT ? g->input_count : g->output_count;
}

cr_port_info cr_model_port(const cr_model *m, cr_port port, size_t index)
{
    const cr_graph *g = cr_model_graph(m);
    const cr_tensor *t = (port == CR_PORT_INPUT ? g->inputs : g->outputs)[index];
    cr_port_info info = {t->name, cr_dtype_key(t->dtype), t->shape.rank, {0}};
    for (int d = 0; d < t->shape.rank; d++) info.dim[d] = t->shape.dim[d];
    return info;
}

static const cr_recipe_entry *find_entry(const cr_model *m, const cr_tensor *t)
{
    for (size_t i = 0; t && m->recipe && i < m->recipe->count; i++)
        if (!strcmp(m->recipe->entries[i].tensor, t->name)) return &m->recipe->entries[i];
    return NULL;
}

static const char *stored_type(const cr_model *m, const cr_tensor *t)
{
    const cr_recipe_entry *e = find_entry(m, t);
    if (!t) return "";
    return cr_dtype_key(e ? e->q.type : t->dtype);
}

cr_status cr_model_layer(const cr_model *m, size_t index, cr_layer_info *out, cr_error *err)
{
    CR_CHECK(index < m->graph->node_count, err, CR_ERR_ARGUMENT, "no layer %zu", index);
    static const char *const roles[] = {"body", "last", "decode"};
    const cr_node *n = m->graph->nodes[index];
    const cr_tensor *y = n->n_out ? n->out[0] : NULL, *x = n->n_in ? n->in[0] : NULL;
    *out = (cr_layer_info){.name = n->name, .op = n->op->name, .output = y ? y->name : ""};
    if (y) cr_shape_text(&y->shape, out->shape, sizeof out->shape);
    out->macs = cr_node_macs(n);
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && is_weight(n->in[k]))
            out->parameters += (uint64_t)cr_shape_count(&n->in[k]->shape);
    out->role = roles[m->roles[index]];
    out->input_type = stored_type(m, x);
    out->output_type = stored_type(m, y);
    const bool heavy = n->n_in > 1 && n->in[1] && n->in[1]->data && (n->op->flags & CR_OPF_HEAVY);
    out->weight_type = heavy ? stored_type(m, n->in[1]) : "";
    return CR_OK;
}

cr_status cr_model_head_parts(cr_model *m, cr_head_part_info **out, size_t *count, cr_error *err)
{
    cr_head_parts parts;
    *out = NULL;
    *count = 0;
    CR_TRY(cr_head_parts_find(m->graph, m->roles, NULL, &parts, err));
    cr_head_part_info *list = calloc(parts.count + 1, sizeof *list);
    for (size_t i = 0; list && i < parts.count; i++) {
        const cr_part_run *r = &parts.runs[i];
        char shape[96];
        list[i] = (cr_head_part_info){
            r->node->name,
            cr_arena_strdup(&m->arena, cr_shape_text(&r->node->out[0]->shape, shape, sizeof shape)),
            cr_part_name(r->part), r->first, r->count};
    }
    if (list) {
        *out = list;
        *count = parts.count;
    }
    cr_head_parts_release(&parts);
    return list ? CR_OK : CR_NOMEM(err);
}
