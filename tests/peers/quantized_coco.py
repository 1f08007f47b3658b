#!/usr/bin/env python3
"""A quantized model judged by others: onnx.checker, ONNX Runtime, OpenVINO, pycocotools.

    quantized_coco.py FLOAT.onnx QUANTIZED.onnx [--limit N]

Runs both models in ONNX Runtime (its own optimizations on) over coco-dev with the pipeline that
vision_coco.py restates, and demands: full_check passes; the file has at most 27 % of the size; mAP
within 0.008 of the float model's; agreement at least 0.93 (the COCO metric with the float model's
detections of score >= 0.25 as the truth). OpenVINO runs the first N_OPENVINO pictures; what it
finds there must agree with ONNX Runtime's result of the same file.
"""
import argparse
import contextlib
import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
except ImportError as missing:
    print(f"SKIP quantized_coco: no Python module {missing.name}")
    sys.exit(0)
from vision_coco import DATA, MODELS, coco_map, rows, suppress, tensor, to_source

MAX_DROP, LEAST_AGREEMENT, MAX_SIZE = 0.008, 0.93, 0.27  # 26.1 % was seen
# OpenVINO chooses its own kernels and scales (it may fuse otherwise and sum in another order), so
# its INT8 result is another rounding of the same recipe.
N_OPENVINO, LEAST_OPENVINO = 20, 0.90
bad = 0


def verdict(good, text):
    global bad
    bad += not good
    print(("PASS " if good else "FAIL ") + text, flush=True)


def detections(run, pictures, cfg):
    found = {}
    for info in pictures:
        x, place, shape = tensor(cfg, os.path.join(DATA, "coco-dev", "images", info["file_name"]))
        boxes, scores = rows("yolov8n", run(x))
        found[info["id"]] = to_source(suppress(boxes, scores, 0.001, cfg["iou"], True), place, shape)
    return found


def ort_runner(path):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return lambda x: session.run(None, {feed: x})[0]


def openvino_runner(path):
    import openvino
    compiled = openvino.Core().compile_model(path, "CPU")
    return lambda x: compiled(x)[compiled.output(0)]


def agreement(reference, candidate):
    """mAP50-95 of `candidate` with `reference`'s detections >= 0.25 as the truth."""
    truth, number = [], 1
    for image, det in reference.items():
        for x1, y1, x2, y2, score, cls in det.tolist():
            if score >= 0.25:
                truth.append(dict(id=number, image_id=image, category_id=int(cls), iscrowd=0,
                                  bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1)))
                number += 1
    classes = sorted({int(c) for d in (reference, candidate) for v in d.values() for c in v[:, 5]})
    gt = COCO()
    gt.dataset = dict(info={}, images=[dict(id=i) for i in reference], annotations=truth,
                      categories=[dict(id=c) for c in classes])
    results = [dict(image_id=image, category_id=int(c), bbox=[x1, y1, x2 - x1, y2 - y1], score=s)
               for image, det in candidate.items() for x1, y1, x2, y2, s, c in det.tolist()]
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        e = COCOeval(gt, gt.loadRes(results), "bbox")
        e.evaluate(), e.accumulate(), e.summarize()
    return float(e.stats[0])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("float_model")
    p.add_argument("quantized")
    p.add_argument("--limit", type=int, default=0)
    a = p.parse_args()
    name, cfg = os.path.basename(a.float_model), MODELS["yolov8n"]
    try:
        onnx.checker.check_model(a.quantized, full_check=True)
        verdict(True, f"{name}: the INT8 file passes onnx.checker with full_check")
    except onnx.checker.ValidationError as e:
        verdict(False, f"{name}: onnx.checker: {e}")
    share = os.path.getsize(a.quantized) / os.path.getsize(a.float_model)
    verdict(share <= MAX_SIZE, f"{name}: the INT8 file has {share:.1%} of the size (limit 27 %)")
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    pictures = gt.loadImgs(sorted(gt.getImgIds()))
    if a.limit:
        pictures = pictures[:a.limit]
    reference = detections(ort_runner(a.float_model), pictures, cfg)
    quantized = detections(ort_runner(a.quantized), pictures, cfg)
    before, after = coco_map(gt, reference), coco_map(gt, quantized)
    verdict(before - after <= MAX_DROP, f"{name}: mAP in ONNX Runtime: float {before:.4f}, INT8 "
            f"{after:.4f} (limit {MAX_DROP} below)")
    same = agreement(reference, quantized)
    verdict(same >= LEAST_AGREEMENT, f"{name}: agreement in ONNX Runtime {same:.4f} (at least "
            f"{LEAST_AGREEMENT})")
    try:
        run = openvino_runner(a.quantized)
    except ImportError:
        print(f"SKIP {name}: OpenVINO is not installed")
    else:
        few = detections(run, pictures[:N_OPENVINO], cfg)
        same = agreement({k: quantized[k] for k in few}, few)
        verdict(same >= LEAST_OPENVINO, f"{name}: OpenVINO runs the INT8 file; it agrees with ONNX "
                f"Runtime on {len(few)} pictures to {same:.4f} (at least {LEAST_OPENVINO})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
