/* crayon quantize: float model + pictures (or saved statistics, or a saved recipe) -> INT8 model.
 *
 * The agreement in the last line is measured on pictures that calibration did not see, where there
 * are enough: up to 16 are set apart, spread evenly over the list. All measuring comes before the
 * first write, and each file is written whole or not at all. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "quantize_job.h"

static const char help_head[] =
    "usage: crayon quantize MODEL -o OUT --images DIR [options]\n"
    "\n"
    "Makes an INT8 model (ONNX, QuantizeLinear/DequantizeLinear pairs) from a float one. The\n"
    "pictures need no labels; about a hundred that look like those of the real task are enough.\n"
    "Weight-only and dynamic modes need none: with --images they say how far the model agrees.\n"
    "\n"
    "  -o, --output OUT     the model to write\n" CLI_FORMAT_HELP
    "  --fix                MODEL is quantized already, by any tool: take it apart and plan it anew,\n"
    "                       keeping what is good in it. Needs no pictures for what the file has\n"
    "                       ranges for (crayon inspect MODEL names what is wrong)\n"
    "  --images SOURCE      folder, .txt list, .zip or pattern of JPEG and PNG pictures, or a video\n"
    "  --mode M             static: weights and activations, calibrated on pictures; weights: weights\n"
    "                       alone; dynamic: activations' ranges are found in each run, per tensor\n"
    "                       (DynamicQuantizeLinear, ConvInteger); fp16, bf16: weights stored in 16\n"
    "                       bits, all else float32;\n"
    "                       fp16-graph: arithmetic in float16 too, but for what decodes boxes\n"
    "                       (--head quantize: that as well) (static)\n";

static const char help_tail[] =
    "  --no-check           do not try whether pictures are prepared as the model expects\n"
    "  --stats FILE         use these statistics in place of pictures\n"
    "  --save-stats FILE    write what calibration saw\n"
    "  --target T           crayon: best for this library and ONNX runtimes; tflite: full integer, every\n"
    "                       tensor of integers, decoding 16 bits wide; edgetpu, npu-nxp: 8 bits\n"
    "                       alone, the model ends at its branches (tflite where OUT ends so); ort:\n"
    "                       what ONNX Runtime fuses into integer kernels (with --format qoperator);\n"
    "                       openvino: as crayon; ncnn: int8 with zero in the middle, one scale per\n"
    "                       tensor (where OUT ends in .param)\n"
    "  --io T               TFLite: inputs and outputs as float, int8 or uint8 (float;\n"
    "                       accelerators: int8)\n"
    "  --activation A       in place of SiLU, for accelerators without it: relu6, relu, leaky-relu or\n"
    "                       hard-swish; another function, much of which is lost here and won back\n"
    "                       by crayon qat (keep)\n"
    "  --match-scores       shift scores so that the same confidence finds as many objects as in\n"
    "                       the float model, if it does so on pictures set apart\n"
    "  --recipe FILE        use this recipe in place of calibrating and planning\n"
    "  --save-recipe FILE   write the recipe: types, scales, zero points\n"
    "  --report F.html      a page of what was done and what it cost: size, speed, pictures, layers,\n"
    "                       ranges, weights, the graph; takes some runs of the model more\n" CLI_COMMON_HELP "\n"
    "example: everything by default\n"
    "  crayon quantize yolov8n.onnx -o yolov8n-int8.onnx --images pictures/\n"
    "another tool's file, mended\n"
    "  crayon quantize yolov8n-qdq.onnx --fix -o fixed.onnx --images pictures/\n"
    "half the size and nothing else\n"
    "  crayon quantize yolov8n.onnx -o yolov8n-fp16.onnx --mode fp16\n";

const char *const quantize_modes[] = {"static", "weights", "dynamic", "fp16", "bf16", "fp16-graph", NULL};

/* In the order of cr_target, cr_port_type, cr_activation. */
const char *const quantize_targets[] = {"crayon", "tflite", "edgetpu", "npu-nxp", "ort", "openvino", "ncnn",
                                        NULL};
