#!/usr/bin/env python3
"""Training pictures against a writing in NumPy and OpenCV.

    augment_opencv.py BUILD/tests/peers-augment_dump BUILD/crayon [--sheet FILE.png]

Synthetic scenes and, where they are, pictures of COCO go through peers-augment_dump; what was drawn is
done again with cv2.warpAffine (bilinear), float64 colour and pycocotools' masks. Compared: pixels, boxes
and classes, masks. --sheet writes the pictures with their boxes and masks, for the eye. Exit 0: equal
within the limits below.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import cv2
    import numpy as np
    from pycocotools.coco import COCO
except ImportError as e:
    print(f"SKIP {e}")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("CRAYON_DATA", os.path.join(ROOT, "..", "shared", "data"))


def tile(a, k, side, size):
    """Map and clip of picture k: out = source * gain + shift, per axis, corners on whole numbers."""
    fit = min(side[0] / size[0], side[1] / size[1])
    gain, shift, lo, hi = [], [], [], []
    for i in range(2):
        long = size[i] * fit
        if a["tiles"] == 4:  # in a canvas of twice the input, seen around its middle
            cross = a["cross"][i] * side[i]
            behind = k >> i & 1
            corner, centre = (cross if behind else cross - long), side[i]
            first, last = (cross, 2 * side[i]) if behind else (0, cross)
        else:
            corner, centre, first, last = (side[i] - long) / 2, side[i] / 2, 0, side[i]
        first, last = max(first, corner), min(last, corner + long)
        move = side[i] / 2 + a["shift"][i] * side[i]
        gain.append(fit * a["gain"])
        shift.append((corner - centre) * a["gain"] + move)
        lo.append(min(max((first - centre) * a["gain"] + move, 0), side[i]))
        hi.append(min(max((last - centre) * a["gain"] + move, 0), side[i]))
    return gain, shift, lo, hi


def covered(lo, hi, side):
    """Pixels whose centres lie inside the clip."""
    x = np.arange(side[0]) + 0.5
    y = np.arange(side[1]) + 0.5
    return ((y >= lo[1]) & (y < hi[1]))[:, None] & ((x >= lo[0]) & (x < hi[0]))[None]


def warp(img, gain, shift, side):
    """cv2 counts centres, so the shift moves by half a pixel on either side."""
    m = np.array([[gain[0], 0, shift[0] + gain[0] / 2 - 0.5],
                  [0, gain[1], shift[1] + gain[1] / 2 - 0.5]])
    return cv2.warpAffine(img.astype(np.float32), m, side, flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def recolour(rgb, a):
    x = rgb.astype(np.float64)
    most, least = x.max(-1), x.min(-1)
    span = most - least
    safe = np.where(span > 0, span, 1)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    sixth = np.where(most == r, (g - b) / safe, np.where(most == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    hue = np.mod(np.where(span > 0, sixth, 0) / 6 + a["hue"], 1)
    s = np.minimum(np.where(most > 0, span / np.where(most > 0, most, 1), 0) * a["saturation"], 1)
    v = np.minimum(most * a["value"], 255)
    i = np.floor(hue * 6).astype(int) % 6
    f = hue * 6 - np.floor(hue * 6)
    p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
    table = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)]
    return np.stack([np.choose(i, [row[c] for row in table]) for c in range(3)], -1)


def turned(img, turn):
    if turn & 1:
        img = np.swapaxes(img, 0, 1)
    if turn & 2:
        img = img[:, ::-1]
    if turn & 4:
        img = img[::-1]
    return img


def turn_box(box, turn, side):
    x1, y1, x2, y2 = box
    if turn & 1:
        x1, y1, x2, y2 = y1, x1, y2, x2
    if turn & 2:
        x1, x2 = side[0] - x2, side[0] - x1
    if turn & 4:
        y1, y2 = side[1] - y2, side[1] - y1
    return [x1, y1, x2, y2]


def small_mask(mask, gain, shift, lo, hi, side):
    """On where two of four points are: a quarter and three quarters along a cell of four pixels."""
    total = np.zeros((side[1] // 4, side[0] // 4), int)
    for dy in (1, 3):
        for dx in (1, 3):
            x = np.arange(side[0] // 4) * 4.0 + dx
            y = np.arange(side[1] // 4) * 4.0 + dy
            sx = np.clip(np.floor((x - shift[0]) / gain[0]), 0, mask.shape[1] - 1).astype(int)
            sy = np.clip(np.floor((y - shift[1]) / gain[1]), 0, mask.shape[0] - 1).astype(int)
            inside = ((y >= lo[1]) & (y < hi[1]))[:, None] & ((x >= lo[0]) & (x < hi[0]))[None]
            total += mask[sy][:, sx].astype(int) * inside
    return total >= 2


def left(box, whole):
    """Is enough left to learn from?"""
    w, h = box[2] - box[0], box[3] - box[1]
    return w > 2 and h > 2 and w * h > 0.1 * (whole[2] - whole[0]) * (whole[3] - whole[1])


def tighten(box, mask, gain, shift, lo, hi):
    """The box of what the clip shows of the mask, where it is more than a source pixel off."""
    x, y = ((np.arange(mask.shape[1 - i]) + 0.5) * gain[i] + shift[i] for i in range(2))
    on = mask & (((y >= lo[1]) & (y < hi[1]))[:, None] & ((x >= lo[0]) & (x < hi[0]))[None])
    if not on.any():
        return None
    columns, rows = np.nonzero(on.any(0))[0], np.nonzero(on.any(1))[0]
    edge = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    for e in range(4):
        at = edge[e] * gain[e % 2] + shift[e % 2]
        if (at - box[e] if e < 2 else box[e] - at) > gain[e % 2]:
            box[e] = at
    return box


class Case:
    def __init__(self, coco, folder, side):
        self.coco, self.folder, self.side = coco, folder, side
        self.ids = sorted(coco.getCatIds())

    def make(self, a):
        """Pixels [H, W, 3], and (class, box, mask) of each object."""
        out = np.full((self.side[1], self.side[0], 3), 114, np.uint8)
        found = []
        for k in range(a["tiles"]):
            info = self.coco.loadImgs(a["images"][k])[0]
            img = cv2.imread(os.path.join(self.folder, info["file_name"]))[..., ::-1]
            gain, shift, lo, hi = tile(a, k, self.side, (img.shape[1], img.shape[0]))
            on = covered(lo, hi, self.side)
            out[on] = np.floor(warp(img, gain, shift, self.side)[on] + 0.5).astype(np.uint8)
            for obj in self.coco.imgToAnns[a["images"][k]]:
                if obj.get("iscrowd") or min(obj["bbox"][2:]) <= 0:
                    continue
                x, y, w, h = obj["bbox"]
                whole = [x * gain[0] + shift[0], y * gain[1] + shift[1],
                         (x + w) * gain[0] + shift[0], (y + h) * gain[1] + shift[1]]
                box = [min(max(whole[e], lo[e % 2]), hi[e % 2]) for e in range(4)]
                if not left(box, whole):
                    continue
                pixels = self.coco.annToMask(obj) > 0
                if box != whole:
                    box = tighten(box, pixels, gain, shift, lo, hi)
                    if box is None or not left(box, whole):
                        continue
                mask = small_mask(pixels, gain, shift, lo, hi, self.side)
                # the library looks at cells that the box reaches into
                x1, y1 = int(box[0] // 4), int(box[1] // 4)
                x2, y2 = int(-(-box[2] // 4)), int(-(-box[3] // 4))
                cut = np.zeros_like(mask)
                cut[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
                found.append((self.ids.index(obj["category_id"]),
                              turn_box(box, a["turn"], self.side), turned(cut, a["turn"])))
        out = np.floor(recolour(out, a) + 0.5).astype(np.uint8)
        return turned(out, a["turn"]), found


def sheet_picture(rgb, boxes, classes, masks):
    img = rgb[..., ::-1].astype(np.float32)
    colours = [(60, 60, 255), (60, 220, 60), (255, 120, 40), (40, 220, 255), (255, 60, 220)]
    for mask in masks:
        img[cv2.resize(mask, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_NEAREST) > 0] += 50
    img = np.ascontiguousarray(np.clip(img, 0, 255).astype(np.uint8))
    for box, c in zip(boxes, classes):
        cv2.rectangle(img, *[tuple(int(round(v)) for v in box[e:e + 2]) for e in (0, 2)],
                      colours[c % 5], 2)
    return img


def run(name, driver, labels, folder, side, count, options, sheet):
    with tempfile.TemporaryDirectory() as work:
        text = subprocess.run([driver, labels, folder, work, str(side[0]), str(side[1]), str(count), "5",
                               *options], check=True, capture_output=True, text=True).stdout.splitlines()
        case = Case(COCO(labels), folder, side)
        far = apart = total = objects = edges = 0
        for k, line in enumerate(text[:-1]):
            a = json.loads(line)
            rgb = np.fromfile(f"{work}/{k}.rgb", np.uint8).reshape(side[1], side[0], 3)
            masks = np.fromfile(f"{work}/{k}.masks", np.uint8).reshape(-1, side[1] // 4, side[0] // 4)
            want, found = case.make(a)
            diff = np.abs(rgb.astype(int) - want).max(-1)
            far, apart, total = max(far, diff.max()), apart + (diff > 1).sum(), total + diff.size
            assert [f[0] for f in found] == a["classes"], f"{name} {k}: other objects"
            for (c, box, mask), got, bits in zip(found, a["boxes"], masks):
                assert np.allclose(box, got, atol=1e-9), f"{name} {k}: {box} {got}"
                edges += (mask != bits).sum()
                objects += 1
            if sheet is not None:
                sheet.append(sheet_picture(rgb, a["boxes"], a["classes"], masks))
        # The pixels are rounded before the colours change, so one that lies at a tie may differ by one
        # there, which a value or saturation of up to 1.7 stretches: some thousandths are two levels off.
        print(f"{name}: {count} pictures, {objects} objects, farthest pixel {far} levels, "
              f"{apart} of {total} more than one apart, {edges} pixels of masks differ, "
              f"{text[-1]} ms each")
        return far <= 3 and apart <= total * 2e-3 and edges == 0 and objects > 0


def main():
    driver, crayon = sys.argv[1:3]
    sheet = [] if "--sheet" in sys.argv else None
    ok = True
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([crayon, "synth", work, "-n", "12", "--seed", "3", "--task", "segment"], check=True,
                       capture_output=True)
        for side, options in (((320, 320), ["--symmetries"]), ((256, 192), ["--symmetries"])):
            ok &= run(f"scenes {side[0]}x{side[1]}", driver, f"{work}/instances.json", f"{work}/images", side,
                      16, options, sheet)
    coco = os.path.join(DATA, "coco-calib")
    if os.path.exists(f"{coco}/instances.json"):
        ok &= run("COCO 640x640", driver, f"{coco}/instances.json", f"{coco}/images", (640, 640), 8, [], sheet)
    if sheet is not None:
        rows = [np.concatenate([cv2.resize(s, (400, 400)) for s in sheet[i:i + 5]], 1)
                for i in range(0, len(sheet) // 5 * 5, 5)]
        cv2.imwrite(sys.argv[sys.argv.index("--sheet") + 1], np.concatenate(rows))
    sys.exit(not ok)


main()
