/* crayon qat: float model + pictures -> a smaller model that was trained to be like it.
 *
 *     swap activations (--activation)   train the float model against the original
 *     quantize as `crayon quantize`     train it with its rounding in the loop
 *
 * Each training has a checkpoint of its own, so that a run that was killed goes on where it was: what
 * lies between them is quick and gives the same again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/train.h"
#include "plan_options.h"
#include "quantize_job.h"

static const char help_head[] =
    "usage: crayon qat MODEL -o OUT --images DIR [options]\n"
    "\n"
    "Quantizes a float model as `crayon quantize` does and then trains it with the rounding in\n"
    "the loop to give what the float model gives. The pictures need no labels: the float model is\n"
    "the teacher. The best state on pictures set apart is kept; it is never worse than the start.\n"
    "\n"
    "  -o, --output OUT     the model to write\n" CLI_FORMAT_HELP
    "  --images SOURCE      folder, .txt list, .zip or pattern of JPEG and PNG pictures, or a video\n"
    "  --minutes M          how long to train (20)\n"
    "  --steps N            train so many steps, however long they take\n"
    "  --batch N            pictures per step (4)\n"
    "  --rate R             a step moves a number by so much of its size (1e-3)\n"
    "  --features W         what outputs of inner layers weigh against those of the head (30;\n"
    "                       of a float model 10)\n"
    "  --train-size N|HxW   size of the pictures in training; smaller is faster (half of the\n"
    "                       model's from 448 on)\n"
    "  --no-vary            pictures as they are: not mirrored, zoomed, lighter or darker\n"
    "  --judges N           pictures set apart that choose the best state (16)\n"
    "  --judge-images SOURCE  pictures that judge in their place; those of --images all train\n"
    "  --activation A       in place of SiLU: relu6, relu, leaky-relu or hard-swish; the float\n"
    "                       model is trained with it first, for three quarters of the time (keep)\n"
    "  --float              stay float: for a model with another activation\n"
    "  --target T           as in quantize: crayon, tflite, edgetpu, npu-nxp, ort, openvino\n"
    "  --io T               TFLite: inputs and outputs as float, int8 or uint8 (float)\n"
    "  --checkpoint FILE    write the state of the training now and then (FILE.float of the first\n"
    "                       one with --activation)\n"
    "  --resume             go on from the checkpoint, if there is one\n"
    "  --curve FILE         losses of every step, tab-separated\n"
    "  --recipe FILE        start from this recipe in place of calibrating and planning\n"
    "  --save-recipe FILE   write the recipe: types, scales, zero points, weights\n";

static const char help_tail[] =
    CLI_COMMON_HELP "\n"
    "example: 4-bit weights, half an hour\n"
    "  crayon qat yolov8n.onnx -o yolov8n-w4.onnx --images pictures/ --weights int4 --minutes 30\n"
    "a float model for an accelerator without SiLU\n"
    "  crayon qat yolov8n.onnx -o relu6.onnx --images pictures/ --activation relu6 --float\n";

static const char *const ios[] = {"float", "int8", "uint8", NULL};
static const double swap_part = .75; /* of the time, for the float model */

enum {
    OPT_IMAGES = 256,
    OPT_MINUTES,
    OPT_STEPS,
    OPT_BATCH,
    OPT_RATE,
    OPT_FEATURES,
    OPT_TRAIN_SIZE,
    OPT_NO_VARY,
    OPT_JUDGES,
    OPT_JUDGE_IMAGES,
    OPT_ACTIVATION,
    OPT_FLOAT,
    OPT_TARGET,
    OPT_IO,
    OPT_CHECKPOINT,
    OPT_RESUME,
    OPT_CURVE,
    OPT_FORMAT,
    OPT_RECIPE,
    OPT_SAVE_RECIPE
};

