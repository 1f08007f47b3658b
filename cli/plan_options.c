#include "plan_options.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

const char cli_plan_help[] =
    "  --samples N          calibrate on at most N of them (128)\n"
    "  --all-samples        use all of these, also when ranges no longer move\n"
    "  --seed N             which ones, when there are more (0)\n"
    "  --weights T          int8, uint8, int16, int4, uint4, int2 (-1, 0, 1), uint2, int1 (-1, 1),\n"
    "                       or palette8, palette6, palette4: each weight one of 256, 64, 16 values of\n"
    "                       its tensor; 64 and 16 with a scale per output (iOS 18; --granularity\n"
    "                       tensor: without, iOS 16) (--mode weights, for .mlpackage) (int8)\n"
    "  --first-last W       weights of the first and the last convolutions where others have fewer\n"
    "                       than 8 bits: int8 or same (int8)\n"
    "  --weight-scales M    how scales of weights are found: max (largest weight), mse (least error)\n"
    "                       or auto: mse for fewer than 8 bits (auto)\n"
    "  --block N            weights of fewer than 8 bits: a scale for N input channels, where a layer\n"
    "                       has as many (0: one per output channel; without it 64 where activations\n"
    "                       are float)\n"
    "  --small-layers PCT   where others have fewer than 8 bits, the smallest layers keep 8, as many as\n"
    "                       together have at most PCT per cent of the weights (10; where activations\n"
    "                       are float 30); 1x1 kernels count as a third of their size\n"
    "  --activations T      uint8, int8, int16, uint16 or float: only weights are quantized (uint8)\n"
    "  --granularity G      one weight scale per output channel or per tensor: channel, tensor\n"
    "                       (channel)\n"
    "  --symmetric          zero point of activations in the middle of the range\n"
    "  --reduce-range       7-bit weights, for CPUs whose int8 sums saturate\n"
    "  --keep-float GLOB    leave nodes with such names float; may be repeated\n"
    "  --only GLOB          quantize only nodes with such names; may be repeated\n"
    "  --precision-of G=P   layers with names like G in precision P: float, int4 (weights), int8,\n"
    "                       int16 (activations); may be repeated, a later one overrides\n"
    "  --equalize W         scale channels that share a scale so that they use it alike: fold where\n"
    "                       convolutions take the factors up, all: behind SiLU, too, off (fold)\n"
    "  --split-channels N   what depthwise convolutions read falls into at most N tensors of channels of\n"
    "                       like range, each with a scale of its own: 2 to 64, off, or auto, which is\n"
    "                       4 where there is one scale per tensor: --granularity tensor, TFLite,\n"
    "                       QOperator, ncnn and their targets (auto)\n"
    "  --rounding R         of weights: nearest; gptq: second-order, by what the layers' inputs look\n"
    "                       like; learned: then code by code while the output comes nearer; sums:\n"
    "                       errors cancel in the sums of kernels and outputs. gptq and learned need\n"
    "                       --images; modes that have none take sums in their place (learned)\n"
    "  --bias-correction    let biases make up for the mean error of layers' outputs\n"
    "  --calib METHOD       how ranges are chosen: minmax, moving-average, percentile[:P] (99.999),\n"
    "                       entropy, mse, lp[:P] (4), or auto, per tensor the one with the least\n"
    "                       measured error (auto)\n"
    "  --head MODE          auto: what lies behind the last convolutions stays float; float: they\n"
    "                       do, too; quantize: all integer, boxes and scores each with\n"
    "                       scales of their own, positions 16 bits wide; detach: the model\n"
    "                       ends at the last convolutions, decoding is the host's (auto)\n";

/* In the order of the enums of crayon/quantize.h. */
static const char *const weight_types[] = {"int8",  "uint8", "int16", "int4", "uint4",
                                           "int2", "uint2", "int1",
                                           "palette8", "palette6", "palette4", NULL};
