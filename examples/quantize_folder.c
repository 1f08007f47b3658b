/* A float model and a folder of pictures give an INT8 model:
 * quantize_folder MODEL.onnx FOLDER OUT.onnx */
#include <stdio.h>

#include "crayon/quantize.h"

static bool show(void *user, const char *what, uint64_t done, uint64_t total)
{
    fprintf(stderr, "\r%s %llu/%llu%s", what, (unsigned long long)done, (unsigned long long)total,
            done == total ? "\n" : "");
    return true; /* false would cancel */
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_stats *stats = NULL;
    cr_image_list pictures = {0};
    cr_quantize_report report;
    const cr_progress progress = {.fn = show};
    cr_quantize_options options = cr_quantize_options_default();
    if (argc != 4) {
        fprintf(stderr, "usage: quantize_folder MODEL.onnx FOLDER OUT.onnx\n");
        return 2;
    }
    options.samples = 64;
    cr_status st = cr_model_open(argv[1], NULL, &model, &err);
    if (st == CR_OK) st = cr_image_list_open(argv[2], &pictures, &err);
    if (st == CR_OK) st = cr_calibrate(model, &pictures, &options, &progress, &stats, &err);
    if (st == CR_OK) st = cr_quantize(model, stats, &options, &report, &err);
    if (st == CR_OK) st = cr_model_export(model, argv[3], NULL, &err);
    if (st == CR_OK)
        printf("%zu of %zu convolutions quantized\n", report.convs_quantized, report.convs);
    cr_stats_free(&stats);
    cr_image_list_free(&pictures);
    cr_model_free(&model);
    if (st != CR_OK) fprintf(stderr, "quantize_folder: %s\n", err.message);
    return st == CR_OK ? 0 : 1;
}
