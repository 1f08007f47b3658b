/* The whole of an IR: parameters, layers in the graph's order, results, facts. */
#include <ctype.h>
#include <string.h>

#include "openvino/ir_write.h"
#include "base/error.h"
#include "base/file.h"
#include "openvino/ir_out.h"

/* ---- layers ---- */

static cr_status with_fakes(cr_ir_out *w, const cr_tensor *t)
{
    if (t && w->refs[t->id].layer && cr_ir_needs_fake(w, t))
        w->refs[t->id] = cr_ir_put_fake(w, t, &w->entries[t->id]->q, w->refs[t->id]);
    return CR_OK;
}

static cr_status put_inputs(cr_ir_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->input_count; i++) {
        const cr_tensor *t = w->g->inputs[i];
        const bool integer = t->dtype == CR_DT_I64 || t->dtype == CR_DT_I32;
        char attrs[64 + CR_MAX_RANK * 24];
        CR_CHECK(integer || t->dtype == CR_DT_F32 || t->dtype == CR_DT_U8, err, CR_ERR_UNSUPPORTED,
                 "input '%.80s' of type %s", t->name, cr_dtype_key(t->dtype));
        int at = snprintf(attrs, sizeof attrs, "element_type=\"%s\" shape=\"",
                          t->dtype == CR_DT_F32   ? "f32"
                          : t->dtype == CR_DT_U8  ? "u8"
                          : t->dtype == CR_DT_I64 ? "i64"
                                                  : "i32");
        for (int d = 0; d < t->shape.rank; d++)
            at += snprintf(attrs + at, sizeof attrs - (size_t)at, "%s%lld", d ? "," : "",
                           (long long)t->shape.dim[d]);
        snprintf(attrs + at, sizeof attrs - (size_t)at, "\"");
        w->refs[t->id] = (cr_ir_ref){.dtype = t->dtype, .shape = t->shape};
        cr_ir_layer_n(w, "Parameter", 1, t->name, attrs, NULL, 0, &w->refs[t->id], &t->name, 1);
        CR_TRY(with_fakes(w, t));
    }
    return CR_OK;
}

static cr_status put_nodes(cr_ir_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->node_count; i++) {
        const cr_node *n = w->n = w->g->nodes[i];
        cr_ir_put *put = cr_ir_find_put(n);
        CR_CHECK(put, err, CR_ERR_UNSUPPORTED, "node '%.80s': OpenVINO IR as it is written here has no %s",
                 n->name, n->op->name);
        const cr_status st = put(w, err);
        if (st != CR_OK) return cr_fail_prefix(err, st, "node '%.80s' (%s)", n->name, n->op->name);
        for (int k = 0; k < n->n_out; k++) CR_TRY(with_fakes(w, n->out[k]));
    }
    return CR_OK;
}

static cr_status put_results(cr_ir_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->output_count; i++) {
        cr_ir_ref in;
        CR_TRY(cr_ir_ref_of(w, w->g->outputs[i], &in, err));
        cr_ir_layer_n(w, "Result", 1, cr_ir_stem(w, w->g->outputs[i], "result"), NULL, &in, 1, NULL, NULL,
                      0);
    }
    return CR_OK;
}

/* ---- what can be written at all ---- */

static cr_status check(const cr_ir_out *w, cr_error *err)
{
    for (size_t i = 0; i < w->g->tensor_count; i++) {
        const cr_tensor *t = w->g->tensors[i];
        const cr_recipe_entry *e = w->entries[i];
        CR_CHECK(cr_shape_known(&t->shape) && t->dtype != CR_DT_NONE, err, CR_ERR_UNSUPPORTED,
                 "tensor '%.80s' has no fixed size", t->name);
        CR_CHECK(!e || !e->q.dynamic, err, CR_ERR_UNSUPPORTED,
                 "OpenVINO IR cannot say that '%.80s' is quantized anew in every run; "
                 "--mode static or weights can be written",
                 t->name);
    }
    return CR_OK;
}

/* ---- the .xml ---- */

static bool is_xml_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    for (; *s; s++)
        if ((*s & 0x80) || (!isalnum((unsigned char)*s) && !strchr("_.-", *s))) return false;
    return true;
}

