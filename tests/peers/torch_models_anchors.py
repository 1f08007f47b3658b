#!/usr/bin/env python3
"""The same as torch_models.py for YOLOv5 with anchors: torch_models_anchors.py DIR.

Needs the yolov5 package of tests/peers/torch_requirements.txt; its classes are those of the YOLOv5
repository. The exports are PyTorch's own, without that package's scripts.
"""
import copy
import sys
from pathlib import Path

import torch
import torch_models
import yolov5
from yolov5.models.yolo import DetectionModel, SegmentationModel

SIZE = 192  # a multiple of 64, the largest stride
CONFIGS = ["yolov5n", "segment/yolov5n-seg", "hub/yolov5s6", "hub/yolov3-tiny", "hub/yolov5s-ghost", "hub/yolov5-panet"]


def make(config, folder):
    torch_models.SIZE = SIZE
    kind = SegmentationModel if "seg" in config else DetectionModel
    model = kind(str(Path(yolov5.__file__).parent / "models" / f"{config}.yaml"))
    torch_models.settle(model, torch.Generator().manual_seed(len(config)))
    model.names = {i: f"class {i}" for i in range(model.yaml["nc"])}
    half = copy.deepcopy(model).half().eval()
    name = config.split("/")[-1]
    torch.save({"epoch": -1, "best_fitness": None, "model": half, "ema": None, "updates": None, "optimizer": None,
                "opt": {"imgsz": SIZE}, "git": {}, "date": "2026-01-01T00:00:00"}, folder / f"{name}.pt")
    whole = half.float()
    whole.model[-1].export = True
    torch.onnx.export(whole, torch.zeros(1, 3, SIZE, SIZE), str(folder / f"{name}.onnx"), opset_version=17,
                      dynamo=False, input_names=["images"])
    print(folder / f"{name}.pt", flush=True)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for each in CONFIGS:
        make(each, out)
