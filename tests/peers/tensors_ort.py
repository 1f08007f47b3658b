#!/usr/bin/env python3
"""Every quantized activation of a QDQ model, Crayon's integers against ONNX Runtime's.

    tensors_ort.py PATH/TO/peers-run_model MODEL.onnx PICTURE...  [--reference]

ONNX Runtime runs with graph optimizations disabled, so it computes what the file says: dequantize,
float operator, quantize. It is asked twice.

Layer by layer: the graph is cut at every quantized tensor, and what follows gets Crayon's codes of
it. So each tensor is computed by both from the same integers, and a difference has its cause in
that layer. The only cause accepted is a tie: ONNX Runtime's own float value, divided by the scale,
lies within TIE of the middle between two codes, and the codes are neighbours. (ONNX Runtime sums a
convolution's products in float32, in an order of its own; Crayon's sum of integers is exact.) The
tensors that differ are listed, with the number of their elements and the distance to the tie.

End to end: for information, how many tensors are still identical when nothing is cut. A code that
fell to the other side of a tie changes sums in the next layer by one step, so the share grows with
depth; no limit can be put on it that would not be arbitrary.
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

# In steps of the output's scale. Measured on yolov8n: see the distances that this prints; float32
# sums of up to 2304 products around 255 steps are good to about 1e-4.
TIE = 1e-4


def tie_of(codes):
    """16-bit steps are 256 times finer against the same float32 sums (2.0e-2 was seen), unsigned ones of
    values that are hardly negative, as SiLU's, twice that (4.5e-2)."""
    if codes.dtype.itemsize != 2:
        return TIE
    return TIE * (512 if codes.dtype.kind == "u" else 256)


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


def session(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options,
                                providers=["CPUExecutionProvider"])


def run_cut(model, pairs, kinds, own, x):
    """{tensor: (codes, float value)} where every tensor of `own` is an input, fed with our codes."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    g = cut.graph
    feeds = {g.input[0].name: x}
    codes_of = {pairs[name]: name for name in own}
    for node in g.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in codes_of:
            name = codes_of[node.output[0]]
            port = g.input.add()
            port.name = node.output[0]
            port.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(kinds[name])
            for d in own[name].shape:
                port.type.tensor_type.shape.dim.add().dim_value = d
            feeds[node.output[0]] = own[name]
            node.output[0] += "/theirs"
    del g.value_info[:]
    known = {o.name for o in g.output} | {i.name for i in g.input}
    for name in own:
        for port in (name, pairs[name] + "/theirs"):
            if port not in known:
                g.output.append(onnx.ValueInfoProto(name=port))
    s = session(cut)
    names = [o.name for o in s.get_outputs()]
    result = dict(zip(names, s.run(None, feeds)), **feeds)
    return {name: (result[pairs[name] + "/theirs"], result[name]) for name in own}


def run_whole(model, pairs, x):
    """{tensor: codes}, nothing cut."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for codes in pairs.values():
        whole.graph.output.append(onnx.ValueInfoProto(name=codes))
    s = session(whole)
    names = [o.name for o in s.get_outputs()]
    result = dict(zip(names, s.run(None, {whole.graph.input[0].name: x})))
    return {name: result[codes] for name, codes in pairs.items()}


def run_crayon(tool, path, x, folder, reference):
    """{tensor: (codes in its own type and shape, scale)} of every tensor with a recipe entry."""
    x.tofile(os.path.join(folder, "in.bin"))
    command = [tool, path, folder, "--threads", "2", "--tensors", os.path.join(folder, "in.bin")]
    subprocess.run(command + (["--reference"] if reference else []), check=True)
    entries = {}
    for line in open(os.path.join(folder, "entries.txt")):
        name, kind, scales, zeros = line.rsplit(maxsplit=3)
        entries[name] = (kind, np.array(scales.split(","), np.float32),
                         np.array(zeros.split(","), np.int64))
    codes = {}
    for line in open(os.path.join(folder, "tensors.txt")):
        index, shape, name = line.rstrip("\n").split(" ", 2)
        if name not in entries:
            continue
        kind, scale, zero = entries[name]
        values = np.fromfile(os.path.join(folder, f"tensor-{index}.bin"), np.float32)
        values = values.reshape([int(d) for d in shape.split("x")])
        if scale.size > 1:
            along = [-1 if d == 1 else 1 for d in range(values.ndim)]
            scale, zero = scale.reshape(along), zero.reshape(along)
        whole = np.rint(values / scale).astype(np.int64) + zero
        codes[name] = (whole.astype(kind), scale)
    return codes


def compare(name, own, scale, theirs, value):
    """(differing elements, failures); prints a line if there are any."""
    step = np.abs(own.astype(np.int64) - theirs.astype(np.int64).reshape(own.shape)).ravel()
    count = int((step > 0).sum())
    if not count:
        return 0, 0
    steps = value.reshape(own.shape).astype(np.float64) / scale.astype(np.float64)
    exact = steps.ravel()[step > 0]
    distance = np.abs(exact - np.floor(exact) - 0.5).max()
    good = step.max() == 1 and distance <= tie_of(own)
    print(f"{'  ' if good else 'FAIL '}{name}: {count} of {own.size} differ, by {int(step.max())} "
          f"at most; {distance:.1e} of a step from a tie at most")
    return count, 0 if good else 1


def check_picture(tool, path, model, pairs, picture, reference):
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = picture_tensor(picture, dims[2], dims[3])
    with tempfile.TemporaryDirectory() as folder:
        found = run_crayon(tool, path, x, folder, reference)
    own = {name: found[name][0] for name in pairs if name in found}
    whole = run_whole(model, pairs, x)
    cut = run_cut(model, pairs, {n: c.dtype for n, c in own.items()}, own, x)
    tally = dict(tensors=len(own), elements=0, unequal=0, ties=0, bad=0, apart=0, through=0)
    tally["through"] = len(pairs) - len(own)
    for name, codes in own.items():
        ties, bad = compare(name, codes, found[name][1], *cut[name])
        tally["elements"] += codes.size
        tally["unequal"] += ties > 0
        tally["ties"] += ties
        tally["bad"] += bad
        tally["apart"] += not np.array_equal(codes, whole[name].reshape(codes.shape))
    return tally


def main():
    arguments = [a for a in sys.argv[1:] if a != "--reference"]
    if len(arguments) < 3:
        print(__doc__)
        return 2
    tool, path, pictures = arguments[0], arguments[1], arguments[2:]
    model = onnx.load(path)
    pairs = quantizers(model)
    sums = {}
    for picture in pictures:
        for key, n in check_picture(tool, path, model, pairs, picture,
                                    "--reference" in sys.argv).items():
            sums[key] = sums.get(key, 0) + n
    good = sums["tensors"] and not sums["bad"]
    print(f"{'PASS' if good else 'FAIL'} {os.path.basename(path)}, {len(pictures)} pictures, layer by "
          f"layer: {sums['tensors'] - sums['unequal']} of {sums['tensors']} quantized tensors "
          f"identical to ONNX Runtime's, {sums['ties']} of {sums['elements']} elements fell to the "
          f"other side of a tie, {sums['bad']} tensors differ otherwise. (End to end "
          f"{sums['tensors'] - sums['apart']} identical; {sums['through']} tensors are views of "
          "others in Crayon and were passed through.)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
