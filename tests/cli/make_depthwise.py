#!/usr/bin/env python3
"""Writes an ONNX classifier of one depthwise block whose channels' ranges differ by powers of two."""
import random
import sys
from math import prod

from onnx_wire import graph_input, graph_output, model, node, tensor

CHANNELS, SIDE = 8, 32


def weight(name, dims, scale):
    each = prod(dims[1:])
    return tensor(name, dims, [random.uniform(-1, 1) * scale(i // each) for i in range(prod(dims))])


random.seed(1)
pads = [1, 1, 1, 1]
graph = (node("Conv", ["x", "w0"], "a", pads=pads)
         + node("Sigmoid", ["a"], "s") + node("Mul", ["a", "s"], "b")
         + node("Conv", ["b", "w1"], "c", pads=pads, group=CHANNELS)
         + node("Sigmoid", ["c"], "t")
         + node("Mul", ["c", "t"], "d")
         + node("Conv", ["d", "w2"], "e")
         + node("GlobalAveragePool", ["e"], "f") + node("Flatten", ["f"], "y")
         + weight("w0", [CHANNELS, 3, 3, 3], lambda c: 4.0 ** c / 256)
         + weight("w1", [CHANNELS, 1, 3, 3], lambda c: 4.0 ** (4 - c))
         + weight("w2", [5, CHANNELS, 1, 1], lambda c: 1)
         + graph_input("x", [1, 3, SIDE, SIDE]) + graph_output("y", [1, 5]))
with open(sys.argv[1], "wb") as f:
    f.write(model("depthwise", graph))
