#!/usr/bin/env python3
"""OpenVINO IR as Crayon writes it, judged by OpenVINO.

    ir_out.py CRAYON [--quantized INT8.onnx]

Every model of the data folder, and the sample, is converted to IR. Demanded of OpenVINO in float32: the
outputs that ONNX Runtime gives for the ONNX file, within 1e-4 of the largest value of each output
(3.2e-5 was seen, on NanoDet: sums of another order); of float16 weights: a .bin of at most 51 %.
With --quantized (a yolov8n of `crayon quantize`) its IR is held against the ONNX file, both in OpenVINO:
as many convolutions on 8 bits; every range and every weight scale the same float32 bits in the models as
OpenVINO reads them; and, computed in float32, the same codes but for ties and the same detections.

Ties: OpenVINO multiplies a FakeQuantize of the IR out in another order than a QuantizeLinear's chain of
Convert, Subtract and Multiply, so a value in the middle between two codes may fall to either side. From
there on it grows, as in any two runtimes. Hence the demand on codes is made of the first tensor, in the
order of the graph, that differs. Float32 is asked for because OpenVINO otherwise keeps what has no entry
in bfloat16 where the CPU multiplies it (yolov8n: the maps that are resized), one more rounding.
"""
import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnxruntime as ort
    import openvino
    from pycocotools.coco import COCO
except ImportError as missing:
    print(f"SKIP ir_out: no Python module {missing.name}")
    sys.exit(0)
from quantized_coco import agreement, detections
from vision_coco import DATA, MODELS, tensor

MAX_OFF, MAX_HALF = 1e-4, 0.51
# Six elements of .8 million were seen in the first tensor that differs, at most; .9992 agreement over the
# 80 pictures of coco-dev, mAP .4017 and .4020.
MAX_TIES, LEAST_AGREEMENT, N_PICTURES, N_TIES = 1e-4, 0.99, 20, 4
MAX_STEPS = 2  # seen: 5 of 819,200 codes by two, behind a Concat whose parts are not told apart
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sample", "shapes.onnx")
MODEL_FILES = ["yolov8n", "yolov8n_opset17", "yolov8n-pose", "yolox_nano", "nanodet_m_320"]
bad = 0


def verdict(good, text):
    global bad
    bad += not good
    print(("PASS " if good else "FAIL ") + text, flush=True)


def crayon(program, *args):
    subprocess.run([program, *args], check=True, stdout=subprocess.DEVNULL)


def worst(model, ir):
    """Largest difference of any output, as a share of its largest value."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    scale = 255 if "yolox" in model or "nanodet" in model else 1
    x = np.random.default_rng(1).random(feed.shape, dtype=np.float32) * scale
    compiled = openvino.Core().compile_model(ir, "CPU", FLOAT32)
    got = compiled([x])
    want = session.run(None, {feed.name: x})
    return max(np.abs(got[o.name] - y).max() / np.abs(y).max()
               for o, y in zip(session.get_outputs(), want))


def floats(program, folder):
    paths = [SAMPLE] + [os.path.join(DATA, "models", m + ".onnx") for m in MODEL_FILES]
    for path in filter(os.path.exists, paths):
        name = os.path.basename(path)[:-5]
        out = os.path.join(folder, name)
        crayon(program, "convert", path, "-o", out + ".xml")
        off = worst(path, out + ".xml")
        verdict(off <= MAX_OFF, f"{name}: OpenVINO differs by {off:.1e} of the largest value")
        crayon(program, "quantize", path, "-o", out + "-half.xml", "--mode", "fp16")
        openvino.Core().compile_model(out + "-half.xml", "CPU")
        share = os.path.getsize(out + "-half.bin") / os.path.getsize(out + ".bin")
        verdict(share <= MAX_HALF, f"{name}: float16 weights take {share:.1%} of the .bin")


def byte_convolutions(path):
    ops = openvino.Core().compile_model(path, "CPU").get_runtime_model().get_ordered_ops()
    facts = [o.get_rt_info() for o in ops]
    return sum("Convolution" in f["layerType"].get() and f["runtimePrecision"].get() in ("u8", "i8")
               for f in facts)


def fakes(model):
    """{tensor: FakeQuantize that reads it}; of several the first."""
    found = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize":
            found.setdefault(min(op.input_value(0).get_names()), op)
    return found


def bounds(op, first):
    return [op.input_value(first + k).get_node().get_data().ravel() for k in range(2)]


def codes(op, values):
    """Codes from 0 of a FakeQuantize's outputs, which are codes already where a Convert follows."""
    low, high = (v.reshape([-1 if d > 1 else 1 for d in op.input_value(3).shape])
                 for v in bounds(op, 3))
    return np.rint((values - low) / ((high - low) / np.float32(op.get_attributes()["levels"] - 1)))


