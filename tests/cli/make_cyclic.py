#!/usr/bin/env python3
"""Writes an ONNX file whose two nodes feed each other."""
import sys

from onnx_wire import graph_input, graph_output, model, node

graph = (node("Add", ["x", "b"], "a", name="first") + node("Add", ["a", "x"], "b", name="second")
         + graph_input("x", [1, 3, 8, 8]) + graph_output("b", [1, 3, 8, 8]))
with open(sys.argv[1], "wb") as f:
    f.write(model("cycle", graph))
