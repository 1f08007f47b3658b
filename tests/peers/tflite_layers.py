#!/usr/bin/env python3
"""Every quantized activation of a TFLite model, Crayon's integers against LiteRT's.

    tflite_layers.py PATH/TO/peers-run_model MODEL.tflite PICTURE...  [--list]

Layer by layer: the file is cut at every activation that is a tensor in Crayon, too, and what follows
gets Crayon's codes of it, so each operator is computed by both from the same integers. LiteRT runs twice:
with its reference kernels, and with XNNPACK as an application has it. The reference kernels multiply sums by a
fixed-point number (31 bits, rounded twice), where Crayon multiplies by a float32 and rounds once, and
both look sigmoids up in tables of their own: a code may lie one step beside ours, and no further.

SOFTMAX of 16 bits is table_softmax() below: exponentials and a reciprocal, each from a table of 513
entries between which it interpolates. It must give LiteRT's codes to the step, every one; how far they are from
ours (rounded once) is told, and follows from the tables: 23 of 32768 steps on yolov8n.

Passes if no other code differs by more than a step. --list names the tensors that differ.
"""
import os
import subprocess
import sys
import tempfile

try:
    import cv2  # noqa: F401
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as missing:
    print(f"SKIP tflite_layers: no Python module {missing.name}")
    sys.exit(0)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tensors_ort import picture_tensor, run_crayon

TYPES = {schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8,
         schema.TensorType.INT16: np.int16}
OPS = {number: name for name, number in vars(schema.BuiltinOperator).items()
       if not name.startswith("_")}
RESOLVERS = {"reference": OpResolverType.BUILTIN_REF, "XNNPACK": OpResolverType.AUTO}


def load(path):
    with open(path, "rb") as f:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(f.read(), 0))


def pack(model):
    b = flatbuffers.Builder(1 << 20)
    b.Finish(model.Pack(b), b"TFL3")
    return bytes(b.Output())


def channels_last(codes, shape):
    """Our codes with the file's axes; None: they have another shape."""
    if codes.ndim == 4 and tuple(shape) == tuple(codes.shape[i] for i in (0, 2, 3, 1)):
        return np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
    return codes if tuple(codes.shape) == tuple(shape) else None


def cut(model, own):
    """Tensors of `own` become inputs; their producers write copies, which become outputs."""
    g = model.subgraphs[0]
    copies = {}
    for op in g.operators:
        op.outputs = [int(t) for t in op.outputs]
        for k, t in enumerate(op.outputs):
            if t not in own:
                continue
            original = g.tensors[t]
            copy = schema.TensorT()
            copy.shape, copy.type, copy.quantization = original.shape, original.type, original.quantization
            copy.name, copy.buffer = b"theirs/" + original.name, 0
            copies[t] = len(g.tensors)
            g.tensors.append(copy)
            op.outputs[k] = copies[t]
    g.inputs = sorted(own)
    g.outputs = [copies[t] for t in sorted(copies)]
    model.signatureDefs = None
    return copies


def interpreter(content, resolver):
    r = Interpreter(model_content=content, num_threads=2, experimental_op_resolver_type=resolver)
    r.allocate_tensors()
    return r


def own_codes(tool, path, model, x, folder):
    """{index of a tensor of the file: our codes}"""
    found = run_crayon(tool, path, x, folder, False)
    g, own = model.subgraphs[0], {}
    for i, t in enumerate(g.tensors):
        name = t.name.decode()
        if name not in found or t.type not in TYPES or model.buffers[t.buffer].data is not None:
            continue
        codes = channels_last(found[name][0], t.shape)
        if codes is not None:
            own[i] = codes.astype(TYPES[t.type])
    for i in g.inputs:
        t = g.tensors[i]
        if t.type not in TYPES:  # floats, which a QUANTIZE reads
            own[i] = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
            continue
        kind = np.iinfo(TYPES[t.type])
        codes = np.rint(x / np.float32(t.quantization.scale[0])) + t.quantization.zeroPoint[0]
        codes = np.clip(codes, kind.min, kind.max).astype(TYPES[t.type])
        own[i] = np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
    return own


def producers(model):
    return {t: OPS[max(model.operatorCodes[o.opcodeIndex].builtinCode,
                       model.operatorCodes[o.opcodeIndex].deprecatedBuiltinCode)]
            for o in model.subgraphs[0].operators for t in o.outputs}


# ---- SOFTMAX of 16 bits as TensorFlow Lite defines it (kernels/internal/reference/softmax.h) ----

def table(function, low, high, out_low, out_high):
    """513 entries over low..high; each is moved by half of what interpolation misses in the middle of
    the step behind it (LUTPopulate of kernels/internal/common.h)."""
    step, inverse = (high - low) / 512, 65536 / (out_high - out_low)

    def rounded(v):  # half away from zero
        return np.sign(v) * np.floor(np.abs(v) + .5)
    x = low + np.arange(512) * step
    here, middle, there = function(x), function(x + step / 2), function(x + step)
    samples = rounded(here * inverse)
    between = rounded((there * inverse + samples) / 2)
    bias = rounded((between - rounded(middle * inverse)) / 2)
    last = rounded(function(np.array([high])) * inverse)
    return np.clip(np.concatenate([samples - bias, last]), -32768, 32767).astype(np.int64)