def scales(model):
    """Sorted bytes of the scales behind each convolution's weights."""
    found = []
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Convolution":
            product = op.input_value(1).get_node()
            while product.get_type_name() == "Reshape":
                product = product.input_value(0).get_node()
            if product.get_type_name() == "Multiply":
                scale = product.input_value(1).get_node()
                while scale.get_type_name() in ("Reshape", "Broadcast"):
                    scale = scale.input_value(0).get_node()
                found.append(scale.get_data().tobytes())
    return sorted(found)


def first_difference(names, forms, outputs):
    for k, name in enumerate(names):
        a, b = (codes(f[name], o[k]) for f, o in zip(forms, outputs))
        step = np.abs(a - b)
        if step.max():
            return name, int(step.max()), int((step > 0).sum()), step.size
    return None


def ties(quantized, ir, pictures):
    core = openvino.Core()
    models = [core.read_model(p) for p in (quantized, ir)]
    forms = [fakes(m) for m in models]
    names = list(forms[1])
    same = sum(name in forms[0] and all(x.tobytes() == y.tobytes() for x, y in
                                        zip(bounds(forms[0][name], 1), bounds(forms[1][name], 1)))
               for name in names)
    verdict(0 < same == len(names), f"ranges: {same} of {len(names)} of the IR are the ONNX file's bits")
    theirs, ours = (scales(m) for m in models)
    verdict(ours and ours == theirs, f"weight scales: those of {len(ours)} convolutions are the same bits")
    for m, form in zip(models, forms):
        m.add_outputs([form[name].output(0) for name in names])
    compiled = [core.compile_model(m, "CPU", FLOAT32) for m in models]
    for info in pictures:
        x = tensor(MODELS["yolov8n"], os.path.join(DATA, "coco-dev", "images", info["file_name"]))[0]
        results = [list(c([x]).values())[1:] for c in compiled]
        found = first_difference(names, forms, results)
        if not found:
            verdict(True, f"{info['file_name']}: all {len(names)} tensors of codes are equal")
            continue
        name, step, count, size = found
        verdict(step <= MAX_STEPS and count <= MAX_TIES * size, f"{info['file_name']}: the first tensor that "
                f"differs is {name}, {count} of {size} by {step} at most")


def float32_runner(path):
    compiled = openvino.Core().compile_model(path, "CPU", FLOAT32)
    return lambda x: compiled(x)[compiled.output(0)]


def integers(program, folder, quantized):
    ir = os.path.join(folder, "int8.xml")
    crayon(program, "convert", quantized, "-o", ir)
    onnx_convs, ir_convs = byte_convolutions(quantized), byte_convolutions(ir)
    verdict(0 < onnx_convs <= ir_convs,
            f"convolutions on 8 bits: {ir_convs} of the IR, {onnx_convs} of the ONNX file")
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    pictures = gt.loadImgs(sorted(gt.getImgIds()))
    ties(quantized, ir, pictures[:N_TIES])
    a, b = (detections(float32_runner(p), pictures[:N_PICTURES], MODELS["yolov8n"])
            for p in (quantized, ir))
    same = agreement(a, b)
    verdict(same >= LEAST_AGREEMENT, f"detections of both in float32 agree to {same:.4f} on "
            f"{N_PICTURES} pictures (at least {LEAST_AGREEMENT})")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("crayon")
    p.add_argument("--quantized")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        floats(a.crayon, folder)
        if a.quantized:
            integers(a.crayon, folder, a.quantized)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
