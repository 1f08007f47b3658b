/* Runs ONNX's own backend tests through the reader and the reference operators.
 *
 *     peers-node_tests [-v] [-w OPSET] FOLDER...   FOLDER/NAME/model.onnx, made by node_tests.py
 *
 * -w: each model is written at that opset and read back before it runs; what the opset cannot say
 * is skipped aloud.
 *
 * Each node of a model runs on the test's inputs with cr_op_run; the outputs have to match as
 * ONNX's own runner asks: shapes and element types exactly, integers and booleans exactly, floats
 * within rtol 1e-3 and atol 1e-7 or what the test's `tolerance` file says.
 *
 * A test is counted if all its operators are in ops.inc. Of those, tests are skipped aloud whose
 * values are of types that a detector's tensors never have (strings, complex, 8-bit and 4-bit
 * floats, 2-bit integers, sequences, optionals, maps), that run BatchNormalization or Dropout in
 * training mode (their outputs are random or running statistics), or whose opset is older than the
 * reader takes. Prints one line per test (PASS only with -v), then "N passed, N failed, N skipped";
 * exit 1 if one failed. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cr_onnx.pb-c.h"
#include "onnx/onnx.h"
#include "onnx/onnx_tensor.h"
#include "onnx/upgrade.h"
#include "ops/ref.h"

typedef enum outcome { PASS, FAIL, SKIP, NOT_LISTED } outcome;

typedef struct test {
    char folder[1024];
    double rtol, atol;
    char reason[512];
    int write_opset; /* 0: the model runs as it was read */
} test;

static outcome because(test *t, outcome what, const char *reason)
{
    snprintf(t->reason, sizeof t->reason, "%s", reason);
    return what;
}

static int opset_of(const CrOnnx__ModelProto *m)
{
    for (size_t i = 0; i < m->n_opset_import; i++)
        if (!m->opset_import[i]->domain || !*m->opset_import[i]->domain)
            return (int)m->opset_import[i]->version;
    return 0;
}

static bool has_type(const CrOnnx__ValueInfoProto *v, test *t)
{
    const CrOnnx__TypeProto__Tensor *type = v->type ? v->type->tensor_type : NULL;
    if (type && cr_dtype_from_onnx(type->elem_type) != CR_DT_NONE) return true;
    snprintf(t->reason, sizeof t->reason, "'%s' is %s", v->name,
             type ? cr_onnx_type_name(type->elem_type) : "not a tensor");
    return false;
}

static bool is_training(const CrOnnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_attribute; i++)
        if (!strcmp(n->attribute[i]->name, "training_mode") && n->attribute[i]->i) return true;
    return false;
}

/* Whether a model counts at all, and whether we can hold its values. PASS: run it. */
static outcome classify(const CrOnnx__ModelProto *m, test *t)
{
    const int opset = opset_of(m);
    for (size_t i = 0; i < m->graph->n_node; i++) {
        const CrOnnx__NodeProto *n = m->graph->node[i];
        if (!cr_upgrade_find(opset, n->domain ? n->domain : "", n->op_type)) return NOT_LISTED;
    }
    if (opset < CR_ONNX_MIN_OPSET) {
        snprintf(t->reason, sizeof t->reason, "opset %d", opset);
        return SKIP;
    }
    for (size_t i = 0; i < m->graph->n_input; i++)
        if (!has_type(m->graph->input[i], t)) return SKIP;
    for (size_t i = 0; i < m->graph->n_output; i++)
        if (!has_type(m->graph->output[i], t)) return SKIP;
    for (size_t i = 0; i < m->graph->n_node; i++)
        if (is_training(m->graph->node[i])) return because(t, SKIP, "training mode");
    return PASS;
}

static bool load_tensor(const test *t, int set, const char *kind, size_t index, cr_tensor *out,
                        bool *absent, cr_error *err)
{
    char path[1200], name[64];
    unsigned char *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%zu.pb", t->folder, set, kind, index);
    FILE *f = fopen(path, "rb");
    *absent = !f;
    if (!f) return false;
    fclose(f);
    if (cr_file_read(path, (size_t)1 << 31, &bytes, &size, err) != CR_OK) return false;
    const cr_status st = cr_onnx_parse_tensor(bytes, size, name, out, err);
    out->name = "value";
    cr_free(bytes);
    return st == CR_OK;
}

