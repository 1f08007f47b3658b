#!/usr/bin/env python3
"""A data set in Ultralytics' form, read by Crayon and by plain Python: pictures of random sizes in
all eight EXIF orientations, boxes and polygons. Sizes must equal those of OpenCV's decoder.

    coco_yolo.py PATH/TO/peers-coco_eval
"""
import os
import random
import struct
import subprocess
import sys
import tempfile

try:
    import cv2
    import numpy as np
except ImportError as missing:
    print(f"SKIP coco_yolo: no Python module {missing.name}")
    sys.exit(0)

# Both sides compute in double from the same text, in another order: a few roundings of numbers
# below 1000, so 1e-12 is seen at most.
LIMIT = 1e-10


def exif(orientation, big):
    order = ">" if big else "<"
    tiff = (b"MM" if big else b"II") + struct.pack(order + "HI", 42, 8)
    tiff += struct.pack(order + "H", 2)
    tiff += struct.pack(order + "HHIHH", 0x0100, 3, 1, 77, 0)
    tiff += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def write_picture(rng, path, orientation):
    w, h = rng.randrange(1, 200), rng.randrange(1, 200)
    pixels = np.full((h, w, 3), 99, np.uint8)
    if path.endswith(".png"):
        cv2.imwrite(path, pixels)
        return
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, rng.randrange(2)]
    data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    if orientation:
        comment += exif(orientation, rng.random() < .5)
    with open(path, "wb") as f:
        f.write(data[:2] + comment + data[2:])


def write_labels(rng, path):
    """Random boxes and polygons as text; returns (class, x0, y0, x1, y1) parts of the size."""
    boxes, lines = [], []
    for _ in range(rng.randrange(0, 6)):
        kind = rng.randrange(3)
        if rng.random() < .5:
            w, h = rng.uniform(0, .5), rng.uniform(0, .5)
            cx, cy = rng.uniform(.25, .75), rng.uniform(.25, .75)
            numbers = [cx, cy, w, h]
            boxes.append((kind, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        else:
            numbers = [rng.random() for _ in range(2 * rng.randrange(3, 8))]
            xs, ys = numbers[0::2], numbers[1::2]
            boxes.append((kind, min(xs), min(ys), max(xs), max(ys)))
        lines.append(" ".join([str(kind)] + [repr(v) for v in numbers]))
    if lines:
        lines.append(rng.choice(lines))
    with open(path, "w") as f:
        f.write(rng.choice(["\n", "\r\n"]).join(lines))
    return boxes


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    rng = random.Random(7)
    worst, expected_images, expected_boxes = 0.0, [], []
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(root + "/images/val")
        os.makedirs(root + "/labels/val")
        for i in range(60):
            name = f"{i:03}" + rng.choice([".jpg", ".JPEG", ".png"])
            path = f"{root}/images/val/{name}"
            write_picture(rng, path, rng.randrange(0, 9))
            h, w = cv2.imread(path).shape[:2]
            expected_images.append(f"{name} {w} {h}")
            if rng.random() < .9:
                for k, x0, y0, x1, y1 in write_labels(rng, f"{root}/labels/val/{i:03}.txt"):
                    expected_boxes.append((i + 1, k, x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h))
        with open(root + "/data.yaml", "w") as f:
            f.write("val: images/val\nnames: [a, b, c]\n")
        lines = subprocess.run([sys.argv[1], "--list", root + "/data.yaml"], check=True,
                               capture_output=True, text=True).stdout.splitlines()
    if lines[:60] != expected_images:
        wrong = [p for p in zip(lines, expected_images) if p[0] != p[1]]
        raise SystemExit(f"FAIL pictures differ, first (ours, OpenCV's): {wrong[0]}")
    boxes = sorted(tuple(float(v) for v in line.split()) for line in lines[60:])
    if len(boxes) != len(expected_boxes):
        raise SystemExit(f"FAIL {len(boxes)} boxes, expected {len(expected_boxes)}")
    for ours, theirs in zip(boxes, sorted(expected_boxes)):
        worst = max(worst, max(abs(a - b) for a, b in zip(ours, theirs)))
    print(f"coco_yolo: 60 pictures and {len(boxes)} boxes, worst difference {worst:.3g}")
    sys.exit(1 if worst > LIMIT else 0)


if __name__ == "__main__":
    main()
