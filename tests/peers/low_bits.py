#!/usr/bin/env python3
"""Weights of few bits, in blocks or alone, against ONNX Runtime: our files and those of others.

    low_bits.py PATH/TO/crayon PATH/TO/peers-run_model [MODEL.onnx PICTURE]

Ours: a model (the sample by default, on a picture of noise) is quantized to weights of every type,
checked by onnx.checker and run by ONNX Runtime with optimizations disabled; outputs must agree
within LIMIT * max(1, |theirs|), as for float models: both multiply the same dequantized weights.

Theirs: small models made with onnx.helper as other tools write them: per-tensor, axis 0 and 1,
blocks along either axis that divide it or do not, with and without zero points, packed in raw_data or
int32_data, in front of Conv, Gemm, MatMul and a Transpose. Each is run by both, and must be seen as
a quantized model.
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto as T, helper as h
except ImportError as missing:
    print(f"SKIP low_bits: no Python module {missing.name}")
    sys.exit(0)

# sums of up to 2304 products in another order, through 96 layers: 1.3e-4 was seen on yolox_nano in blocks
LIMIT = 2e-4
TYPES = {T.INT4: (4, True), T.UINT4: (4, False), T.INT2: (2, True), T.UINT2: (2, False),
         T.INT8: (8, True), T.UINT8: (8, False), T.INT16: (16, True)}
failed = count = 0


def verdict(good, text):
    global failed, count
    failed += not good
    count += 1
    if not good or "-v" in sys.argv:
        print(("PASS " if good else "FAIL ") + text, flush=True)


def theirs(path, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    s = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return s.run(None, {s.get_inputs()[0].name: x})


def ours(tool, path, x, folder):
    x.tofile(os.path.join(folder, "in.bin"))
    subprocess.run([tool, path, folder, "--threads", "1", os.path.join(folder, "in.bin")], check=True)
    out = []
    while os.path.exists(file := os.path.join(folder, f"out{len(out)}.bin")):
        out.append(np.fromfile(file, np.float32))
        os.remove(file)
    return out


def gap(tool, path, x, folder):
    worst = 0.0
    for a, b in zip(ours(tool, path, x, folder), theirs(path, x), strict=True):
        b = b.ravel().astype(np.float64)
        scaled = np.abs(a - b) / np.maximum(1, np.abs(b))
        worst = max(worst, float(np.where(np.isfinite(scaled), scaled, np.inf).max()))
    return worst


def check_file(tool, path, x, folder, what):
    try:
        onnx.checker.check_model(path, full_check=True)
        worst = gap(tool, path, x, folder)
        verdict(worst <= LIMIT, f"{what}: worst difference {worst:.2g}")
    except Exception as e:  # pylint: disable=broad-except
        verdict(False, f"{what}: {str(e).splitlines()[0]}")


# ---- ours ----

def own_files(crayon, tool, model, x, folder):
    plans = [["--weights", w, "--first-last", f] for f in ("int8", "same")
             for w in ("int8", "uint8", "int16", "int4", "uint4", "int2", "uint2", "int1")]
    plans += [["--weights", w, "--block", b] for w in ("int4", "uint4", "int2") for b in ("16", "32")]
    plans += [["--weights", "int4", "--granularity", "tensor", "--weight-scales", "max"]]
    path = os.path.join(folder, "q.onnx")
    for plan in plans:
        subprocess.run([crayon, "quantize", model, "-o", path, "--mode", "weights"] + plan, check=True,
                       stdout=subprocess.DEVNULL)
        check_file(tool, path, x, folder, f"{os.path.basename(model)} {' '.join(plan)}")


# ---- theirs ----

def packed(codes, bits, typed):
    flat = codes.ravel().astype(np.int64) & ((1 << bits) - 1)
    each = max(1, 8 // bits)
    flat = np.concatenate([flat, np.zeros(-len(flat) % each, np.int64)]).reshape(-1, each)
    values = sum(flat[:, i] << (i * bits) for i in range(each))
    if typed:
        return [int(v) for v in values]
    return values.astype("<u2" if bits == 16 else np.uint8).tobytes()


def constant(name, kind, codes, typed=False):
    bits, _ = TYPES[kind]
    t = onnx.TensorProto(name=name, data_type=kind, dims=codes.shape)
    if typed:
        signed = codes.ravel().tolist() if bits >= 8 else packed(codes, bits, True)
        t.int32_data.extend(int(v) for v in signed)
    else:
        t.raw_data = packed(codes, bits, False)
    return t


def foreign(rng, kind, where, axis, block, with_zero, typed):
    """(model, input): weights of `kind` behind a DequantizeLinear in front of an operator."""
    bits, signed = TYPES[kind]
    lo = -(1 << (bits - 1)) if signed else 0
    shape = {"Conv": (10, 7, 3, 3), "Gemm": (9, 13), "MatMul": (13, 9), "Transpose": (9, 13)}[where]
    codes = rng.integers(lo, lo + (1 << bits), shape)
    form = () if axis is None else (shape[axis],)
    if block:
        form = shape[:axis] + (-(-shape[axis] // block),) + shape[axis + 1:]
    scale = rng.uniform(.5, 1.5, form).astype(np.float32) / (1 << bits)
    inits = [constant("codes", kind, codes, typed), onnx.numpy_helper.from_array(scale, "scale")]
    inputs = ["codes", "scale"]
    if with_zero:
        inits.append(constant("zero", kind, rng.integers(lo, lo + (1 << bits), form), typed))
        inputs.append("zero")
    attrs = {} if axis is None else {"axis": axis}
    if block:
        attrs["block_size"] = block
    nodes = [h.make_node("DequantizeLinear", inputs, ["w"], **attrs)]
    size = (1, 7, 6, 5) if where == "Conv" else (4, 13)
    if where == "Conv":
        nodes.append(h.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]))
    elif where == "Gemm":
        nodes.append(h.make_node("Gemm", ["x", "w"], ["y"], transB=1))
    else:
        if where == "Transpose":
            nodes.append(h.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]))
        nodes.append(h.make_node("MatMul", ["x", "wt" if where == "Transpose" else "w"], ["y"]))
    out = (1, 10, 6, 5) if where == "Conv" else (4, 9)
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, size)],
                         [h.make_tensor_value_info("y", T.FLOAT, out)], inits)
    opset, ir = (25, 13) if bits == 2 else (21, 10)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=ir)
    return model, rng.uniform(-1, 1, size).astype(np.float32)


def foreign_files(crayon, tool, folder):
    rng = np.random.default_rng(7)
    path = os.path.join(folder, "foreign.onnx")
    for kind in TYPES:
        for where in ("Conv", "Gemm", "MatMul", "Transpose"):
            for axis, block in ((None, 0), (0, 0), (1, 0), (1, 4), (1, 16), (0, 3), (0, 5)):
                for with_zero in (False, True):
                    typed = bool(rng.integers(2))
                    model, x = foreign(rng, kind, where, axis, block, with_zero, typed)
                    onnx.save(model, path)
                    what = (f"{T.DataType.Name(kind)} {where} axis {axis} block {block} zero {with_zero} "
                            f"{'int32_data' if typed else 'raw_data'}")
                    check_file(tool, path, x, folder, what)
                    info = subprocess.run([crayon, "inspect", path, "--json"], check=True,
                                          capture_output=True, text=True).stdout
                    info = json.loads(info)
                    verdict(info["quantized"] and "DequantizeLinear" not in str(info["operators"]),
                            f"{what}: seen as {info['precision']}")


def main():
    arguments = [a for a in sys.argv[1:] if a != "-v"]
    if len(arguments) not in (2, 4):
        print(__doc__)
        return 2
    crayon, tool = arguments[:2]
    model = os.path.join(os.path.dirname(__file__), "..", "..", "sample", "shapes.onnx")
    with tempfile.TemporaryDirectory() as folder:
        if len(arguments) == 4:
            from outputs_ort import preprocess
            model = arguments[2]
            port = onnx.load(model).graph.input[0].type.tensor_type.shape.dim
            x = preprocess(os.path.basename(model), arguments[3], port[2].dim_value, port[3].dim_value)
        else:
            x = np.random.default_rng(1).uniform(0, 1, (1, 3, 256, 256)).astype(np.float32)
            foreign_files(crayon, tool, folder)
        own_files(crayon, tool, os.path.normpath(model), x, folder)
    print(f"{'FAIL' if failed else 'PASS'} low_bits: {count - failed} of {count} checks")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
