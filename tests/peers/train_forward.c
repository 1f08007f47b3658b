/* Does training see what the exported file does?
 *
 *     peers-train_forward MODEL PICTURE OUT
 *
 * Puts the recipe of a quantized MODEL on a tape (train/fake_quant.h), moves weights, scales and zero
 * points at random as an optimiser might, writes the model with what the tape then holds to OUT (ONNX,
 * where tensors keep their names), opens that file and runs it by reference, layer by layer, beside the
 * tape's forward pass. After each tensor the reference goes on with the tape's values, so that
 * differences do not travel. Floats may differ by the order of their sums, codes by one where the value
 * lies at a tie. Prints how many tensors were compared; exit 1 if one differs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crayon/image.h"
#include "crayon/quantize.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"
#include "unit/rounded_tape.h"

/* As in tests/unit/fake_quant.c; sums are longer here. */
static const double float_tolerance = 1e-4, tie = 2e-2;

typedef struct mirror {
    const cr_fake_quant *q;
    const cr_tape *tape;
    int floats, codes, wrong;
    long ties;
    double worst_float, worst_tie;
} mirror;

static void die(const char *what, const cr_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

/* Distance of element i's value from a tie, in steps. */
static double from_tie(const cr_computed *c, int64_t i, float raw)
{
    const cr_qparams *q = &c->entry->q;
    int64_t inner = 1;
    for (int d = q->axis + 1; q->count > 1 && d < c->tensor->shape.rank; d++)
        inner *= c->tensor->shape.dim[d];
    const double v = (double)raw / (double)q->scale[(size_t)(i / inner) % q->count];
    return fabs(fabs(v - floor(v)) - .5);
}

static bool is_off(mirror *m, const cr_computed *c, int64_t i, float raw, float got, double most)
{
    if (!c->entry) {
        const double gap = fabs((double)got - (double)c->raw[i]) / most;
        m->worst_float = fmax(m->worst_float, gap);
        return !(gap <= float_tolerance);
    }
    if (got == c->values[i]) return false;
    const double gap = from_tie(c, i, raw);
    m->ties++;
    m->worst_tie = fmax(m->worst_tie, gap);
    return gap > tie;
}

static void compare(void *user, const cr_computed *c)
{
    mirror *m = user;
    const cr_tensor *seen = cr_fake_quant_find(m->q, c->tensor->name);
    if (!seen || cr_shape_count(&seen->shape) != c->count) return;
    const cr_node *n = seen->producer;
    const cr_tensor *raw = n->op->kind == CR_OP_FakeQuantize ? n->in[0] : seen;
    const float *x = cr_tape_value(m->tape, raw), *y = cr_tape_value(m->tape, seen);
    const double most = largest_of(c->raw, c->count);
    int64_t off = 0, first = -1;
    for (int64_t i = 0; i < c->count; i++) {
        if (is_off(m, c, i, x[i], y[i], most)) {
            if (!off++) first = i;
        }
        c->values[i] = y[i];
    }
    *(c->entry ? &m->codes : &m->floats) += 1;
    if (!off) return;
    m->wrong++;
    fprintf(stderr, "%s (%s): %lld of %lld elements, first %lld: %g, not %g\n", c->tensor->name,
            c->entry ? "codes" : "floats", (long long)off, (long long)c->count, (long long)first,
            (double)x[first], (double)c->raw[first]);
}

static cr_tape *run_tape(const cr_model *m, const cr_fake_quant *q, const char *picture)
{
    cr_error err;
    cr_tape *tape;
    cr_image img;
    cr_rng rng;
    const cr_graph *g = cr_fake_quant_graph(q);
    bool *wanted = calloc(g->tensor_count, sizeof *wanted);
    const cr_tape_options o = {.real = CR_DT_F32, .wanted = wanted, .keep_values = true};
    if (cr_tape_create(g, &o, &tape, &err) != CR_OK) die("tape", &err);
    if (cr_image_read(picture, &img, &err) != CR_OK) die(picture, &err);
    float *input = cr_tape_value(tape, g->inputs[0]);
    if (cr_preprocess_run(&m->info.preprocess, &img, input, NULL, &err) != CR_OK)
        die(picture, &err);
    cr_image_free(&img);
    cr_rng_seed(&rng, 1);
    disturb(g, tape, &rng);
    forward(tape);
    free(wanted);
    return tape;
}

static cr_model *write_and_open(cr_model *m, const cr_fake_quant *q, const cr_tape *tape,
                                const char *path)
{
    cr_error err;
    cr_recipe *trained;
    cr_model *out = NULL;
    if (cr_fake_quant_recipe(q, tape, &trained, &err) != CR_OK ||
        cr_model_attach(m, trained, &err) != CR_OK ||
        cr_model_export(m, path, NULL, &err) != CR_OK ||
        cr_model_open(path, NULL, &out, &err) != CR_OK)
        die(path, &err);
    return out;
}

int main(int argc, char **argv)
{
    cr_error err;
    cr_model *model;
    cr_fake_quant *q;
    if (argc != 4) {
        fprintf(stderr, "usage: peers-train_forward MODEL PICTURE OUT\n");
        return 2;
    }
    if (cr_model_open(argv[1], NULL, &model, &err) != CR_OK) die(argv[1], &err);
    cr_recipe *given = model->recipe;
    if (!given) {
        fprintf(stderr, "%s is not quantized\n", argv[1]);
        cr_model_free(&model);
        return 1;
    }
    const cr_fake_quant_options o = cr_fake_quant_options_default();
    if (cr_fake_quant_create(model->graph, given, &o, &q, &err) != CR_OK) die(argv[1], &err);
    model->recipe = NULL; /* the tape's, until it is freed */
    cr_tape *tape = run_tape(model, q, argv[2]);
    cr_model *file = write_and_open(model, q, tape, argv[3]);
    mirror m = {q, tape};
    const cr_layer_probe probe = {compare, &m};
    const float *const inputs[1] = {cr_tape_value(tape, cr_fake_quant_graph(q)->inputs[0])};
    if (cr_reference_layers(cr_model_graph(file), file->recipe, inputs, &probe, &err) != CR_OK)
        die(argv[3], &err);
    printf("%d tensors of codes, %d of floats, %d differ\n", m.codes, m.floats, m.wrong);
    fprintf(stderr, "%ld codes at ties (within %.2g steps), floats within %.2g\n", m.ties,
            m.worst_tie, m.worst_float);
    cr_tape_free(&tape);
    cr_fake_quant_free(&q);
    cr_recipe_release(&given);
    cr_model_free(&model);
    cr_model_free(&file);
    return m.wrong || m.codes + m.floats < 10; /* else nothing had its name */
}