static const char *const ios[] = {"float", "int8", "uint8", NULL};
const char *const quantize_activations[] = {"keep", "relu6", "relu", "leaky-relu", "hard-swish", NULL};

typedef quantize_job job;

/* ---- options ---- */

enum {
    OPT_IMAGES = 256,
    OPT_STATS,
    OPT_SAVE_STATS,
    OPT_NO_CHECK,
    OPT_RECIPE,
    OPT_SAVE_RECIPE,
    OPT_MODE,
    OPT_MATCH_SCORES,
    OPT_FORMAT,
    OPT_TARGET,
    OPT_IO,
    OPT_ACTIVATION,
    OPT_FIX,
    OPT_REPORT
};

static const struct option own_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"images", required_argument, NULL, OPT_IMAGES},
    {"stats", required_argument, NULL, OPT_STATS},
    {"save-stats", required_argument, NULL, OPT_SAVE_STATS},
    {"no-check", no_argument, NULL, OPT_NO_CHECK},
    {"recipe", required_argument, NULL, OPT_RECIPE},
    {"save-recipe", required_argument, NULL, OPT_SAVE_RECIPE},
    {"mode", required_argument, NULL, OPT_MODE},
    {"match-scores", no_argument, NULL, OPT_MATCH_SCORES},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"target", required_argument, NULL, OPT_TARGET},
    {"io", required_argument, NULL, OPT_IO},
    {"activation", required_argument, NULL, OPT_ACTIVATION},
    {"fix", no_argument, NULL, OPT_FIX},
    {"report", required_argument, NULL, OPT_REPORT},
    CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, job *j)
{
    int status;
    if (cli_plan_take(code, &j->plan, &status)) return status;
    if (cli_budget_take(code, &j->budget, &status)) return status;
    if (cli_export_take(code, &j->export, &status)) return status;
    switch (code) {
    case 'o':
        j->out = optarg;
        return CLI_DONE;
    case OPT_IMAGES:
        j->images = optarg;
        return CLI_DONE;
    case OPT_STATS:
        j->stats_in = optarg;
        return CLI_DONE;
    case OPT_SAVE_STATS:
        j->stats_out = optarg;
        return CLI_DONE;
    case OPT_NO_CHECK:
        j->no_check = true;
        return CLI_DONE;
    case OPT_RECIPE:
        j->recipe_in = optarg;
        return CLI_DONE;
    case OPT_SAVE_RECIPE:
        j->recipe_out = optarg;
        return CLI_DONE;
    case OPT_FORMAT:
        j->export.format = optarg;
        return CLI_DONE;
    case OPT_TARGET:
        j->target_given = true;
        return cli_choice("target", optarg, quantize_targets, &j->target) ? CLI_DONE : CLI_USAGE;
    case OPT_IO:
        j->io_given = true;
        return cli_choice("io", optarg, ios, &j->io) ? CLI_DONE : CLI_USAGE;
    case OPT_ACTIVATION:
        return cli_choice("activation", optarg, quantize_activations, &j->activation) ? CLI_DONE : CLI_USAGE;
    case OPT_MATCH_SCORES:
        j->match_scores = true;
        return CLI_DONE;
    case OPT_REPORT:
        j->report_path = optarg;
        return CLI_DONE;
    case OPT_FIX:
        j->fix = j->common.mend = true;
        return CLI_DONE;
    case OPT_MODE:
        return cli_choice("mode", optarg, quantize_modes, &j->mode) ? CLI_DONE : CLI_USAGE;
    default:
        return cli_common_option(code, argv, &j->common);
    }
}

