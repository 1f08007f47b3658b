#!/usr/bin/env python3
"""A model's outputs, Crayon's against ONNX Runtime's, on one picture.

    outputs_ort.py PATH/TO/peers-run_model MODEL.onnx PICTURE [--limit L]

Passes if |ours - theirs| <= L * max(1, |theirs|) everywhere; L is 1e-4 unless given. Prints the
worst absolute and relative difference. For float models: in a quantized one ties travel on, so its
layers are compared one by one (tensors_ort.py).
"""
import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import onnxruntime as ort
except ImportError as missing:
    print(f"SKIP outputs_ort: no Python module {missing.name}")
    sys.exit(0)
from tensors_ort import picture_tensor

# Share of the values that may lie beyond the limit, at most ten times as far. Coordinates are
# differences of larger numbers times a stride, so a few near zero lose digits: 2 of 470400 in
# yolov8n-pose, at 2.0e-4 (ONNX Runtime with and without optimizations differs by 0.8e-4 there).
SHARE = 1e-5


def preprocess(name, picture, height, width):
    x = picture_tensor(picture, height, width)
    if "nanodet" in name:
        mean = np.array([103.53, 116.28, 123.675], np.float32).reshape(1, 3, 1, 1)
        div = np.array([57.375, 57.12, 58.395], np.float32).reshape(1, 3, 1, 1)
        x = (np.ascontiguousarray(x[:, ::-1]) * np.float32(255) - mean) / div
    elif "yolox" in name:
        x = np.ascontiguousarray(x[:, ::-1]) * np.float32(255)
    return x.astype(np.float32)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("model")
    p.add_argument("picture")
    p.add_argument("--limit", type=float, default=1e-4)
    a = p.parse_args()
    session = ort.InferenceSession(a.model, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    name = os.path.basename(a.model)
    x = preprocess(name, a.picture, port.shape[2], port.shape[3])
    theirs = session.run(None, {port.name: x})
    bad = total = 0
    worst_abs = worst_rel = 0.0
    with tempfile.TemporaryDirectory() as folder:
        x.tofile(os.path.join(folder, "in.bin"))
        subprocess.run([a.tool, a.model, folder, "--threads", "2", os.path.join(folder, "in.bin")], check=True)
        for i, want in enumerate(theirs):
            want = want.ravel().astype(np.float64)
            own = np.fromfile(os.path.join(folder, f"out{i}.bin"), np.float32).astype(np.float64)
            if own.size != want.size:
                print(f"FAIL {name}: output {i} has {own.size} elements, not {want.size}")
                return 1
            gap = np.abs(own - want)
            gap[~np.isfinite(own)] = np.inf
            scaled = gap / np.maximum(1, np.abs(want))
            worst_abs, worst_rel = max(worst_abs, gap.max()), max(worst_rel, scaled.max())
            bad += int((scaled > a.limit).sum())
            total += want.size
    verdict = "PASS" if bad <= total * SHARE and worst_rel <= 10 * a.limit else "FAIL"
    print(f"{verdict} {name}: {len(theirs)} outputs, {total} values; worst difference {worst_abs:.3g}, "
          f"{worst_rel:.3g} relative to max(1, value); {bad} beyond {a.limit:g}")
    return 0 if verdict == "PASS" else 1


if __name__ == "__main__":
    sys.exit(main())
