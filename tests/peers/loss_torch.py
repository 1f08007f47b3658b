#!/usr/bin/env python3
"""Losses and their gradients against PyTorch.

    loss_torch.py BUILD/tests/peers-loss_dump [--cases N]

Random heads and truths go through peers-loss_dump and through
 - Ultralytics' own v8DetectionLoss, v8SegmentationLoss and v8PoseLoss, where that package is there;
 - YOLOX's loss with SimOTA, written below from the paper (Ge et al. 2021) in PyTorch;
 - torch.nn.functional.cross_entropy with smoothed labels.
Compared tensor by tensor: every part of the loss, every gradient, in float64 and float32. The last line
is "N passed, N failed, N skipped".
"""
import math
import struct
import subprocess
import sys
from types import SimpleNamespace

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as e:
    print(f"SKIP {e}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

try:
    from ultralytics.utils.loss import v8DetectionLoss, v8PoseLoss, v8SegmentationLoss
except ImportError:
    v8DetectionLoss = None

STRIDES = (8, 16, 32)
# Farthest of 1560 tensors seen: 3e-7 of the largest of its tensor: results in float32, masks' slopes and the
# weights of Ultralytics' targets are float32. 1e-5 is what is promised.
LIMIT = 1e-5


class Case:
    """Branches by name, the truth, and what the driver made of them."""

    def __init__(self, rng, size, pictures, classes, objects):
        self.rng, self.size, self.pictures, self.classes = rng, size, pictures, classes
        self.grids = [(size // s, size // s, s) for s in STRIDES]
        self.truth = [self.objects(int(rng.integers(0, objects + 1))) for _ in range(pictures)]
        if not any(len(t[0]) for t in self.truth):
            self.truth[0] = self.objects(objects)

    def objects(self, n):
        """Classes and boxes on a grid of sixteenths, so that float32 holds them and their halves."""
        side = 2.0 ** self.rng.uniform(2, math.log2(self.size) - 1, (n, 2))
        corner = self.rng.uniform(0, 1, (n, 2)) * (self.size - side)
        box = np.round(np.concatenate([corner, corner + side], 1) * 8) / 8
        return self.rng.integers(0, self.classes, n).astype(np.int32), box

    def branch(self, channels, cells, low, high):
        values = self.rng.uniform(low, high, (self.pictures, channels, cells)).astype(np.float32)
        return torch.tensor(values.astype(np.float64), requires_grad=True)

    def near(self, n, sides):
        """Per picture and cell an object's distances (left, top, right, bottom) in strides, or those of a
        box of the cell's own where it lies in none."""
        for h, w, s in self.grids:
            y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
            centre = np.stack([x.ravel(), y.ravel()], 1) * s
            for p in range(n):
                boxes = self.truth[p][1]
                for i, c in enumerate(centre):
                    inside = [b for b in boxes if b[0] < c[0] < b[2] and b[1] < c[1] < b[3]]
                    b = inside[self.rng.integers(len(inside))] if inside else np.r_[c - s, c + s]
                    yield p, i, s, np.r_[c - b[:2], b[2:] - c] / s

    def driver(self, kind, path, head, branches, truth, wide=True):
        """Parts and gradients."""
        kinds = np.float64 if wide else np.float32
        data = struct.pack(f"<{3 + len(head)}i", kind, int(wide), 2, *head)
        data += b"".join(b.detach().numpy().astype(kinds).tobytes() for b in branches) + truth
        out = subprocess.run([path], input=data, capture_output=True, check=True).stdout
        parts, at, grads = np.frombuffer(out, np.float64, 11), 88, []
        for b in branches:
            grads.append(np.frombuffer(out, kinds, b.numel(), at).reshape(b.shape))
            at += b.numel() * kinds().itemsize
        assert at == len(out)
        return parts, grads


class Compare:
    def __init__(self):
        self.far, self.tensors = 0, 0

    def __call__(self, name, got, want):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        size = max(np.abs(want).max(), 1e-6)
        far = np.abs(got - want).max() / size
        self.far, self.tensors = max(self.far, far), self.tensors + 1
        assert far < LIMIT, f"{name}: {far:.3g} of {size:.3g} apart"


def grad(b):
    return np.zeros(b.shape) if b.grad is None else b.grad.numpy()


# ---- YOLOv8 ----------------------------------------------------------------------------------------


def reference_model(case, bins, keypoints):
    """What Ultralytics' losses look at in a model."""
    head = SimpleNamespace(stride=torch.tensor([float(s) for s in STRIDES], dtype=torch.float64),
                           nc=case.classes, reg_max=bins, nm=4, kpt_shape=[keypoints, 3])
    args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, pose=12.0, kobj=1.0, overlap_mask=False)
    anchor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    return SimpleNamespace(parameters=lambda: iter([anchor]), args=args, model=[head], class_weights=None)


def yolov8(case, compare, path, task):
    bins = 16
    masks, keypoints = 4 if task == "segment" else 0, 5 if task == "pose" else 0
    mask_side = case.size // 4
    box = [case.branch(4 * bins, h * w, -1, 1) for h, w, _ in case.grids]
    with torch.no_grad():  # near the objects, as a model that has learnt something has it
        level = {s: i for i, (_, _, s) in enumerate(case.grids)}
        for p, i, s, far in case.near(case.pictures, bins):
            for k in range(4):
                at = float(np.clip(far[k] * case.rng.uniform(0.7, 1.3), 0, bins - 1))
                box[level[s]][p, k * bins:(k + 1) * bins, i] -= 0.5 * (torch.arange(bins) - at).abs()
    # what float32 holds
    box = [b.detach().float().double().requires_grad_() for b in box]
    scores = [case.branch(case.classes, h * w, -5, 2) for h, w, _ in case.grids]
    extra = [case.branch(masks or keypoints * 3, h * w, -1, 1) for h, w, _ in case.grids]
    proto = case.branch(masks, mask_side * mask_side, -1, 1)
    points = [np.round(case.rng.uniform(0, case.size, (len(t[0]), keypoints, 3))) for t in case.truth]
    for p in points:
        p[..., 2] = case.rng.integers(0, 3, p.shape[:-1])
    bits = [case.rng.integers(0, 2, (len(t[0]), mask_side, mask_side)).astype(np.uint8) for t in case.truth]

    model = reference_model(case, bins, keypoints)
    loss = {"detect": v8DetectionLoss, "segment": v8SegmentationLoss, "pose": v8PoseLoss}[task](model)
    cat = [torch.cat(b, 2) for b in (box, scores, extra)]
    preds = {"boxes": cat[0], "scores": cat[1], "mask_coefficient": cat[2], "kpts": cat[2],
             "proto": proto.view(case.pictures, masks, mask_side, mask_side),
             "feats": [torch.zeros(case.pictures, 1, h, w, dtype=torch.float64) for h, w, _ in case.grids]}
    boxes = np.concatenate([t[1] for t in case.truth])
    size = torch.tensor([case.size] * 4, dtype=torch.float64)
    batch = {"batch_idx": torch.tensor(np.repeat(np.arange(case.pictures), [len(t[0]) for t in case.truth])),
             "cls": torch.tensor(np.concatenate([t[0] for t in case.truth]).astype(np.float64)),
             "bboxes": torch.tensor(np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2,
                                                    boxes[:, 2:] - boxes[:, :2]], 1)) / size,
             "masks": torch.tensor(np.concatenate(bits)),
             "keypoints": torch.tensor(np.concatenate(points) / [case.size, case.size, 1])}
    targets = {}
    whole = loss.get_assigned_targets_and_loss
    loss.get_assigned_targets_and_loss = lambda *a, **k: targets.setdefault("of", whole(*a, **k))
    total, _ = loss.loss(preds, batch)
    total.sum().backward()

    head = [case.pictures, 3, case.classes, bins, masks, mask_side, mask_side, case.size, case.size,
            keypoints, 3]
    branches = []
    for i, (h, w, s) in enumerate(case.grids):
        head += [h, w, s]
        branches += [box[i], scores[i]] + ([extra[i]] if masks or keypoints else [])
    if masks:
        branches.append(proto)
    truth = b""
    for t, p, m in zip(case.truth, points, bits):
        truth += struct.pack("<i", len(t[0])) + t[0].tobytes() + t[1].tobytes() + p.tobytes()
        truth += m.tobytes() if masks else b""
    for wide in (True, False):
        parts, grads = case.driver(0, path, head, branches, truth, wide)
        # Ultralytics fills up with cells of metric 0: they would count in the means of masks and
        # keypoints; such a case says nothing about those.
        if task != "detect" and int(targets["of"][0][0].sum()) != int(parts[9]):
            return False
        want = [float(v) for v in total.detach()]
        got = {"detect": parts[[1, 2, 3]], "segment": parts[[1, 6, 2, 3]],
               "pose": parts[[1, 7, 8, 2, 3]]}[task]
        for i, g in enumerate(got):
            compare(f"{task} part {i}", g, want[i])
        for b, g in zip(branches, grads):
            compare(f"{task} gradient {tuple(b.shape)}", g, grad(b))
    return True


