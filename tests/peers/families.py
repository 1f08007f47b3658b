#!/usr/bin/env python3
"""Every family of models that Crayon promises, read, run, named and quantized.

    families.py BUILD [FOLDER] [--only GLOB] [--float]

Builds randomly initialised networks (families_models.py), exports them to ONNX in the forms that
people have (opsets 7 to 23, dynamic axes, float16, the newer exporter, suppression inside) into
FOLDER, and holds each against ONNX Runtime. One line per model:

  float    the session's outputs: |ours - theirs| <= LIMIT times the largest magnitude of that
           channel. By channel, since a box's pixels would hide any error of a score beside them;
           by magnitude and not by value, since coordinates are differences of larger numbers.
           Rows chosen by TopK or suppression are compared as sets: near ties may swap.
  family   what `crayon inspect` says.
  roles    the parts of the head that it finds, against those the family has (ROLES); the names of
           nodes and tensors have no say in it (tests/unit/head_parts.c renames them).
  int8     `crayon quantize` with eight pictures; the file passes onnx.checker with full_check, and
           ONNX Runtime and OpenVINO run it. ONNX Runtime's INT8 outputs resemble the float ones:
           `cosine` per output >= SAME. Networks of random weights lose more than trained ones.
           And Crayon's session gives the same INT8 outputs as ONNX Runtime node by node, to the
           degree EQUAL: a tie that falls the other way in one layer travels on (0.9998 on YOLO11n,
           whose layers one by one are equal but for ties).

--float leaves the INT8 part out. Exit 1 if a model failed. Needs torch, onnxscript and onnx,
onnxruntime and openvino; ultralytics (with onnxslim) and torchvision for their networks, which are
skipped without: checked with 8.4.190 and 0.29.2.
"""
import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import warnings

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_VERBOSE="false")
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    import openvino

    import families_models
except ImportError as missing:
    print(f"SKIP families: no Python module {missing.name}")
    sys.exit(0)

LIMIT = 1e-4
SAME = 0.9
EQUAL = 0.999
DATA = os.environ.get("CRAYON_DATA", "../shared/data")

V8, V5, YOLOX = "YOLOv8-style detector", "YOLOv5-style detector", "YOLOX detector"
E2E, CLS, POSE = "end-to-end detector", "classifier", "YOLOv8-style pose estimator"
OBB, V6 = "YOLOv8-style detector of oriented boxes", "YOLOv6-style detector"

