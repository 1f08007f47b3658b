#!/usr/bin/env python3
"""Tiny ONNX models and solid PNG pictures, with nothing but the files' own bytes.

    make_shapes.py segment FILE            finds one thing whatever it sees: box 16..48 of 64x64, its
                                           mask the left half
    make_shapes.py oriented FILE           finds one thing whatever it sees: 30x10 of 64x64 around the
                                           middle, turned by 45 degrees, then the same, 2 beside it
    make_shapes.py classify FILE           the brightest of red, green and blue
    make_shapes.py picture FILE R G B      64x64 pixels
"""
import math
import struct
import sys
import zlib

from onnx_wire import graph_input, graph_output, integers, model, node, tensor


def described(task, graph, names):
    text = "{" + ", ".join(f"{i}: '{n}'" for i, n in enumerate(names)) + "}"
    return model(task, graph, {"task": task, "names": text, "imgsz": "[64, 64]", "stride": "32"})


def segment():
    rows, cells = 84, 16
    found = [0.0] * (37 * rows)
    for i, v in enumerate([32, 32, 32, 32, .9, 1]):
        found[i * rows] = float(v)
    masks = [0.0] * (32 * cells * cells)
    for i in range(cells * cells):
        masks[i] = 1.0 if i % cells < cells // 2 else -1.0
    graph = (node("Conv", ["images", "kernel"], "seen") + node("ReduceMean", ["seen"], "mean")
             + node("Mul", ["mean", "zero"], "nothing")
             + node("Reshape", ["nothing", "one"], "offset")
             + node("Add", ["found", "offset"], "output0") + node("Add", ["masks", "offset"], "output1")
             + tensor("zero", [1], [0])
             + tensor("kernel", [4, 3, 1, 1], [.25 * i for i in range(12)]) + integers("one", [1])
             + tensor("found", [1, 37, rows], found) + tensor("masks", [1, 32, cells, cells], masks)
             + graph_input("images", [1, 3, 64, 64]) + graph_output("output0", [1, 37, rows])
             + graph_output("output1", [1, 32, cells, cells]))
    return described("segment", graph, ["thing"])


def oriented():
    rows = 84
    found = [0.0] * (6 * rows)
    for k, (x, score) in enumerate([(32, .9), (34, .6)]):
        for i, v in enumerate([x, 32, 30, 10, score, math.pi / 4]):
            found[i * rows + k] = float(v)
    graph = (node("Conv", ["images", "kernel"], "seen") + node("ReduceMean", ["seen"], "mean")
             + node("Mul", ["mean", "zero"], "nothing") + node("Reshape", ["nothing", "one"], "offset")
             + node("Add", ["found", "offset"], "output0") + tensor("zero", [1], [0])
             + tensor("kernel", [4, 3, 1, 1], [.25 * i for i in range(12)]) + integers("one", [1])
             + tensor("found", [1, 6, rows], found)
             + graph_input("images", [1, 3, 64, 64]) + graph_output("output0", [1, 6, rows]))
    return described("obb", graph, ["thing"])


def classify():
    names = ["red", "green", "blue", "gold", "grey", "pink"]
    weights = [8.0 if k == c else -float(k) for c in range(3) for k in range(6)]
    graph = (node("GlobalAveragePool", ["images"], "mean") + node("Flatten", ["mean"], "flat")
             + node("MatMul", ["flat", "weights"], "logits") + node("Softmax", ["logits"], "output0")
             + tensor("weights", [3, 6], weights)
             + graph_input("images", [1, 3, 64, 64]) + graph_output("output0", [1, 6]))
    return described("classify", graph, names)


def picture(rgb, side=64):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes(rgb) * side) * side
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


kind, path = sys.argv[1:3]
with open(path, "wb") as f:
    f.write({"segment": segment, "oriented": oriented, "classify": classify}[kind]() if kind != "picture"
            else picture([int(v) for v in sys.argv[3:6]]))
