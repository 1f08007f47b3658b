/* Options that a format, a target or a mode has no use for: refused by name before the work begins, so that
 * none is passed over in silence. tests/cli/option_fit.sh has the table. */
#include <string.h>

#include "cli.h"
#include "plan_options.h"

static bool is(const char *a, const char *b)
{
    return a && !strcmp(a, b);
}

cr_target cli_target_for(const char *path, const cr_export_options *o)
{
    const char *format = cr_export_format(path, o);
    return is(format, "tflite")      ? CR_TARGET_TFLITE
           : is(format, "ncnn")      ? CR_TARGET_NCNN
           : is(format, "qoperator") ? CR_TARGET_ORT
                                     : CR_TARGET_CRAYON;
}

int cli_fits_format(const char *path, const cr_export_options *o)
{
    const cr_export_options d = cr_export_options_default();
    const char *format = cr_export_format(path, o);
    const bool thresholds = o->confidence != d.confidence || o->iou != d.iou;
    const struct {
        const char *name, *goes_with, *formats;
        bool asked;
    } options[] = {
        {"--io", "tflite", "TFLite", o->ports != CR_PORTS_FLOAT},
        {"--arithmetic", "coreml", "Core ML packages", o->floats != d.floats},
        {"--input array", "coreml", "Core ML packages", o->array_input},
        {"--nms", "coreml", "Core ML packages", o->suppress},
        {o->confidence != d.confidence ? "--nms-conf" : "--nms-iou", "coreml", "Core ML packages", thresholds},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].asked && !is(format, options[i].goes_with))
            return cli_failf("%s is for %s: %s has the format %s", options[i].name, options[i].formats, path,
                             format ? format : "of its ending");
    if (thresholds && !o->suppress) return cli_failf("--nms-conf and --nms-iou need --nms");
    return CLI_DONE;
}

/* Why 16 bits are not to be had in single layers; NULL: they are. */
static const char *no_wide_layers(const char *format, cr_target target)
{
    switch (target) {
    case CR_TARGET_TFLITE: return "a TFLite file has one width for all activations (--activations int16)";
    case CR_TARGET_EDGETPU: return "target edgetpu has 8 bits alone";
    case CR_TARGET_NPU_NXP: return "target npu-nxp has 8 bits alone";
    case CR_TARGET_NCNN: return "ncnn has activations of 8 bits alone";
    default: return is(format, "coreml") ? "Core ML has activations of 8 bits alone" : NULL;
    }
}

bool cli_has_wide_layers(const char *path, const cr_export_options *o, cr_target target)
{
    return !no_wide_layers(cr_export_format(path, o), target);
}

int cli_fits_widths(const char *path, const cr_export_options *o, const cr_quantize_options *plan, long int16_layers)
{
    const char *format = cr_export_format(path, o), *why = no_wide_layers(format, plan->target);
    const bool wide = plan->activations == CR_ACTIVATIONS_INT16 || plan->activations == CR_ACTIVATIONS_UINT16;
    if (wide && (plan->target == CR_TARGET_NCNN || is(format, "coreml")))
        return cli_failf("--activations %s: %s", cli_activations_name(plan->activations), why);
    if (!why) return CLI_DONE;
    for (size_t i = 0; i < plan->layer_count; i++)
        if (plan->layers[i].precision == CR_LAYER_INT16)
            return cli_failf("--precision-of %s=int16: %s", plan->layers[i].nodes, why);
    return int16_layers > 0 ? cli_failf("--int16-layers: %s", why) : CLI_DONE;
}

int cli_fits_mode(const char *mode, const cr_quantize_options *o)
{
    const bool keeps = o->activations == CR_ACTIVATIONS_UINT8 || o->activations == CR_ACTIVATIONS_FLOAT;
    const struct {
        const char *name;
        bool asked;
    } options[] = {
        {"--activations", !keeps},
        {"--symmetric", o->symmetric},
        {"--calib", o->calibration != CR_CALIB_AUTO},
        {"--equalize all", o->equalize == CR_EQUALIZE_ALL},
        {"--split-channels", o->split_channels > 0},
        {"--head quantize", o->head == CR_HEAD_QUANTIZE},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].asked)
            return cli_failf("%s needs ranges of activations: --mode %s has none", options[i].name, mode);
    for (size_t i = 0; i < o->layer_count; i++)
        if (o->layers[i].precision == CR_LAYER_INT16)
            return cli_failf("--precision-of %s=int16 needs ranges of activations: --mode %s has none",
                             o->layers[i].nodes, mode);
    return CLI_DONE;
}
