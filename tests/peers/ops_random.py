"""Random single-operator models with ONNX Runtime's results, for peers-node_tests to run.

    ops_random.py OUT [SEED]

gives OUT/NAME/model.onnx and OUT/NAME/test_data_set_0 as node_tests.py does. ONNX Runtime runs with
graph optimizations off. Integer results have to be equal; `tolerance` holds "rtol atol" for floats:
both sides round once or sum in float32, which for the lengths here (at most 81 products, values
around 1) differs by less than 1e-5. Resize and GridSample get 1e-4: ONNX Runtime computes positions
in float32, an error of 1e-6 of a pixel times a slope of the data.

Left out on purpose: ConvTranspose with auto_pad SAME and a kernel shorter than the stride, where
ONNX Runtime's output is shorter than the input_shape * strides that the standard asks for.
"""

import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

TOLERANCE = (1e-5, 1e-5)
POSITIONS = (1e-4, 1e-4)

out = pathlib.Path(sys.argv[1])
seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
rng = np.random.default_rng(seed)
refused = 0


def floats(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def integers(dtype, *shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def scalar(dtype, value):
    return np.array(value, dtype)


def pick(low, high):
    return int(rng.integers(low, high))


def scales(n):
    return rng.random(n).astype(np.float32) * np.float32(0.01) + np.float32(0.001)


def tensor_type(name, value):
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
    )


def write(path, value, name):
    path.write_bytes(numpy_helper.from_array(value, name).SerializeToString())


def case(name, op, inputs, outputs=1, opset=17, constants=(), tolerance=TOLERANCE, **attributes):
    """inputs: arrays, None where one is absent; constants: indices that become initializers."""
    global refused
    names = ["" if x is None else f"in{i}" for i, x in enumerate(inputs)]
    present = [(names[i], x, i in constants) for i, x in enumerate(inputs) if x is not None]
    results = [f"out{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    graph = helper.make_graph(
        [node],
        name,
        [tensor_type(n, x) for n, x, constant in present if not constant],
        [helper.make_empty_tensor_value_info(n) for n in results],
        [numpy_helper.from_array(x, n) for n, x, constant in present if constant],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    feeds = {n: x for n, x, constant in present if not constant}
    try:
        model = onnx.shape_inference.infer_shapes(model)
        session = ort.InferenceSession(model.SerializeToString(), options)
        values = session.run(None, feeds)
    except Exception:  # combinations that ONNX Runtime does not have
        refused += 1
        return
    del model.graph.output[:]
    model.graph.output.extend(tensor_type(n, y) for n, y in zip(results, values))
    data = out / name / "test_data_set_0"
    data.mkdir(parents=True)
    (out / name / "model.onnx").write_bytes(model.SerializeToString())
    (out / name / "tolerance").write_text(f"{tolerance[0]:g} {tolerance[1]:g}\n")
    for i, (n, x) in enumerate(feeds.items()):
        write(data / f"input_{i}.pb", x, n)
    for i, y in enumerate(values):
        write(data / f"output_{i}.pb", y, results[i])


def window(dims):
    return [pick(1, 4) for _ in range(dims)]


def convolutions(i):
    dims, groups, per_in, per_out = pick(1, 4), pick(1, 4), pick(1, 4), pick(1, 4)
    kernel, strides, dilations = window(dims), window(dims), [pick(1, 3) for _ in range(dims)]
    size = [pick(7, 15) for _ in range(dims)]
    x = floats(pick(1, 3), per_in * groups, *size)
    bias = [floats(per_out * groups)] if i % 2 else []
    common = {"group": groups, "strides": strides, "dilations": dilations}
    if i % 3:
        common["pads"] = [pick(0, 3) for _ in range(2 * dims)]
    else:
        common["auto_pad"] = ["SAME_UPPER", "SAME_LOWER", "VALID"][i // 3 % 3]
        common["dilations"] = [1] * dims
    case(f"conv{i}", "Conv", [x, floats(per_out * groups, per_in, *kernel)] + bias, **common)

    same = i % 3 == 0 and i % 2
    common = {"group": groups, "strides": strides, "dilations": dilations}
    if i % 3:
        common["pads"] = [pick(0, 2) for _ in range(2 * dims)]
        common["output_padding"] = [pick(0, max(s, d)) for s, d in zip(strides, dilations)]
    elif same:
        common["auto_pad"] = ["SAME_UPPER", "SAME_LOWER"][i // 3 % 2]
        kernel = [max(k, s) for k, s in zip(kernel, strides)]
    else:
        common["output_shape"] = [
            (n - 1) * s + k - pick(0, 2) for n, s, k in zip(size, strides, kernel)
        ]
        common["dilations"] = [1] * dims
    weights = floats(per_in * groups, per_out, *kernel)
    case(f"conv_transpose{i}", "ConvTranspose", [x, weights] + bias, **common)


def integer_convolutions(i):
    dims, groups, per_in, per_out = pick(1, 4), pick(1, 4), pick(1, 4), pick(1, 4)
    kernel, channels = window(dims), per_out * groups
    x_type = np.uint8 if i % 2 else np.int8
    x = integers(x_type, pick(1, 3), per_in * groups, *[pick(7, 15) for _ in range(dims)])
    w = integers(np.int8, channels, per_in, *kernel)
    common = {"group": groups, "strides": window(dims), "pads": [pick(0, 3) for _ in kernel * 2]}
    per_channel = i % 3 > 0
    w_scale = scales(channels) if per_channel else scalar(np.float32, 0.0071)
    w_zero = np.zeros(channels, np.int8) if per_channel else scalar(np.int8, 0)
    x_zero, y_zero = scalar(x_type, pick(0, 100)), scalar(x_type, pick(0, 100))
    inputs = [x, scalar(np.float32, 0.02), x_zero, w, w_scale, w_zero, scalar(np.float32, 0.06)]
    inputs += [y_zero] + ([rng.integers(-3000, 3000, channels).astype(np.int32)] if i % 2 else [])
    case(f"qlinear_conv{i}", "QLinearConv", inputs, constants=range(1, 9), **common)
    w = integers(np.uint8, *w.shape)
    inputs = [x, w, x_zero, scalar(np.uint8, pick(0, 255))]
    case(f"conv_integer{i}", "ConvInteger", inputs, constants=(1, 2, 3), **common)


def pools(i):
    dims = pick(1, 4)
    x = floats(pick(1, 3), pick(1, 4), *[pick(7, 15) for _ in range(dims)])
    kernel = [pick(1, 5) for _ in range(dims)]
    common = {
        "kernel_shape": kernel,
        "strides": window(dims),
        "pads": [pick(0, kernel[k % dims]) for k in range(2 * dims)],
    }
    dilations = [pick(1, 3) for _ in range(dims)]
    both = {"dilations": dilations, "ceil_mode": i % 2, **common}
    case(f"max_pool{i}", "MaxPool", [x], outputs=2, opset=12, **both)
    count = i // 2 % 2
    case(f"average_pool{i}", "AveragePool", [x], opset=19, count_include_pad=count, **both)
    case(f"lp_pool{i}", "LpPool", [x], opset=18, p=pick(1, 4), **common)


def resizes(i):
    mode = ["nearest", "linear", "cubic"][i % 3]
    dims = 2 if mode == "cubic" else pick(1, 3)
    size, target = [pick(2, 12) for _ in range(dims)], [pick(1, 25) for _ in range(dims)]
    places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    common = {"mode": mode, "coordinate_transformation_mode": places[i // 3 % 4]}
    if mode == "nearest":
        roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        common["nearest_mode"] = roundings[i // 12 % 4]
    if mode == "cubic":
        common["exclude_outside"] = i % 2
    factors = scalar(np.float32, [1, 1] + [t / s for t, s in zip(target, size)])
    sizes = scalar(np.int64, [1, 2] + target)
    inputs = [None, None, sizes] if i % 2 else [None, factors]
    case(
        f"resize{i}",
        "Resize",
        [floats(1, 2, *size)] + inputs,
        opset=19,
        constants=(2, 3),
        tolerance=POSITIONS,
        **common,
    )


def samples(i):
    case(
        f"grid_sample{i}",
        "GridSample",
        [floats(1, 3, pick(2, 7), pick(2, 7)), floats(1, pick(1, 6), pick(1, 6), 2)],
        opset=16,
        tolerance=POSITIONS,
        mode=["bilinear", "nearest", "bicubic"][i % 3],
        padding_mode=["zeros", "border", "reflection"][i // 3 % 3],
        align_corners=i % 2,
    )


def products(i):
    m, k, n = pick(1, 9), pick(1, 30), pick(1, 9)
    trans_a, trans_b = i % 2, i // 2 % 2
    a = floats(k, m) if trans_a else floats(m, k)
    b = floats(n, k) if trans_b else floats(k, n)
    c = [floats(*[(n,), (m, n), (1, n), (m, 1), ()][i % 5])] if i % 3 else []
    case(f"gemm{i}", "Gemm", [a, b] + c, transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    a_batch, b_batch = [(), (2,), (3, 1), (1, 2)][i % 4], [(), (2,), (1, 2), (3, 2)][i // 4 % 4]
    case(f"matmul{i}", "MatMul", [floats(*a_batch, m, k), floats(*b_batch, k, n)])
    dtype = [np.uint8, np.int8][i % 2]
    b_scale = scales(n) if i % 3 else scalar(np.float32, 0.004)
    b_zero = np.zeros(n, np.int8) if i % 3 else scalar(np.int8, 0)
    inputs = [integers(dtype, *a_batch, m, k), scalar(np.float32, 0.02), scalar(dtype, 11)]
    inputs += [integers(np.int8, k, n), b_scale, b_zero]
    inputs += [scalar(np.float32, 0.3), scalar(dtype, 5)]
    case(f"qlinear_matmul{i}", "QLinearMatMul", inputs, constants=range(1, 8))
    zero = integers(np.int8, n) if i % 2 else scalar(np.int8, 4)
    inputs = [integers(np.uint8, m, k), integers(np.int8, k, n), scalar(np.uint8, 9), zero]
    case(f"matmul_integer{i}", "MatMulInteger", inputs)


def quantizers(i):
    dtype = [np.uint8, np.int8, np.uint16, np.int16][i % 4]
    x = floats(pick(1, 4), pick(1, 5), pick(2, 9)) * np.float32(pick(1, 50))
    axis = pick(0, 3)
    n = x.shape[axis]
    scale = scales(n) * np.float32(20) if i % 3 else scalar(np.float32, 0.07)
    zero = np.full(n, 9, dtype) if i % 3 else scalar(dtype, 9)
    exact = (0, 0)
    case(f"quantize{i}", "QuantizeLinear", [x, scale, zero], opset=21, axis=axis)
    inputs = [integers(dtype, *x.shape), scale, zero]
    case(f"dequantize{i}", "DequantizeLinear", inputs, opset=21, tolerance=exact, axis=axis)
    case(f"dynamic_quantize{i}", "DynamicQuantizeLinear", [x], outputs=3, tolerance=exact)


def selections(i):
    boxes = floats(2, pick(1, 40), 4)
    boxes[..., 2:] = abs(boxes[..., 2:])
    scores = rng.random((2, 3, boxes.shape[1])).astype(np.float32)
    inputs = [boxes, scores, scalar(np.int64, [pick(1, 10)]), scalar(np.float32, [0.3])]
    inputs += [scalar(np.float32, [0.4])] if i % 2 else []
    case(f"nms{i}", "NonMaxSuppression", inputs, center_point_box=i % 2)


def reductions(i):
    x = floats(pick(1, 4), pick(1, 5), pick(2, 9))
    case(f"softmax{i}", "Softmax", [x], axis=pick(-3, 3))
    for op in ("Mean", "Max", "Min", "L2", "LogSumExp", "Prod", "L1", "SumSquare"):
        axes = sorted(int(a) for a in rng.choice(3, pick(1, 4), replace=False))
        case(f"reduce_{op}{i}", f"Reduce{op}", [x], axes=axes, keepdims=i % 2)
    channels = x.shape[1]
    inputs = [x] + [floats(channels) for _ in range(3)] + [abs(floats(channels)) + 0.1]
    case(f"batch_norm{i}", "BatchNormalization", inputs)
    case(f"instance_norm{i}", "InstanceNormalization", inputs[:3])
    case(f"layer_norm{i}", "LayerNormalization", [x, floats(x.shape[2]), floats(x.shape[2])])


def main():
    if out.exists():
        shutil.rmtree(out)
    for i in range(48):
        for make in (convolutions, integer_convolutions, pools, resizes, samples, products):
            make(i)
        for make in (quantizers, selections, reductions):
            make(i)
    made = len(list(out.iterdir()))
    print(f"onnxruntime {ort.__version__}: {made} cases in {out}, {refused} that it refused")


main()
