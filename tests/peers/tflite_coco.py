#!/usr/bin/env python3
"""A TFLite file judged by LiteRT: mAP and agreement over coco-dev.

    tflite_coco.py yolov8n|yolox_nano FILE.tflite [--resolver ref|xnnpack] [--limit N]
                   [--drop PTS] [--agreement A] [--size SHARE]

Runs the float ONNX model in ONNX Runtime and FILE in LiteRT with the pipeline that vision_coco.py
restates, and prints both mAP, the agreement (the COCO metric with the float model's detections of
score >= 0.25 as the truth) and the share of the float model's size. Limits, where they are given,
decide about PASS and FAIL. `ref` runs TFLite's reference kernels, `xnnpack` what an application gets.
"""
import argparse
import contextlib
import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnxruntime  # noqa: F401
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from pycocotools.coco import COCO
except ImportError as missing:
    print(f"SKIP tflite_coco: no Python module {missing.name}")
    sys.exit(0)
from quantized_coco import agreement, ort_runner
from vision_coco import DATA, MODELS, coco_map, rows, suppress, tensor, to_source


def litert_runner(path, resolver, fractions):
    kind = OpResolverType.BUILTIN_REF if resolver == "ref" else OpResolverType.AUTO
    model = Interpreter(path, experimental_op_resolver_type=kind, num_threads=2)
    model.allocate_tensors()
    x, y = model.get_input_details()[0], model.get_output_details()[0]

    def run(picture):
        p = np.ascontiguousarray(picture.transpose(0, 2, 3, 1))
        if x["dtype"] != np.float32:
            scale, zero = x["quantization"]
            limits = np.iinfo(x["dtype"])
            p = np.clip(np.round(p / scale) + zero, limits.min, limits.max).astype(x["dtype"])
        model.set_tensor(x["index"], p)
        model.invoke()
        out = model.get_tensor(y["index"])
        if out.dtype != np.float32:
            scale, zero = y["quantization"]
            out = ((out.astype(np.float32) - zero) * scale).astype(np.float32)
        out = out.copy()
        if fractions:  # Ultralytics' convention for TFLite
            out[:, :4] *= np.float32(picture.shape[-1])
        return out
    return run


def detections(run, name, pictures):
    cfg, found = MODELS[name], {}
    for info in pictures:
        x, place, shape = tensor(cfg, os.path.join(DATA, "coco-dev", "images", info["file_name"]))
        boxes, scores = rows(name, run(x))
        found[info["id"]] = to_source(suppress(boxes, scores, 0.001, cfg["iou"], True), place, shape)
    return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", choices=list(MODELS))
    p.add_argument("file")
    p.add_argument("--resolver", choices=["ref", "xnnpack"], default="xnnpack")
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--drop", type=float, default=1)
    p.add_argument("--agreement", type=float, default=0)
    p.add_argument("--size", type=float, default=9)
    a = p.parse_args()
    float_path = os.path.join(DATA, "models", a.model + ".onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    pictures = gt.loadImgs(sorted(gt.getImgIds()))
    if a.limit:
        pictures = pictures[:a.limit]
    before = detections(ort_runner(float_path), a.model, pictures)
    after = detections(litert_runner(a.file, a.resolver, a.model == "yolov8n"), a.model, pictures)
    was, now = coco_map(gt, before), coco_map(gt, after)
    same = agreement(before, after)
    share = os.path.getsize(a.file) / os.path.getsize(float_path)
    good = was - now <= a.drop and same >= a.agreement and share <= a.size
    print(f"{'PASS' if good else 'FAIL'} {os.path.basename(a.file)} in LiteRT ({a.resolver}): mAP "
          f"{now:.4f} (float {was:.4f}), agreement {same:.4f}, {share:.1%} of the float file")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
