#!/usr/bin/env python3
"""Writes a small classifier with class names: coreml_classifier.py OUT.onnx (needs onnx, NumPy)."""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(1)
names = ["red", "green", "blue", "none", "other"]


def weight(name, *shape):
    return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)


nodes = [
    helper.make_node("Conv", ["images", "w1", "b1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
    helper.make_node("HardSwish", ["a"], ["b"]),
    helper.make_node("Conv", ["b", "w2"], ["c"], group=8, pads=[1, 1, 1, 1]),
    helper.make_node("GlobalAveragePool", ["c"], ["d"]),
    helper.make_node("Flatten", ["d"], ["e"]),
    helper.make_node("Gemm", ["e", "w3", "b3"], ["f"], transB=1),
    helper.make_node("Softmax", ["f"], ["output0"], axis=1),
]
graph = helper.make_graph(
    nodes, "classifier",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
    [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5])],
    [weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 8, 1, 3, 3), weight("w3", 5, 8), weight("b3", 5)])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
for key, value in {"task": "classify", "imgsz": "[32, 32]", "stride": "1", "batch": "1",
                   "names": str(dict(enumerate(names)))}.items():
    model.metadata_props.add(key=key, value=value)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
