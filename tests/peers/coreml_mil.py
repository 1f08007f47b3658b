"""A slow interpreter of MIL programs, enough for what Crayon writes.

Core ML itself runs on Apple's systems only. coremltools reads a package here, checks every operation
against its definition and infers types; this module then computes what the definitions say, in NumPy.
float16 values are computed in float32 and rounded once per operation.
"""
import logging
import os

logging.disable(logging.WARNING)
import coremltools as ct  # noqa: E402
import numpy as np  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load as load_mil  # noqa: E402
from coremltools.converters.mil.mil import types  # noqa: E402


class Package:
    """A package as coremltools reads it: `spec` (the whole), `model` (the program's), `program`."""

    def __init__(self, path):
        self.whole = ct.models.MLModel(path, skip_model_load=True)
        self.spec = self.whole.get_spec()
        pipeline = self.spec.WhichOneof("Type") == "pipeline"
        self.model = self.spec.pipeline.models[0] if pipeline else self.spec
        self.program = load_mil(self.model, self.model.specificationVersion, self.whole.weights_dir or "")
        self.block = self.program.functions["main"]
        self.weights = os.path.join(path, "Data/com.apple.CoreML/weights/weight.bin")

    def operations(self):
        return list(self.block.operations)

    def run(self, *inputs, keep=()):
        """Outputs by name; of operations named in `keep`, too."""
        values = dict(zip(self.block.inputs, inputs))
        kept = {}
        uses = {}
        for op in self.operations():
            for v in flat(op.inputs.values()):
                uses[v.name] = uses.get(v.name, 0) + 1
        outputs = {v.name for v in self.block.outputs}
        for op in self.operations():
            if op.op_type == "const":
                continue
            made = evaluate(op, lambda v: value_of(v, values))
            for var, value in zip(op.outputs, made if isinstance(made, (tuple, list)) else [made]):
                values[var.name] = typed(var, value)
                if var.name in keep:
                    kept[var.name] = values[var.name]
            for v in flat(op.inputs.values()):
                uses[v.name] -= 1
                if not uses[v.name] and v.name in values and v.name not in outputs:
                    del values[v.name]
        return {name: values[name] for name in outputs} | kept


def flat(items):
    for v in items:
        if isinstance(v, (tuple, list)):
            yield from flat(v)
        elif v is not None:
            yield v


def typed(var, value):
    if isinstance(value, dict) or isinstance(value, str):
        return value
    dtype = types.nptype_from_builtin(var.dtype)
    value = np.asarray(value)
    assert value.shape == tuple(var.shape), (var.name, value.shape, var.shape)
    return value.astype(dtype)


def value_of(var, values):
    if isinstance(var, (tuple, list)):
        return [value_of(v, values) for v in var]
    if var is None:
        return None
    if var.name in values:
        return values[var.name]
    if var.op is not None and var.op.op_type.startswith("constexpr_"):
        values[var.name] = constant(var.op)
        return values[var.name]
    return var.val


