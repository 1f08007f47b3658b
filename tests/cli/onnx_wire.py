"""ONNX files from nothing but the protobuf wire format: the parts that the make_*.py of this folder
share. Every function gives bytes; numbers of fields are those of onnx.proto."""
import struct


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


def node(kind, inputs, output, name=None, **attributes):
    return nested(1, b"".join(nested(1, i) for i in inputs) + nested(2, output)
                  + nested(3, name or output) + nested(4, kind)
                  + b"".join(attribute(k, v) for k, v in attributes.items()))


def tensor(name, dims, values):
    return nested(5, b"".join(number(1, d) for d in dims) + number(2, 1) + nested(8, name)
                  + nested(9, struct.pack(f"<{len(values)}f", *values)))


def integers(name, values):
    return nested(5, number(1, len(values)) + number(2, 7) + nested(8, name)
                  + nested(9, struct.pack(f"<{len(values)}q", *values)))


def value(field, name, dims):
    shape = nested(2, b"".join(nested(1, number(1, d)) for d in dims))
    return nested(field, nested(1, name) + nested(2, nested(1, number(1, 1) + shape)))


def graph_input(name, dims):
    return value(11, name, dims)


def graph_output(name, dims):
    return value(12, name, dims)


def model(name, graph, facts=None):
    return (number(1, 8) + nested(2, "test") + nested(7, graph + nested(2, name))
            + nested(8, nested(1, "") + number(2, 17))
            + b"".join(nested(14, nested(1, k) + nested(2, v)) for k, v in (facts or {}).items()))