static const struct option own_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"images", required_argument, NULL, OPT_IMAGES},
    {"minutes", required_argument, NULL, OPT_MINUTES},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"rate", required_argument, NULL, OPT_RATE},
    {"features", required_argument, NULL, OPT_FEATURES},
    {"train-size", required_argument, NULL, OPT_TRAIN_SIZE},
    {"no-vary", no_argument, NULL, OPT_NO_VARY},
    {"judges", required_argument, NULL, OPT_JUDGES},
    {"judge-images", required_argument, NULL, OPT_JUDGE_IMAGES},
    {"activation", required_argument, NULL, OPT_ACTIVATION},
    {"float", no_argument, NULL, OPT_FLOAT},
    {"target", required_argument, NULL, OPT_TARGET},
    {"io", required_argument, NULL, OPT_IO},
    {"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"curve", required_argument, NULL, OPT_CURVE},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"recipe", required_argument, NULL, OPT_RECIPE},
    {"save-recipe", required_argument, NULL, OPT_SAVE_RECIPE},
    CLI_COMMON_OPTIONS};

typedef struct job {
    cli_common common;
    cli_plan plan;
    cr_qat_options train;
    cr_export_options export;
    const char *model_path, *out, *images, *judge_images, *recipe_in, *recipe_out;
    int activation, target, io;
    bool stay_float, minutes_given, target_given;
    cr_model *teacher, *model;
    cr_image_list pictures, judges;
    cr_stats *stats;
    cr_tune_report tuned, refitted;
    size_t swapped, bad;
    cr_qat_report repaired, trained; /* steps 0: did not take place */
} job;

/* ---- options ---- */

static bool parse_size(const char *text, cr_qat_options *o)
{
    int used = 0, n = sscanf(text, "%5dx%5d%n", &o->height, &o->width, &used);
    if (n == 1) {
        o->width = o->height;
        n = sscanf(text, "%5d%n", &o->height, &used) + 1;
    }
    if (n == 2 && !text[used] && o->height >= 32 && o->width >= 32 && o->height % 32 == 0 &&
        o->width % 32 == 0)
        return true;
    cli_usage("--train-size: '%s' is no N or HxW of multiples of 32", text);
    return false;
}

static int whole(const char *name, long long low, long long high, long long *out)
{
    return cli_integer(name, optarg, low, high, out) ? CLI_DONE : CLI_USAGE;
}

static int real(const char *name, double low, double high, double *out)
{
    return cli_real(name, optarg, low, high, out) ? CLI_DONE : CLI_USAGE;
}

static int take_number(int code, job *j)
{
    cr_qat_options *t = &j->train;
    long long n = 0;
    int status;
    switch (code) {
    case OPT_MINUTES:
        j->minutes_given = true;
        return real("minutes", 1e-3, 1e6, &t->minutes);
    case OPT_STEPS:
        status = whole("steps", 1, 1000000000, &n);
        t->steps = n;
        return status;
    case OPT_BATCH:
        status = whole("batch", 1, 1024, &n);
        t->batch = (int)n;
        return status;
    case OPT_JUDGES:
        status = whole("judges", 1, 100000, &n);
        t->judges = (size_t)n;
        return status;
    case OPT_RATE:
        return real("rate", 1e-12, 1e3, &t->rate);
    default:
        return real("features", 0, 1e6, &t->features);
    }
}

static int choose(const char *name, const char *const *values, int *out)
{
    return cli_choice(name, optarg, values, out) ? CLI_DONE : CLI_USAGE;
}