static const char *const activation_types[] = {"uint8", "int8", "int16", "uint16", "float", NULL};
static const char *const scale_methods[] = {"auto", "max", "mse", NULL};
static const char *const first_last[] = {"int8", "same", NULL};
static const char *const granularities[] = {"channel", "tensor", NULL};
static const char *const calibrations[] = {"minmax", "moving-average", "percentile", "mse",
                                          "entropy", "lp", "auto", NULL};
static const char *const heads[] = {"auto", "quantize", "float", "detach", NULL};
static const char *const precisions[] = {"float", "int4", "int8", "int16", NULL}; /* one later */
static const char *const equalizations[] = {"off", "fold", "all", NULL};
static const char *const roundings[] = {"nearest", "gptq", "learned", "sums", NULL};

typedef int take_fn(const char *name, cli_plan *p);

/* One option. A choice goes to an enum at `offset` of cr_quantize_options, a flag to a bool there;
 * everything else has a function. */
typedef struct plan_option {
    const char *name;
    const char *const *choice;
    size_t offset;
    take_fn *take;
    bool not_plan; /* it moves the calibration, not the plan: allowed beside a recipe */
} plan_option;

static int take_samples(const char *name, cli_plan *p)
{
    long long n;
    if (!cli_integer(name, optarg, 1, INT_MAX, &n)) return CLI_USAGE;
    p->options.samples = (size_t)n;
    return CLI_DONE;
}

static int take_seed(const char *name, cli_plan *p)
{
    (void)name;
    return cli_seed(optarg, &p->options.seed) ? CLI_DONE : CLI_USAGE;
}

static int take_block(const char *name, cli_plan *p)
{
    long long n;
    if (!cli_integer(name, optarg, 0, INT_MAX, &n)) return CLI_USAGE;
    p->options.block = n;
    return CLI_DONE;
}

static int take_split_channels(const char *name, cli_plan *p)
{
    long long n = !strcmp(optarg, "auto") ? CR_SPLIT_AUTO : CR_SPLIT_OFF;
    const bool word = n == CR_SPLIT_AUTO || !strcmp(optarg, "off");
    if (!word && !cli_integer(name, optarg, 2, 64, &n)) return CLI_USAGE;
    p->options.split_channels = (int)n;
    return CLI_DONE;
}

static int take_small_layers(const char *name, cli_plan *p)
{
    return cli_real(name, optarg, 0, 100, &p->options.small_layers) ? CLI_DONE : CLI_USAGE;
}

static int take_calibration(const char *name, cli_plan *p)
{
    int index;
    if (!strncmp(optarg, "percentile:", 11)) {
        p->options.calibration = CR_CALIB_PERCENTILE;
        return cli_real("calib percentile", optarg + 11, 50, 100, &p->options.percentile)
                   ? CLI_DONE
                   : CLI_USAGE;
    }
    if (!strncmp(optarg, "lp:", 3)) {
        p->options.calibration = CR_CALIB_LP;
        return cli_real("calib lp", optarg + 3, 1, 16, &p->options.norm) ? CLI_DONE : CLI_USAGE;
    }
    if (!cli_choice(name, optarg, calibrations, &index)) return CLI_USAGE;
    p->options.calibration = (cr_calibration)index;
    return CLI_DONE;
}

static int add_glob(const char *name, const char **list, size_t *count)
{
    if (*count == CLI_MAX_GLOBS)
        return cli_usage("--%s: more than %d patterns", name, CLI_MAX_GLOBS);
    list[(*count)++] = optarg;
    return CLI_DONE;
}

static int take_keep_float(const char *name, cli_plan *p)
{
    return add_glob(name, p->keep_float, &p->options.keep_float_count);
}

static int take_only(const char *name, cli_plan *p)
{
    return add_glob(name, p->only, &p->options.only_count);
}

