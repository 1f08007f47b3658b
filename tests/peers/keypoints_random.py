#!/usr/bin/env python3
"""Agreement of poses, by Crayon and by pycocotools' keypoint evaluation, on random cases.

    keypoints_random.py PATH/TO/peers-coco_eval [CASES] [SEED]

The reference's poses above the confidence become annotations: area .53 of the box, keypoints of score
>= .5 visible. Compared are AP, AP50, AP75, AP medium, AP large and the recall; Crayon's keypoints are
float32 and so are the ones given to pycocotools. LIMIT: other orders of the last sums, 1e-15 is seen.
"""
import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
except ImportError as missing:
    print(f"SKIP keypoints_random: no Python module {missing.name}")
    sys.exit(0)

LIMIT = 1e-9
KEYPOINTS = 17


def single(x):
    return float(np.float32(x))


def random_pose(rng, image):
    x, y, w, h = rng.uniform(0, 400), rng.uniform(0, 300), rng.uniform(8, 300), rng.uniform(8, 300)
    seen = rng.choice([0, .5, 1, 1])
    points = []
    for _ in range(KEYPOINTS):
        points += [single(x + w * rng.random()), single(y + h * rng.random()),
                   single(rng.uniform(.5, 1) if rng.random() < seen else rng.uniform(0, .49))]
    return [image, rng.choice([1, 1, 2]), x, y, w, h, rng.choice([rng.random(), .5, .9]), points]


def shaken(rng, pose):
    amount = rng.choice([0, .01, .03, .1]) * (pose[4] + pose[5])
    points = [single(v + rng.gauss(0, amount)) if i % 3 < 2 else v for i, v in enumerate(pose[7])]
    return pose[:6] + [rng.choice([rng.random(), .5]), points]


def random_case(rng):
    images = range(1, rng.randrange(2, 6))
    a = [random_pose(rng, i) for i in images for _ in range(rng.randrange(0, 8))]
    b = [shaken(rng, p) for p in a for _ in range(rng.choice([0, 1, 1, 2]))]
    b += [random_pose(rng, i) for i in images for _ in range(rng.choice([0, 3, 25]))]
    rng.shuffle(b)
    return list(images), a, b


def write(path, poses):
    with open(path, "w") as f:
        for p in poses:
            f.write(" ".join(repr(v) for v in p[:7] + p[7]) + "\n")


def annotation(i, p):
    points = [v if k % 3 < 2 else (2 if v >= .5 else 0) for k, v in enumerate(p[7])]
    return {"id": i + 1, "image_id": p[0], "category_id": p[1], "bbox": p[2:6], "area": p[4] * p[5] * .53,
            "iscrowd": 0, "keypoints": points, "num_keypoints": sum(v > 0 for v in points[2::3])}


def theirs(images, a, b, conf):
    truth = [annotation(i, p) for i, p in enumerate(a) if p[6] >= conf]
    kinds = sorted({p["category_id"] for p in truth})
    data = {"images": [{"id": i} for i in images], "categories": [{"id": k} for k in kinds]}
    with contextlib.redirect_stdout(io.StringIO()):
        gt, dt = COCO(), COCO()
        gt.dataset = dict(data, annotations=truth)
        # as loadRes makes them, but with the boxes that Crayon has for the area ranges
        found = [dict(annotation(i, p), score=p[6], area=p[4] * p[5]) for i, p in enumerate(b)]
        dt.dataset = dict(data, annotations=found)
        gt.createIndex()
        dt.createIndex()
        run = COCOeval(gt, dt, "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return list(run.stats[:6])


def ours(driver, folder, a, b, conf):
    paths = [os.path.join(folder, n) for n in ("a.txt", "b.txt")]
    for path, poses in zip(paths, (a, b)):
        write(path, poses)
    text = subprocess.run([driver, "--poses", *paths, str(conf), str(KEYPOINTS)], check=True,
                          capture_output=True, text=True).stdout
    m = [float(v) for v in text.split()]
    return [m[0], m[1], m[2], m[4], m[5], m[8]]


def main():
    driver = sys.argv[1]
    cases = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    worst, failed, defined = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + cases):
            rng = random.Random(seed)
            images, a, b = random_case(rng)
            conf = rng.choice([.25, .5])
            if not any(p[6] >= conf for p in a):
                continue
            want, own = theirs(images, a, b, conf), ours(driver, folder, a, b, conf)
            gap = max(abs(x - y) for x, y in zip(want, own))
            worst, defined = max(worst, gap), defined + (want[0] > 0)
            if not gap <= LIMIT:
                failed += 1
                print(f"FAIL seed {seed}: {own} but pycocotools says {want}")
    print(f"keypoints_random: {defined} cases with a value, worst difference {worst:.1e}")
    return 1 if failed or not defined else 0


if __name__ == "__main__":
    sys.exit(main())