static int take_option(int code, char **argv, job *j)
{
    int status;
    if (cli_plan_take(code, &j->plan, &status)) return status;
    if (cli_export_take(code, &j->export, &status)) return status;
    switch (code) {
    case 'o': j->out = optarg; return CLI_DONE;
    case OPT_IMAGES: j->images = optarg; return CLI_DONE;
    case OPT_JUDGE_IMAGES: j->judge_images = optarg; return CLI_DONE;
    case OPT_TRAIN_SIZE: return parse_size(optarg, &j->train) ? CLI_DONE : CLI_USAGE;
    case OPT_NO_VARY: j->train.vary = false; return CLI_DONE;
    case OPT_ACTIVATION: return choose("activation", quantize_activations, &j->activation);
    case OPT_FLOAT: j->stay_float = true; return CLI_DONE;
    case OPT_TARGET:
        j->target_given = true;
        return choose("target", quantize_targets, &j->target);
    case OPT_IO: return choose("io", ios, &j->io);
    case OPT_CHECKPOINT: j->train.checkpoint = optarg; return CLI_DONE;
    case OPT_RESUME: j->train.resume = true; return CLI_DONE;
    case OPT_CURVE: j->train.curve = optarg; return CLI_DONE;
    case OPT_FORMAT: j->export.format = optarg; return CLI_DONE;
    case OPT_RECIPE: j->recipe_in = optarg; return CLI_DONE;
    case OPT_SAVE_RECIPE: j->recipe_out = optarg; return CLI_DONE;
    case OPT_MINUTES:
    case OPT_STEPS:
    case OPT_BATCH:
    case OPT_JUDGES:
    case OPT_RATE:
    case OPT_FEATURES: return take_number(code, j);
    default: return cli_common_option(code, argv, &j->common);
    }
}

static int check_usage(job *j, int argc, char **argv)
{
    cr_error err = {0};
    if (optind >= argc) return cli_usage("a model file is missing");
    if (argc - optind > 1) return cli_usage("one model, not '%s' as well", argv[optind + 1]);
    if (!j->out) return cli_usage("-o OUT is missing");
    if (!j->images) return cli_usage("--images is missing");
    j->model_path = argv[optind];
    if (cr_export_check(j->out, &j->export, &err) != CR_OK) return cli_usage("-o %s", err.message);
    if (cli_same_file(j->model_path, j->out))
        return cli_usage("-o %s: is the source model; give another name", j->out);
    if (j->stay_float && (j->plan.given || j->recipe_out || j->target_given))
        return cli_usage("--float: nothing is quantized, options that plan do not go with it");
    if (j->stay_float && !j->activation)
        return cli_usage("--float: without --activation there is nothing to train");
    if (j->recipe_in && (j->plan.given || j->stay_float || j->activation))
        return cli_usage("--recipe fixes the plan of the model as it is: options that plan or change "
                         "it do not go with it");
    if (j->train.resume && !j->train.checkpoint)
        return cli_usage("--resume: name the file with --checkpoint");
    if (j->train.steps && !j->minutes_given) j->train.minutes = 0;
    if (!j->target_given && !j->stay_float) j->target = (int)cli_target_for(j->out, &j->export);
    j->plan.options.target = (cr_target)j->target;
    j->plan.options.byte_ports = j->io != CR_PORTS_FLOAT;
    j->export.ports = (cr_port_type)j->io;
    const int misfit = cli_fits_format(j->out, &j->export);
    return misfit ? misfit : cli_fits_widths(j->out, &j->export, &j->plan.options, 0);
}

/* ---- the work ---- */