static bool same_float(const test *t, double got, double want)
{
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got)) return want == got;
    return fabs(got - want) <= t->atol + t->rtol * fabs(want);
}

/* Half-precision values up to two steps apart. One step of bfloat16 is up to 2^-7 of the value,
 * more than rtol 1e-3. Six "expanded" attention tests need this: their expected values come from
 * numpy, which rounds exp, sum and quotient inside Softmax to the half type; our operators compute
 * in float32 and round once. Two steps is the largest difference that was seen. */
static bool is_half_neighbour(const cr_tensor *got, const cr_tensor *want, size_t i)
{
    if (want->dtype != CR_DT_F16 && want->dtype != CR_DT_BF16) return false;
    const int a = ((const uint16_t *)got->data)[i], b = ((const uint16_t *)want->data)[i];
    return (a ^ b) < 0x8000 && abs(a - b) <= 2; /* same sign */
}

static bool same_element(const test *t, const cr_tensor *got, const cr_tensor *want, size_t i)
{
    if (cr_dtype_is_float(want->dtype))
        return same_float(t, cr_tensor_get_f64(got, i), cr_tensor_get_f64(want, i)) ||
               is_half_neighbour(got, want, i);
    return cr_tensor_get_i64(got, i) == cr_tensor_get_i64(want, i);
}

static outcome compare(test *t, const cr_tensor *got, const cr_tensor *want)
{
    char a[160], b[160];
    if (got->dtype != want->dtype || !cr_shape_equal(&got->shape, &want->shape) || !got->data) {
        snprintf(t->reason, sizeof t->reason, "output '%.60s' is %s %s, expected %s %s", got->name,
                 cr_dtype_key(got->dtype), cr_shape_text(&got->shape, a, sizeof a),
                 cr_dtype_key(want->dtype), cr_shape_text(&want->shape, b, sizeof b));
        return FAIL;
    }
    const size_t n = (size_t)cr_shape_count(&want->shape);
    for (size_t i = 0; i < n; i++) {
        if (same_element(t, got, want, i)) continue;
        snprintf(t->reason, sizeof t->reason, "output '%.60s' [%zu] = %.9g, expected %.9g",
                 got->name, i, cr_tensor_get_f64(got, i), cr_tensor_get_f64(want, i));
        return FAIL;
    }
    return PASS;
}

static outcome feed(test *t, cr_graph *g, int set, bool *any)
{
    cr_error err = {0};
    *any = g->input_count == 0;
    for (size_t i = 0; i < g->input_count; i++) {
        cr_tensor value;
        bool absent;
        if (!load_tensor(t, set, "input", i, &value, &absent, &err)) {
            if (absent && i == 0) return PASS; /* no such data set */
            return because(t, err.status == CR_ERR_UNSUPPORTED ? SKIP : FAIL,
                           absent ? "an input is missing" : err.message);
        }
        *any = true;
        g->inputs[i]->dtype = value.dtype;
        g->inputs[i]->shape = value.shape;
        g->inputs[i]->data = value.data;
    }
    return PASS;
}

static outcome check_outputs(test *t, const cr_graph *g, int set, bool *any)
{
    for (size_t i = 0; i < g->output_count; i++) {
        cr_tensor want;
        bool absent;
        cr_error err = {0};
        if (!load_tensor(t, set, "output", i, &want, &absent, &err)) {
            if (absent) return i ? because(t, FAIL, "an output is missing") : PASS;
            return because(t, err.status == CR_ERR_UNSUPPORTED ? SKIP : FAIL, err.message);
        }
        *any = true;
        const outcome o = compare(t, g->outputs[i], &want);
        cr_tensor_drop_data(&want);
        if (o != PASS) return o;
    }
    return PASS;
}

static cr_status through_file(cr_graph **g, int opset, cr_error *err)
{
    const cr_onnx_options options = {.keep_half = true, .keep_symbolic = true};
    const cr_onnx_write_options w = {.opset = opset};
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_graph_infer(*g, err));
    CR_TRY(cr_onnx_serialize(*g, &w, &bytes, &size, err));
    cr_graph_free(g);
    const cr_status st = cr_onnx_parse(bytes, size, NULL, "written", &options, g, err);
    cr_free(bytes);
    return st;
}

