/* Which format a file has, or is to have. */
#include "pipeline/formats.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"
#include "onnx/qop.h"
#include "onnx/slim.h"
#include "openvino/openvino.h"
#include "ops/ref.h"
#include "pipeline/coreml_out.h"
#include "pipeline/ncnn_export.h"
#include "pipeline/openvino_out.h"
#include "pipeline/target.h"
#include "tflite/tflite_read.h"
#include "torch/checkpoint.h"
#include "torch/torch.h"

static cr_status onnx_read(const char *path, const cr_model_options *o, cr_graph **out,
                           cr_error *err)
{
    const cr_onnx_options onnx = {
        .max_bytes = o->max_bytes, .height = o->height, .width = o->width};
    return cr_onnx_read(path, &onnx, out, err);
}

/* The source's opset where it can say what there is to say, the usual one above. */
static int onnx_opset(const cr_model *m)
{
    const int least = cr_qdq_opset(m->recipe), own = m->info.opset;
    if (own <= least || least > CR_ONNX_USUAL_OPSET) return least;
    return own < CR_ONNX_USUAL_OPSET ? own : CR_ONNX_USUAL_OPSET;
}

typedef cr_status (*put_recipe_fn)(const cr_graph *g, const cr_recipe *r, cr_graph **out,
                                   cr_error *err);

static cr_status onnx_write_as(const cr_model *m, put_recipe_fn put_recipe, const char *path,
                               cr_error *err)
{
    const cr_onnx_write_options w = {.opset = onnx_opset(m), .lean = m->recipe != NULL};
    if (!m->recipe) return cr_onnx_write(m->stored ? m->stored : m->graph, &w, path, err);
    cr_graph *g;
    CR_TRY(put_recipe(cr_model_graph(m), m->recipe, &g, err));
    cr_status st = cr_onnx_slim(g, err);
    if (st == CR_OK) st = cr_onnx_write(g, &w, path, err);
    cr_graph_free(&g);
    return st;
}

static bool tflite_recognize(const cr_format_probe *p)
{
    return cr_tflite_recognize(p->head, p->size);
}

static cr_status tflite_read(const char *path, const cr_model_options *o, cr_graph **out,
                             cr_error *err)
{
    return cr_tflite_read(path, o->max_bytes, out, err);
}

static bool is_checkpoint(const cr_format_probe *p)
{
    return !p->folder && cr_checkpoint_is(p->head, p->size);
}

static cr_status torch_read(const char *path, const cr_model_options *o, cr_graph **out,
                            cr_error *err)
{
    const cr_torch_options torch = {
        .max_bytes = o->max_bytes, .height = o->height, .width = o->width};
    return cr_torch_read(path, &torch, out, err);
}

static cr_status onnx_write(const cr_model *m, const cr_export_options *options, const char *path,
                            cr_error *err)
{
    (void)options;
    return onnx_write_as(m, cr_qdq_write, path, err);
}

static cr_status qop_write(const cr_model *m, const cr_export_options *options, const char *path,
                           cr_error *err)
{
    (void)options;
    return onnx_write_as(m, cr_qop_write, path, err);
}

static bool openvino_recognize(const cr_format_probe *p)
{
    return cr_openvino_recognize(p->head, p->size);
}

static cr_status openvino_read(const char *path, const cr_model_options *o, cr_graph **out,
                               cr_error *err)
{
    const cr_openvino_options ir = {.max_bytes = o->max_bytes, .height = o->height,
                                    .width = o->width};
    return cr_openvino_read(path, &ir, cr_op_run, out, err);
}

/* The first is what a file is taken for when nothing else fits. */
static const cr_format formats[] = {
    {"ONNX", "qdq", ".onnx", NULL, onnx_read, onnx_write},
    {"ONNX", "qoperator", ".onnx", NULL, onnx_read, qop_write},
    {"TFLite", "tflite", ".tflite", tflite_recognize, tflite_read, cr_tflite_export},
    {"PyTorch checkpoint", "pt", ".pt", is_checkpoint, torch_read, NULL},
    {"OpenVINO IR", "openvino", ".xml", openvino_recognize, openvino_read, cr_openvino_export},
    {"ncnn", "ncnn", ".param", NULL, NULL, cr_ncnn_export},
    {"Core ML", "coreml", ".mlpackage", NULL, NULL, cr_coreml_export},
};
enum { FORMAT_COUNT = sizeof formats / sizeof *formats };

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path);
    const size_t e = strlen(ending);
    while (n && path[n - 1] == '/') n--; /* a package is a folder */
    return n >= e && !strncasecmp(path + n - e, ending, e);
}

static const cr_format *by_ending(const char *path)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (ends_with(path, formats[i].ending)) return &formats[i];
    return NULL;
}

static cr_status look(const char *path, cr_format_probe *p, cr_error *err)
{
    struct stat s;
    *p = (cr_format_probe){.path = path};
    p->folder = !stat(path, &s) && S_ISDIR(s.st_mode);
    if (p->folder) return CR_OK;
    FILE *f = fopen(path, "rb");
    CR_CHECK(f, err, CR_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    p->size = fread(p->head, 1, sizeof p->head, f);
    fclose(f);
    return CR_OK;
}

cr_status cr_format_of_file(const char *path, const cr_format **out, cr_error *err)
{
    cr_format_probe probe;
    CR_TRY(look(path, &probe, err));
    *out = by_ending(path);
    if (!*out) *out = &formats[0];
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (formats[i].recognize && formats[i].recognize(&probe)) *out = &formats[i];
    CR_CHECK((*out)->read, err, CR_ERR_UNSUPPORTED, "%s: %s files are written, not read", path,
             (*out)->name);
    return CR_OK;
}

static const cr_format *by_key(const char *key)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (!strcmp(key, formats[i].key)) return &formats[i];
    return NULL;
}

/* "qdq (.onnx), tflite (.tflite)" */
static void list_formats(char *text, size_t size)
{
    size_t n = 0;
    for (int i = 0; i < FORMAT_COUNT && n < size; i++)
        if (formats[i].write)
            n += (size_t)snprintf(text + n, size - n, "%s%s (%s)", n ? ", " : "", formats[i].key,
                                  formats[i].ending);
}

cr_status cr_format_for_export(const char *path, const cr_export_options *options,
                               const cr_format **out, cr_error *err)
{
    char known[256] = "";
    list_formats(known, sizeof known);
    *out = options->format ? by_key(options->format) : by_ending(path);
    CR_CHECK(*out || !options->format, err, CR_ERR_ARGUMENT,
             "no format '%s' to write; there are: %s", options->format, known);
    CR_CHECK(*out, err, CR_ERR_ARGUMENT, "%s: the ending names no format; there are: %s", path,
             known);
    CR_CHECK((*out)->write, err, CR_ERR_UNSUPPORTED, "%s: %s files are read, not written", path,
             (*out)->name);
    return CR_OK;
}
