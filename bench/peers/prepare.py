#!/usr/bin/env python3
"""Makes what the peers need from the ONNX files, once per run.

    prepare.py DATA WORK

WORK holds MODEL-int8.onnx by `crayon quantize`; added are, for each model: the picture's tensor and
ONNX Runtime's float output for it (so that every contestant's first output can be checked), the same
ONNX files for four pictures, and ncnn's and MNN's own files. WORK/files.json maps "MODEL what" to a
path, or to {"why": reason} where a file cannot be had: the race shows the reason in its table.

Conversions use the peers' own tools: pnnx for ncnn, the converter and quantizer inside MNN's package
(called as its C module: MNN's Python front end installs a logging package and reports each use). ncnn's
INT8 tools are not in its package; ncnn_int8.py does their work.
"""
import importlib.util
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper, version_converter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import models
import ncnn_int8
from pictures import tensor_of

BATCH = 4
CALIBRATION = 16  # pictures for MNN's and ncnn's quantizers


def reason(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def run_ort(path, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


# ---- four pictures ----

def constants(graph):
    found = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def batched(source, target, batch):
    """The same graph for `batch` pictures: input and output sizes, and the leading 1 of Reshapes."""
    model = onnx.load(source)
    graph, known = model.graph, constants(model.graph)
    for port in [graph.input[0], *graph.output]:
        port.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    for i, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[0] in known or node.input[1] not in known:
            continue
        shape = numpy_helper.to_array(known[node.input[1]]).copy()
        if shape[0] == 1:
            shape[0] = batch
            name = f"batched_shape_{i}"
            graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name
    onnx.save(model, target)


def make_batched(source, target, x):
    """`target` if it gives the third of four pictures what `source` gives it alone."""
    batched(source, target, BATCH)
    pictures = np.concatenate([x[..., ::-1], x[..., ::-1, :], x, x * np.float32(0.5)])
    if models.cosine(run_ort(target, pictures)[2:3], run_ort(source, x)) < models.SAME:
        return {"why": "the graph for four pictures gives another result"}
    return target


# ---- ncnn ----

def without_focus(source, target):
    """YOLOX's first layer takes every second pixel four times and joins them; ncnn's converter drops
    those strided slices. As one convolution, 6x6 with stride 2, the same sums are expressible."""
    model = onnx.load(source)
    graph, known = model.graph, constants(model.graph)
    made = {out: node for node in graph.node for out in node.output}
    concat = next((n for n in graph.node if n.op_type == "Concat"
                   and all(made.get(i) is not None and made[i].op_type == "Slice" for i in n.input)), None)
    if concat is None:
        return source
    conv = next(n for n in graph.node if concat.output[0] in n.input)
    weights = numpy_helper.to_array(known[conv.input[1]])
    wide = np.zeros((weights.shape[0], 3, 6, 6), np.float32)
    gone = [concat]
    for group, name in enumerate(concat.input):
        offset = {}
        while name != graph.input[0].name:
            piece = made[name]
            start, _, axis, _ = (int(numpy_helper.to_array(known[i])[0]) for i in piece.input[1:5])
            offset[axis] = start
            if piece not in gone:
                gone.append(piece)
            name = piece.input[0]
        wide[:, :, offset[2]::2, offset[3]::2] = weights[:, 3 * group:3 * group + 3]
    graph.initializer.append(numpy_helper.from_array(wide, "wide_first_weights"))
    conv.input[0], conv.input[1] = graph.input[0].name, "wide_first_weights"
    for attribute in list(conv.attribute):
        conv.attribute.remove(attribute)
    conv.attribute.extend([helper.make_attribute("kernel_shape", [6, 6]),
                           helper.make_attribute("strides", [2, 2]),
                           helper.make_attribute("pads", [2, 2, 2, 2])])
    for node in gone:
        graph.node.remove(node)
    del graph.value_info[:]
    onnx.save(model, target)
    return target


def make_ncnn(files, model, source, work, side, x, calibration):
    where = importlib.util.find_spec("pnnx")
    if where is None or importlib.util.find_spec("ncnn") is None:
        why = {"why": "ncnn or pnnx is not installed (bench/peers/requirements-convert.txt)"}
        files[f"{model} ncnn"] = files[f"{model} ncnn-int8"] = why
        return
    folder = os.path.join(work, model + "-ncnn")
    os.makedirs(folder, exist_ok=True)
    start = without_focus(source, os.path.join(folder, "model.onnx"))
    if start == source:
        start = os.path.join(folder, "model.onnx")
        with open(source, "rb") as src, open(start, "wb") as dst:
            dst.write(src.read())
    tool = os.path.join(os.path.dirname(where.origin), "pnnx")
    subprocess.run([tool, "model.onnx", f"inputshape=[1,3,{side},{side}]f32", "fp16=0"], cwd=folder,
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    param = os.path.join(folder, "model.ncnn.param")
    files[f"{model} ncnn"] = param
    made = os.path.join(folder, "int8.ncnn.param")
    ncnn_int8.quantize(param, made, [x, *calibration])
    files[f"{model} ncnn-int8"] = made


# ---- MNN ----

def mnn_tool(name, *arguments):
    """In a child: MNN's converter ends the process where it fails, and prints as it likes."""
    code = f"import sys, _tools; sys.exit(not _tools.{name}(['x', *sys.argv[1:]]))"
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"MNN's {name} failed: {(out.stdout + out.stderr).strip()[-200:]}")


def make_mnn(files, model, source, work, side, folder):
    if importlib.util.find_spec("_tools") is None:
        why = {"why": "MNN is not installed"}
        files.update({f"{model} {k}": why for k in ("mnn", "mnn-b4", "mnn-int8", "mnn-int8-b4")})
        return
    for key, onnx_path in (("mnn", source), ("mnn-b4", files[f"{model} onnx-b4"])):
        path = os.path.join(work, f"{model}-{key}.mnn")
        if isinstance(onnx_path, dict):
            files[f"{model} {key}"] = onnx_path
            continue
        mnn_tool("mnnconvert", "-f", "ONNX", "--modelFile", onnx_path, "--MNNModel", path,
                 "--bizCode", "bench")
        files[f"{model} {key}"] = path
    div = models.MODELS[model]["div"]
    config = {"format": "RGB" if models.MODELS[model]["rgb"] else "BGR", "mean": [0, 0, 0],
              "normal": [1 / div] * 3, "width": side, "height": side, "path": folder + "/",
              "used_image_num": CALIBRATION, "feature_quantize_method": "KL",
              "weight_quantize_method": "MAX_ABS"}
    settings = os.path.join(work, f"{model}-mnn.json")
    for key in ("mnn", "mnn-b4"):
        plain = files[f"{model} {key}"]
        path = os.path.join(work, f"{model}-{key.replace('mnn', 'mnn-int8')}.mnn")
        if not isinstance(plain, str) or key == "mnn-b4":
            files[f"{model} {key.replace('mnn', 'mnn-int8')}"] = {
                "why": "MNN's quantizer takes one picture at a time"}
            continue
        with open(settings, "w") as f:
            json.dump({**config, "model": plain}, f)
        mnn_tool("mnnquant", plain, path, settings)
        files[f"{model} mnn-int8"] = path


# ---- INT8 files by the peers' own tools, where there is none ----

class Feed:
    """The pictures as ONNX Runtime's calibration wants them."""

    def __init__(self, name, tensors):
        self.left = iter([{name: x} for x in tensors])

    def get_next(self):
        return next(self.left, None)


def make_static(source, target, tensors):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    model = onnx.load(source)
    name = model.graph.input[0].name
    if model.opset_import[0].version < 13:  # QuantizeLinear has no axis before
        source = target.replace(".onnx", "-lifted.onnx")
        onnx.save(version_converter.convert_version(model, 17), source)
    quantize_static(source, target, Feed(name, tensors), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def make_dynamic(source, target):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(source, target, weight_type=QuantType.QUInt8)


def make_nncf(source, target, tensors):
    os.environ["NNCF_CI"] = "1"  # else it reports its use
    import nncf
    import openvino as ov
    model = nncf.quantize(ov.Core().read_model(source), nncf.Dataset(tensors),
                          preset=nncf.QuantizationPreset.MIXED, subset_size=len(tensors))
    ov.save_model(model, target, compress_to_fp16=False)


def make_own_int8(files, model, source, work, tensors):
    """Makes the files that models.py did not find; a tool that is not installed is the row's reason."""
    makers = {"onnx-static": (".onnx", lambda target: make_static(source, target, tensors)),
              "onnx-dynamic": (".onnx", lambda target: make_dynamic(source, target)),
              "nncf": (".xml", lambda target: make_nncf(source, target, tensors))}
    for key, (ending, make) in makers.items():
        name = f"{model} {key}"
        if isinstance(files[name], str):
            continue
        target = os.path.join(work, f"{model}-{key}{ending}")
        try:
            make(target)
            files[name] = target
        except Exception as e:
            files[name] = {"why": reason(e)}


# ---- everything ----

def calibration_folder(data, work, count):
    source = os.path.join(data, "coco-calib", "images")
    folder = os.path.join(work, "calibration")
    os.makedirs(folder, exist_ok=True)
    names = sorted(os.listdir(source))[:count]
    for name in names:
        with open(os.path.join(source, name), "rb") as src, open(os.path.join(folder, name), "wb") as f:
            f.write(src.read())
    return folder, [os.path.join(folder, name) for name in names]


def attempt(files, keys, make):
    """A peer's tool that breaks costs its rows, not the run."""
    try:
        make()
    except Exception as e:  # whatever a foreign tool raises becomes the row's reason
        for key in keys:
            files.setdefault(key, {"why": reason(e)})


def main():
    data, work = sys.argv[1:3]
    cv2.setNumThreads(1)
    files = {}
    folder, names = calibration_folder(data, work, CALIBRATION)
    picture = cv2.imread(os.path.join(data, "seed", "bus.jpg"))
    for model, about in models.MODELS.items():
        side = about["side"]
        source = os.path.join(data, "models", model + ".onnx")
        x = tensor_of(picture, model)
        np.save(os.path.join(work, model + "-input.npy"), x)
        np.save(os.path.join(work, model + "-output.npy"), run_ort(source, x))
        calibration = [tensor_of(cv2.imread(name), model) for name in names]
        for key, path in {**models.onnx_files(data, work, model),
                          **models.other_files(data, model)}.items():
            files[f"{model} {key}"] = path if os.path.exists(path) else {"why": models.ABSENT}
        make_own_int8(files, model, source, work, calibration)
        for key in models.onnx_files(data, work, model):
            path, name = files[f"{model} {key}"], f"{model} {key}-b4"
            target = os.path.join(work, f"{model}-{key}-b4.onnx")
            if isinstance(path, dict):
                files[name] = path
            else:
                attempt(files, [name], lambda: files.update({name: make_batched(path, target, x)}))
        attempt(files, [f"{model} ncnn", f"{model} ncnn-int8"],
                lambda: make_ncnn(files, model, source, work, side, x, calibration))
        attempt(files, [f"{model} {k}" for k in ("mnn", "mnn-b4", "mnn-int8", "mnn-int8-b4")],
                lambda: make_mnn(files, model, source, work, side, folder))
    with open(os.path.join(work, "files.json"), "w") as f:
        json.dump(files, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
