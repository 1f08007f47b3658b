#!/usr/bin/env python3
"""Every quantized activation of a TFLite model, Crayon's integers against LiteRT's.

    tflite_layers.py PATH/TO/peers-run_model MODEL.tflite PICTURE...  [--list]

Layer by layer: the file is cut at every activation that is a tensor in Crayon, too, and what follows
gets Crayon's codes of it, so each operator is computed by both from the same integers. LiteRT runs its
reference kernels. They multiply sums by a fixed-point number (31 bits, rounded twice), where Crayon
multiplies by a float32 and rounds once, and they look sigmoids up in tables of their own: a code may
lie one step beside ours, and no further. 16-bit activations are 256 times finer against the same
tables and multipliers: 8 of their steps are allowed for LOGISTIC, TANH and SOFTMAX (measured: see what
this prints).

Passes if no 8-bit code differs by more than a step. --list names the tensors that differ.
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
TABLES = ("LOGISTIC", "TANH", "SOFTMAX")


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


def interpreter(content):
    r = Interpreter(model_content=content, num_threads=2,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
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
        kind = np.iinfo(TYPES[t.type])
        codes = np.rint(x / np.float32(t.quantization.scale[0])) + t.quantization.zeroPoint[0]
        codes = np.clip(codes, kind.min, kind.max).astype(TYPES[t.type])
        own[i] = np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
    return own


def producers(model):
    return {t: OPS[max(model.operatorCodes[o.opcodeIndex].builtinCode,
                       model.operatorCodes[o.opcodeIndex].deprecatedBuiltinCode)]
            for o in model.subgraphs[0].operators for t in o.outputs}


def main():
    arguments = [a for a in sys.argv[1:] if a != "--list"]
    if len(arguments) < 3:
        print(__doc__)
        return 2
    tool, path, pictures = arguments[0], arguments[1], arguments[2:]
    tensors = unequal = elements = steps = bad = 0
    worst = {}
    for picture in pictures:
        model = load(path)
        kinds = producers(model)
        shape = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape
        x = picture_tensor(picture, int(shape[1]), int(shape[2]))
        with tempfile.TemporaryDirectory() as folder:
            own = own_codes(tool, path, model, x, folder)
        copies = cut(model, own)
        r = interpreter(pack(model))
        for port in r.get_input_details():
            r.set_tensor(port["index"], own[port["index"]])
        r.invoke()
        for t, copy in copies.items():
            theirs = r.get_tensor(copy)
            apart = np.abs(theirs.astype(np.int64) - own[t].astype(np.int64))
            limit = 8 if theirs.dtype == np.int16 and kinds[t] in TABLES else 1
            tensors += 1
            elements += apart.size
            unequal += bool(apart.any())
            steps += int((apart > 0).sum())
            bad += int(apart.max()) > limit
            old = worst.get(kinds[t], (0, 0, 0))
            worst[kinds[t]] = (max(old[0], int(apart.max())), old[1] + int((apart > 0).sum()),
                               old[2] + apart.size)
            if "--list" in sys.argv and apart.any() or apart.max() > limit:
                print(f"{'FAIL ' if apart.max() > limit else '  '}{kinds[t]} "
                      f"{model.subgraphs[0].tensors[t].name.decode()[:70]}: {int((apart > 0).sum())} "
                      f"of {apart.size} differ, by {int(apart.max())} at most")
    for kind in sorted(worst):
        print(f"  {kind}: {worst[kind][1]} of {worst[kind][2]} codes differ, by {worst[kind][0]} at most")
    good = tensors and not bad
    print(f"{'PASS' if good else 'FAIL'} {os.path.basename(path)}, {len(pictures)} pictures, layer by "
          f"layer: {tensors - unequal} of {tensors} quantized tensors identical to LiteRT's reference "
          f"kernels, {steps} of {elements} codes apart, {bad} tensors by more than is allowed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
