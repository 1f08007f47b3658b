/* Runs a model on raw inputs and writes what came out, for comparison with other runtimes.
 *
 *     peers-run_model MODEL OUTDIR [--reference] [--tensors] [--recipe FILE] [--threads N]
 *         [--imgsz N] IN.bin...
 *
 * IN.bin: graph input i, row-major float32. OUTDIR gets outN.bin (float32) for each output, and with
 * --tensors one file per activation: tensor-K.bin, listed in tensors.txt as "K shape name". A tensor
 * with a recipe entry is written as its codes' real values; its scale and zero point stand in
 * entries.txt as "name type scales zero_points", lists along axis 1. --reference: node by node, no
 * fusion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "graph/passes.h"
#include "onnx/qdq.h"
#include "onnx/qop.h"
#include "ops/ref.h"
#include "pipeline/formats.h"
#include "quant/plan.h"
#include "runtime/runtime.h"

typedef struct dump {
    const char *dir;
    FILE *list;
    int count;
} dump;

static FILE *open_in(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        fprintf(stderr, "%s: cannot write\n", path);
        exit(1);
    }
    return f;
}

static void see(void *user, const cr_view *v)
{
    dump *d = user;
    char name[64], shape[160];
    const size_t n = (size_t)(v->rows * v->cols);
    float *data = malloc(n * sizeof *data + 1);
    cr_view_to_f32(v, data);
    snprintf(name, sizeof name, "tensor-%d.bin", d->count);
    FILE *f = open_in(d->dir, name);
    fwrite(data, sizeof *data, n, f);
    fclose(f);
    fprintf(d->list, "%d %s %s\n", d->count++, cr_shape_text(&v->tensor->shape, shape, sizeof shape),
            v->tensor->name);
    free(data);
}

/* Scales and zero points as lists; more than one: along axis 1. */
static void write_entries(const char *dir, const cr_recipe *r)
{
    FILE *f = open_in(dir, "entries.txt");
    for (size_t i = 0; r && i < r->count; i++) {
        const cr_recipe_entry *e = &r->entries[i];
        if (e->is_weight || e->q.dynamic || (e->q.count > 1 && e->q.axis != 1)) continue;
        fprintf(f, "%s %s ", e->tensor, cr_dtype_key(e->q.type));
        for (size_t c = 0; c < e->q.count; c++)
            fprintf(f, "%s%.9g", c ? "," : "", (double)e->q.scale[c]);
        for (size_t c = 0; c < e->q.count; c++)
            fprintf(f, "%c%d", c ? ',' : ' ', e->q.zero_point[c]);
        fputc('\n', f);
    }
    fclose(f);
}

static void write_output(const char *dir, size_t i, const cr_tensor *t)
{
    char name[64];
    snprintf(name, sizeof name, "out%zu.bin", i);
    FILE *f = open_in(dir, name);
    const int64_t n = cr_shape_count(&t->shape);
    for (int64_t k = 0; k < n; k++) {
        const float x = (float)cr_tensor_get_f64(t, (size_t)k);
        fwrite(&x, sizeof x, 1, f);
    }
    fclose(f);
}

static cr_status run_session(const cr_graph *g, const cr_recipe *r, int threads, float **in,
                             const cr_observer *o, const char *dir, cr_error *err)
{
    cr_program *p;
    cr_session *s;
    CR_TRY(cr_program_create(g, r, threads, &p, err));
    CR_TRY(cr_session_open(p, NULL, &s, err));
    cr_session_set_observer(s, o);
    for (size_t i = 0; i < g->input_count; i++)
        memcpy(cr_session_input_data(s, i), in[i], cr_tensor_bytes(g->inputs[i]));
    CR_TRY(cr_session_execute(s, err));
    for (size_t i = 0; i < g->output_count; i++)
        write_output(dir, i, cr_session_output_tensor(s, i));
    cr_session_close(&s);
    cr_program_free(&p);
    return CR_OK;
}

static cr_status run_reference(const cr_graph *g, const cr_recipe *r, float **in,
                               const cr_observer *o, const char *dir, cr_error *err)
{
    cr_tensor out[64] = {0};
    CR_TRY(cr_reference_run(g, r, (const float *const *)in, out, o, err));
    for (size_t i = 0; i < g->output_count; i++) {
        write_output(dir, i, &out[i]);
        cr_tensor_drop_data(&out[i]);
    }
    return CR_OK;
}

typedef struct args {
    const char *model, *dir, *recipe, *in[16];
    bool reference, tensors;
    int threads, size;
    size_t n_in;
} args;

static cr_status run(const args *a, cr_error *err)
{
    cr_model_options o = cr_model_options_default();
    const cr_format *format;
    cr_graph *g;
    cr_recipe *r = NULL;
    float *in[16] = {0};
    o.height = o.width = a->size;
    CR_TRY(cr_format_of_file(a->model, &format, err));
    CR_TRY(format->read(a->model, &o, &g, err));
    CR_TRY(cr_qop_read(g, err));
    CR_TRY(cr_graph_prepare(g, cr_op_run, err));
    CR_TRY(cr_qdq_read(g, &r, err));
    if (a->recipe) {
        cr_recipe_release(&r);
        CR_TRY(cr_recipe_read(a->recipe, &r, err));
    }
    CR_CHECK(g->input_count == a->n_in, err, CR_ERR_ARGUMENT, "the model has %zu inputs",
             g->input_count);
    for (size_t i = 0; i < a->n_in; i++) {
        size_t size;
        CR_TRY(cr_file_read(a->in[i], (size_t)1 << 31, (unsigned char **)&in[i], &size, err));
        CR_CHECK(size == cr_tensor_bytes(g->inputs[i]), err, CR_ERR_ARGUMENT, "%s: %zu bytes, not %zu",
                 a->in[i], size, cr_tensor_bytes(g->inputs[i]));
    }
    write_entries(a->dir, r);
    dump d = {a->dir, a->tensors ? open_in(a->dir, "tensors.txt") : NULL, 0};
    const cr_observer observer = {see, &d}, *used = a->tensors ? &observer : NULL;
    CR_TRY(a->reference ? run_reference(g, r, in, used, a->dir, err)
                        : run_session(g, r, a->threads, in, used, a->dir, err));
    if (d.list) fclose(d.list);
    for (size_t i = 0; i < a->n_in; i++) cr_free(in[i]);
    cr_recipe_release(&r);
    cr_graph_free(&g);
    return CR_OK;
}

int main(int argc, char **argv)
{
    args a = {.threads = 0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--reference")) a.reference = true;
        else if (!strcmp(argv[i], "--tensors")) a.tensors = true;
        else if (!strcmp(argv[i], "--recipe") && i + 1 < argc) a.recipe = argv[++i];
        else if (!strcmp(argv[i], "--imgsz") && i + 1 < argc) a.size = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) a.threads = atoi(argv[++i]);
        else if (!a.model) a.model = argv[i];
        else if (!a.dir) a.dir = argv[i];
        else if (a.n_in < 16) a.in[a.n_in++] = argv[i];
    }
    cr_error err = {0};
    if (!a.dir || run(&a, &err) != CR_OK) {
        fprintf(stderr, "run_model: %s\n", a.dir ? err.message : "MODEL OUTDIR IN.bin...");
        return 1;
    }
    return 0;
}
