#!/usr/bin/env python3
"""Crayon's detections of a YOLOv8 model against those of ONNX Runtime, for models whose layers
cannot be compared one by one (dynamic quantization chooses scales as it runs).

    detections_ort.py MODEL.onnx DETECTIONS.json N LEAST

DETECTIONS.json: `crayon eval MODEL.onnx --limit N --save-detections` on coco-dev. Both found the
same to the degree LEAST: the COCO metric with ONNX Runtime's detections of score >= 0.25 as truth.
"""
import contextlib
import io
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from quantized_coco import COCO, DATA, MODELS, agreement, detections, np, ort_runner


def main():
    model, path, count, least = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(os.path.join(DATA, "coco-dev", "instances.json"))
    categories = sorted(gt.getCatIds())
    pictures = gt.dataset["images"][:count]
    own = {info["id"]: [] for info in pictures}
    for d in json.load(open(path)):
        x, y, w, h = d["bbox"]
        own[d["image_id"]].append([x, y, x + w, y + h, d["score"],
                                   categories.index(d["category_id"])])
    own = {image: np.array(list_, float).reshape(-1, 6) for image, list_ in own.items()}
    theirs = detections(ort_runner(model), pictures, MODELS["yolov8n"])
    same = agreement(theirs, own)
    print(f"{'PASS' if same >= least else 'FAIL'} {os.path.basename(model)}: detections on {count} "
          f"pictures agree with ONNX Runtime's to {same:.4f} (at least {least})")
    return 0 if same >= least else 1


if __name__ == "__main__":
    sys.exit(main())
