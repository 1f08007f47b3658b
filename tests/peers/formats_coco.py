#!/usr/bin/env python3
"""One model, every format and runtime: what each keeps of it.

    formats_coco.py CRAYON yolov8n|yolox_nano [--samples 96] [--rounding R]

Quantizes the model of $CRAYON_DATA once per format with pictures of coco-calib, runs each file over
coco-dev in the runtimes that read it (ONNX Runtime with its optimizations, OpenVINO, LiteRT with XNNPACK)
and in Crayon, and prints a Markdown table: mAP50-95, agreement with the float model, share of its size.
Preprocessing and suppression are those of vision_coco.py; Crayon's own rows are `crayon eval`'s.
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
from pycocotools.coco import COCO  # noqa: E402

# file, options of `crayon quantize`, runtimes
FILES = [
    ("default.onnx", [], ("crayon", "ort", "openvino")),
    ("target-ort.onnx", ["--target", "ort"], ("crayon", "ort")),
    ("qoperator.onnx", ["--format", "qoperator"], ("crayon", "ort")),
    ("full-integer.tflite", [], ("crayon", "litert")),
    ("per-tensor.tflite", ["--granularity", "tensor"], ("crayon", "litert")),
    ("default.xml", [], ("openvino",)),
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
        "litert": ("LiteRT", lambda path: litert_runner(path, "xnnpack", args.model == "yolov8n")),
    }
    before = detections(ort_runner(source), args.model, pictures)
    print("| file | options | runtime | mAP50-95 | agreement | size |\n|---|---|---|---|---|---|")
    print(f"| {args.model}, float | | ONNX Runtime | {coco_map(gt, before):.4f} | | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, options, where in FILES:
            target = os.path.join(folder, name)
            made = quantize(args, source, target, options)
            text = " ".join(options)
            if made.returncode:
                print(f"| {name} | {text} | failed: {made.stderr.strip().splitlines()[-1]} | | | |", flush=True)
                continue
            share = size(target) / os.path.getsize(source)
            for key in where:
                if key == "crayon":
                    title, (ap, same) = "Crayon", own_figures(args, source, target)
                else:
                    title, runner = runtimes[key]
                    after = detections(runner(target), args.model, pictures)
                    ap, same = coco_map(gt, after), agreement(before, after)
                print(f"| {name} | {text} | {title} | {ap:.4f} | {same:.4f} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
