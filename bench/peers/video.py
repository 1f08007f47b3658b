#!/usr/bin/env python3
"""From a video to a video with boxes: `crayon detect --save` against the usual Python loop (OpenCV
capture, letterbox, ONNX Runtime static INT8, NumPy suppression, OpenCV drawing and writer).

    video.py CRAYON MODEL-int8.onnx DATA [--threads 2] [--rounds 3] [--frames 313]

Interleaved: each round runs one after the other the loop with DATA/models/foreign/
yolov8n_ort_static_qdq.onnx and with the float model, Crayon with --save and without, and Crayon's
session alone (`crayon bench`). Prints medians, the ratio to the loop and the share of the session's own
rate; and the delay of a live source: the video at its own pace, newest frame only, from a frame's arrival to
the end of its output, beside what one frame and one inference take. Each in a process of its own.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

NAME = "yolov8n"


def loop(args):
    import cv2
    import numpy as np

    import child
    import pictures
    cv2.setNumThreads(args.threads)
    args.batch = 1
    run = child.RUNTIMES["ort"](args, np.zeros((1, 3, 640, 640), np.float32))()
    capture = cv2.VideoCapture(args.video)
    size = tuple(int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(args.out, cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
    frames, start = 0, time.perf_counter()
    while frames < args.frames:
        ok, frame = capture.read()
        if not ok:
            break
        boxed, gain, left, top = pictures.fit(frame, NAME)
        found = pictures.detections(run(pictures.normalised(boxed, NAME)), NAME, frame.shape[:2], gain,
                                    left, top)
        for x1, y1, x2, y2, score, kind in found:
            corner = int(x1), int(y1)
            cv2.rectangle(frame, corner, (int(x2), int(y2)), (0, 160, 230), 3)
            cv2.putText(frame, f"{int(kind)} {score:.2f}", corner, cv2.FONT_HERSHEY_SIMPLEX, .8,
                        (255, 255, 255), 2)
        writer.write(frame)
        frames += 1
    writer.release()
    return frames / (time.perf_counter() - start)


def printed(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return out.stdout


def detect(args, *more):
    text = printed([args.crayon, "detect", args.model, args.video, "--threads", str(args.threads),
                    "--limit", str(args.frames), *more])
    return float(re.search(r"([0-9.]+) FPS", text)[1])


def session(args):
    text = printed([args.crayon, "bench", args.model, "--threads", str(args.threads), "--runs", "100",
                    "--json"])
    return 1000 / json.loads(text)[0]["median_ms"]


def delay(args):
    """Milliseconds that a frame of a live source takes, and that the model takes of it."""
    text = printed([args.crayon, "detect", args.model, args.video, "--threads", str(args.threads),
                    "--limit", str(args.frames), "--realtime"])
    return float(re.search(r"shown ([0-9.]+) ms", text)[1]), float(re.search(r"model ([0-9.]+) ms", text)[1])


def in_child(args, model):
    text = printed([sys.executable, __file__, "--loop", args.crayon, model, args.data, "--threads",
                    str(args.threads), "--frames", str(args.frames), "--out", args.out])
    return float(text.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("crayon")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=313)
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.video = os.path.join(args.data, "seed", "street.webm")
    if args.loop:
        args.path = args.model
        print(loop(args), flush=True)
        os._exit(0)
    models = os.path.join(args.data, "models")
    with tempfile.TemporaryDirectory() as folder:
        args.out = os.path.join(folder, "loop.mp4")
        own = os.path.join(folder, "crayon.mp4")
        rows = {
            "Python loop, ONNX Runtime static INT8":
                lambda: in_child(args, os.path.join(models, "foreign", "yolov8n_ort_static_qdq.onnx")),
            "Python loop, ONNX Runtime float": lambda: in_child(args, os.path.join(models, "yolov8n.onnx")),
            "crayon detect --save out.mp4": lambda: detect(args, "--save", own),
            "crayon detect": lambda: detect(args),
            "crayon bench (the session alone)": lambda: session(args),
        }
        rates, delays = {name: [] for name in rows}, []
        for _ in range(args.rounds):
            for name, run in rows.items():
                rates[name].append(run())
            delays.append(delay(args))
    median = {name: statistics.median(r) for name, r in rates.items()}
    base, alone = list(median.values())[0], list(median.values())[-1]
    print(f"{'frames per second':40s} {'median':>7s} {'x loop':>7s} {'of session':>10s}")
    for name, rate in median.items():
        print(f"{name:40s} {rate:7.1f} {rate / base:7.2f} {rate / alone:10.2f}")
    took, model = (statistics.median(column) for column in zip(*delays))
    print(f"live at 30 frames a second: shown {took:.1f} ms after arrival; one frame and one inference: "
          f"{1000 / 30 + model:.1f} ms")


if __name__ == "__main__":
    main()