# ---- YOLOX -----------------------------------------------------------------------------------------


def iou_matrix(a, b):
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp(0).prod(2)
    area = [(v[:, 2:] - v[:, :2]).prod(1) for v in (a, b)]
    return inter / (area[0][:, None] + area[1][None] - inter)


def simota(boxes, scores, centres, strides, truth, classes):
    """Object of each cell, -1: none."""
    middle = (truth[:, :2] + truth[:, 2:]) / 2
    own = ((centres[None] - middle[:, None]).abs() < 1.5 * strides[None, :, None]).all(2)
    near = own.any(0)
    iou = iou_matrix(truth, boxes)
    target = F.one_hot(classes, scores.shape[1]).double()
    p = scores.sqrt()
    cost = F.binary_cross_entropy(p[None].expand(len(truth), -1, -1),
                                  target[:, None].expand(-1, len(boxes), -1), reduction="none").sum(2)
    cost = cost - 3 * (iou + 1e-8).log()
    cost[~own] = math.inf
    taken = torch.zeros_like(own)
    for o in range(len(truth)):
        share = max(1, int(iou[o, near].topk(min(10, int(near.sum()))).values.sum()))
        share = min(share, int(own[o].sum()))
        taken[o, cost[o].topk(share, largest=False).indices] = True
    owner = torch.where(taken.any(0), taken.double().argmax(0), -1)
    many = taken.sum(0) > 1
    owner[many] = cost[:, many].argmin(0)
    return owner, iou


