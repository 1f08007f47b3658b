/* Options of what a written file looks like beyond its format: of quantize and of convert. */
#include <math.h>

#include "cli.h"
#include "plan_options.h"

const char cli_export_help[] =
    "Core ML packages:\n"
    "  --arithmetic A       float32, or float16 but for what decodes boxes (float16 where weights "
    "are\n"
    "                       quantized, else as the model is)\n"
    "  --input I            image: the model takes a picture of its size and prepares it; array: "
    "it\n"
    "                       takes the numbers that the network reads (image)\n"
    "  --nms                boxes and scores go through non-maximum suppression\n"
    "  --nms-conf P         its confidence threshold (.25)\n"
    "  --nms-iou P          its overlap threshold (.7)\n";

enum { OPT_ARITHMETIC, OPT_INPUT, OPT_NMS, OPT_NMS_CONF, OPT_NMS_IOU, OPT_COUNT };

static const struct option names[OPT_COUNT] = {{"arithmetic", required_argument, NULL, 0},
                                               {"input", required_argument, NULL, 0},
                                               {"nms", no_argument, NULL, 0},
                                               {"nms-conf", required_argument, NULL, 0},
                                               {"nms-iou", required_argument, NULL, 0}};

static const char *const arithmetics[] = {"float32", "float16", NULL};
static const char *const inputs[] = {"image", "array", NULL};

void cli_export_join(struct option *list)
{
    while (list->name) list++;
    for (int i = 0; i < OPT_COUNT; i++) {
        *list = names[i];
        list++->val = CLI_OPT_EXPORT + i;
    }
    *list = (struct option){0};
}

static bool take(int code, cr_export_options *o)
{
    int index;
    switch (code) {
    case OPT_ARITHMETIC:
        if (!cli_choice("arithmetic", optarg, arithmetics, &index)) return false;
        o->floats = index ? CR_FLOATS_16 : CR_FLOATS_32;
        return true;
    case OPT_INPUT:
        if (!cli_choice("input", optarg, inputs, &index)) return false;
        o->array_input = index == 1;
        return true;
    case OPT_NMS_CONF:
        return cli_real("nms-conf", optarg, 0, 1, &o->confidence);
    case OPT_NMS_IOU:
        return cli_real("nms-iou", optarg, 0, 1, &o->iou);
    default:
        o->suppress = true;
        return true;
    }
}

bool cli_export_take(int code, cr_export_options *o, int *status)
{
    if (code < CLI_OPT_EXPORT || code >= CLI_OPT_EXPORT + OPT_COUNT) return false;
    *status = take(code - CLI_OPT_EXPORT, o) ? CLI_DONE : CLI_USAGE;
    return true;
}
