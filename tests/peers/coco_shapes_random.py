#!/usr/bin/env python3
"""Random masks, keypoints and oriented boxes, evaluated by Crayon and by pycocotools; all numbers
agree to 1e-9.

    coco_shapes_random.py PATH/TO/peers-coco_eval [CASES] [SEED]

Masks: polygons (several parts, corners outside the picture, on half and fifth pixels, slivers), run
lengths as lists and as text, crowds, every mask also pixel for pixel: the labels written back as
results must be the text that pycocotools encodes. Agreement by masks. Keypoints: 17 and other
counts, objects without any, crowds, more than 20 detections. Oriented boxes: pycocotools' evaluation
with overlaps of polygons computed here, from the corners that lie inside the other and the points
where edges cross, put in order around their middle. LIMIT: see coco_random.py.
"""
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile

import coco_random
from coco_random import COCO, COCOeval, LIMIT, np
from pycocotools import mask as coco_mask


def polygon(rng, width, height):
    x, y = rng.uniform(-20, width), rng.uniform(-20, height)
    side = rng.choice([3, 20, 100, 400])
    grid = rng.choice([None, None, 1, .5, .2])
    points = []
    for _ in range(rng.choice([3, 4, 5, 8, 40])):
        points += [x + rng.uniform(0, side), y + rng.uniform(0, side)]
    if rng.random() < .1:
        points = [points[0] + 1e-3 * i if i % 2 else v for i, v in enumerate(points)]
    return [round(v / grid) * grid for v in points] if grid else points


def plain_counts(rle):
    pixels = coco_mask.decode(rle).flatten(order="F")
    counts, value = [], 0
    at = 0
    while at < len(pixels):
        end = at
        while end < len(pixels) and pixels[end] == value:
            end += 1
        counts.append(end - at)
        at, value = end, 1 - value
    return counts


def encoded(polygons, height, width):
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def shapes_of(rng, width, height):
    return [polygon(rng, width, height) for _ in range(rng.choice([1, 1, 1, 2, 4]))]


def segmentation(rng, polygons, height, width):
    form = rng.random()
    if form < .6:
        return polygons
    rle = encoded(polygons, height, width)
    if form < .8:
        return {"size": [height, width], "counts": plain_counts(rle)}
    return {"size": [height, width], "counts": rle["counts"].decode()}


def mask_truth(rng):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": rng.randrange(1, 300),
               "height": rng.randrange(1, 300)} for i in range(1, rng.randrange(2, 6))]
    annotations, shapes = [], []
    for image in images:
        w, h = image["width"], image["height"]
        for _ in range(rng.randrange(0, 8)):
            polygons = shapes_of(rng, w, h)
            rle = encoded(polygons, h, w)
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"],
                                "category_id": rng.choice([1, 2]), "iscrowd": int(rng.random() < .2),
                                "bbox": coco_mask.toBbox(rle).tolist(),
                                "area": float(coco_mask.area(rle)) * rng.choice([1, .7, 20]),
                                "segmentation": segmentation(rng, polygons, h, w)})
            shapes.append((image, annotations[-1]["category_id"], polygons))
    return images, annotations, shapes


def mask_results(rng, images, shapes):
    out = []

    def add(image, category, polygons):
        rle = encoded(polygons, image["height"], image["width"])
        out.append({"image_id": image["id"], "category_id": category,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "score": rng.choice([.1, .3, .9, rng.random()])})

    for image, category, polygons in shapes:
        for _ in range(rng.choice([0, 1, 1, 2])):
            amount = rng.choice([0, .3, 2, 10])
            add(image, category, [[v + rng.gauss(0, amount) for v in p] for p in polygons])
    for image in images:
        for _ in range(rng.choice([0, 4, 110])):
            add(image, rng.choice([1, 2]), shapes_of(rng, image["width"], image["height"]))
    rng.shuffle(out)
    return out