def yolox(case, compare, path, offsets):
    raw = [case.branch(4, h * w, -0.5, 1.5) for h, w, _ in case.grids]
    seen = [case.branch(1, h * w, -4, 1) for h, w, _ in case.grids]
    scores = [case.branch(case.classes, h * w, -4, 1) for h, w, _ in case.grids]
    grid, stride = [], []
    for h, w, s in case.grids:
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid.append(torch.stack([x.flatten(), y.flatten()], 1).double())
        stride += [float(s)] * (h * w)
    grid, stride = torch.cat(grid), torch.tensor(stride, dtype=torch.float64)
    box, obj, cls = (torch.cat(b, 2).transpose(1, 2) for b in (raw, seen, scores))
    xy, wh = (box[..., :2] + grid) * stride[:, None], box[..., 2:].exp() * stride[:, None]
    corners = torch.cat([xy - wh / 2, xy + wh / 2], 2)
    parts, number = torch.zeros(4, dtype=torch.float64), 0
    for p, (classes, boxes) in enumerate(case.truth):
        target = torch.zeros_like(obj[p])
        if len(classes):
            classes, boxes = torch.tensor(classes).long(), torch.tensor(boxes)
            with torch.no_grad():
                product = cls[p].sigmoid() * obj[p].sigmoid()
                owner, iou = simota(corners[p], product, (grid + 0.5) * stride[:, None], stride, boxes,
                                    classes)
            on = owner >= 0
            who = owner[on]
            number += int(on.sum())
            target[on] = 1
            hit = torch.stack([iou_matrix(corners[p][on][i:i + 1], boxes[o:o + 1])[0, 0]
                               for i, o in enumerate(who.tolist())])
            parts[0] = parts[0] + 5 * (1 - hit**2).sum()
            wanted = F.one_hot(classes[who], case.classes).double() * hit.detach()[:, None]
            parts[2] = parts[2] + F.binary_cross_entropy_with_logits(cls[p][on], wanted, reduction="sum")
            b = boxes[who] / stride[on][:, None]
            offset = torch.cat([(b[:, :2] + b[:, 2:]) / 2 - grid[on], (b[:, 2:] - b[:, :2] + 1e-8).log()], 1)
            parts[3] = parts[3] + offsets * (box[p][on] - offset).abs().sum()
        parts[1] = parts[1] + F.binary_cross_entropy_with_logits(obj[p], target, reduction="sum")
    parts = parts / max(number, 1)
    parts.sum().backward()
    head = [case.pictures, 3, case.classes, offsets] + [n for g in case.grids for n in g]
    branches = [b for level in zip(raw, seen, scores) for b in level]
    truth = b"".join(struct.pack("<i", len(t[0])) + t[0].tobytes() + t[1].tobytes() for t in case.truth)
    for wide in (True, False):
        got, grads = case.driver(1, path, head, branches, truth, wide)
        assert int(got[9]) == number, f"{int(got[9])} cells learn, {number} in PyTorch"
        for i, k in enumerate((1, 4, 2, 5)):
            compare(f"part {i}", got[k], float(parts[i].detach()))
        for b, g in zip(branches, grads):
            compare(f"gradient {tuple(b.shape)}", g, grad(b))
    return True