/* Of what shapes an INT8 plan, 16-bit floats know which nodes and the head. */
static int check_half(const job *j)
{
    const cr_quantize_options *o = &j->plan.options, d = cr_quantize_options_default();
    const bool types = o->weights != d.weights || o->activations != d.activations ||
                       o->granularity != d.granularity || o->layer_count || o->block != d.block ||
                       o->small_layers != d.small_layers || o->rounding != d.rounding ||
                       o->weight_scales != d.weight_scales || o->first_last != d.first_last;
    const bool ranges = o->symmetric || o->reduce_range || o->calibration != d.calibration ||
                        o->equalize != d.equalize || o->split_channels != d.split_channels || o->bias_correction;
    if (j->stats_in || j->stats_out || j->recipe_in || j->recipe_out || types || ranges)
        return cli_usage("--mode %s: has no statistics, recipe, integer types, rounding or calibration",
                         quantize_modes[j->mode]);
    return CLI_DONE;
}

static int check_fix(const job *j)
{
    if (j->mode != MODE_STATIC) return cli_usage("--fix goes with the static mode");
    if (j->recipe_in) return cli_usage("--fix plans from the file: not with --recipe");
    if (cli_budget_given(&j->budget)) return cli_usage("--fix has no budget");
    if (j->plan.options.equalize == CR_EQUALIZE_ALL || j->plan.options.split_channels > 0)
        return cli_usage("--fix keeps the channels as they are: not with --equalize all or --split-channels");
    if (j->plan.options.head == CR_HEAD_QUANTIZE && !j->images && !j->stats_in)
        return cli_usage("--fix --head quantize needs --images (or --stats)");
    return CLI_DONE;
}

/* Accelerators run what they have kernels for: up to the branches. */
static void choose_target(job *j)
{
    cr_quantize_options *o = &j->plan.options;
    const cr_target implied = cli_target_for(j->out, &j->export);
    if (!j->target_given && j->mode == MODE_STATIC) j->target = (int)implied;
    if (implied == CR_TARGET_TFLITE && o->block == CR_BLOCK_AUTO) o->block = 0; /* the format has none */
    o->target = (cr_target)j->target;
    o->byte_ports = j->io != CR_PORTS_FLOAT;
    const bool accelerator = o->target == CR_TARGET_EDGETPU || o->target == CR_TARGET_NPU_NXP;
    if (accelerator && o->head == CR_HEAD_AUTO) o->head = CR_HEAD_DETACH;
    if (accelerator && !j->io_given) j->export.ports = CR_PORTS_INT8, o->byte_ports = true;
}

/* What would be passed over; the modes of 16-bit floats have been checked. */
static int check_fit(job *j)
{
    const cr_quantize_options *o = &j->plan.options;
    const bool planned = !is_half(j) && !j->recipe_in;
    int misfit = CLI_DONE;
    if (planned && j->mode != MODE_STATIC) misfit = cli_fits_mode(quantize_modes[j->mode], o);
    if (!misfit && planned && !j->images && j->mode == MODE_STATIC && o->rounding == CR_ROUNDING_GPTQ)
        misfit = cli_failf("--rounding gptq needs --images");
    if (!misfit && planned && !j->images && o->bias_correction)
        misfit = cli_failf("--bias-correction needs --images");
    if (!misfit && o->equalize == CR_EQUALIZE_ALL && o->granularity != CR_PER_CHANNEL)
        misfit = cli_failf("--equalize all: with --granularity tensor there are no factors of channels");
    if (!misfit) misfit = cli_fits_widths(j->out, &j->export, o, j->budget.options.int16_layers);
    if (!cli_has_wide_layers(j->out, &j->export, o->target)) j->budget.options.no_int16 = true;
    return misfit;
}

