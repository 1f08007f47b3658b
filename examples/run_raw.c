/* Runs any model on numbers of one's own, without pictures: run_raw MODEL.onnx */
#include <stdio.h>
#include <string.h>

#include "crayon/runtime.h"

static void fill_inputs(const cr_model *model, cr_runner *runner)
{
    for (size_t i = 0; i < cr_model_port_count(model, CR_PORT_INPUT); i++) {
        size_t bytes;
        float *x = cr_runner_input(runner, i, &bytes);
        if (strcmp(cr_model_port(model, CR_PORT_INPUT, i).dtype, "float32")) continue;
        for (size_t k = 0; k < bytes / sizeof *x; k++) x[k] = (float)(k % 256) / 255.0f;
    }
}

static cr_status print_output(const cr_model *model, const cr_runner *runner, size_t i,
                              cr_error *err)
{
    cr_output y;
    const cr_status st = cr_runner_output(runner, i, &y, err);
    if (st != CR_OK) return st;
    double sum = 0;
    int64_t count = 1;
    printf("%s [", cr_model_port(model, CR_PORT_OUTPUT, i).name);
    for (int d = 0; d < y.rank; d++) {
        printf("%s%lld", d ? ", " : "", (long long)y.dim[d]);
        count *= y.dim[d];
    }
    for (int64_t k = 0; k < count; k++) sum += (double)y.data[k];
    printf("] mean %g\n", count ? sum / (double)count : 0);
    return CR_OK;
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_runner *runner = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: run_raw MODEL.onnx\n");
        return 2;
    }
    cr_status st = cr_model_open(argv[1], NULL, &model, &err);
    if (st == CR_OK) st = cr_runner_create(model, 0, &runner, &err);
    if (st == CR_OK) fill_inputs(model, runner);
    if (st == CR_OK) st = cr_runner_run(runner, &err);
    for (size_t i = 0; st == CR_OK && i < cr_model_port_count(model, CR_PORT_OUTPUT); i++)
        st = print_output(model, runner, i, &err);
    cr_runner_free(&runner);
    cr_model_free(&model);
    if (st != CR_OK) fprintf(stderr, "run_raw: %s\n", err.message);
    return st == CR_OK ? 0 : 1;
}