# name, size, family, then one entry per export: opset and options
CASES = [
    ("yolov3-tinyu", 320, V8, "13"),
    ("yolov5nu", 320, V8, "12 17"),
    ("yolov6n", 320, V8, "11 18"),
    ("yolov8n", 320, V8, "9 11 13 21 13:dynamic 17:half 18:simplify=False"),
    ("yolov8n", 320, E2E, "12:nms 17:nms:dynamic"),
    ("yolov8n-p2", 320, V8, "17"),
    ("yolov8n-ghost", 320, V8, "17"),
    ("yolov8n-seg", 320, V8, "12 17:dynamic"),
    ("yolov8n-seg", 320, E2E, "17:nms"),
    ("yolov8n-pose", 320, E2E, "17:nms"),
    ("yolov8n-pose", 320, POSE, "13 17:half"),
    ("yolov8n-obb", 320, OBB, "17"),
    ("yolov8n-cls", 224, CLS, "12 17"),
    ("yolov9t", 320, V8, "13 18"),
    ("yolov10n", 320, V8, "13"),
    ("yolov10n", 320, E2E, "13:nms=False 18:nms=False"),
    ("yolo11n", 320, V8, "12 17 20:half"),
    ("yolo11n-seg", 320, V8, "17"),
    ("yolo11n-pose", 320, POSE, "18"),
    ("yolo11n-obb", 320, OBB, "17"),
    ("yolo11n-cls", 224, CLS, "17"),
    ("yolo12n", 320, V8, "13 18"),
    ("yolo26n", 320, V8, "17 18:dynamic"),
    ("yolo26n", 320, E2E, "13:nms=False 18:nms=False"),
    ("yolo26n-seg", 320, V8, "17"),
    ("yolo26n-seg", 320, E2E, "17:nms=False"),
    ("yolo26n-pose", 320, POSE, "17"),
    ("yolo26n-pose", 320, E2E, "17:nms=False"),
    ("yolo26n-obb", 320, OBB, "17"),
    ("yolo26n-obb", 320, E2E, "17:nms=False"),
    ("yolo26n-cls", 224, CLS, "17"),
    ("rtdetr-resnet50", 320, "RT-DETR detector", "17"),
    ("yolov5-anchors", 320, V5, "9 11 13 17:dynamo"),
    ("yolov5-focus", 320, V5, "12 13:dynamic"),
    ("yolov6-meituan", 320, V6, "12"),
    ("yolov7", 320, V5, "11 13"),
    ("yolox-raw", 320, YOLOX, "11 13:half"),
    ("yolox-decoded", 320, YOLOX, "11 17"),
    ("nanodet-plus", 320, "NanoDet detector", "11 13"),
    ("picodet", 320, "PicoDet detector", "11 13 18:dynamo"),
    ("ssdlite", 320, None, "11 13"),
    ("mobilenet_v1", 224, CLS, "7 13"),
    ("mobilenet_v2", 224, CLS, "11 13 18:dynamo"),
    ("mobilenet_v3_small", 224, CLS, "9 12 14 18:dynamo 17:half"),
    ("efficientnet_b0", 224, CLS, "13 20:dynamo"),
    ("resnet18", 224, CLS, "7 13:dynamic 18:dynamo 23:dynamo"),
    ("shufflenet_v2_x1_0", 224, CLS, "7 18:dynamo"),
    ("regnet_y_400mf", 224, CLS, "13"),
    ("mnasnet0_5", 224, CLS, "13"),
    ("densenet121", 224, CLS, "13"),
    ("squeezenet1_1", 224, CLS, "12"),
]

# Parts of the head by name of the network, longest match first.
DFL, BOX = {"box distribution", "score"}, {"box", "score"}
ROLES = {
    "yolov8n-seg": DFL | {"mask coefficient", "prototype"}, "yolo11n-seg": DFL | {"mask coefficient", "prototype"},
    "yolo26n-seg": BOX | {"mask coefficient", "prototype"}, "yolo26n-pose": BOX | {"keypoint"}, "yolo26n": BOX,
    "yolov8n-pose": DFL | {"keypoint"}, "yolo11n-pose": DFL | {"keypoint"}, "yolov8n-obb": DFL | {"box"},
    "yolo11n-obb": DFL | {"box"}, "yolo26n-cls": {"score"}, "yolo11n-cls": {"score"}, "yolov8n-cls": {"score"},
    "yolov5-": BOX | {"objectness"}, "yolov7": BOX | {"objectness"}, "yolox": BOX | {"objectness"},
    "yolov6-meituan": BOX, "rtdetr": BOX, "ssdlite": BOX, "yolo": DFL, "nanodet": DFL, "picodet": DFL, "": {"score"},
}

# OpenVINO's low-precision pass throws on a product whose left side joins levels of different scales.
FLOAT_ONLY = {"rtdetr-resnet50"}


class Bad(Exception):
    """What went wrong with one model, one line."""


def parse_form(form):
    opset, *options = form.split(":")
    values = {}
    for o in options:
        key, _, value = o.partition("=")
        values[key] = value != "False"
    return int(opset), values