def stats(truth, results, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco_random.as_coco(truth)
        dt = gt.loadRes(json.loads(json.dumps(results)))
        run = COCOeval(gt, dt, kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return list(run.stats)


def dump(path, data):
    with open(path, "w") as f:
        json.dump(data, f)
    return path


def ours(driver, *arguments):
    text = subprocess.run([driver, *map(str, arguments)], check=True, capture_output=True,
                          text=True).stdout
    return [float(v) for v in text.splitlines()[0].split()]


def check_pixels(driver, truth, labels, copy):
    subprocess.run([driver, "--masks", labels, copy], check=True)
    sizes = {i["id"]: (i["height"], i["width"]) for i in truth["images"]}
    for got, a in zip(json.load(open(copy)), truth["annotations"], strict=True):
        s, (h, w) = a["segmentation"], sizes[a["image_id"]]
        if isinstance(s, list):
            rle = encoded(s, h, w)
        elif isinstance(s["counts"], list):
            rle = coco_mask.frPyObjects(s, h, w)
        else:
            rle = s
        if not np.array_equal(coco_mask.decode(got["segmentation"]), coco_mask.decode(rle)):
            raise SystemExit(f"FAIL annotation {a['id']} has other pixels: {s}")


def mask_case(driver, rng, folder):
    images, annotations, shapes = mask_truth(rng)
    if not annotations:
        return 0, 0
    kinds = [{"id": k, "name": f"kind {k}"} for k in (1, 2)]
    truth = {"images": images, "annotations": annotations, "categories": kinds}
    labels, found, other, copy = (os.path.join(folder, n) for n in ("gt", "dt", "ref", "copy"))
    results, reference = mask_results(rng, images, shapes), mask_results(rng, images, shapes)
    dump(labels, truth), dump(found, results), dump(other, reference)
    check_pixels(driver, truth, labels, copy)
    worst, positive = 0, 0
    if results:
        want = stats(truth, results, "segm")
        worst = coco_random.difference(ours(driver, "--segm", labels, found)[:12], want)
        positive = sum(v > 0 for v in want)
        subprocess.run([driver, "--copy-masks", found, copy], check=True)
        if json.load(open(copy)) != json.loads(json.dumps(results)):
            raise SystemExit("FAIL results read and written are not the same")
    seen = [r for r in reference if r["score"] >= .25]
    if results and seen:
        for i, r in enumerate(seen):
            r.update(id=i + 1, iscrowd=0, area=float(coco_mask.area(r["segmentation"])),
                     bbox=coco_mask.toBbox(r["segmentation"]).tolist())
        kinds = [{"id": k, "name": str(k)} for k in sorted({r["category_id"] for r in seen})]
        ids = {r["image_id"] for r in seen} | {r["image_id"] for r in results}
        want = stats({"images": [i for i in images if i["id"] in ids], "annotations": seen,
                      "categories": kinds}, results, "segm")
        worst = max(worst, coco_random.difference(
            ours(driver, "--agreement-masks", other, found, .25)[:12], want))
    return worst, positive


def random_points(rng, box, count):
    x, y, w, h = box
    return [v for _ in range(count) for v in (rng.uniform(x, x + w), rng.uniform(y, y + h))]


def pose_case(driver, rng, folder):
    count = rng.choice([17, 17, 17, 1, 4, 21])
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(1, 6)]
    annotations, results = [], []

    def add(image, points):
        keypoints = [v for k in range(count) for v in (points[2 * k], points[2 * k + 1], rng.random())]
        results.append({"image_id": image, "category_id": 1, "keypoints": keypoints,
                        "score": rng.choice([rng.random(), .5])})

    for image in images:
        for _ in range(rng.randrange(0, 9)):
            box = [rng.uniform(0, 500), rng.uniform(0, 300), rng.uniform(2, 300), rng.uniform(2, 300)]
            points, share = random_points(rng, box, count), rng.choice([0, .5, 1])
            flags = [rng.choice([1, 2]) if rng.random() < share else 0 for _ in range(count)]
            keypoints = [v for k in range(count) for v in (points[2 * k], points[2 * k + 1], flags[k])]
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "bbox": box,
                                "category_id": 1, "area": box[2] * box[3] * rng.uniform(.3, 1),
                                "iscrowd": int(rng.random() < .1), "keypoints": keypoints,
                                "num_keypoints": sum(f > 0 for f in flags)})
            for _ in range(rng.choice([0, 1, 1, 2])):
                amount = rng.choice([0, .005, .02, .1]) * (box[2] + box[3])
                add(image["id"], [v + rng.gauss(0, amount) for v in points])
        for _ in range(rng.choice([0, 2, 30])):
            add(image["id"], random_points(rng, [0, 0, 600, 400], count))
    if not annotations or not results:
        return 0, 0
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco_random.as_coco(truth)
        run = COCOeval(gt, gt.loadRes(json.loads(json.dumps(results))), "keypoints")
        if count != 17:
            run.params.kpt_oks_sigmas = np.full(count, 1 / count)
        run.evaluate()
        run.accumulate()
        run.summarize()
    m = ours(driver, "--keypoints", dump(os.path.join(folder, "gt"), truth),
             dump(os.path.join(folder, "dt"), results))
    own = [m[0], m[1], m[2], m[4], m[5], m[8], m[12], m[13], m[10], m[11]]
    return coco_random.difference(own, list(run.stats)), sum(v > 0 for v in own)