def constant(op):
    """What a constant that is stored in another form is: from the definitions, not coremltools."""
    a = {k: constant(v.op) if v.op is not None and v.op.op_type.startswith("constexpr_") else v.val
         for k, v in op.inputs.items() if v is not None}
    if op.op_type == "constexpr_cast":
        return a["source_val"].astype(np.float32)
    if op.op_type == "constexpr_affine_dequantize":
        data = a["quantized_data"]
        shape = [1] * data.ndim
        if np.ndim(a["scale"]):
            shape[a["axis"]] = -1
        scale = np.asarray(a["scale"]).reshape(shape)
        zero = np.asarray(a["zero_point"]).astype(np.int32).reshape(shape)
        return (data.astype(np.int32) - zero).astype(scale.dtype) * scale
    if op.op_type == "constexpr_blockwise_shift_scale":
        data, scale, zero = a["data"], a["scale"], a.get("offset")
        data = data if data.dtype.kind == "f" else data.astype(np.int32)  # floats: another constant's values
        zero = np.zeros(scale.shape, np.int32) if zero is None else zero.astype(np.int32)
        for axis, size in enumerate(data.shape):
            scale = np.repeat(scale, size // scale.shape[axis], axis)
            zero = np.repeat(zero, size // zero.shape[axis], axis)
        return (data - zero).astype(scale.dtype) * scale
    assert op.op_type == "constexpr_lut_to_dense", op.op_type
    lut = a["lut"]
    if "shape" in a:  # one palette, indices packed
        bits = int(np.log2(lut.size))
        stream = np.unpackbits(a["indices"], bitorder="little")
        count = int(np.prod(a["shape"]))
        weights = 1 << np.arange(bits)
        return lut[stream[: count * bits].reshape(count, bits) @ weights].reshape(a["shape"])
    index = a["indices"].astype(np.int64)
    lut = lut[..., 0]
    for axis, size in enumerate(index.shape):
        lut = np.repeat(lut, size // lut.shape[axis], axis)
    return np.take_along_axis(lut, index[..., None], -1)[..., 0]


def erf(x):
    from math import erf as scalar

    return np.vectorize(scalar)(x.astype(np.float64)).astype(np.float32)


def sigmoid(x):
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32)


def patches(x, kernel, strides, dilations, pads, fill):
    """[N, C, taps, out...] of padded x, and the outputs' sizes."""
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    out = [(x.shape[2 + i] - spans[i]) // strides[i] + 1 for i in range(len(kernel))]
    taps = []
    for tap in np.ndindex(*kernel):
        window = [slice(None), slice(None)]
        for i, t in enumerate(tap):
            start = t * dilations[i]
            window.append(slice(start, start + (out[i] - 1) * strides[i] + 1, strides[i]))
        taps.append(x[tuple(window)])
    return np.stack(taps, 2), out


def pad_pairs(pad):
    return [(int(pad[2 * i]), int(pad[2 * i + 1])) for i in range(len(pad) // 2)]


def conv(x, weight, bias, strides, pad_type, pad, dilations, groups):
    assert pad_type == "custom"
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    n, (m, c, *kernel) = x.shape[0], weight.shape
    taps, out = patches(x, kernel, strides, dilations, pad_pairs(pad), 0)
    taps = taps.reshape(n, groups, c * taps.shape[2], -1)
    w = weight.reshape(groups, m // groups, -1)
    y = np.matmul(w[None], taps).reshape(n, m, *out)
    if bias is not None:
        y += bias.astype(np.float32).reshape(1, m, *[1] * len(out))
    return y


def conv_transpose(x, weight, bias, pad, output_shape, pad_type, strides, dilations, groups):
    assert pad_type == "custom"
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    n, c = x.shape[:2]
    m, kernel, pads = weight.shape[1], weight.shape[2:], pad_pairs(pad)
    rank = len(kernel)
    full = [(x.shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(rank)]
    y = np.zeros((n, groups, m, *full), np.float32)
    xs = x.reshape(n, groups, c // groups, -1)
    ws = weight.reshape(groups, c // groups, m, *kernel)
    for tap in np.ndindex(*kernel):
        part = np.einsum("ngcp,gcm->ngmp", xs, ws[(slice(None),) * 3 + tap])
        where = tuple(slice(t * dilations[i], t * dilations[i] + (x.shape[2 + i] - 1) * strides[i] + 1, strides[i])
                      for i, t in enumerate(tap))
        y[(slice(None),) * 3 + where] += part.reshape(n, groups, m, *x.shape[2:])
    crop = tuple(slice(lo, full[i] - hi) for i, (lo, hi) in enumerate(pads))
    y = y.reshape(n, groups * m, *full)[(slice(None),) * 2 + crop]
    assert list(y.shape) == list(output_shape)
    return y if bias is None else y + bias.astype(np.float32).reshape(1, -1, *[1] * rank)


def pool(x, kernel_sizes, strides, pad_type, pad, ceil_mode, exclude=None):
    assert pad_type == "custom" and not ceil_mode
    x, pads, ones = x.astype(np.float32), pad_pairs(pad), [1] * len(kernel_sizes)
    if exclude is None:
        return patches(x, kernel_sizes, strides, ones, pads, -np.inf)[0].max(2)
    total = patches(x, kernel_sizes, strides, ones, pads, 0)[0].sum(2)
    count = patches(np.ones_like(x), kernel_sizes, strides, ones, pads, 0 if exclude else 1)[0].sum(2)
    return total / count


def bilinear(x, height, width, mode):
    def axis(size, target):
        i = np.arange(target, dtype=np.float64)
        if mode == "STRICT_ALIGN_CORNERS":
            at = i * (size - 1) / (target - 1) if target > 1 else i * 0
        elif mode == "UNALIGN_CORNERS":
            at = (i + 0.5) * size / target - 0.5
        else:
            assert mode == "DEFAULT"
            at = i * size / target
        at = np.clip(at, 0, size - 1)
        lo = np.floor(at).astype(int)
        return lo, np.minimum(lo + 1, size - 1), (at - lo).astype(np.float32)

    (y0, y1, fy), (x0, x1, fx) = axis(x.shape[2], height), axis(x.shape[3], width)
    rows = x[:, :, y0] * (1 - fy)[:, None] + x[:, :, y1] * fy[:, None]
    return rows[..., x0] * (1 - fx) + rows[..., x1] * fx


def softmax(x, axis):
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def by_axis(v, x, axis):
    return v if np.ndim(v) == 0 else np.reshape(v, [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def quantize(input, scale, zero_point, axis, output_dtype):
    info = np.iinfo(output_dtype)
    z = by_axis(0 if zero_point is None else zero_point, input, axis)
    q = np.rint(input / by_axis(scale, input, axis)).astype(np.float64) + np.asarray(z).astype(np.float64)
    return np.clip(q, info.min, info.max)


def dequantize(input, scale, zero_point, axis):
    z = np.asarray(by_axis(0 if zero_point is None else zero_point, input, axis)).astype(np.int32)
    return (input.astype(np.int32) - z).astype(scale.dtype) * by_axis(scale, input, axis)


def gather_nd(x, indices, batch_dims=0):
    assert not batch_dims
    return x[tuple(np.moveaxis(indices, -1, 0))]


def slice_by_index(x, begin, end, stride, begin_mask, end_mask, squeeze_mask):
    assert not any(begin_mask) and not any(squeeze_mask)
    return x[tuple(slice(int(b), None if m else int(e), int(s))
                   for b, e, s, m in zip(begin, end, stride, end_mask))]


def top_k(x, k, axis, ascending):
    order = np.argsort(x if ascending else -x, axis=axis, kind="stable")
    index = np.take(order, range(k), axis)
    return np.take_along_axis(x, index, axis), index


UNARY = {
    "abs": np.abs, "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "atanh": np.arctanh,
    "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh, "erf": erf, "exp": np.exp, "floor": np.floor,
    "relu": lambda x: np.maximum(x, 0), "round": np.rint, "sigmoid": sigmoid, "sign": np.sign,
    "sin": np.sin, "sinh": np.sinh, "softplus": lambda x: np.logaddexp(0, x), "sqrt": np.sqrt,
    "softsign": lambda x: x / (1 + np.abs(x)), "tan": np.tan, "tanh": np.tanh, "identity": lambda x: x,
    "logical_not": np.logical_not, "silu": lambda x: x * sigmoid(x),
}
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "real_div": np.divide, "pow": np.power,
    "mod": np.mod, "maximum": np.maximum, "minimum": np.minimum, "equal": np.equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less,
    "less_equal": np.less_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
REDUCE = {
    "reduce_sum": np.sum, "reduce_mean": np.mean, "reduce_max": np.max, "reduce_min": np.min,
    "reduce_prod": np.prod, "reduce_l1_norm": lambda x, **k: np.abs(x).sum(**k),
    "reduce_l2_norm": lambda x, **k: np.sqrt((x * x).sum(**k)),
    "reduce_log_sum": lambda x, **k: np.log(x.sum(**k)),
    "reduce_log_sum_exp": lambda x, **k: np.log(np.exp(x).sum(**k)),
    "reduce_sum_square": lambda x, **k: (x * x).sum(**k),
}


def wide(v):
    return v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype == np.float16 else v


def evaluate(op, get):
    a = {k: get(v) for k, v in op.inputs.items()}
    kind = op.op_type
    if kind.startswith("constexpr_"):
        return constant(op)
    if kind not in ("quantize", "dequantize"):
        a = {k: [wide(x) for x in v] if isinstance(v, list) else wide(v) for k, v in a.items()}
    x = a.get("x")
    if kind in UNARY:
        return UNARY[kind](x)
    if kind in BINARY:
        return BINARY[kind](x, a["y"])
    if kind in REDUCE:
        axes = tuple(int(i) for i in a["axes"])
        return REDUCE[kind](x.astype(np.float64), axis=axes, keepdims=bool(a["keep_dims"]))
    if kind == "conv":
        return conv(x, a["weight"], a.get("bias"), a["strides"], a["pad_type"], a["pad"], a["dilations"],
                    int(a["groups"]))
    if kind == "conv_transpose":
        return conv_transpose(x, a["weight"], a.get("bias"), a["pad"], a["output_shape"], a["pad_type"],
                              a["strides"], a["dilations"], int(a["groups"]))
    if kind in ("max_pool", "avg_pool"):
        return pool(x, a["kernel_sizes"], a["strides"], a["pad_type"], a["pad"], a["ceil_mode"],
                    a.get("exclude_padding_from_average"))
    if kind == "linear":
        y = x @ a["weight"].T
        return y if a.get("bias") is None else y + a["bias"]
    if kind == "matmul":
        y = a["y"]
        return (np.swapaxes(x, -1, -2) if a["transpose_x"] else x) @ (np.swapaxes(y, -1, -2) if a["transpose_y"] else y)
    simple = {
        "leaky_relu": lambda: np.where(x >= 0, x, x * a["alpha"]),
        "elu": lambda: np.where(x >= 0, x, a["alpha"] * np.expm1(x)),
        "sigmoid_hard": lambda: np.clip(x * a["alpha"] + a["beta"], 0, 1),
        "clip": lambda: np.clip(x, a["alpha"], a["beta"]),
        "log": lambda: np.log(x + a["epsilon"]),
        "gelu": lambda: x * 0.5 * (1 + erf(x / np.sqrt(2))) if a["mode"] == "EXACT"
        else x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))),
        "softmax": lambda: softmax(x, int(a["axis"])),
        "cast": lambda: x,
        "select": lambda: np.where(a["cond"], a["a"], a["b"]),
        "reshape": lambda: x.reshape(a["shape"]),
        "transpose": lambda: x.transpose(a["perm"]),
        "concat": lambda: np.concatenate(a["values"], int(a["axis"])),
        "split": lambda: np.split(x, np.cumsum(a["split_sizes"])[:-1], int(a["axis"])),
        "slice_by_index": lambda: slice_by_index(x, a["begin"], a["end"], a["stride"], a["begin_mask"],
                                                 a["end_mask"], a["squeeze_mask"]),
        "gather": lambda: np.take(x, a["indices"], int(a["axis"])),
        "gather_along_axis": lambda: np.take_along_axis(x, a["indices"], int(a["axis"])),
        "gather_nd": lambda: gather_nd(x, a["indices"], a.get("batch_dims", 0)),
        "tile": lambda: np.tile(x, a["reps"]),
        "pad": lambda: np.pad(x, pad_pairs(a["pad"]), constant_values=a["constant_val"])
        if a["mode"] == "constant" else np.pad(x, pad_pairs(a["pad"]), {"reflect": "reflect", "replicate": "edge"}[a["mode"]]),
        "topk": lambda: top_k(x, int(a["k"]), int(a["axis"]), bool(a["ascending"])),
        "reduce_argmax": lambda: np.expand_dims(x.argmax(a["axis"]), int(a["axis"])) if a["keep_dims"] else x.argmax(a["axis"]),
        "reduce_argmin": lambda: np.expand_dims(x.argmin(a["axis"]), int(a["axis"])) if a["keep_dims"] else x.argmin(a["axis"]),
        "upsample_nearest_neighbor": lambda: x.repeat(int(a["scale_factor_height"]), 2).repeat(int(a["scale_factor_width"]), 3),
        "resize_bilinear": lambda: bilinear(x, int(a["target_size_height"]), int(a["target_size_width"]), a["sampling_mode"]),
        "batch_norm": lambda: norm(x, by_axis(a["mean"], x, 1), by_axis(a["variance"], x, 1), by_axis(a["gamma"], x, 1),
                                   by_axis(a["beta"], x, 1), a["epsilon"]),
        "instance_norm": lambda: moments(x, tuple(range(2, x.ndim)), by_axis(a["gamma"], x, 1), by_axis(a["beta"], x, 1), a["epsilon"]),
        "layer_norm": lambda: moments(x, tuple(int(i) for i in a["axes"]), a["gamma"], a.get("beta"), a["epsilon"]),
        "quantize": lambda: quantize(a["input"], a["scale"], a.get("zero_point"), a.get("axis"), a["output_dtype"]),
        "dequantize": lambda: dequantize(a["input"], a["scale"], a.get("zero_point"), a.get("axis")),
        "classify": lambda: classify(a["probabilities"], a["classes"]),
    }
    return simple[kind]()


def norm(x, mean, variance, gamma, beta, epsilon):
    y = (x - mean) / np.sqrt(variance + epsilon) * gamma
    return y if beta is None else y + beta


def moments(x, axes, gamma, beta, epsilon):
    x = x.astype(np.float64)
    return norm(x, x.mean(axes, keepdims=True), x.var(axes, keepdims=True), gamma, beta, epsilon)


def classify(probabilities, classes):
    p, names = np.ravel(probabilities), [str(c) for c in classes]
    return names[int(p.argmax())], dict(zip(names, (float(v) for v in p)))
