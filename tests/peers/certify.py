#!/usr/bin/env python3
"""The certificate of a quantized file, other runtimes included.

    certify.py CRAYON PATH/TO/peers-run_model MODEL.onnx PICTURE... [--tflite FILE]

First what `crayon compare --certify` says of the file: session against reference. Then ONNX Runtime
without and with its optimizations, and OpenVINO: the graph is cut at every quantized tensor, each
runtime gets Crayon's codes for what follows (tensors_ort.py), so a difference has its cause in that layer. A table
tells for each runtime how many tensors differ, by how many steps, and why:

    tie      ONNX Runtime's own float lies within 1e-4 of a step from the middle of two codes
    fused    the optimized runtime rounds a group of operators otherwise: it runs them on integers with
             scales folded into one another, or sums in bfloat16

Fails if the session differs from the reference, or ONNX Runtime without optimizations by anything but
ties. --tflite adds LiteRT for the same model as .tflite, a column for its reference kernels and one for XNNPACK
(tflite_layers.py).
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as missing:
    print(f"SKIP certify: no Python module {missing.name}")
    sys.exit(0)
import tensors_ort


def own_certificate(crayon, path, pictures):
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        listing = os.path.join(folder, "pictures.txt")
        with open(listing, "w") as f:
            f.writelines(os.path.abspath(p) + "\n" for p in pictures)
        text = subprocess.run([crayon, "compare", path, path, "--images", listing, "--certify",
                               "--json", "--limit", str(len(pictures))], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    pair = json.loads(text)["a"]
    bad += pair["differing"] > 0
    print(f"{'FAIL' if bad else 'PASS'} Crayon's session and reference: {pair['identical']} of "
          f"{pair['tensors']} integer tensors identical, {pair['equal_floats']} of {pair['floats']} "
          "float tensors")
    return bad


def ort_run(level):
    def run(model, feeds):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 3
        s = ort.InferenceSession(model.SerializeToString(), options,
                                 providers=["CPUExecutionProvider"])
        names = [o.name for o in s.get_outputs()]
        return dict(zip(names, s.run(None, feeds)))
    return run


def openvino_run(model, feeds):
    import openvino
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cut.onnx")
        onnx.save(model, path)
        compiled = openvino.Core().compile_model(path, "CPU")
        request = compiled.create_infer_request()
        request.infer({i: feeds[i.get_any_name()] for i in compiled.inputs})
        return {o.get_any_name(): request.get_tensor(o).data.copy() for o in compiled.outputs}


def cut_model(model, pairs, own, floats):
    """tensors_ort.run_cut's graph; `floats`: what is rounded is an output as well."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    feeds, codes_of = {}, {pairs[name]: name for name in own}
    for node in cut.graph.node:
        if node.op_type != "QuantizeLinear" or node.output[0] not in codes_of:
            continue
        codes = own[codes_of[node.output[0]]]
        cut.graph.input.append(onnx.helper.make_tensor_value_info(
            node.output[0], onnx.helper.np_dtype_to_tensor_dtype(codes.dtype), codes.shape))
        feeds[node.output[0]] = codes
        node.output[0] += "/theirs"
    del cut.graph.value_info[:]
    known = {o.name for o in cut.graph.output} | {i.name for i in cut.graph.input}
    for name in own:
        for port in [pairs[name] + "/theirs"] + ([name] if floats and name not in known else []):
            cut.graph.output.append(onnx.ValueInfoProto(name=port))
    return cut, feeds


def tally(found, pairs, scales, result, exact):
    """Counter of one runtime on one picture; `exact`: ONNX Runtime's floats, to tell ties by."""
    n = collections.Counter()
    for name, codes in found.items():
        theirs = result[pairs[name] + "/theirs"].reshape(codes.shape).astype(np.int64)
        step = np.abs(codes.astype(np.int64) - theirs)
        n["tensors"] += 1
        n["elements"] += codes.size
        n["identical"] += not step.any()
        n["differing"] += int((step > 0).sum())
        n["worst"] = max(n["worst"], int(step.max()))
        if not step.any():
            continue
        value = exact[name].reshape(codes.shape).astype(np.float64) / scales[name].astype(np.float64)
        from_tie = np.abs(value - np.floor(value) - .5)
        ties = (step == 1) & (from_tie <= tensors_ort.tie_of(codes))
        n["ties"] += int(ties.sum())
    return n


def add(total, n):
    worst = max(total["worst"], n["worst"])
    total.update(n)
    total["worst"] = worst


def report(what, n, strict):
    other = n["differing"] - n["ties"]
    bad = strict and other > 0
    print(f"{'FAIL' if bad else 'PASS'} {what}: {n['identical']} of {n['tensors']} integer tensors "
          f"identical; {n['differing']} of {n['elements']} codes differ, by {n['worst']} at most: "
          f"{n['ties']} ties, {other} fused")
    return bad


def check_files(tool, path, pictures):
    model = onnx.load(path)
    pairs = tensors_ort.quantizers(model)
    levels = ort.GraphOptimizationLevel
    runtimes = {"ONNX Runtime, unoptimized": ort_run(levels.ORT_DISABLE_ALL),
                "ONNX Runtime, optimized": ort_run(levels.ORT_ENABLE_ALL)}
    try:
        import openvino  # noqa: F401
        runtimes["OpenVINO"] = openvino_run
    except ImportError:
        print("SKIP OpenVINO is not installed")
    sums = {what: collections.Counter() for what in runtimes}
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    for picture in pictures:
        x = tensors_ort.picture_tensor(picture, dims[2], dims[3])
        with tempfile.TemporaryDirectory() as folder:
            found = tensors_ort.run_crayon(tool, path, x, folder, False)
        own = {name: found[name][0] for name in pairs if name in found}
        scales = {name: found[name][1] for name in own}
        source = {model.graph.input[0].name: x}
        cut, feeds = cut_model(model, pairs, own, True)
        exact = dict(ort_run(levels.ORT_DISABLE_ALL)(cut, {**feeds, **source}), **source)
        cut, feeds = cut_model(model, pairs, own, False)
        for what, run in runtimes.items():
            add(sums[what], tally(own, pairs, scales, run(cut, {**feeds, **source}), exact))
    return sum(report(what, n, "unoptimized" in what) for what, n in sums.items())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("crayon")
    p.add_argument("tool")
    p.add_argument("model")
    p.add_argument("pictures", nargs="+")
    p.add_argument("--tflite")
    a = p.parse_args()
    bad = own_certificate(a.crayon, a.model, a.pictures)
    bad += check_files(a.tool, a.model, a.pictures)
    if a.tflite:
        bad += subprocess.run([sys.executable, os.path.join(HERE, "tflite_layers.py"), a.tool,
                               a.tflite] + a.pictures).returncode != 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
