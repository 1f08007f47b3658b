/* crayon convert: the same model, float or quantized, in another file format. */
#include <string.h>

#include "cli.h"
#include "plan_options.h"

static const char help_head[] =
    "usage: crayon convert MODEL -o OUT [options]\n"
    "\n"
    "Writes a model in another file format: float as float, quantized with the same integers.\n"
    "'crayon quantize' makes the integers.\n"
    "\n"
    "  -o, --output OUT     the file to write\n" CLI_FORMAT_HELP
    "  --recipe FILE        the recipe to write MODEL with\n" CLI_COMMON_HELP;

static const char help_tail[] =
    "\n"
    "example: an old file at the opset that Crayon writes, constants folded\n"
    "  crayon convert yolov8n.onnx -o yolov8n-tidy.onnx\n";

typedef struct job {
    cli_common common;
    const char *in, *out, *recipe;
    cr_export_options export;
} job;

enum { OPT_FORMAT = 256, OPT_RECIPE };

static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                        {"format", required_argument, NULL, OPT_FORMAT},
                                        {"recipe", required_argument, NULL, OPT_RECIPE},
                                        CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, job *j)
{
    int status;
    if (cli_export_take(code, &j->export, &status)) return status;
    switch (code) {
    case 'o':
        j->out = optarg;
        return CLI_DONE;
    case OPT_FORMAT:
        j->export.format = optarg;
        return CLI_DONE;
    case OPT_RECIPE:
        j->recipe = optarg;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &j->common);
    }
}

static int check_usage(job *j, int argc, char **argv)
{
    cr_error err = {0};
    if (optind >= argc) return cli_usage("a model file is missing");
    if (argc - optind > 1) return cli_usage("one model, not '%s' as well", argv[optind + 1]);
    if (!j->out) return cli_usage("-o OUT is missing");
    j->in = argv[optind];
    if (cli_same_file(j->in, j->out)) return cli_usage("-o %s: is the model itself", j->out);
    if (cr_export_check(j->out, &j->export, &err) != CR_OK) return cli_usage("-o %s", err.message);
    return cli_fits_format(j->out, &j->export);
}

static cr_status convert(const job *j, cr_model **model, cr_error *err)
{
    cr_status st = cli_open_model(j->in, &j->common, model, err);
    if (st == CR_OK && j->recipe) st = cr_model_load_recipe(*model, j->recipe, err);
    return st == CR_OK ? cr_model_export(*model, j->out, &j->export, err) : st;
}

static void report(const job *j, const cr_model_info *info)
{
    const double after = cli_size_of(j->out);
    printf("%s: %s, %.2f MB -> %s, %.2f MB\n", info->precision, j->in,
           (double)info->file_bytes / 1e6, j->out, after / 1e6);
}

static int print_help(void)
{
    fputs(help_head, stdout);
    fputs(cli_export_help, stdout);
    return cli_help(help_tail);
}

int cmd_convert(int argc, char **argv)
{
    job j = {.export = cr_export_options_default()};
    cr_model *model = NULL;
    cr_error err = {0};
    struct option all[CLI_MAX_OPTIONS];
    memcpy(all, options, sizeof options);
    cli_export_join(all);
    for (int code; (code = getopt_long(argc, argv, ":o:", all, NULL)) != -1;) {
        const int status = take_option(code, argv, &j);
        if (status != CLI_DONE) return status;
    }
    if (j.common.help) return print_help();
    const int status = check_usage(&j, argc, argv);
    if (status != CLI_DONE) return status;
    const cr_status st = convert(&j, &model, &err);
    if (st == CR_OK) report(&j, cr_model_get_info(model));
    cr_model_free(&model);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