def run(command, what):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Bad(f"{what}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return done.stdout


def ort_run(model, x, plain=False):
    """`plain`: node by node. ONNX Runtime's fusion of Pad into MaxPool (yolov3-tiny has that pair)
    takes the zeros of the Pad for minus infinity and changes the result."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def picture(name, size):
    """Patches and noise, as the family reads pictures."""
    families_models.torch.manual_seed(3)
    x = families_models.prepare(name, families_models.pictures(1, size, "nearest"))
    return np.ascontiguousarray(x.numpy(), np.float32)


def channel_axis(a):
    """The axis that is not the rows' (the longest) nor the batch's; None for one vector."""
    if a.ndim == 4:
        return 1
    if a.ndim == 3:
        return 2 if a.shape[1] > a.shape[2] else 1
    return None


def worst_by_channel(own, want):
    axis = channel_axis(want)
    gap, size = np.abs(own - want), np.abs(want)
    if axis is None:
        return gap.max() / max(size.max(), 1e-6)
    rest = tuple(i for i in range(want.ndim) if i != axis)
    return float((gap.max(rest) / np.maximum(size.max(rest), 1e-6)).max())


def worst_as_set(own, want):
    """Rows [1, n, 6 + ...]: each of theirs against our nearest. The last few may differ (a tie at
    the cut), so 1 % of the rows are left out, best fits first."""
    scale = np.maximum(np.abs(want).max((0, 1)), 1e-6)
    gaps = np.abs(own[0][None] / scale - want[0][:, None] / scale).max(2).min(1)
    return float(np.sort(gaps)[: max(1, int(len(gaps) * 0.99))].max())


def own_run(tool, model, x, size, dynamic, like):
    """Crayon's outputs, in the shapes of `like`."""
    outs = []
    with tempfile.TemporaryDirectory() as folder:
        x.tofile(f"{folder}/in.bin")
        form = ["--imgsz", str(size)] if dynamic else []
        run([tool, model, folder, "--threads", "2", *form, f"{folder}/in.bin"], "run")
        for i, want in enumerate(like):
            own = np.fromfile(f"{folder}/out{i}.bin", np.float32).astype(np.float64)
            if own.size != want.size or not np.isfinite(own).all():
                raise Bad(f"output {i} has {own.size} elements, not {want.size}, or is not finite")
            outs.append(own.reshape(want.shape))
    return outs


def compare_float(tool, model, reference, x, size, dynamic):
    theirs = ort_run(reference, x, plain=True)
    worst = 0.0
    for own, want in zip(own_run(tool, model, x, size, dynamic, theirs), theirs):
        worst = max(worst, (worst_as_set if is_chosen(want) else worst_by_channel)(own, want))
    if worst > LIMIT:
        raise Bad(f"float differs by {worst:.2g} of a channel's range")
    return worst, theirs


def size_of(model):
    """With external data, which the newer exporter writes."""
    data = model + ".data"
    return os.path.getsize(model) + (os.path.getsize(data) if os.path.exists(data) else 0)


def cosine(own, want):
    """Of the values with each channel's mean taken off and divided by its largest magnitude: how the
    rows differ from one another, every channel with the same weight."""
    axis = channel_axis(want)
    rest = None if axis is None else tuple(i for i in range(want.ndim) if i != axis)
    mean = want.mean(rest, keepdims=True, dtype=np.float64)
    scale = np.maximum(np.abs(want - mean).max(rest, keepdims=True), 1e-12)
    a, b = ((own - mean) / scale).ravel(), ((want - mean) / scale).ravel()
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def openvino_runs(model, out, x, outs):
    """A remark if OpenVINO refuses the float file already: it wants the indices of GatherElements as
    large as the data, ONNX does not, and some end-to-end exports make use of it."""
    try:
        compiled = openvino.Core().compile_model(out, "CPU")(x)
    except RuntimeError as refusal:
        try:
            openvino.Core().compile_model(model, "CPU")
        except RuntimeError:
            return ", OpenVINO refuses the float file too"
        raise Bad(f"OpenVINO: {' '.join(str(refusal).split())[-300:]}")
    if len(compiled) != len(outs):
        raise Bad(f"OpenVINO gives {len(compiled)} outputs, not {len(outs)}")
    for i, y in enumerate(outs):
        if y.shape != compiled[i].shape or not np.isfinite(y).all() or not np.isfinite(compiled[i]).all():
            raise Bad(f"INT8 output {i}: {y.shape} in ONNX Runtime, {compiled[i].shape} in OpenVINO")
    return ""


def equal_integers(tool, out, x):
    """Smallest cosine between Crayon's INT8 outputs and ONNX Runtime's, node by node."""
    theirs = ort_run(out, x, plain=True)
    own = own_run(tool, out, x, 0, False, theirs)
    alike = [cosine(a, b) for a, b in zip(own, theirs) if not is_chosen(b)]
    if min(alike, default=1) < EQUAL:
        raise Bad(f"INT8 outputs differ from ONNX Runtime's: cosine {min(alike):.5f}")
    return f", session {min(alike):.5f}" if alike else ""


def quantized(build, model, out, x, size, floats, dynamic):
    crayon, tool = f"{build}/crayon", f"{build}/tests/peers-run_model"
    form = ["--imgsz", str(size)] if dynamic else []
    run([crayon, "quantize", model, "-o", out, "--images", f"{DATA}/coco-calib/images", "--samples", "8",
         "--threads", "2", *form], "quantize")
    onnx.checker.check_model(out, full_check=True)
    loaded = onnx.load(out)
    pairs = sum(n.op_type == "QuantizeLinear" for n in loaded.graph.node)
    if not pairs:
        raise Bad("the INT8 file has no QuantizeLinear")
    outs = ort_run(out, x)
    note = openvino_runs(model, out, x, outs)
    run([crayon, "inspect", out], "inspect of the INT8 file")
    alike = [cosine(a, b) for a, b in zip(outs, floats) if a.shape == b.shape and not is_chosen(a)]
    text = f"int8 cosine {min(alike):.3f}" if alike else "int8 rows are chosen"
    text += equal_integers(tool, out, x)
    if alike and min(alike) < SAME:
        raise Bad(f"{text}: too different")
    return f"{text}, {pairs} QuantizeLinear, size {os.path.getsize(out) / size_of(model):.2f}{note}"


def is_chosen(a):
    return a.ndim == 3 and a.shape[1] <= 300 and a.shape[2] <= 64


def check(args, name, size, family, opset, options):
    label = "-".join([name, str(opset), *(k if v else f"no_{k}" for k, v in options.items())])
    path = os.path.join(args.folder, label + ".onnx")
    if not os.path.exists(path):
        families_models.build(name, path, size, opset, **options)
    dynamic = options.get("dynamic", False)
    reference = path.replace(".onnx", ".float.onnx") if options.get("half") else path
    x = picture(name, size)
    worst, floats = compare_float(f"{args.build}/tests/peers-run_model", path, reference, x, size, dynamic)
    text = f"float {worst:.1e}"
    form = ["--imgsz", str(size)] if dynamic else []
    said = json.loads(run([f"{args.build}/crayon", "inspect", path, "--json", *form], "inspect"))
    text += f", {said['family']}"
    if family and said["family"] != family:
        raise Bad(f"{text}: not the family {family}")
    roles = {part["role"] for part in said["head"]}
    wanted = ROLES[max((k for k in ROLES if name.startswith(k)), key=len)]
    if roles != wanted:
        raise Bad(f"{text}: the head has the roles {sorted(roles)}, not {sorted(wanted)}")
    text += f", {len(roles)} roles"
    if not args.float and name not in FLOAT_ONLY:
        text += ", " + quantized(args.build, path, path.replace(".onnx", ".int8.onnx"), x, size, floats,
                                 dynamic)
    return text


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("folder", nargs="?")
    p.add_argument("--only", default="*")
    p.add_argument("--float", action="store_true")
    args = p.parse_args()
    kept = tempfile.TemporaryDirectory()
    args.folder = args.folder or kept.name
    os.makedirs(args.folder, exist_ok=True)
    if not args.float and not os.path.isdir(f"{DATA}/coco-calib/images"):
        print(f"SKIP families, INT8: {DATA} is not there")
        args.float = True
    good = bad = skipped = 0
    for name, size, family, forms in CASES:
        for form in forms.split():
            opset, options = parse_form(form)
            label = f"{name} {form}"
            if not fnmatch.fnmatch(label, args.only):
                continue
            try:
                print(f"PASS {label}: {check(args, name, size, family, opset, options)}", flush=True)
                good += 1
            except ImportError as missing:
                print(f"SKIP {label}: {missing}", flush=True)
                skipped += 1
            except Exception as problem:  # one line for whatever a peer may throw
                print(f"FAIL {label}: {str(problem).splitlines()[0] if str(problem) else repr(problem)}", flush=True)
                bad += 1
    print(f"{good} passed, {bad} failed, {skipped} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