/* The model with the data set's inputs in it. */
static outcome prepare(test *t, cr_graph **g, int set, bool *any)
{
    cr_error err = {0};
    outcome o = feed(t, *g, set, any);
    if (o != PASS || !*any || !t->write_opset) return o;
    if (through_file(g, t->write_opset, &err) != CR_OK) {
        const bool cannot =
            strstr(err.message, "needs opset") || strstr(err.message, "training mode");
        return because(t, cannot ? SKIP : FAIL, err.message);
    }
    return feed(t, *g, set, any);
}

/* One data set; *any is false when there is no set of that number. */
static outcome run_set(test *t, const char *model, int set, bool *any)
{
    const cr_onnx_options options = {.keep_half = true, .keep_symbolic = true};
    cr_error err = {0};
    cr_graph *g;
    if (cr_onnx_read(model, &options, &g, &err) != CR_OK) {
        const bool type = strstr(err.message, "element type") || strstr(err.message, "a string");
        return because(t, err.status == CR_ERR_UNSUPPORTED && type ? SKIP : FAIL, err.message);
    }
    outcome o = prepare(t, &g, set, any);
    for (size_t i = 0; o == PASS && *any && i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
        if (cr_op_run(&call, &err) != CR_OK)
            o = because(t, strstr(err.message, "training mode") ? SKIP : FAIL, err.message);
    }
    bool compared = false;
    if (o == PASS && *any) o = check_outputs(t, g, set, &compared);
    *any = *any && compared;
    cr_graph_free(&g);
    return o;
}

static outcome run_test(test *t)
{
    char path[1100];
    unsigned char *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/tolerance", t->folder);
    FILE *f = fopen(path, "r");
    t->rtol = 1e-3;
    t->atol = 1e-7;
    if (f && fscanf(f, "%lf %lf", &t->rtol, &t->atol) != 2) t->rtol = t->atol = 0;
    if (f) fclose(f);
    snprintf(path, sizeof path, "%s/model.onnx", t->folder);
    cr_error err;
    if (cr_file_read(path, (size_t)1 << 31, &bytes, &size, &err) != CR_OK) return NOT_LISTED;
    CrOnnx__ModelProto *m = cr_onnx__model_proto__unpack(NULL, size, bytes);
    cr_free(bytes);
    outcome o = m ? classify(m, t) : because(t, FAIL, "cannot be parsed");
    if (m) cr_onnx__model_proto__free_unpacked(m, NULL);
    bool any = true;
    int sets = 0;
    while (o == PASS && any) o = run_set(t, path, sets++, &any);
    if (o == PASS && sets < 2) return because(t, FAIL, "no test data");
    return o;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **list_folder(const char *path, size_t *count)
{
    char **names = NULL;
    size_t cap = 0;
    DIR *d = opendir(path);
    *count = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        if (!cr_grow((void **)&names, &cap, *count, sizeof *names)) break;
        names[(*count)++] = cr_strdup(e->d_name);
    }
    if (d) closedir(d);
    if (*count) qsort(names, *count, sizeof *names, by_name);
    return names;
}

static void run_folder(const char *path, bool verbose, int opset, int counts[4])
{
    static const char *const words[] = {"PASS", "FAIL", "SKIP"};
    size_t n;
    char **names = list_folder(path, &n);
    for (size_t i = 0; i < n; i++) {
        test t = {.write_opset = opset};
        snprintf(t.folder, sizeof t.folder, "%s/%s", path, names[i]);
        const outcome o = run_test(&t);
        counts[o]++;
        if (o == FAIL || o == SKIP || (o == PASS && verbose))
            printf("%s %s %s\n", words[o], names[i], t.reason);
        cr_free(names[i]);
    }
    cr_free(names);
}

int main(int argc, char **argv)
{
    int counts[4] = {0}, first = 1, opset = 0;
    const bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    first += verbose;
    if (first + 1 < argc && !strcmp(argv[first], "-w")) {
        opset = atoi(argv[first + 1]);
        first += 2;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: peers-node_tests [-v] [-w OPSET] FOLDER...\n");
        return 2;
    }
    for (int i = first; i < argc; i++) run_folder(argv[i], verbose, opset, counts);
    printf("not listed: %d tests\n", counts[NOT_LISTED]);
    printf("%d passed, %d failed, %d skipped\n", counts[PASS], counts[FAIL], counts[SKIP]);
    return counts[FAIL] || !counts[PASS];
}
