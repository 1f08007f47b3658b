#!/usr/bin/env python3
"""Writes an ONNX file whose two nodes feed each other, with nothing but the protobuf wire format."""
import sys


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


def node(name, inputs, output):
    return nested(1, b"".join(nested(1, i) for i in inputs) + nested(2, output) + nested(3, name)
                  + nested(4, "Add"))


def value(field, name, dims):
    shape = nested(2, b"".join(nested(1, number(1, d)) for d in dims))
    return nested(field, nested(1, name) + nested(2, nested(1, number(1, 1) + shape)))


def main():
    graph = (node("first", ["x", "b"], "a") + node("second", ["a", "x"], "b") + nested(2, "cycle")
             + value(11, "x", [1, 3, 8, 8]) + value(12, "b", [1, 3, 8, 8]))
    model = number(1, 8) + nested(2, "test") + nested(7, graph) + nested(8, nested(1, "")
                                                                        + number(2, 17))
    with open(sys.argv[1], "wb") as f:
        f.write(model)


if __name__ == "__main__":
    main()
