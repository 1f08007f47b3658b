#!/usr/bin/env python3
"""Tiny ONNX models and solid PNG pictures, with nothing but the wire formats.

    make_shapes.py segment FILE            finds one thing whatever it sees: box 16..48 of 64x64, its
                                           mask the left half
    make_shapes.py classify FILE           the brightest of red, green and blue
    make_shapes.py picture FILE R G B      64x64 pixels
"""
import struct
import sys
import zlib

from make_cyclic import nested, number, value


def tensor(name, dims, values):
    return nested(5, b"".join(number(1, d) for d in dims) + number(2, 1) + nested(8, name)
                  + nested(9, struct.pack(f"<{len(values)}f", *values)))


def integers(name, values):
    return nested(5, number(1, len(values)) + number(2, 7) + nested(8, name)
                  + nested(9, struct.pack(f"<{len(values)}q", *values)))


def node(kind, inputs, output):
    return nested(1, b"".join(nested(1, i) for i in inputs) + nested(2, output)
                  + nested(3, "make_" + output) + nested(4, kind))


def model(graph, task, names):
    text = "{" + ", ".join(f"{i}: '{n}'" for i, n in enumerate(names)) + "}"
    facts = {"task": task, "names": text, "imgsz": "[64, 64]", "stride": "32"}
    return (number(1, 8) + nested(2, "test") + nested(7, graph)
            + nested(8, nested(1, "") + number(2, 17))
            + b"".join(nested(14, nested(1, k) + nested(2, v)) for k, v in facts.items()))


def segment():
    rows, cells = 84, 16
    found = [0.0] * (37 * rows)
    for i, v in enumerate([32, 32, 32, 32, .9, 1]):
        found[i * rows] = float(v)
    masks = [0.0] * (32 * cells * cells)
    for i in range(cells * cells):
        masks[i] = 1.0 if i % cells < cells // 2 else -1.0
    graph = (node("Conv", ["images", "kernel"], "seen") + node("ReduceMean", ["seen"], "mean") + node("Mul", ["mean", "zero"], "nothing")
             + node("Reshape", ["nothing", "one"], "offset")
             + node("Add", ["found", "offset"], "output0") + node("Add", ["masks", "offset"], "output1")
             + nested(2, "segment") + tensor("zero", [1], [0])
             + tensor("kernel", [4, 3, 1, 1], [.25 * i for i in range(12)]) + integers("one", [1])
             + tensor("found", [1, 37, rows], found) + tensor("masks", [1, 32, cells, cells], masks)
             + value(11, "images", [1, 3, 64, 64]) + value(12, "output0", [1, 37, rows])
             + value(12, "output1", [1, 32, cells, cells]))
    return model(graph, "segment", ["thing"])


def classify():
    names = ["red", "green", "blue", "gold", "grey", "pink"]
    weights = [8.0 if k == c else -float(k) for c in range(3) for k in range(6)]
    graph = (node("GlobalAveragePool", ["images"], "mean") + node("Flatten", ["mean"], "flat")
             + node("MatMul", ["flat", "weights"], "logits") + node("Softmax", ["logits"], "output0")
             + nested(2, "classify") + tensor("weights", [3, 6], weights)
             + value(11, "images", [1, 3, 64, 64]) + value(12, "output0", [1, 6]))
    return model(graph, "classify", names)


def picture(rgb, side=64):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes(rgb) * side) * side
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


kind, path = sys.argv[1:3]
with open(path, "wb") as f:
    f.write({"segment": segment, "classify": classify}[kind]() if kind != "picture"
            else picture([int(v) for v in sys.argv[3:6]]))
