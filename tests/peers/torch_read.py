#!/usr/bin/env python3
"""Checkpoints as Crayon reads them, against Ultralytics' own exports of the same files.

    torch_read.py PATH/TO/peers-run_model DIR

DIR holds pairs NAME.pt, NAME.onnx (torch_models.py makes them). ONNX Runtime runs the export, our
session the checkpoint, on one random picture: outputs must agree to LIMIT * max(1, |value|). Nothing
of PyTorch is needed here. ONNX Runtime runs without its optimizer, which moves YOLOv3-tiny's padding by
zeros into a MaxPool, where it counts as minus infinity (outputs differ by .66 then).
"""
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import onnxruntime as ort
except ImportError as missing:
    print(f"SKIP torch_read: no Python module {missing.name}")
    sys.exit(0)

LIMIT = 1e-4
# Random weights through fifty layers amplify rounding: of yolov9e 4 of 44100 values differ by more
# than LIMIT (at most .006) between ONNX Runtime with and without its optimizer, 5 (.0014) between it
# and us; of yolov8n-pose's differences of coordinates 3 and 9 of 29400. So this share may, and the mean
# difference, measured 0.2e-6 to 1.6e-6, is bounded, too.
SHARE, MEAN = 5e-4, 5e-6


def run_export(path, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def run_checkpoint(tool, path, x, count):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "in.bin"
        x.tofile(file)
        done = subprocess.run([tool, path, folder, "--threads", "2", file], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
        return [np.fromfile(Path(folder) / f"out{i}.bin", np.float32) for i in range(count)]


def compare(tool, checkpoint):
    size = ort.InferenceSession(checkpoint.with_suffix(".onnx")).get_inputs()[0].shape
    x = np.random.default_rng(7).random(size, np.float32)
    want = run_export(checkpoint.with_suffix(".onnx"), x)
    got = run_checkpoint(tool, checkpoint, x, len(want))
    gaps, spread = [], 0.0
    for own, their in zip(got, want):
        their = their.ravel()
        if own.size != their.size:
            raise RuntimeError(f"{own.size} values, not {their.size}")
        gap = np.abs(own.astype(np.float64) - their) / np.maximum(1, np.abs(their))
        gap[~np.isfinite(own)] = np.inf
        gaps.append(gap)
        spread = max(spread, float(their.std()))
    return np.concatenate(gaps), spread


def main():
    tool, folder = sys.argv[1], Path(sys.argv[2])
    passed = failed = 0
    for checkpoint in sorted(folder.glob("*.pt")):
        try:
            gaps, spread = compare(tool, checkpoint)
            beyond = int((gaps > LIMIT).sum())
            ok = beyond <= SHARE * gaps.size and gaps.mean() <= MEAN and spread > 0
            line = (f"{gaps.size} values, spread {spread:.3g}; difference of max(1, value): mean {gaps.mean():.2g}, "
                    f"largest {gaps.max():.2g}, {beyond} beyond {LIMIT:g}")
        except (RuntimeError, OSError) as e:
            ok, line = False, str(e)
        print(f"{'PASS' if ok else 'FAIL'} {checkpoint.stem}: {line}", flush=True)
        passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