/* Hours of work do not end at a picture that cannot be read. */
static cr_status leave_bad_out(job *j, cr_error *err)
{
    cr_image_reader *reader;
    cr_image_list *list = &j->pictures;
    size_t good = 0;
    cr_status st = cr_image_reader_create(&reader, err);
    for (size_t i = 0; st == CR_OK && i < list->count; i++) {
        cr_image img;
        const cr_status read = cr_image_reader_read(reader, list->paths[i], &img, err);
        char *path = list->paths[i];
        if (read == CR_OK) {
            cr_image_free(&img);
            list->paths[i] = list->paths[good];
            list->paths[good++] = path;
        } else if (list->count > 1 && read != CR_ERR_MEMORY) {
            j->bad++;
            cli_warn("left out: %s", err->message);
        } else {
            st = read;
        }
        if (st == CR_OK && !cli_step("reading the pictures", i + 1, list->count))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cr_image_reader_free(&reader);
    if (st == CR_OK && !good)
        st = cli_error(err, CR_ERR_IO, "%s: none of %zu pictures can be read", j->images,
                       list->count);
    for (size_t i = good; st == CR_OK && i < list->count; i++) free(list->paths[i]);
    if (st == CR_OK) list->count = good;
    return st;
}

static cr_status prepare(job *j, cr_error *err)
{
    const char *const outputs[] = {j->out, j->train.checkpoint, j->train.curve, j->recipe_out};
    cr_status st = CR_OK;
    for (int i = 0; st == CR_OK && i < 4; i++)
        if (outputs[i]) st = cli_check_writable(outputs[i], err);
    if (st == CR_OK) st = cli_open_model(j->model_path, &j->common, &j->teacher, err);
    if (st == CR_OK && cr_model_get_info(j->teacher)->quantized)
        st = cli_error(err, CR_ERR_ARGUMENT, "%s: is quantized already; give the float model",
                       j->model_path);
    if (st == CR_OK) st = cli_open_model(j->model_path, &j->common, &j->model, err);
    if (st == CR_OK) st = cr_image_list_open(j->images, &j->pictures, err);
    if (st == CR_OK) st = leave_bad_out(j, err);
    if (st != CR_OK || !j->judge_images) return st;
    j->train.judge_pictures = &j->judges;
    return cr_image_list_open(j->judge_images, &j->judges, err);
}

static cr_status train(job *j, const cr_qat_options *o, cr_qat_report *report, cr_error *err)
{
    const cr_progress progress = cli_progress();
    return cr_qat(j->model, j->teacher, &j->pictures, o, &progress, report, err);
}

/* Another activation, and the float model trained with it. */
static cr_status swap(job *j, cr_error *err)
{
    cr_qat_options o = j->train;
    char file[4096];
    if (!j->activation) return CR_OK;
    if (!j->stay_float && o.checkpoint) {
        snprintf(file, sizeof file, "%s.float", o.checkpoint);
        o.checkpoint = file;
    }
    if (!j->stay_float) {
        o.minutes *= swap_part;
        o.steps = o.steps > 1 ? (int64_t)((double)o.steps * swap_part) : o.steps;
        o.curve = NULL;
    }
    const cr_progress progress = cli_progress();
    const cr_status st = cr_model_swap_fitted(
        j->model, j->teacher, (cr_activation)j->activation, &j->pictures, j->train.seed,
        j->common.threads, &progress, &j->swapped, &j->refitted, err);
    return st == CR_OK ? train(j, &o, &j->repaired, err) : st;
}

/* The planner's recipe, as `crayon quantize` makes it. */
static cr_status plan(job *j, cr_error *err)
{
    const cr_quantize_options *o = &j->plan.options;
    const cr_progress progress = cli_progress();
    cr_quantize_report report;
    cr_status st = cr_model_set_target(j->model, (cr_target)j->target, err);
    if (st == CR_OK && j->recipe_in) return cr_model_load_recipe(j->model, j->recipe_in, err);
    if (st == CR_OK && o->activations != CR_ACTIVATIONS_FLOAT)
        st = cr_calibrate(j->model, &j->pictures, o, &progress, &j->stats, err);
    if (st == CR_OK) st = cr_quantize(j->model, j->stats, o, &report, err);
    return st == CR_OK ? cr_tune(j->model, &j->pictures, o, &progress, &j->tuned, err) : st;
}

static cr_status quantize(job *j, cr_error *err)
{
    cr_qat_options o = j->train;
    if (j->stay_float) return CR_OK;
    if (j->activation) {
        o.minutes *= 1 - swap_part;
        o.steps = o.steps > 1 ? o.steps - (int64_t)((double)o.steps * swap_part) : o.steps;
    }
    const cr_status st = plan(j, err);
    return st == CR_OK ? train(j, &o, &j->trained, err) : st;
}

static cr_status write_files(const job *j, cr_error *err)
{
    const cr_status st = cr_model_export(j->model, j->out, &j->export, err);
    return st == CR_OK && j->recipe_out ? cr_model_save_recipe(j->model, j->recipe_out, err) : st;
}

/* ---- what is said ---- */

static void print_training(const char *what, const cr_qat_report *r)
{
    if (!r->steps) return;
    printf("%s %lld steps in %.1f minutes (%.1f of processor time), %zu pictures; best after %lld: error %.5f -> %.5f\n",
           what, (long long)r->steps, r->seconds / 60, r->processor_seconds / 60, r->pictures, (long long)r->best,
           r->error_before, r->error_after);
    if (r->left_out)
        printf("             %lld steps were left out: their numbers were not finite\n",
               (long long)r->left_out);
    fputs("agreement    ", stdout);
    if (isnan(r->agreement_after))
        puts("not measured: outputs of no known kind, or nothing was found");
    else
        printf("%.3f -> %.3f with the float model, on the %zu pictures that chose the best\n",
               r->agreement_before, r->agreement_after, r->judges);
}

static void print_all(const job *j)
{
    const cr_model_info *info = cr_model_get_info(j->model);
    const double before = (double)info->file_bytes, after = cli_size_of(j->out);
    char text[160];
    cli_preprocess_text(&info->preprocess, text, sizeof text);
    printf("model        %s: %s, %zu classes, %s (%s)\n", cli_base_name(j->model_path),
           info->family, info->name_count, text, info->preprocess_why);
    if (j->bad) printf("pictures     %zu could not be read\n", j->bad);
    if (j->swapped)
        printf("activation   %s in place of %zu SiLU\n", quantize_activations[j->activation],
               j->swapped);
    if (j->refitted.layers)
        printf("refitted     %zu of %zu layers by least squares: error of their outputs %.4f -> %.4f\n",
               j->refitted.better, j->refitted.layers, j->refitted.before, j->refitted.after);
    print_training("repaired    ", &j->repaired);
    if (j->recipe_in)
        printf("quantized    by the recipe %s\n", j->recipe_in);
    else if (!j->stay_float)
        printf("quantized    weights %s per %s, activations %s\n",
               cli_weights_name(j->plan.options.weights),
               cli_granularity_name(j->plan.options.granularity),
               cli_activations_name(j->plan.options.activations));
    print_training("trained     ", &j->trained);
    printf("size         %.2f MB -> %.2f MB (%.1f %%)\n", before / 1e6, after / 1e6,
           before > 0 ? 100 * after / before : 0);
}

static int print_help(void)
{
    fputs(help_head, stdout);
    fputs(cli_plan_help, stdout);
    fputs(cli_export_help, stdout);
    return cli_help(help_tail);
}

int cmd_qat(int argc, char **argv)
{
    job j = {.plan = cli_plan_default(), .train = cr_qat_options_default(), .export = cr_export_options_default()};
    cr_error err = {0};
    struct option options[CLI_MAX_OPTIONS];
    cli_plan_join(own_options, options);
    cli_export_join(options);
    for (int c; (c = getopt_long(argc, argv, ":o:", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j);
        if (status) return status;
    }
    if (j.common.help) return print_help();
    cli_plan_finish(&j.plan);
    const int wrong = check_usage(&j, argc, argv);
    if (wrong) return wrong;
    j.plan.options.threads = j.train.threads = j.common.threads;
    j.train.seed = j.plan.options.seed;
    j.train.warn = cli_warn_line;
    j.train.tell = cli_say_line;
    cr_status st = prepare(&j, &err);
    if (st == CR_OK) st = swap(&j, &err);
    if (st == CR_OK) st = quantize(&j, &err);
    if (st == CR_OK) st = write_files(&j, &err);
    if (st == CR_OK) print_all(&j);
    cr_image_list_free(&j.pictures);
    cr_image_list_free(&j.judges);
    cr_stats_free(&j.stats);
    cr_model_free(&j.model);
    cr_model_free(&j.teacher);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
