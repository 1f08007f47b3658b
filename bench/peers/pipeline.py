#!/usr/bin/env python3
"""The usual Python loop from a picture's file to boxes, timed by stages; and Crayon's answers checked
against it.

    pipeline.py run KIND PATH --model NAME --picture FILE [--threads N] [--runs N]
    pipeline.py check LIBCRAYON PICTURE...      letterboxed pixels of both, byte for byte
    pipeline.py boxes CRAYON MODEL.onnx --model NAME --picture FILE     detections of both

KIND: ort, openvino, openvino-f32, openvino-bf16. Prints a last line of JSON; stages are medians in
milliseconds.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import cv2
import numpy as np

import child
import pictures
from models import MODELS

STAGES = ("decode_ms", "letterbox_ms", "normalise_ms", "run_ms", "head_ms")


def one_picture(run, path, model):
    """(clock at each stage's border, detections)"""
    clock = [time.perf_counter()]
    picture = cv2.imread(path)
    clock.append(time.perf_counter())
    boxed, gain, left, top = pictures.fit(picture, model)
    clock.append(time.perf_counter())
    x = pictures.normalised(boxed, model)
    clock.append(time.perf_counter())
    output = run(x)
    clock.append(time.perf_counter())
    found = pictures.detections(output, model, picture.shape[:2], gain, left, top)
    clock.append(time.perf_counter())
    return clock, found


def loaded(args):
    side = MODELS[args.model]["side"]
    args.batch = 1
    return child.RUNTIMES[args.kind.split("-")[0]](args, np.zeros((1, 3, side, side), np.float32))()


def run_loop(args):
    cv2.setNumThreads(args.threads)
    run = loaded(args)
    rows = []
    for i in range(args.runs + child.WARMUP):
        clock, found = one_picture(run, args.picture, args.model)
        if i >= child.WARMUP:
            rows.append([(b - a) * 1e3 for a, b in zip(clock, clock[1:])])
    out = {name: statistics.median(column) for name, column in zip(STAGES, zip(*rows))}
    out["total_ms"] = statistics.median(sum(row) for row in rows)
    out["boxes"] = len(found)
    return out


def check_pixels(library, paths):
    """Through the same calls as tests/peers/vision_opencv.py."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(0, os.path.join(root, "tests", "peers"))
    import vision_opencv
    crayon = vision_opencv.Crayon(library)
    pixels = 0
    for path in paths:
        with open(path, "rb") as f:
            rgb = crayon.decode(f.read())
        for model, about in MODELS.items():
            side = about["side"]
            planes = crayon.preprocess(rgb, about["fit"], side, side, not about["rgb"], [0] * 3, [1] * 3)
            planes = planes[0] if isinstance(planes, tuple) else planes
            boxed = pictures.fit(cv2.imread(path), model)[0]
            wanted = (boxed[..., ::-1] if about["rgb"] else boxed).transpose(2, 0, 1)
            if not np.array_equal(np.asarray(planes).reshape(wanted.shape), wanted.astype(np.float32)):
                return {"equal": False, "picture": os.path.basename(path), "model": model}
            pixels += wanted.size
    return {"equal": True, "pictures": len(paths), "bytes": pixels}


def compare_boxes(args):
    """Crayon's detections and the Python loop's, on the same float model and picture."""
    args.kind, args.threads = "ort", 1
    _, mine = one_picture(loaded(args), args.picture, args.model)
    out = subprocess.run([args.crayon, "detect", args.path, args.picture, "--json", "-"], check=True,
                         capture_output=True, text=True).stdout
    theirs = json.loads(out.splitlines()[0])["detections"]
    theirs = np.array([[*d["box"], d["score"], d["class"]] for d in theirs], np.float32).reshape(-1, 6)
    same = mine.shape == theirs.shape and np.array_equal(mine[:, 5], theirs[:, 5])
    worst = float(np.abs(mine[:, :4] - theirs[:, :4]).max()) if same and len(mine) else None
    return {"boxes": len(mine), "crayon_boxes": len(theirs), "same_classes": bool(same),
            "largest_difference_px": worst}


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, first in (("run", "kind"), ("boxes", "crayon")):
        verb = verbs.add_parser(name)
        verb.add_argument(first)
        verb.add_argument("path")
        verb.add_argument("--model", required=True)
        verb.add_argument("--picture", required=True)
        verb.add_argument("--threads", type=int, default=1)
        verb.add_argument("--runs", type=int, default=30)
    verb = verbs.add_parser("check")
    verb.add_argument("library")
    verb.add_argument("pictures", nargs="+")
    args = parser.parse_args()
    try:
        if args.verb == "check":
            found = check_pixels(args.library, args.pictures)
        else:
            found = (run_loop if args.verb == "run" else compare_boxes)(args)
    except Exception as e:  # the reason becomes the row
        found = {"why": " ".join(f"{type(e).__name__}: {e}".split())[:200]}
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
