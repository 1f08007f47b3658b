#!/usr/bin/env python3
"""Random detection cases, evaluated by Crayon and by pycocotools; all numbers must agree to 1e-9.

    coco_random.py PATH/TO/peers-coco_eval [CASES] [SEED]

Each case has its own seed, so a failing one can be run alone: its seed is printed. Crowds, ignored
areas, tied scores, boxes on IoU thresholds, empty pictures, categories without truth, more than 100
detections, degenerate boxes, annotation id 0, subsets of pictures, unknown categories.
Exit 1 when a number differs by more than LIMIT. The only known cause of any difference is the order
of the last sums (NumPy adds pairwise): about 1e-16 is seen.
"""
import contextlib
import io
import json
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
    print(f"SKIP coco_random: no Python module {missing.name}")
    sys.exit(0)

LIMIT = 1e-9
AREAS = [0, 1, 1023.9999, 1024, 1024.0001, 9215.9999, 9216, 9216.0001, 1e10, 2e10]


def random_box(rng, grid):
    """x, y, w, h; on the grid many IoUs are exactly .5, .6, .75 or .8."""
    if grid:
        return [rng.randrange(0, 20) * 5, rng.randrange(0, 20) * 5,
                rng.randrange(1, 9) * 5, rng.randrange(1, 9) * 5]
    side = rng.choice([10, 40, 120, 300])
    box = [rng.uniform(-20, 600), rng.uniform(-20, 400), rng.uniform(1, side), rng.uniform(1, side)]
    odd = rng.random()
    if odd < .02:
        box[rng.randrange(2, 4)] = 0
    elif odd < .03:
        box[rng.randrange(2, 4)] *= -1
    elif odd < .035:
        box[0], box[1], box[2], box[3] = 0, 0, 1e-200, 1e-200
    return box


def jittered(rng, box, grid):
    if grid:
        box = list(box)
        box[rng.randrange(4)] += rng.choice([-5, 0, 0, 5])
        return box
    amount = rng.choice([0, .02, .1, .3])
    return [v + rng.gauss(0, 1) * amount * abs(box[2 + i % 2]) for i, v in enumerate(box)]


def random_truth(rng, grid):
    images = rng.sample(range(1, 1000), rng.randrange(1, 13))
    categories = rng.sample(range(1, 91), rng.randrange(1, 7))
    labelled = [c for c in categories if rng.random() < .85]
    annotations = []
    crowds = rng.choice([0, .1, .4])
    for image in images:
        if rng.random() < .15 or not labelled:
            continue
        for _ in range(rng.randrange(0, rng.choice([3, 12, 40]))):
            box = random_box(rng, grid)
            area = box[2] * box[3] * rng.choice([1, 1, .6])
            if rng.random() < .15:
                area = rng.choice(AREAS)
            annotations.append({"id": 0, "image_id": image, "category_id": rng.choice(labelled),
                                "bbox": box, "area": area, "iscrowd": int(rng.random() < crowds)})
    first = rng.choice([1, 1, 1, 0])
    ids = rng.sample(range(first, first + 3 * len(annotations) + 1), len(annotations))
    if first == 0 and ids and rng.random() < .7:
        ids[ids.index(0) if 0 in ids else 0] = 0
    for annotation, number in zip(annotations, ids):
        annotation["id"] = number
    rng.shuffle(annotations)
    return {"info": {"about": [1, {"a": 2.5e-3}, "x\\\" }"]}, "images":
            [{"id": i, "file_name": f"{i:06}.jpg", "width": 640, "height": 480} for i in images],
            "annotations": annotations,
            "categories": [{"id": c, "name": f"kind {c}"} for c in categories]}


def random_score(rng, tied):
    return rng.choice([0, -0.0, .1, .25, .3, .5, .9]) if tied else rng.uniform(-.1, 1)