def classify(case, compare, path):
    logits = case.branch(case.classes, 1, -3, 3)
    right = case.rng.integers(0, case.classes, case.pictures).astype(np.int32)
    loss = F.cross_entropy(logits[..., 0], torch.tensor(right).long(), label_smoothing=0.1)
    loss.backward()
    for wide in (True, False):
        parts, grads = case.driver(2, path, [case.pictures, case.classes], [logits], right.tobytes(), wide)
        compare("loss", parts[0], float(loss.detach()))
        compare("gradient", grads[0], grad(logits))
    return True


# ---- all -------------------------------------------------------------------------------------------


def main():
    path = sys.argv[1]
    cases = int(sys.argv[sys.argv.index("--cases") + 1]) if "--cases" in sys.argv else 12
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kinds = {f"YOLOv8 {task}": lambda c, m, task=task: yolov8(c, m, path, task)
             for task in ("detect", "segment", "pose")}
    kinds["YOLOX"] = lambda c, m: yolox(c, m, path, 0)
    kinds["YOLOX with L1"] = lambda c, m: yolox(c, m, path, 1)
    kinds["classes"] = lambda c, m: classify(c, m, path)
    passed = failed = skipped = 0
    for name, run in kinds.items():
        if name.startswith("YOLOv8") and not v8DetectionLoss:
            print(f"SKIP {name}: Ultralytics' package is not there")
            skipped += 1
            continue
        compare, used = Compare(), 0
        try:
            for seed in range(cases):
                rng = np.random.default_rng(seed)
                case = Case(rng, 128, int(rng.integers(1, 4)), int(rng.integers(1, 9)), 5)
                used += run(case, compare)
            assert used * 3 >= cases, f"only {used} of {cases} cases compare"
        except (AssertionError, subprocess.CalledProcessError) as e:
            print(f"FAIL {name}, case {seed}: {e}")
            failed += 1
            continue
        print(f"PASS {name}: {used} cases, {compare.tensors} tensors, farthest {compare.far:.1e}")
        passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


main()
