"""Writes tests/golden/tiny.onnx: a YOLOv8-shaped model of ten kilobytes for the reader's tests and
fuzzers. Random weights (seed 3): it detects nothing, but it has what exports have: SiLU, split and
concat, SPPF pooling, upsampling, a two-scale head with softmax over distances, Constant nodes, a
Shape/Gather chain, weights as raw_data and as typed lists, half-precision weights behind a Cast, a
quantized branch, Ultralytics-style metadata.

    make_tiny_onnx.py [OUT]
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(3)
nodes, weights = [], []


def add(op, inputs, outputs=None, **attrs):
    name = f"/m/{op}_{len(nodes)}"
    outputs = outputs or [name + "_out"]
    nodes.append(helper.make_node(op, inputs, outputs, name=name, **attrs))
    return outputs[0] if len(outputs) == 1 else outputs


def weight(name, value, typed=False):
    tensor = numpy_helper.from_array(value, name)
    if typed:
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = helper.make_tensor(name, dtype, value.shape, value.ravel().tolist())
    weights.append(tensor)
    return name


def conv(x, c_in, c_out, k=1, s=1, act=True):
    i = len(weights)
    value = rng.normal(0, 0.3, (c_out, c_in, k, k)).astype(np.float32)
    w = weight(f"w{i}", value, typed=i % 3 == 0)
    b = weight(f"b{i}", rng.normal(0, 0.1, c_out).astype(np.float32))
    y = add("Conv", [x, w, b], kernel_shape=[k, k], strides=[s, s], pads=[k // 2] * 4, group=1)
    return add("Mul", [y, add("Sigmoid", [y])]) if act else y


def const(value):
    array = np.asarray(value)
    return add("Constant", [], value=numpy_helper.from_array(array))


def build():
    x = conv("images", 3, 4, 3, 2)
    x = conv(x, 4, 6, 3, 2)
    a, b = add("Split", [x, weight("halves", np.array([3, 3]))], ["left", "right"], axis=1)
    x = conv(add("Concat", [a, b, add("Add", [b, conv(b, 3, 3, 3)])], axis=1), 9, 6)
    p = [x]
    for _ in range(2):
        p.append(add("MaxPool", [p[-1]], kernel_shape=[3, 3], pads=[1] * 4))
    small = conv(conv(add("Concat", p, axis=1), 18, 6), 6, 6, 3, 2)
    scales = weight("scales", np.array([1, 1, 2, 2], np.float32))
    up = add("Resize", [small, "", scales], mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric")
    large = conv(add("Concat", [up, x], axis=1), 12, 6)
    outs = []
    for level in (large, small):
        y = conv(level, 6, 4 * 4 + 2, act=False)
        n = add("Gather", [add("Shape", [y]), const(np.int64(0))], axis=0)
        shape = add("Concat", [add("Unsqueeze", [n, const([0])]), const([18, -1])], axis=0)
        outs.append(add("Reshape", [y, shape]))
    y = add("Concat", outs, axis=2)
    box, cls = add("Split", [y, weight("parts", np.array([16, 2]))], ["box", "cls"], axis=1)
    box = add("Transpose", [add("Reshape", [box, const([1, 4, 4, 80])])], perm=[0, 2, 1, 3])
    bins = weight("bins", np.arange(4, dtype=np.float16).reshape(1, 4, 1, 1))
    bins = add("Cast", [bins], to=TensorProto.FLOAT)
    box = add("Mul", [add("Softmax", [box], axis=1), bins])
    box = add("ReduceSum", [box, const([1])], keepdims=0)
    q = [weight("q_scale", np.float32(0.02)), weight("q_zero", np.uint8(3))]
    cls = add("DequantizeLinear", [add("QuantizeLinear", [add("Sigmoid", [cls]), *q]), *q])
    add("Concat", [box, cls], ["output0"], axis=1)


def main():
    build()
    size = ["batch", 3, "height", "width"]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, size)
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 80])
    graph = helper.make_graph(nodes, "tiny", [images], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "make_tiny_onnx"
    meta = {"task": "detect", "stride": "8", "imgsz": "[32, 32]", "names": "{0: 'a', 1: 'b'}"}
    helper.set_model_props(model, meta)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, sys.argv[1] if len(sys.argv) > 1 else "tests/golden/tiny.onnx")


main()