def random_detections(rng, truth, grid):
    images = [i["id"] for i in truth["images"]]
    categories = [c["id"] for c in truth["categories"]]
    tied, crowded = rng.random() < .5, rng.random() < .2
    out = []

    def add(image, category, box):
        out.append({"image_id": image, "category_id": category, "bbox": box,
                    "score": random_score(rng, tied)})

    for annotation in truth["annotations"]:
        for _ in range(rng.choice([0, 1, 1, 2, 4])):
            category = annotation["category_id"] if rng.random() < .9 else rng.choice(categories)
            add(annotation["image_id"], category, jittered(rng, annotation["bbox"], grid))
    for _ in range(rng.randrange(0, 60)):
        add(rng.choice(images), rng.choice(categories + [777]), random_box(rng, grid))
    if crowded:
        image, category = rng.choice(images), rng.choice(categories)
        for _ in range(rng.randrange(90, 260)):
            add(image, category, random_box(rng, grid))
    rng.shuffle(out)
    return [] if rng.random() < .03 else out


def as_coco(data):
    coco = COCO()
    coco.dataset = json.loads(json.dumps(data))
    coco.createIndex()
    return coco


def reference_numbers(truth, detections, subset):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = as_coco(truth)
        dt = gt.loadRes(detections) if detections else as_coco(dict(truth, annotations=[]))
        run = COCOeval(gt, dt, "bbox")
        if subset:
            run.params.imgIds = subset
        run.evaluate()
        run.accumulate()
        run.summarize()
    numbers = list(run.stats)
    for k in range(len(run.params.catIds)):
        curves = run.eval["precision"][:, :, k, 0, 2]
        for precision in (curves, curves[:1]):
            known = precision[precision > -1]
            numbers.append(np.mean(known) if known.size else -1)
    return numbers


def our_numbers(driver, args):
    text = subprocess.run([driver] + [str(a) for a in args], check=True, capture_output=True,
                          text=True).stdout.splitlines()
    numbers = [float(x) for x in text[0].split()[:12]]
    for line in text[1:]:
        numbers += [float(x) for x in line.split()[1:]]
    return numbers


def agreement_truth(truth, reference, conf):
    boxes = [d for d in reference if d["score"] >= conf]
    names = sorted({d["category_id"] for d in boxes}) or [1]
    return {"images": truth["images"], "categories": [{"id": c, "name": "x"} for c in names],
            "annotations": [dict(d, id=i + 1, area=d["bbox"][2] * d["bbox"][3], iscrowd=0)
                            for i, d in enumerate(boxes)]}


def difference(ours, theirs):
    if len(ours) != len(theirs):
        return float("inf")
    worst = max(abs(a - b) for a, b in zip(ours, theirs))
    return worst if worst == worst else float("inf")


def one_case(driver, seed, folder):
    rng = random.Random(seed)
    grid = rng.random() < .4
    truth = random_truth(rng, grid)
    detections = random_detections(rng, truth, grid)
    subset = None
    if rng.random() < .25:
        ids = [i["id"] for i in truth["images"]]
        subset = rng.sample(ids, rng.randrange(1, len(ids) + 1))
    labels, results, other = (os.path.join(folder, n) for n in ("gt.json", "dt.json", "ref.json"))
    reference = random_detections(rng, truth, grid)
    for path, data in ((labels, truth), (results, detections), (other, reference)):
        with open(path, "w") as f:
            json.dump(data, f, indent=rng.choice([None, 1]))
    plain = reference_numbers(truth, detections, subset)
    worst = difference(our_numbers(driver, [labels, results] + (subset or [])), plain)
    conf = rng.choice([.25, .25, .5, 0])
    theirs = reference_numbers(agreement_truth(truth, reference, conf), detections, None)[:12]
    ours = our_numbers(driver, ["--agreement", other, results, conf])
    copy = os.path.join(folder, "copy.json")
    subprocess.run([driver, "--copy", results, copy], check=True)
    if json.load(open(copy)) != json.load(open(results)):
        raise SystemExit(f"case seed {seed}: results read and written are not the same")
    return max(worst, difference(ours, theirs)), sum(v > 0 for v in plain[:12])


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    driver = sys.argv[1]
    cases = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    worst, failed, defined = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + cases):
            diff, positive = one_case(driver, seed, folder)
            worst = max(worst, diff)
            defined += positive
            if diff > LIMIT:
                failed += 1
                print(f"FAIL case with seed {seed}: differs by {diff:.3g}")
    if defined < 2 * cases:
        raise SystemExit("FAIL the cases are too empty to prove anything")
    print(f"coco_random: {cases} cases, {failed} failed, worst difference {worst:.3g}, "
          f"{defined} of {12 * cases} metrics positive")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