static int check_usage(job *j, int argc, char **argv)
{
    if (optind >= argc) return cli_usage("a model file is missing");
    if (argc - optind > 1) return cli_usage("one model, not '%s' as well", argv[optind + 1]);
    if (!j->out) return cli_usage("-o OUT is missing");
    j->model_path = argv[optind];
    cr_error err = {0};
    if (cr_export_check(j->out, &j->export, &err) != CR_OK) return cli_usage("-o %s", err.message);
    if (is_half(j)) {
        const int wrong = check_half(j);
        if (wrong) return wrong;
    }
    if (j->mode != MODE_STATIC && (j->stats_in || j->stats_out || j->recipe_in))
        return cli_usage("--mode %s: has no statistics and takes no recipe", quantize_modes[j->mode]);
    if (palette_bits(j) && j->mode != MODE_WEIGHTS)
        return cli_usage("--weights %s: is for --mode weights, activations stay float",
                         cli_weights_name(j->plan.options.weights));
    const int wrong_fix = j->fix ? check_fix(j) : CLI_DONE;
    if (wrong_fix) return wrong_fix;
    if (j->mode == MODE_STATIC && !j->images && !j->stats_in && !j->recipe_in && !j->fix)
        return cli_usage("--images is missing (or --stats, or --recipe)");
    if (j->match_scores && (!j->images || j->mode != MODE_STATIC))
        return cli_usage("--match-scores needs --images and the static mode");
    if (j->recipe_in && (j->stats_in || j->plan.given))
        return cli_usage("--recipe fixes the plan: options that plan cannot be given with it");
    if (j->stats_out && (j->stats_in || j->recipe_in))
        return cli_usage("--save-stats needs a calibration: not with --stats or --recipe");
    if (cli_same_file(j->model_path, j->out))
        return cli_usage("-o %s: is the source model; give another name", j->out);
    j->export.ports = (cr_port_type)j->io;
    int misfit = cli_fits_format(j->out, &j->export);
    choose_target(j);
    if (!misfit) misfit = cli_budget_check(&j->budget, j->mode == MODE_STATIC && !j->recipe_in, j->images);
    return misfit ? misfit : check_fit(j);
}

/* ---- pictures ---- */

/* Sets pictures apart for measuring when there are more than calibration takes; else the last ones
 * serve for both. With statistics at hand the others serve for rounding weights. */
static cr_status divide_pictures(job *j, cr_error *err)
{
    const size_t n = j->pictures.count, most = j->plan.options.samples;
    const bool calibrate = !j->stats_in && !j->recipe_in && j->mode == MODE_STATIC;
    const size_t spare = !calibrate ? n : n > most ? n - most : 0;
    size_t take = spare ? spare : n;
    if (take > HELD_APART) take = HELD_APART;
    j->apart = spare > 0;
    j->calibration.paths = calloc(n, sizeof *j->calibration.paths);
    if (!j->calibration.paths) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    if (cli_budget_given(&j->budget))
        return cli_budget_divide(&j->budget, &j->pictures, j->plan.options.seed, !j->stats_in,
                                 &j->calibration, err);
    for (size_t i = 0; i < n; i++) {
        const size_t done = j->measured_count;
        const bool mine =
            j->apart ? done < take && i == (2 * done + 1) * n / (2 * take) : i >= n - take;
        if (mine) j->measured[j->measured_count++] = j->pictures.paths[i];
        if (!mine || !j->apart) j->calibration.paths[j->calibration.count++] = j->pictures.paths[i];
    }
    return CR_OK;
}

/* ---- the steps ---- */

static cr_status look(job *j, const char *what, cli_boxes *out, cr_error *err)
{
    cr_detect_options o = cr_detect_options_eval();
    const cli_pictures pictures = {j->measured, NULL, j->measured_count};
    if (!can_measure(j)) return CR_OK;
    o.no_masks = false;
    return cli_collect(j->model, j->common.threads, &pictures, &o, what, out, err);
}

static cr_status get_stats(job *j, cr_error *err)
{
    if (j->stats_in) return cr_stats_load(j->stats_in, &j->stats, err);
    const cr_progress progress = cli_progress();
    cr_status st =
        j->no_check ? CR_OK : cli_doubt(j->model, &j->calibration, j->common.threads, &j->doubts, err);
    if (st != CR_OK) return st;
    const double start = cli_now_ms();
    st = cr_calibrate(j->model, &j->calibration, &j->plan.options, &progress, &j->stats, err);
    j->calibration_s = (cli_now_ms() - start) / 1000;
    return st;
}