/* GLOB=P; names of nodes may have a '=' in them, precisions have none. */
static int take_precision_of(const char *name, cli_plan *p)
{
    char *equals = strrchr(optarg, '=');
    int index;
    if (!equals || equals == optarg)
        return cli_usage("--%s: '%s' is not of the form GLOB=PRECISION", name, optarg);
    if (p->options.layer_count == CLI_MAX_GLOBS)
        return cli_usage("--%s: more than %d patterns", name, CLI_MAX_GLOBS);
    if (!cli_choice(name, equals + 1, precisions, &index)) return CLI_USAGE;
    *equals = 0;
    p->layers[p->options.layer_count++] =
        (cr_layer_choice){optarg, (cr_layer_precision)(CR_LAYER_FLOAT + index)};
    return CLI_DONE;
}

#define AT(field) offsetof(cr_quantize_options, field)
static const plan_option table[] = {
    {"samples", NULL, 0, take_samples, true},
    {"seed", NULL, 0, take_seed, true},
    {"all-samples", NULL, AT(all_samples), NULL, true},
    {"weights", weight_types, AT(weights), NULL, false},
    {"first-last", first_last, AT(first_last), NULL, false},
    {"weight-scales", scale_methods, AT(weight_scales), NULL, false},
    {"block", NULL, 0, take_block, false},
    {"small-layers", NULL, 0, take_small_layers, false},
    {"split-channels", NULL, 0, take_split_channels, false},
    {"equalize", equalizations, AT(equalize), NULL, false},
    {"activations", activation_types, AT(activations), NULL, false},
    {"granularity", granularities, AT(granularity), NULL, false},
    {"head", heads, AT(head), NULL, false},
    {"rounding", roundings, AT(rounding), NULL, false},
    {"bias-correction", NULL, AT(bias_correction), NULL, false},
    {"symmetric", NULL, AT(symmetric), NULL, false},
    {"reduce-range", NULL, AT(reduce_range), NULL, false},
    {"calib", NULL, 0, take_calibration, false},
    {"keep-float", NULL, 0, take_keep_float, false},
    {"only", NULL, 0, take_only, false},
    {"precision-of", NULL, 0, take_precision_of, false},
};
enum { TABLE_SIZE = sizeof table / sizeof *table };

static bool is_flag(const plan_option *o)
{
    return !o->choice && !o->take;
}

cli_plan cli_plan_default(void)
{
    return (cli_plan){.options = cr_quantize_options_default()};
}

void cli_plan_join(const struct option *own, struct option out[CLI_MAX_OPTIONS])
{
    size_t n = 0;
    for (; own[n].name; n++) out[n] = own[n];
    for (int i = 0; i < TABLE_SIZE; i++)
        out[n++] =
            (struct option){table[i].name, is_flag(&table[i]) ? no_argument : required_argument,
                            NULL, CLI_OPT_PLAN + i};
    out[n] = (struct option){0};
}

static int take_value(const plan_option *o, cli_plan *p)
{
    char *const field = (char *)&p->options + o->offset;
    int index;
    if (o->take) return o->take(o->name, p);
    if (!o->choice) {
        *(bool *)field = true;
        return CLI_DONE;
    }
    if (!cli_choice(o->name, optarg, o->choice, &index)) return CLI_USAGE;
    memcpy(field, &index, sizeof index); /* every choice is an enum, as wide as an int */
    return CLI_DONE;
}

bool cli_plan_take(int code, cli_plan *p, int *status)
{
    if (code < CLI_OPT_PLAN || code >= CLI_OPT_PLAN + TABLE_SIZE) return false;
    const plan_option *o = &table[code - CLI_OPT_PLAN];
    p->given |= !o->not_plan;
    *status = take_value(o, p);
    return true;
}

void cli_plan_finish(cli_plan *p)
{
    p->options.keep_float = p->keep_float;
    p->options.only = p->only;
    p->options.layers = p->layers;
}

const char *cli_weights_name(cr_weight_type t)
{
    return weight_types[t];
}
const char *cli_activations_name(cr_activation_type t)
{
    return activation_types[t];
}
const char *cli_granularity_name(cr_granularity g)
{
    return granularities[g];
}
const char *cli_calibration_name(cr_calibration c)
{
    return calibrations[c];
}
const char *cli_rounding_name(cr_rounding r)
{
    return roundings[r];
}
