#!/usr/bin/env python3
"""Every quantized activation of a QDQ model, Crayon's integers against ONNX Runtime's.

    tensors_ort.py PATH/TO/peers-run_model MODEL.onnx PICTURE...  [--reference]

ONNX Runtime runs with graph optimizations disabled, so it computes what the file says: dequantize,
float operator, quantize. Each QuantizeLinear's result is compared with Crayon's codes of the tensor
that it quantizes. Listed are the tensors that differ, with the count of differing elements and the
largest step between them.

A difference is explained in one of two ways, and anything else is a failure:
 - a tie: all quantized tensors that the value is computed from are equal, and ONNX Runtime's own
   float value lies within TIE steps of the middle between two codes. Its float32 sums are rounded
   in another order than ours (which are exact integers for a quantized convolution), so a value
   next to a tie can fall to either side;
 - it inherits: a quantized tensor that it is computed from differs already.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import cv2
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as missing:
    print(f"SKIP tensors_ort: no Python module {missing.name}")
    sys.exit(0)
from vision_coco import letterbox

# In steps of the output's scale. See tests/real/README.md for the distances that were measured.
TIE = 2e-3
# Elements that differ by more than this many steps are a failure even if they inherit.
MAX_STEP = 4
CODES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def picture_tensor(path, height, width):
    boxed, _ = letterbox(cv2.imread(path), height)
    if height != width:
        boxed = cv2.resize(cv2.imread(path), (width, height))
    x = boxed[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(x[None])


def quantizers(model):
    """{name of the tensor: name of its codes} for activations."""
    constants = {t.name for t in model.graph.initializer}
    return {n.input[0]: n.output[0] for n in model.graph.node
            if n.op_type == "QuantizeLinear" and n.input[0] not in constants}


def ancestors(model, pairs):
    """For each quantized tensor the quantized tensors that it is computed from."""
    producer = {o: n for n in model.graph.node for o in n.output}
    of_codes = {codes: name for name, codes in pairs.items()}
    memo = {}

    def walk(name):
        if name in memo:
            return memo[name]
        memo[name] = set()
        node = producer.get(name)
        if node is not None and node.op_type == "QuantizeLinear" and name in of_codes:
            memo[name] = {of_codes[name]}
        elif node is not None:
            memo[name] = set().union(*(walk(i) for i in node.input if i))
        return memo[name]

    sys.setrecursionlimit(100000)
    return {name: walk(name) for name in pairs}


def run_ort(model, pairs, x):
    """Codes of every quantized tensor and the floats that were quantized."""
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    known = {o.name for o in extended.graph.output} | {i.name for i in extended.graph.input}
    for name in [n for pair in pairs.items() for n in pair]:
        if name not in known:
            extended.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(extended.SerializeToString(), options,
                                   providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    feed = session.get_inputs()[0].name
    result = dict(zip(names, session.run(None, {feed: x})))
    result[feed] = x
    return result


def run_crayon(tool, path, x, folder, reference):
    """Codes of every tensor with a recipe entry, and the graph's outputs."""
    x.tofile(os.path.join(folder, "in.bin"))
    command = [tool, path, folder, "--tensors", os.path.join(folder, "in.bin")]
    subprocess.run(command + (["--reference"] if reference else []), check=True)
    entries = {}
    for line in open(os.path.join(folder, "entries.txt")):
        name, kind, scale, zero = line.rsplit(maxsplit=3)
        entries[name] = (kind, np.float32(scale), int(zero))
    codes = {}
    for line in open(os.path.join(folder, "tensors.txt")):
        index, shape, name = line.rstrip("\n").split(" ", 2)
        if name not in entries:
            continue
        kind, scale, zero = entries[name]
        values = np.fromfile(os.path.join(folder, f"tensor-{index}.bin"), np.float32)
        codes[name] = (np.rint(values / scale).astype(np.int64) + zero, scale, zero, kind)
    return codes


def compare(name, own, ort_result, pairs, origins, differing):
    """(failures, text) for one tensor; adds it to `differing` if it differs."""
    codes, scale, zero, kind = own
    theirs = ort_result[pairs[name]].astype(np.int64).ravel()
    if theirs.size != codes.size:
        return 1, f"FAIL {name}: {codes.size} elements, ONNX Runtime has {theirs.size}"
    step = np.abs(codes - theirs)
    count = int((step > 0).sum())
    if not count:
        return 0, None
    differing.add(name)
    text = f"  {name}: {count} of {codes.size} differ, at most by {int(step.max())}"
    if origins & differing:
        text += " (inherited)"
        return (1, "FAIL" + text) if step.max() > MAX_STEP else (0, text)
    value = ort_result[name].ravel()[step > 0].astype(np.float64) / np.float64(scale)
    distance = np.abs(np.abs(value - np.floor(value)) - 0.5)
    text += f" (ties: {distance.max():.2g} of a step away at most)"
    return (1, "FAIL" + text) if distance.max() > TIE or step.max() > 1 else (0, text)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--reference"]
    if len(arguments) < 3:
        print(__doc__)
        return 2
    tool, path, pictures = arguments[0], arguments[1], arguments[2:]
    model = onnx.load(path)
    pairs = quantizers(model)
    origins = ancestors(model, pairs)
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    bad = tensors = elements = unequal = 0
    for picture in pictures:
        x = picture_tensor(picture, dims[2], dims[3])
        with tempfile.TemporaryDirectory() as folder:
            own = run_crayon(tool, path, x, folder, "--reference" in sys.argv)
        theirs = run_ort(model, pairs, x)
        common = [name for name in pairs if name in own and pairs[name] in theirs]
        differing = set()
        for name in common:
            faults, text = compare(name, own[name], theirs, pairs, origins[name], differing)
            bad += faults
            if text:
                print(text)
            tensors += 1
            elements += own[name][0].size
        unequal += len(differing)
        missing = [name for name in pairs if name not in own]
        if missing:
            print(f"  not tensors of their own in Crayon's program: {len(missing)}, such as "
                  + ", ".join(missing[:3]))
        if not common:
            print("FAIL no quantized tensor in common")
            bad += 1
    print(f"{'FAIL' if bad else 'PASS'} {os.path.basename(path)}: {tensors - unequal} of {tensors} "
          f"quantized tensors ({elements} elements, {len(pictures)} pictures) identical, "
          f"{unequal} differ as explained above" + (f", {bad} not explained" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