static void print_facts(cr_ir_out *w, cr_ir_buffer *b, const char *group, const char *const *facts,
                        size_t n)
{
    if (!n) return;
    cr_ir_print(w, b, "<%s>\n", group);
    for (size_t i = 0; i < n; i++) {
        if (!is_xml_name(facts[2 * i])) continue;
        cr_ir_print(w, b, "<%s value=\"", facts[2 * i]);
        cr_ir_print_text(w, b, facts[2 * i + 1]);
        cr_ir_print(w, b, "\" />\n");
    }
    cr_ir_print(w, b, "</%s>\n", group);
}

static cr_status print_file(cr_ir_out *w, FILE *f, cr_error *err)
{
    cr_ir_buffer head = {0}, facts = {0};
    cr_ir_print(w, &head, "<?xml version=\"1.0\"?>\n<net name=\"");
    cr_ir_print_text(w, &head, w->g->name && *w->g->name ? w->g->name : "model");
    cr_ir_print(w, &head, "\" version=\"11\">\n<layers>\n");
    cr_ir_print(w, &facts, "</edges>\n<rt_info>\n");
    print_facts(w, &facts, "model_info", w->options->info, w->options->info_count);
    print_facts(w, &facts, "metadata", (const char *const *)w->g->meta, w->g->meta_count);
    cr_ir_print(w, &facts, "</rt_info>\n</net>\n");
    if (!w->failed) {
        fwrite(head.bytes, 1, head.used, f); /* the stream remembers a failure */
        fwrite(w->layers.bytes, 1, w->layers.used, f);
        fputs("</layers>\n<edges>\n", f);
        if (w->edges.used) fwrite(w->edges.bytes, 1, w->edges.used, f);
        fwrite(facts.bytes, 1, facts.used, f);
    }
    cr_free(head.bytes);
    cr_free(facts.bytes);
    return w->failed ? CR_NOMEM(err) : CR_OK;
}

/* ---- the two files ---- */

static cr_status put_all(cr_ir_out *w, const cr_recipe *r, FILE *xml, cr_error *err)
{
    CR_TRY(cr_recipe_bind(r, w->g, &w->entries, err));
    w->refs = cr_calloc(w->g->tensor_count + 1, sizeof *w->refs);
    if (!w->refs) return CR_NOMEM(err);
    CR_TRY(check(w, err));
    CR_TRY(put_inputs(w, err));
    CR_TRY(put_nodes(w, err));
    CR_TRY(put_results(w, err));
    return print_file(w, xml, err);
}

static void free_writer(cr_ir_out *w)
{
    cr_names_free(&w->names);
    cr_arena_free(&w->arena);
    cr_free(w->layers.bytes);
    cr_free(w->edges.bytes);
    cr_free(w->entries);
    cr_free(w->refs);
}

static char *bin_path(const char *path)
{
    const size_t n = strlen(path), stem = n > 4 && !strcmp(path + n - 4, ".xml") ? n - 4 : n;
    char *name = cr_malloc(stem + 5);
    if (!name) return NULL;
    memcpy(name, path, stem);
    memcpy(name + stem, ".bin", 5);
    return name;
}

cr_status cr_openvino_write(const cr_graph *g, const cr_recipe *r,
                            const cr_openvino_write_options *o, const char *path, cr_error *err)
{
    static const cr_openvino_write_options defaults = {0};
    cr_ir_out w = {.g = g, .options = o ? o : &defaults};
    cr_outfile *xml = NULL, *bin = NULL;
    char *name = bin_path(path);
    cr_status st = name ? cr_outfile_open(path, &xml, err) : CR_NOMEM(err);
    if (st == CR_OK) st = cr_outfile_open(name, &bin, err);
    if (st == CR_OK) {
        w.bin = cr_outfile_stream(bin);
        st = put_all(&w, r, cr_outfile_stream(xml), err);
        if (st != CR_OK) st = cr_fail_prefix(err, st, "%s", path);
    }
    /* the .xml last: what it names lies there when it appears */
    if (st == CR_OK) st = cr_outfile_commit(&bin, err);
    if (st == CR_OK) st = cr_outfile_commit(&xml, err);
    cr_outfile_abort(&bin);
    cr_outfile_abort(&xml);
    free_writer(&w);
    cr_free(name);
    return st;
}
