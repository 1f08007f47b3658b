#!/usr/bin/env python3
"""One model, every format and runtime: what each keeps of it.

    formats_coco.py CRAYON yolov8n|yolox_nano [--samples 96] [--rounding R]

Quantizes the model of $CRAYON_DATA once per format with pictures of coco-calib, runs each file over
coco-dev in the runtimes that read it (ONNX Runtime with its optimizations, OpenVINO, LiteRT with XNNPACK)
and in Crayon, and prints a Markdown table: mAP50-95, agreement with the float model, share of its size.
Preprocessing and suppression are those of vision_coco.py; Crayon's own rows are `crayon eval`'s.

Beside each mAP stands its distance from the float model's with the standard error that it has for being seen on 80
pictures: 40 times both are computed on a random half of them, and the distance on a half varies about that
on all as that on all varies about the truth (the jackknife that deletes halves). What is not larger than twice its
error tells nothing about a format. OpenVINO stands there twice: left to itself it computes what is not
quantized in bfloat16 where the CPU multiplies it.
"""
import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from quantized_coco import agreement, openvino_runner, ort_runner  # noqa: E402
from tflite_coco import detections, litert_runner  # noqa: E402
from vision_coco import DATA, coco_map  # noqa: E402
import numpy as np  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

HALVES = 40
# file, options of `crayon quantize`, runtimes
FILES = [
    ("default.onnx", [], ("crayon", "ort", "openvino", "openvino32")),
    ("target-ort.onnx", ["--target", "ort"], ("crayon", "ort")),
    ("qoperator.onnx", ["--format", "qoperator"], ("crayon", "ort")),
    ("full-integer.tflite", [], ("crayon", "litert")),
    ("per-tensor.tflite", ["--granularity", "tensor"], ("crayon", "litert")),
    ("default.xml", [], ("openvino", "openvino32")),
]


def quantize(args, source, target, options):
    command = [args.crayon, "quantize", source, "-o", target, "--no-check", "--samples", str(args.samples),
               "--images", os.path.join(DATA, "coco-calib", "images"), *options]
    return subprocess.run(command + (["--rounding", args.rounding] if args.rounding else []),
                          capture_output=True, text=True)


def own_figures(args, source, target):
    dev = os.path.join(DATA, "coco-dev")
    out = subprocess.run([args.crayon, "eval", target, "--against", source, "--images",
                          os.path.join(dev, "images"), "--labels", os.path.join(dev, "instances.json"), "--json"],
                         capture_output=True, text=True, check=True).stdout
    j = json.loads(out)
    return j["metrics"]["AP"], j["agreement"]


class Judged:
    """Matches of one model's detections, from which mAP follows for any part of the pictures."""

    def __init__(self, gt, found):
        cats = sorted(gt.getCatIds())
        rows = [dict(image_id=i, category_id=cats[int(c)], bbox=[x1, y1, x2 - x1, y2 - y1], score=s)
                for i, det in found.items() for x1, y1, x2, y2, s, c in det.tolist()]
        with contextlib.redirect_stdout(io.StringIO()):
            self.e = COCOeval(gt, gt.loadRes(rows), "bbox")
            self.e.params.areaRng, self.e.params.areaRngLbl = [[0, 1e10]], ["all"]
            self.e.params.maxDets = [100]
            self.e.evaluate()
        self.all = self.e.evalImgs
        self.images = len(self.e.params.imgIds)

    def ap(self, chosen):
        self.e.evalImgs = [m if chosen[k % self.images] else None for k, m in enumerate(self.all)]
        with contextlib.redirect_stdout(io.StringIO()):
            self.e.accumulate()
        p = self.e.eval["precision"]
        return p[p > -1].mean()


def distance(before, after):
    """after's mAP less before's, and its standard error."""
    n = before.images
    full = np.ones(n, bool)
    d = after.ap(full) - before.ap(full)
    rng, squares = np.random.default_rng(0), []
    for _ in range(HALVES):
        half = np.zeros(n, bool)
        half[rng.permutation(n)[:n // 2]] = True
        squares.append((after.ap(half) - before.ap(half) - d) ** 2)
    return f"{d:+.4f} +- {np.sqrt(np.mean(squares)):.4f}"


def float32_runner(path):
    import openvino
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[compiled.output(0)]


def size(path):
    other = path[:-4] + ".bin"
    return os.path.getsize(path) + (os.path.getsize(other) if path.endswith(".xml") else 0)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("crayon")
    p.add_argument("model", choices=["yolov8n", "yolox_nano"])
    p.add_argument("--samples", type=int, default=96)
    p.add_argument("--rounding", default="")
    args = p.parse_args()
    source = os.path.join(DATA, "models", args.model + ".onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    pictures = gt.loadImgs(sorted(gt.getImgIds()))
    runtimes = {
        "ort": ("ONNX Runtime", ort_runner),
        "openvino": ("OpenVINO", openvino_runner),
        "openvino32": ("OpenVINO, float32", float32_runner),
        "litert": ("LiteRT", lambda path: litert_runner(path, "xnnpack", args.model == "yolov8n")),
    }
    before = detections(ort_runner(source), args.model, pictures)
    judged, own = Judged(gt, before), coco_map(gt, before)
    print("| file | options | runtime | mAP50-95 | less float's | agreement | size |\n|---|---|---|---|---|---|---|")
    print(f"| {args.model}, float | | ONNX Runtime | {own:.4f} | | | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, options, where in FILES:
            target = os.path.join(folder, name)
            made = quantize(args, source, target, options)
            text = " ".join(options)
            if made.returncode:
                print(f"| {name} | {text} | failed: {made.stderr.strip().splitlines()[-1]} | | | | |", flush=True)
                continue
            share = size(target) / os.path.getsize(source)
            for key in where:
                if key == "crayon":
                    title, (ap, same) = "Crayon", own_figures(args, source, target)
                    away = f"{ap - own:+.4f}"
                else:
                    title, runner = runtimes[key]
                    after = detections(runner(target), args.model, pictures)
                    ap, same = coco_map(gt, after), agreement(before, after)
                    away = distance(judged, Judged(gt, after))
                print(f"| {name} | {text} | {title} | {ap:.4f} | {away} | {same:.4f} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
