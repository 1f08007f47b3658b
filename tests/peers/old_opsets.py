"""Small models in old opsets, one per operator form that the reader has to upgrade, with expected
outputs from ONNX Runtime (from ONNX's reference evaluator where that has no kernel), in the layout
that peers-node_tests runs.

    old_opsets.py OUT

The ONNX package's own node tests are all in new opsets; these cover what is between 7 and 20.
"""

import pathlib
import shutil
import sys

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(7)


def rand(*shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def run(model, inputs):
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return ReferenceEvaluator(model).run(None, inputs)
    return session.run(None, inputs)


def case(out, name, opset, nodes, inputs, n_out=1, consts=None, listed=False, ir=None):
    """inputs, consts: name -> array. listed: constants are graph inputs too, as before IR 4."""
    consts = consts or {}
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in list(inputs.items()) + (list(consts.items()) if listed else [])
    ]
    outs = [helper.make_empty_tensor_value_info(f"y{i}" if i else "y") for i in range(n_out)]
    graph = helper.make_graph(
        nodes, name, infos, outs, [numpy_helper.from_array(v, k) for k, v in consts.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir or (3 if listed else 4)
    wanted = run(model, inputs)
    for info, value in zip(model.graph.output, wanted):
        dtype = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
        info.CopyFrom(helper.make_tensor_value_info(info.name, dtype, np.shape(value)))
    folder = out / f"{name}_opset{opset}"
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, values in (("input", inputs.values()), ("output", wanted)):
        for i, v in enumerate(values):
            (data / f"{kind}_{i}.pb").write_bytes(
                numpy_helper.from_array(np.asarray(v)).SerializeToString()
            )


def node(op, inputs=("x",), outputs=("y",), **attrs):
    return helper.make_node(op, list(inputs), list(outputs), name=f"the_{op}", **attrs)


def elementwise(out):
    x = {"x": rand(2, 3, 4)}
    case(out, "clip", 7, [node("Clip", min=-0.5, max=0.75)], x)
    case(out, "clip_min", 9, [node("Clip", min=-0.5)], x)
    case(out, "clip_max", 10, [node("Clip", max=0.5)], x)
    case(out, "clip_none", 10, [node("Clip")], x)
    both = [node("Clip", min=-0.5, max=0.7)]
    case(out, "clip_double", 10, both, {"x": rand(5, dtype=np.float64)})
    case(out, "clip_half", 10, both, {"x": rand(5, dtype=np.float16)})
    case(
        out,
        "clip_half_inner",
        10,
        [node("Relu", outputs=["r"]), node("Clip", ["r"], max=0.7)],
        {"x": rand(5, dtype=np.float16)},
    )
    case(out, "clip_input", 11, [node("Clip", ["x", "", "m"])], x, consts={"m": np.float32(0.3)})
    case(out, "dropout", 7, [node("Dropout", ratio=0.3)], x)
    case(out, "dropout", 10, [node("Dropout", ratio=0.3)], x)
    case(out, "prelu", 7, [node("PRelu", ["x", "s"])], x, consts={"s": rand(3, 1)}, listed=True)
    for opset in (7, 8, 11):
        for axis in (None, 1, 2, 3):
            attrs = {} if axis is None else {"axis": axis}
            for op in ("Softmax", "LogSoftmax", "Hardmax"):
                name = f"{op.lower()}_{axis}".replace("None", "default")
                case(out, name, opset, [node(op, **attrs)], {"x": rand(2, 3, 4, 5)})
    case(out, "softmax_row", 11, [node("Softmax", axis=-1)], {"x": rand(2, 3, 4)})
    case(out, "softmax_negative", 11, [node("Softmax", axis=-2)], {"x": rand(2, 3, 4)})
    case(out, "softmax_ones", 9, [node("Softmax", axis=1)], {"x": rand(2, 7, 1, 1)})
    case(out, "softmax_matrix", 9, [node("Softmax")], {"x": rand(2, 7)})
    reshaped = [
        node("Shape", outputs=["s"]),
        node("Reshape", ["x", "s"], ["r"]),
        node("Softmax", ["r"], axis=1),
    ]
    case(out, "softmax_unknown_rank", 9, reshaped, {"x": rand(2, 3, 4)})


def shapes(out):
    x = {"x": rand(1, 3, 1, 4)}
    case(out, "squeeze", 7, [node("Squeeze", axes=[0, 2])], x)
    case(out, "squeeze_all", 7, [node("Squeeze")], x)
    case(out, "squeeze_negative", 11, [node("Squeeze", axes=[-2])], x)
    case(out, "unsqueeze", 7, [node("Unsqueeze", axes=[0, 3])], {"x": rand(2, 3)})
    case(out, "unsqueeze_negative", 11, [node("Unsqueeze", axes=[-1])], {"x": rand(2, 3)})
    x = {"x": rand(4, 6)}
    two = ["y", "y1"]
    case(out, "split_equal", 7, [node("Split", outputs=two, axis=1)], x, 2)
    case(out, "split_sizes", 11, [node("Split", outputs=two, axis=-1, split=[2, 4])], x, 2)
    case(out, "split_equal", 13, [node("Split", outputs=two)], x, 2)
    sizes = {"s": np.array([1, 3])}
    case(out, "split_input", 13, [node("Split", ["x", "s"], two)], x, 2, consts=sizes)
    case(out, "slice", 7, [node("Slice", starts=[1, -3], ends=[3, 100], axes=[0, 1])], x)
    case(out, "slice_axes_default", 9, [node("Slice", starts=[1], ends=[3])], x)
    case(out, "top_k", 7, [node("TopK", outputs=two, k=3, axis=1)], x, 2)
    case(out, "top_k", 10, [node("TopK", ["x", "k"], two)], x, 2, consts={"k": np.array([2])})
    case(out, "pad", 7, [node("Pad", pads=[1, 0, 2, 1], value=0.5)], x)
    case(out, "pad_zero", 7, [node("Pad", pads=[1, 0, 2, 1])], x)
    case(out, "pad_reflect", 10, [node("Pad", pads=[1, 2, 2, 1], mode="reflect")], x)
    double = {"x": rand(5, dtype=np.float64)}
    case(out, "pad_double", 9, [node("Pad", pads=[1, 0], value=0.7)], double)
    index = {"i": np.array([[0, 1, 2, 0, 1, 3]]), "u": rand(1, 6)}
    case(out, "scatter", 9, [node("Scatter", ["x", "i", "u"])], x, consts=index)
    case(out, "scatter", 10, [node("Scatter", ["x", "i", "u"], axis=0)], x, consts=index)
    values = [
        helper.make_node("Constant", [], ["a"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Constant", [], ["b"], value_float=0.5),
        helper.make_node("Constant", [], ["s"], value_ints=[3, 1]),
        helper.make_node("Constant", [], ["i"], value_int=0),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Reshape", ["c", "s"], ["d"]),
        helper.make_node("Gather", ["d", "i"], ["e"]),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    case(out, "constants", 12, values, {"x": rand(4)}, ir=7)


def reductions(out):
    x = {"x": np.abs(rand(2, 3, 4)) + 0.1}
    for op in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
        for opset in (7, 11, 13, 17):
            if op == "Sum" and opset >= 13:
                continue
            name = "reduce_" + op.lower()
            case(out, name, opset, [node("Reduce" + op, axes=[1], keepdims=0)], x)
            case(out, name + "_all", opset, [node("Reduce" + op)], x)
    case(out, "arg_max", 7, [node("ArgMax", axis=1, keepdims=0)], x)


def pictures(out):
    x = {"x": rand(1, 2, 4, 6)}
    scales = np.array([1, 1, 2, 3], np.float32)
    for mode in ("nearest", "linear"):
        case(out, f"upsample_{mode}", 7, [node("Upsample", mode=mode, scales=scales)], x)
        c = {"s": scales}
        case(out, f"upsample_{mode}", 9, [node("Upsample", ["x", "s"], mode=mode)], x, consts=c)
        case(out, f"resize_{mode}", 10, [node("Resize", ["x", "s"], mode=mode)], x, consts=c)
        c = {"s": np.array([1, 1, 0.5, 0.5], np.float32)}
        case(out, f"resize_down_{mode}", 10, [node("Resize", ["x", "s"], mode=mode)], x, consts=c)
    empty = {"r": np.zeros(0, np.float32), "s": scales}
    n = node("Resize", ["x", "r", "s"], mode="nearest", coordinate_transformation_mode="asymmetric")
    case(out, "resize_empty_roi", 11, [n], x, consts=empty)
    none = np.zeros(0, np.float32)
    empty = {"r": none, "s": none, "z": np.array([1, 2, 7, 9])}
    n = node("Resize", ["x", "r", "s", "z"], mode="linear")
    case(out, "resize_sizes", 11, [n], x, consts=empty)
    norm = {k: np.abs(rand(2)) + 0.2 for k in "abcd"}
    for opset in (7, 9, 14):
        n = node("BatchNormalization", ["x", *"abcd"], epsilon=1e-3)
        case(out, "batch_norm", opset, [n], x, consts=norm, listed=opset < 9)
    n = node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    case(out, "max_pool", 7, [n], x)
    n = node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    case(out, "average_pool", 7, [n], x)
    c = {"w": rand(3, 6), "b": rand(3)}
    case(out, "gemm", 7, [node("Gemm", ["x", "w", "b"], transB=1)], {"x": rand(2, 6)}, consts=c)
    n = node("Gemm", ["x", "w"], transB=1)
    case(out, "gemm_no_c", 11, [n], {"x": rand(2, 6)}, consts={"w": c["w"]})
    grid = {"x": rand(1, 2, 4, 4), "g": rng.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)}
    for mode in ("bilinear", "bicubic", "nearest"):
        n = node("GridSample", ["x", "g"], mode=mode, align_corners=1)
        case(out, f"grid_{mode}", 16, [n], grid, ir=8)
    q = {"s": np.float32(0.1), "z": np.uint8(120)}
    case(out, "quantize", 10, [node("QuantizeLinear", ["x", "s", "z"])], x, consts=q)
    group = {"s": rand(2), "b": rand(2)}
    n = node("GroupNormalization", ["x", "s", "b"], num_groups=2)
    case(out, "group_norm", 18, [n], {"x": rand(2, 6, 3, 3)}, consts=group, ir=8)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: old_opsets.py OUT")
    out = pathlib.Path(sys.argv[1])
    if out.exists():
        shutil.rmtree(out)
    for part in (elementwise, shapes, reductions, pictures):
        part(out)
    print(f"onnxruntime {onnxruntime.__version__}: {len(list(out.iterdir()))} tests in {out}")


main()