/* Models are read and outputs tried before the long work begins. */
static cr_status prepare(job *j, cr_error *err)
{
    const char *const outputs[] = {j->out, j->stats_out, j->recipe_out, j->report_path};
    cr_status st = CR_OK;
    for (int i = 0; st == CR_OK && i < 4; i++)
        if (outputs[i]) st = cli_check_writable(outputs[i], err);
    if (st == CR_OK) st = cli_open_model(j->model_path, &j->common, &j->model, err);
    if (st == CR_OK && cr_model_get_info(j->model)->quantized && !j->fix)
        st = cli_error(err, CR_ERR_ARGUMENT,
                       "%s: is quantized already; give the float model, or --fix to mend this one",
                       j->model_path);
    if (st == CR_OK && !cr_model_get_info(j->model)->quantized && j->fix)
        st = cli_error(err, CR_ERR_ARGUMENT, "%s: is not quantized: there is nothing to fix",
                       j->model_path);
    if (st == CR_OK && j->images) st = cr_image_list_open(j->images, &j->pictures, err);
    if (st == CR_OK && j->images) st = divide_pictures(j, err);
    return st;
}

/* The file as it is: its findings, and what it sees. Then it is float. */
static cr_status take_apart(job *j, cr_error *err)
{
    if (!j->fix) return CR_OK;
    cr_status st = cli_findings_get(j->model, &j->found, err);
    if (st == CR_OK) st = look(j, "running the file as it is", &j->seen_file, err);
    return st == CR_OK ? cr_model_unquantize(j->model, err) : st;
}

/* The model's form, behind what the user's own sees: what another activation costs is told, too. */
static cr_status set_target(job *j, cr_error *err)
{
    const cr_status st =
        cr_model_swap_activation(j->model, (cr_activation)j->activation, &j->swapped, err);
    return st == CR_OK ? cr_model_set_target(j->model, (cr_target)j->target, err) : st;
}

static cr_status halve(job *j, cr_error *err)
{
    const cr_quantize_options *o = &j->plan.options;
    const cr_half_options half = {.type = j->mode == MODE_BF16 ? CR_HALF_BFLOAT16 : CR_HALF_FLOAT16,
                                  .whole_graph = j->mode == MODE_FP16_GRAPH,
                                  .head = o->head,
                                  .keep_float = o->keep_float,
                                  .keep_float_count = o->keep_float_count,
                                  .only = o->only,
                                  .only_count = o->only_count};
    return cr_model_to_half(j->model, &half, &j->half, err);
}

/* Where there are no pictures, a static plan keeps nearest rounding: planning again from statistics is
 * to be quick and to give what it always gave. */
static bool rounds(const job *j)
{
    return j->calibration.count || j->mode != MODE_STATIC ||
           j->plan.options.rounding == CR_ROUNDING_SUMS;
}

static cr_status plan(job *j, cr_error *err)
{
    const int bits = palette_bits(j);
    if (is_half(j)) return halve(j, err);
    if (bits) return cr_model_to_palette(j->model, bits, &j->plan.options, &j->palette, err);
    if (j->recipe_in) return cr_model_load_recipe(j->model, j->recipe_in, err);
    const cr_progress progress = cli_progress();
    const bool ranges = j->mode == MODE_STATIC && (j->images || j->stats_in);
    cr_status st = ranges ? get_stats(j, err) : CR_OK;
    if (st == CR_OK && cli_budget_given(&j->budget))
        st = cli_budget_plan(&j->budget, j->model, j->stats, &j->plan.options, err);
    else if (st == CR_OK)
        st = cr_quantize(j->model, j->stats, &j->plan.options, &j->report, err);
    if (st == CR_OK && rounds(j) && cr_model_get_info(j->model)->quantized)
        st = cr_tune(j->model, &j->calibration, &j->plan.options, &progress, &j->tuned, err);
    return st;
}

static cr_status match_scores(job *j, cr_error *err)
{
    if (!j->match_scores) return CR_OK;
    return cr_match_scores(j->model, &j->calibration, j->common.threads, &j->scores, &j->objects,
                           err);
}

