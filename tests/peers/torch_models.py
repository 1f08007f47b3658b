#!/usr/bin/env python3
"""Makes checkpoints as trainers write them, and what Ultralytics exports from each.

    torch_models.py DIR [NAME ...]

Needs tests/peers/torch_requirements.txt. Each model comes from a configuration that the ultralytics
package ships, with random weights; batch statistics are those of one random batch, so that signals
keep their size through the whole depth. NAME.pt holds float16 weights (that is what NAME.onnx is
exported from, so both files have the same), names, and the arguments of a training.
"""
import copy
import sys
from pathlib import Path

import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import guess_model_task, yaml_model_load
from ultralytics.nn import tasks

SIZE = 160  # of the picture; a multiple of 32
CONFIGS = ["yolov5nu", "yolov8n", "yolo11n", "yolov8n-seg", "yolov8n-pose", "yolov8n-cls", "yolov8n-obb",
           "yolo11n-seg", "yolo11n-pose", "yolo11n-cls", "yolo11n-obb", "yolov3-tinyu", "yolov9t", "yolov9c",
           "yolov9e", "yolo12n", "yolov10n", "yolov10x", "yolo26n", "yolo26n-seg", "yolo26n-pose", "yolo26n-obb",
           "yolo26n-cls", "yolov8n-ghost", "yolov8n-p2", "yolov6n", "yolov10n-e2e", "yolo26n-e2e", "yolo26n-seg-e2e",
           "yolo26n-pose-e2e", "yolo26n-obb-e2e"]
KINDS = {"detect": tasks.DetectionModel, "segment": tasks.SegmentationModel, "pose": tasks.PoseModel,
         "classify": tasks.ClassificationModel, "obb": tasks.OBBModel}


def config_of(name):
    """The package's file names leave out the 'u' of retrained older models; e2e: with the one-to-one head."""
    return name.replace("-e2e", "").replace("yolov5nu", "yolov5n").replace("yolov3-tinyu", "yolov3-tiny") + ".yaml"


def settle(model, generator):
    """Weights of usual size, batch statistics of one random batch, gains and offsets of their own."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 1.0
            with torch.no_grad():
                m.weight.uniform_(0.3, 0.7, generator=generator)
                m.bias.uniform_(-0.2, 0.8, generator=generator)
    model.train()
    with torch.no_grad():
        model(torch.rand(4, 3, SIZE, SIZE, generator=generator))
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 0.03
        elif isinstance(m, torch.nn.Conv2d) and m.bias is not None:
            with torch.no_grad():
                m.bias.normal_(0, 0.5, generator=generator)


def make(name, folder):
    generator = torch.Generator().manual_seed(sum(name.encode()))
    torch.manual_seed(1)
    config = yaml_model_load(config_of(name))
    task = guess_model_task(config)
    model = KINDS[task](config, nc=7 if task == "classify" else None, verbose=False)
    settle(model, generator)
    model.args = {"task": task, "imgsz": SIZE, "data": "coco.yaml", "model": config_of(name)}
    model.names = {i: f"class '{i}'" if i == 3 else f"class {i}" for i in range(model.model[-1].nc if task != "classify" else 7)}
    model.nc = len(model.names)
    model.task = task
    end2end = name.endswith("-e2e")
    if end2end:
        model.end2end = True
    half = copy.deepcopy(model).half().eval()
    for p in half.parameters():
        p.requires_grad = False
    path = folder / f"{name}.pt"
    torch.save({"date": "2026-01-01", "version": "8.4.190", "epoch": -1, "best_fitness": None, "model": half, "ema": None,
                "updates": None, "optimizer": None, "train_args": dict(model.args, epochs=1), "train_metrics": {},
                "train_results": {}}, path)
    YOLO(path).export(format="onnx", imgsz=SIZE, simplify=False, opset=17, nms=False if end2end else None)
    return path


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or CONFIGS:
        try:
            print(make(name, folder), flush=True)
        except Exception as e:  # a configuration that this version lacks says so, the others go on
            print(f"{name}: {type(e).__name__}: {e}", flush=True)


if __name__ == "__main__":
    main()