def turned(rng):
    x, y, angle = rng.uniform(0, 300), rng.uniform(0, 300), rng.uniform(0, 7)
    u, v = rng.uniform(2, 60), rng.uniform(2, 60)
    c, s = np.cos(angle), np.sin(angle)
    return [float(k) for a, b in ((u, v), (u, -v), (-u, -v), (-u, v)) for k in (x + a * c - b * s, y + a * s + b * c)]


def polygon_area(p):
    x, y = p[:, 0] - p[0, 0], p[:, 1] - p[0, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def inside(p, corners):
    edge = np.roll(corners, -1, 0) - corners
    side = edge[:, 0] * (p[1] - corners[:, 1]) - edge[:, 1] * (p[0] - corners[:, 0])
    return np.all(side >= 0) or np.all(side <= 0)


def shared_area(a, b):
    points = [p for p in a if inside(p, b)] + [p for p in b if inside(p, a)]
    for i in range(4):
        for k in range(4):
            p, r = a[i], a[(i + 1) % 4] - a[i]
            q, s = b[k], b[(k + 1) % 4] - b[k]
            cross = r[0] * s[1] - r[1] * s[0]
            if cross == 0:
                continue
            t = ((q - p)[0] * s[1] - (q - p)[1] * s[0]) / cross
            u = ((q - p)[0] * r[1] - (q - p)[1] * r[0]) / cross
            if 0 <= t <= 1 and 0 <= u <= 1:
                points.append(p + t * r)
    if len(points) < 3:
        return 0.0
    points = np.array(points)
    around = points - points.mean(0)
    return polygon_area(points[np.argsort(np.arctan2(around[:, 1], around[:, 0]))])


class OrientedEval(COCOeval):
    def computeIoU(self, image, category):
        gt, dt = self._gts[image, category], self._dts[image, category]
        if not gt and not dt:
            return []
        dt = sorted(dt, key=lambda d: -d["score"])[:self.params.maxDets[-1]]
        out = np.zeros((len(dt), len(gt)))
        for i, d in enumerate(dt):
            for k, g in enumerate(gt):
                p, q = (np.array(v["poly"]).reshape(4, 2) for v in (d, g))
                both = shared_area(p, q)
                out[i, k] = both / (polygon_area(p) + (0 if g["iscrowd"] else polygon_area(q) - both))
        return out


def oriented_case(driver, rng, folder):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 300, "height": 300} for i in range(1, 5)]
    annotations, results = [], []

    def extent(poly):
        p = np.array(poly).reshape(4, 2)
        return [*p.min(0), *(p.max(0) - p.min(0))]

    def add(image, category, poly):
        results.append({"image_id": image, "category_id": category, "poly": poly,
                        "score": rng.choice([.1, .3, .9, rng.random()])})

    for image in images:
        for _ in range(rng.randrange(0, 8)):
            poly, category = turned(rng), rng.choice([1, 2])
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": category,
                                "iscrowd": int(rng.random() < .1), "bbox": extent(poly), "poly": poly,
                                "area": polygon_area(np.array(poly).reshape(4, 2)), "segmentation": [poly]})
            for _ in range(rng.choice([0, 1, 1, 2])):
                amount = rng.choice([0, .3, 2, 10])
                shift = [rng.gauss(0, amount), rng.gauss(0, amount)]
                add(image["id"], category, [v + shift[i % 2] for i, v in enumerate(poly)])
        for _ in range(rng.choice([0, 4, 110])):
            add(image["id"], rng.choice([1, 2]), turned(rng))
    rng.shuffle(results)
    if not annotations or not results:
        return 0, 0
    truth = {"images": images, "annotations": annotations,
             "categories": [{"id": k, "name": f"kind {k}"} for k in (1, 2)]}
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco_random.as_coco(truth)
        dt = gt.loadRes([dict(r, bbox=extent(r["poly"])) for r in results])
        for d in dt.dataset["annotations"]:
            d["area"] = polygon_area(np.array(d["poly"]).reshape(4, 2))
        run = OrientedEval(gt, dt, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    m = ours(driver, "--obb", dump(os.path.join(folder, "gt"), truth), dump(os.path.join(folder, "dt"), results))
    return coco_random.difference(m[:12], list(run.stats)), sum(v > 0 for v in run.stats)


def main():
    driver = sys.argv[1]
    cases = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, one_case in (("masks", mask_case), ("keypoints", pose_case), ("oriented boxes", oriented_case)):
            worst, defined = 0, 0
            for seed in range(first, first + cases):
                gap, positive = one_case(driver, random.Random(seed), folder)
                worst, defined = max(worst, gap), defined + positive
                if not gap <= LIMIT:
                    failed += 1
                    print(f"FAIL {name}, seed {seed}: differs by {gap:.3g}")
            failed += defined < 2 * cases
            print(f"coco_shapes_random: {name}: {cases} cases, worst difference {worst:.3g}, "
                  f"{defined} metrics positive")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