def look_up(entries, x):
    index, rest = (x >> 7) + 256, x & 127
    return entries[index] + (((entries[index + 1] - entries[index]) * rest + 64) >> 7)


def multiplier(real):
    mantissa, exponent = np.frexp(real)
    fixed = int(np.floor(mantissa * 2.0**31 + .5))
    return (fixed // 2, int(exponent) + 1) if fixed == 2**31 else (fixed, int(exponent))


def table_softmax(x, scale, beta):
    """int16 codes of a SOFTMAX with scale 1/32768 over the last axis."""
    exps = table(np.exp, -10.0, 0.0, -1.0, 1.0)
    reciprocals = table(lambda v: 1 / (1 + v), 0.0, 1.0, -1.0, 1.0)
    fixed, exponent = multiplier(scale * beta / (10 / 65535))
    below = x.astype(np.int64) - x.max(axis=-1, keepdims=True)
    shift = 31 - exponent
    scaled = (below * fixed + (1 << (shift - 1))) >> shift
    e = look_up(exps, np.clip(scaled + 32767, -32768, 32767))
    total = e.sum(axis=-1, keepdims=True)
    headroom = 32 - np.floor(np.log2(total)).astype(np.int64) - 1  # leading zeros of 32 bits
    mantissa = ((total << (headroom - 1)) + (1 << 13)) >> 14
    reciprocal = look_up(reciprocals, np.clip(mantissa - (1 << 15) - (1 << 16), -32768, 32767))
    right = 31 - headroom
    return np.clip((e * reciprocal + (1 << (right - 1))) >> right, 0, 32767)


# ---- the comparison ----

class Tally:
    def __init__(self, name, listing):
        self.name, self.listing = name, listing
        self.tensors = self.unequal = self.elements = self.steps = self.bad = 0
        self.worst = {}

    def add(self, kind, tensor, theirs, ours, told):
        """told: what LiteRT must give; differences from `ours` are then only counted."""
        apart = np.abs(theirs.astype(np.int64) - ours.astype(np.int64))
        wrong = not np.array_equal(theirs, told) if told is not None else int(apart.max()) > 1
        count, most = int((apart > 0).sum()), int(apart.max())
        self.tensors += 1
        self.elements += apart.size
        self.unequal += bool(count)
        self.steps += count
        self.bad += wrong
        old = self.worst.get(kind, (0, 0, 0))
        self.worst[kind] = (max(old[0], most), old[1] + count, old[2] + apart.size)
        if wrong or self.listing and count:
            print(f"{'FAIL ' if wrong else '  '}{self.name} {kind} {tensor[:70]}: {count} of "
                  f"{apart.size} differ, by {most} at most")


def softmax_codes(model, op, inputs):
    """What the file's SOFTMAX of 16 bits must give, from the codes that it gets; else None."""
    g = model.subgraphs[0]
    t = g.tensors[op.inputs[0]]
    if t.type != schema.TensorType.INT16 or int(op.inputs[0]) not in inputs:
        return None
    return table_softmax(inputs[int(op.inputs[0])], float(t.quantization.scale[0]),
                         float(op.builtinOptions.beta))


def check_picture(tool, path, picture, tallies):
    model = load(path)
    kinds = producers(model)
    shape = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape
    x = picture_tensor(picture, int(shape[1]), int(shape[2]))
    with tempfile.TemporaryDirectory() as folder:
        own = own_codes(tool, path, model, x, folder)
    makers = {int(t): o for o in model.subgraphs[0].operators for t in o.outputs}
    told = {t: softmax_codes(model, makers[t], own) for t in own
            if t in makers and kinds[t] == "SOFTMAX"}
    copies = cut(model, own)
    content = pack(model)
    for tally in tallies:
        r = interpreter(content, RESOLVERS[tally.name])
        for port in r.get_input_details():
            r.set_tensor(port["index"], own[port["index"]])
        r.invoke()
        for t, copy in copies.items():
            name = model.subgraphs[0].tensors[t].name.decode()
            tally.add(kinds[t], name, r.get_tensor(copy), own[t], told.get(t))


def main():
    arguments = [a for a in sys.argv[1:] if a != "--list"]
    if len(arguments) < 3:
        print(__doc__)
        return 2
    tool, path, pictures = arguments[0], arguments[1], arguments[2:]
    tallies = [Tally(name, "--list" in sys.argv) for name in RESOLVERS]
    for picture in pictures:
        check_picture(tool, path, picture, tallies)
    print(f"  {'codes that differ, by at most':30}" + "".join(f"{t.name:>24}" for t in tallies))
    for kind in sorted(tallies[0].worst):
        cells = ("{1} of {2}, {0}".format(*t.worst[kind]) for t in tallies)
        print(f"  {kind:30}" + "".join(f"{c:>24}" for c in cells))
    bad = 0
    for t in tallies:
        good = t.tensors and not t.bad
        bad += not good
        print(f"{'PASS' if good else 'FAIL'} {os.path.basename(path)}, {len(pictures)} pictures, layer by "
              f"layer: {t.tensors - t.unequal} of {t.tensors} quantized tensors identical to LiteRT's "
              f"({t.name}), {t.steps} of {t.elements} codes apart, {t.bad} tensors by more than is allowed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
