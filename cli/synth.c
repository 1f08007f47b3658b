/* crayon synth: labelled pictures without a download. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/synth.h"

static const char help[] =
    "usage: crayon synth DIR [-n N] [--seed S] [--task TASK] [--size WxH]\n"
    "\n"
    "Renders N scenes of circles, squares, triangles, stars and wax crayons in clutter to\n"
    "DIR/images/000000.jpg ... and their labels to DIR/instances.json (COCO form: boxes, masks,\n"
    "keypoints). The same seed gives the same pictures; fewer pictures are the first ones of "
    "more.\n"
    "\n"
    "  -n, --count N        number of pictures (100)\n"
    "  --seed S             0 to 2^64 - 1 (0)\n"
    "  --task TASK          detect: shapes may hide each other (the default)\n"
    "                       segment: no shape hides another\n"
    "                       pose: only shapes with keypoints\n"
    "                       classify: one shape per picture, in DIR/CLASS/, without labels file\n"
    "  --size WxH           every picture W pixels wide and H high, 64 to 4096 (varying, around\n"
    "                       320x256)\n"
    "  --help               this text\n"
    "\n"
    "example: pictures to calibrate with, others to measure on\n"
    "  crayon synth calib -n 64 --seed 1\n"
    "  crayon synth scenes -n 200 --seed 2\n"
    "  crayon quantize sample/shapes.onnx -o shapes-int8.onnx --images calib/images\n"
    "  crayon eval shapes-int8.onnx --images scenes/images --labels scenes/instances.json\n";

enum { OPT_SEED = 256, OPT_TASK, OPT_SIZE };

static const struct option options[] = {
    {"count", required_argument, NULL, 'n'},     {"seed", required_argument, NULL, OPT_SEED},
    {"task", required_argument, NULL, OPT_TASK}, {"size", required_argument, NULL, OPT_SIZE},
    {"help", no_argument, NULL, CLI_OPT_HELP},   {NULL, 0, NULL, 0}};

typedef struct job {
    cr_synth_options synth;
    cli_common common; /* for --help only */
} job;

static bool parse_size(const char *text, cr_synth_options *o)
{
    int used = 0;
    const int n = sscanf(text, "%5dx%5d%n", &o->width, &o->height, &used);
    if (n == 2 && !text[used] && o->width >= 64 && o->width <= 4096 && o->height >= 64 &&
        o->height <= 4096)
        return true;
    cli_usage("--size: '%s' is not WxH with 64 to 4096 pixels each", text);
    return false;
}

static int take_option(int code, char **argv, job *j)
{
    static const char *const tasks[] = {"detect", "segment", "pose", "classify", NULL};
    long long n;
    int task;
    switch (code) {
    case 'n':
        if (!cli_integer("count", optarg, 1, 1000000, &n)) return CLI_USAGE;
        j->synth.count = (int)n;
        return CLI_DONE;
    case OPT_SEED:
        return cli_seed(optarg, &j->synth.seed) ? CLI_DONE : CLI_USAGE;
    case OPT_TASK:
        if (!cli_choice("task", optarg, tasks, &task)) return CLI_USAGE;
        j->synth.task = (cr_synth_task)task;
        return CLI_DONE;
    case OPT_SIZE:
        return parse_size(optarg, &j->synth) ? CLI_DONE : CLI_USAGE;
    default:
        return cli_common_option(code, argv, &j->common);
    }
}

int cmd_synth(int argc, char **argv)
{
    job j = {.synth = cr_synth_options_default()};
    int code;
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":n:", options, NULL)) != -1) {
        const int status = take_option(code, argv, &j);
        if (status != CLI_DONE) return status;
        if (j.common.help) return cli_help(help);
    }
    if (argc - optind != 1) return cli_usage("one folder is needed, %d given", argc - optind);
    const cr_progress progress = cli_progress();
    cr_error err = {0};
    if (cr_synth_write(argv[optind], &j.synth, &progress, &err) != CR_OK) return cli_fail(&err);
    return CLI_DONE;
}
