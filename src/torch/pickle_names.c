/* The names that a checkpoint may contain. Sources: pickletools (the format), torch/_utils.py and
 * torch/serialization.py (which functions torch.save refers to), and what nn.Module, collections,
 * pathlib and NumPy give for themselves in __reduce__.
 *
 * Classes are allowed by package: they are never instantiated for real, so that a module class
 * which nobody knows costs nothing until the model needs its forward pass. Functions are allowed
 * one by one, with what they mean. */
#include <string.h>

#include "torch/pickle.h"

typedef struct known_name {
    const char *module, *name;
    cr_pkl_call call;
} known_name;

static const known_name functions[] = {
    {"collections", "OrderedDict", CR_CALL_DICT},
    {"collections", "defaultdict", CR_CALL_OPAQUE},
    {"__builtin__", "set", CR_CALL_SET},
    {"builtins", "set", CR_CALL_SET},
    {"__builtin__", "frozenset", CR_CALL_SET},
    {"builtins", "frozenset", CR_CALL_SET},
    {"__builtin__", "object", CR_CALL_NEVER},
    {"builtins", "object", CR_CALL_NEVER},
    {"__builtin__", "slice", CR_CALL_OPAQUE},
    {"builtins", "slice", CR_CALL_OPAQUE},
    {"__builtin__", "getattr", CR_CALL_METHOD}, /* methods kept as attributes, by fused models */
    {"builtins", "getattr", CR_CALL_METHOD},
    {"copy_reg", "_reconstructor", CR_CALL_INSTANCE},
    {"copyreg", "_reconstructor", CR_CALL_INSTANCE},
    {"torch", "Size", CR_CALL_TUPLE},
    {"torch", "device", CR_CALL_OPAQUE},
    {"torch", "Tensor", CR_CALL_NEVER},
    {"torch._utils", "_rebuild_tensor", CR_CALL_TENSOR},
    {"torch._utils", "_rebuild_tensor_v2", CR_CALL_TENSOR},
    {"torch._utils", "_rebuild_parameter", CR_CALL_FIRST},
    {"torch._utils", "_rebuild_parameter_with_state", CR_CALL_FIRST},
    {"torch._tensor", "_rebuild_from_type_v2", CR_CALL_SECOND_OF},
    {"torch.nn.parameter", "Parameter", CR_CALL_NEVER},
    {"torch.nn.parameter", "Buffer", CR_CALL_NEVER},
    {"torch.serialization", "_get_layout", CR_CALL_OPAQUE},
    {"torch.storage", "UntypedStorage", CR_CALL_NEVER},
    {"argparse", "Namespace", CR_CALL_RECORD},
    {"types", "SimpleNamespace", CR_CALL_RECORD},
    {"pathlib", "Path", CR_CALL_OPAQUE},
    {"pathlib", "PosixPath", CR_CALL_OPAQUE},
    {"pathlib", "WindowsPath", CR_CALL_OPAQUE},
    {"pathlib", "PurePosixPath", CR_CALL_OPAQUE},
    {"pathlib", "PureWindowsPath", CR_CALL_OPAQUE},
    {"pathlib._local", "PosixPath", CR_CALL_OPAQUE},
    {"pathlib._local", "WindowsPath", CR_CALL_OPAQUE},
    {"_codecs", "encode", CR_CALL_OPAQUE},
    {"numpy", "dtype", CR_CALL_OPAQUE},
    {"numpy", "ndarray", CR_CALL_NEVER},
    {"numpy.core.multiarray", "scalar", CR_CALL_OPAQUE},
    {"numpy.core.multiarray", "_reconstruct", CR_CALL_OPAQUE},
    {"numpy._core.multiarray", "scalar", CR_CALL_OPAQUE},
    {"numpy._core.multiarray", "_reconstruct", CR_CALL_OPAQUE},
};

/* A package ("a.b.") or a module ("a.b"). */
static const char *const class_packages[] = {
    "torch.nn.modules.", "ultralytics.",        "yolov5.models.", "models.yolo",
    "models.common",     "models.experimental", "utils.loss"};

static bool in_package(const char *module, const char *package)
{
    const size_t n = strlen(package);
    return package[n - 1] == '.' ? !strncmp(module, package, n) : !strcmp(module, package);
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* torch.float16, torch.HalfStorage, torch.nn.functional.silu: values that are never called. */
static bool torch_value(const char *module, const char *name)
{
    static const char *const types[] = {"float16", "float32", "float64", "bfloat16",
                                        "int8",    "uint8",   "int16",   "int32",
                                        "int64",   "bool",    "strided"};
    if (!strcmp(module, "torch.nn.functional") || !strcmp(module, "torch._C._nn"))
        return !strchr(name, '.');
    if (strcmp(module, "torch") && strcmp(module, "torch.cuda")) return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i])) return true;
    return ends_with(name, "Storage") && !strchr(name, '.');
}

bool cr_pkl_lookup(const char *module, const char *name, cr_pkl_call *call)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!strcmp(module, functions[i].module) && !strcmp(name, functions[i].name)) {
            *call = functions[i].call;
            return true;
        }
    *call = CR_CALL_NEVER;
    if (torch_value(module, name)) return true;
    *call = CR_CALL_RECORD;
    if (strchr(name, '.')) return false; /* protocol 4 may reach through attributes: os by "x.os" */
    for (size_t i = 0; i < sizeof class_packages / sizeof *class_packages; i++)
        if (in_package(module, class_packages[i])) return true;
    return false;
}
