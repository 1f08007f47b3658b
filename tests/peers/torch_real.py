#!/usr/bin/env python3
"""A real YOLOv8n as a checkpoint: the mAP must be that of the ONNX file whose weights it has.

    torch_real.py CRAYON DATA

Needs tests/peers/torch_requirements.txt. The weights of DATA/models/yolov8n_opset17.onnx are loaded into
Ultralytics' own fused model, which is saved in float32 and in float16, as trainers save it; then
`crayon eval` measures all three files on DATA/coco-dev.
"""
import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from ultralytics.nn.tasks import DetectionModel

HALF_LIMIT = 0.003  # measured .0016: what float16 weights change on 80 pictures


def model_with_weights_of(path):
    weights = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in onnx.load(path).graph.initializer}
    model = DetectionModel("yolov8n.yaml", verbose=False).eval().fuse(verbose=False)
    model.load_state_dict({k: weights[k].clone() for k in model.state_dict()})
    model.args = {"imgsz": 640, "task": "detect"}
    return model


def mean_precision(crayon, file, data):
    done = subprocess.run([crayon, "eval", file, "--images", data / "coco-dev", "--labels", data / "coco-dev/instances.json", "--json"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["metrics"]["AP"]


def main():
    crayon, data = sys.argv[1], Path(sys.argv[2])
    source = data / "models/yolov8n_opset17.onnx"
    model = model_with_weights_of(source)
    want = mean_precision(crayon, source, data)
    print(f"ONNX file: {want:.4f}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, module, limit in ("float32", model, 0), ("float16", copy.deepcopy(model).half(), HALF_LIMIT):
            path = Path(folder) / f"{name}.pt"
            torch.save({"model": module, "ema": None, "train_args": {"imgsz": 640}}, path)
            got = mean_precision(crayon, path, data)
            ok = abs(got - want) <= limit
            failed |= not ok
            print(f"{'PASS' if ok else 'FAIL'} checkpoint of {name} weights: {got:.4f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
