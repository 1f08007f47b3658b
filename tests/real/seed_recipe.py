#!/usr/bin/env python3
"""The script that people write for onnxruntime.quantization, run through both packages.

    seed_recipe.py PATH/TO/crayon DATA [--pictures N]

quantize_dynamic with QUInt8 weights and quantize_static (QUInt8 activations, QInt8 weights,
reduce_range, the nodes of the head that the field excludes by hand) on yolov8n_opset17.onnx,
calibrated on the frames of DATA/seed. Only the import differs. Passes if Crayon's model has at least
the mAP of ONNX Runtime's on the first N pictures (all) of DATA/coco-dev, each measured
by `crayon eval`. CRAYON_LIBRARY names the library.
"""
import argparse
import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))
try:
    import cv2
    import numpy as np
    import onnxruntime  # noqa: F401
except ImportError as missing:
    print(f"SKIP seed recipe: no Python module {missing.name}")
    sys.exit(0)

HEAD = ("Concat_3 Split Sigmoid dfl/Reshape dfl/Transpose dfl/Softmax dfl/conv/Conv dfl/Reshape_1 "
        "Slice_1 Slice Add_1 Sub Div_1 Concat_4 Mul_2 Concat_5").split()
PACKAGES = ("onnxruntime.quantization", "crayon.quantization")


def letterbox(path, size=640):
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    gain = min(size / height, size / width)
    new = round(width * gain), round(height * gain)
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    out = np.full((size, size, 3), 114, np.uint8)
    out[top:top + new[1], left:left + new[0]] = cv2.resize(picture, new)
    return (out.astype(np.float32) / 255).transpose(2, 0, 1)[None]


def quantize(package, folder, model, frames):
    q = importlib.import_module(package)

    class Frames(q.CalibrationDataReader):
        def __init__(self):
            self.left = iter(frames)

        def get_next(self):
            path = next(self.left, None)
            return None if path is None else {"images": letterbox(path)}

    dynamic, static = (folder / f"{package}-{mode}.onnx" for mode in ("dynamic", "static"))
    q.quantize_dynamic(str(model), str(dynamic), weight_type=q.QuantType.QUInt8)
    q.quantize_static(str(model), str(static), Frames(), quant_format=q.QuantFormat.QDQ,
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
                      reduce_range=True, nodes_to_exclude=[f"/model.22/{n}" for n in HEAD])
    return {"dynamic": dynamic, "static": static}


def mean_precision(program, model, pictures, labels):
    run = subprocess.run([program, "eval", model, "--images", pictures, "--labels", labels, "--json"],
                         capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"FAIL {run.stderr.strip()}")
    return json.loads(run.stdout)["metrics"]["AP"]


def choose(data, count, folder):
    """A list of the first pictures of coco-dev, and their labels."""
    chosen = sorted((data / "coco-dev" / "images").iterdir())[:count]
    (folder / "pictures.txt").write_text("".join(f"{p.resolve()}\n" for p in chosen))
    labels = json.loads((data / "coco-dev" / "instances.json").read_text())
    names = {p.name for p in chosen}
    labels["images"] = [i for i in labels["images"] if i["file_name"] in names]
    kept = {i["id"] for i in labels["images"]}
    labels["annotations"] = [a for a in labels["annotations"] if a["image_id"] in kept]
    (folder / "labels.json").write_text(json.dumps(labels))
    return len(kept)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=80)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    model = args.data / "models" / "yolov8n_opset17.onnx"
    frames = sorted((args.data / "seed").glob("frame_*.jpg"))
    if not model.exists() or not frames:
        print(f"SKIP seed recipe: {model} or the frames of seed/ are not there")
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = choose(args.data, args.pictures, folder)
        files = {p: quantize(p, folder, model, frames) for p in PACKAGES}
        for mode in ("dynamic", "static"):
            theirs, ours = (mean_precision(args.program, files[p][mode], folder / "pictures.txt",
                                           folder / "labels.json")
                            for p in PACKAGES)
            print(f"{mode}: mAP50-95 {ours:.4f} by crayon.quantization, {theirs:.4f} by "
                  f"onnxruntime.quantization, {count} pictures")
            bad += ours < theirs
    print("FAIL" if bad else "the same script gives at least ONNX Runtime's mAP through Crayon")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
