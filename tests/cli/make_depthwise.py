#!/usr/bin/env python3
"""Writes an ONNX classifier of one depthwise block whose channels' ranges differ by powers of two, with
nothing but the protobuf wire format."""
import random
import struct
import sys

CHANNELS, SIDE = 8, 32


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, value):
    return varint(field << 3) + varint(value)


def nested(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def attribute(name, value):
    if isinstance(value, list):
        body = b"".join(number(8, v) for v in value) + number(20, 7)
    else:
        body = number(3, value) + number(20, 2)
    return nested(5, nested(1, name) + body)


def node(kind, inputs, output, **attributes):
    return nested(1, b"".join(nested(1, i) for i in inputs) + nested(2, output) + nested(3, output) + nested(4, kind)
                  + b"".join(attribute(k, v) for k, v in attributes.items()))


def weight(name, dims, scale):
    count = 1
    for d in dims:
        count *= d
    each = count // dims[0]
    values = [random.uniform(-1, 1) * scale(i // each) for i in range(count)]
    return nested(5, b"".join(number(1, d) for d in dims) + number(2, 1) + nested(8, name)
                  + nested(9, struct.pack(f"<{count}f", *values)))


def value(field, name, dims):
    shape = nested(2, b"".join(nested(1, number(1, d)) for d in dims))
    return nested(field, nested(1, name) + nested(2, nested(1, number(1, 1) + shape)))


def main():
    random.seed(1)
    pads = [1, 1, 1, 1]
    graph = (node("Conv", ["x", "w0"], "a", pads=pads) + node("Sigmoid", ["a"], "s") + node("Mul", ["a", "s"], "b")
             + node("Conv", ["b", "w1"], "c", pads=pads, group=CHANNELS)
             + node("Sigmoid", ["c"], "t") + node("Mul", ["c", "t"], "d") + node("Conv", ["d", "w2"], "e")
             + node("GlobalAveragePool", ["e"], "f") + node("Flatten", ["f"], "y") + nested(2, "depthwise")
             + weight("w0", [CHANNELS, 3, 3, 3], lambda c: 4.0 ** c / 256)
             + weight("w1", [CHANNELS, 1, 3, 3], lambda c: 4.0 ** (4 - c))
             + weight("w2", [5, CHANNELS, 1, 1], lambda c: 1)
             + value(11, "x", [1, 3, SIDE, SIDE]) + value(12, "y", [1, 5]))
    model = number(1, 8) + nested(2, "test") + nested(7, graph) + nested(8, nested(1, "") + number(2, 17))
    with open(sys.argv[1], "wb") as f:
        f.write(model)


if __name__ == "__main__":
    main()