static cr_status write_files(const job *j, cr_error *err)
{
    cr_status st = cr_model_export(j->model, j->out, &j->export, err);
    if (st == CR_OK && j->stats_out) st = cr_stats_save(j->stats, j->stats_out, err);
    if (st != CR_OK || !j->recipe_out) return st;
    if (!j->budget.report.kept_float) return cr_model_save_recipe(j->model, j->recipe_out, err);
    cli_warn("%s: not written: the model was kept float and has no recipe", j->recipe_out);
    return CR_OK;
}

static void release(job *j)
{
    cli_findings_free(&j->found);
    cli_findings_free(&j->left);
    cli_boxes_free(&j->seen_file);
    cli_boxes_free(&j->seen_float);
    cli_boxes_free(&j->seen_int);
    free(j->calibration.paths);
    cr_image_list_free(&j->pictures);
    cr_stats_free(&j->stats);
    cli_budget_free(&j->budget);
    free(j->command);
    cli_speed_free(&j->speed);
    cli_diffs_free(&j->diffs);
    cr_model_free(&j->original);
    cr_model_free(&j->model);
}

static int print_help(void)
{
    fputs(help_head, stdout);
    fputs(cli_plan_help, stdout);
    fputs(cli_budget_help, stdout);
    fputs(cli_export_help, stdout);
    return cli_help(help_tail);
}

/* Large blocks go back to the system when they are freed: tuning takes and leaves some of very
 * different sizes, and a heap that keeps them grows by a third. */
static void keep_heap_small(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
}

int cmd_quantize(int argc, char **argv)
{
    job j = {.plan = cli_plan_default(), .budget = cli_budget_default(), .export = cr_export_options_default()};
    cr_error err = {0};
    struct option options[CLI_MAX_OPTIONS];
    cli_plan_join(own_options, options);
    cli_budget_join(options);
    cli_export_join(options);
    for (int c; (c = getopt_long(argc, argv, ":o:", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j);
        if (status) return status;
    }
    if (j.common.help) return print_help();
    cli_plan_finish(&j.plan);
    const int wrong = check_usage(&j, argc, argv);
    if (wrong) return wrong;
    j.command = cli_command_text(argc, argv);
    keep_heap_small();
    if (j.mode == MODE_WEIGHTS) j.plan.options.mode = CR_MODE_WEIGHTS;
    if (j.mode == MODE_DYNAMIC) j.plan.options.mode = CR_MODE_DYNAMIC;
    j.plan.options.threads = j.common.threads;
    cr_status st = prepare(&j, &err);
    if (st == CR_OK) st = take_apart(&j, &err);
    if (st == CR_OK) st = look(&j, "running the float model", &j.seen_float, &err);
    if (st == CR_OK) st = set_target(&j, &err);
    if (st == CR_OK) st = plan(&j, &err);
    if (st == CR_OK) st = match_scores(&j, &err);
    if (st == CR_OK)
        st = look(&j, is_half(&j) ? "running it with 16 bits" : "running the quantized model",
                  &j.seen_int, &err);
    if (st == CR_OK && can_measure(&j))
        st = cli_agreement(j.model, &j.seen_float, &j.seen_int, &j.agreement, &err);
    if (st == CR_OK && j.fix && can_measure(&j))
        st = cli_agreement(j.model, &j.seen_float, &j.seen_file, &j.file_agreement, &err);
    if (st == CR_OK && j.fix) st = cli_findings_get(j.model, &j.left, &err);
    if (st == CR_OK && can_measure(&j))
        st = cli_shape_agreement(&j.seen_float, &j.seen_int, &j.shapes, &err);
    if (st == CR_OK && j.report_path) st = quantize_report_measure(&j, &err);
    if (st == CR_OK) st = write_files(&j, &err);
    if (st == CR_OK && j.report_path) st = quantize_report_write(&j, &err);
    if (st == CR_OK) quantize_print(&j);
    release(&j);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
