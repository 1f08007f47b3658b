#!/usr/bin/env python3
"""Trains and exports sample/shapes.onnx, the little detector that Crayon ships.

    crayon synth /tmp/shapes-train -n 4000 --seed 1
    crayon synth /tmp/shapes-val -n 200 --seed 2
    python3 tools/train_sample.py --data /tmp/shapes-train --val /tmp/shapes-val \
        -o sample/shapes.onnx

Needs torch, numpy, opencv, onnx; for the evaluation onnxruntime and pycocotools. Never needed to
build or run Crayon.

The network has the parts of a YOLOv8 (which has no paper; its parts do): Conv+BN+SiLU, C2f (a CSP
stage that keeps every bottleneck's output), SPPF, a PAN neck, a head with separate box and class
branches, boxes as distributions over distances (DFL, Li et al. 2020, "Generalized Focal Loss").
Two strides, 8 and 16, are enough: no shape is larger than half the picture, and the parameters that
a third level would take do more good in these two. Targets come from task-aligned assignment (TAL,
Feng et al. 2021, "TOOD"), boxes are fitted with CIoU (Zheng et al. 2020). The exported graph is
written node by node from the module tree, with BatchNorm folded, in the form that Ultralytics'
exports have: what reads those reads this.

Augmentation is the eight symmetries of the square and nothing else: a scene turned by 90 degrees
is as likely as the scene. Mosaics were rejected, since cutting a picture makes the boxes of turned
shapes loose; more synthetic pictures are the better supply of variety.

One thread by default: the layers are so small that a second one gains little. The same data, seed,
thread count and machine give the same file.
"""
import argparse
import copy
import json
import math
import os
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

NAMES = ["circle", "square", "triangle", "star", "crayon"]
STRIDES = (8, 16)
BINS = 16  # distances 0..15, in strides
WIDTHS = dict(stem=16, p2=24, p3=40, p4=64, box=32, cls=24)


# --- the network; every module knows how to emit itself as ONNX nodes ----------------------------


class Conv(nn.Module):
    """Convolution without bias, BatchNorm, SiLU. [N,ci,H,W] -> [N,co,H/stride,W/stride]."""

    def __init__(self, ci, co, k=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(ci, co, k, stride, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(co, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))

    def emit(self, g, name, x):
        factor = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        weight = self.conv.weight * factor[:, None, None, None]
        bias = self.bn.bias - self.bn.running_mean * factor
        x = g.conv(f"{name}/conv", x, weight, bias, self.conv.stride[0])
        return g.node("Mul", f"{name}/act", [x, g.node("Sigmoid", f"{name}/act", [x])])


class Bottleneck(nn.Module):
    def __init__(self, c, shortcut):
        super().__init__()
        self.cv1, self.cv2, self.shortcut = Conv(c, c, 3), Conv(c, c, 3), shortcut

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y

    def emit(self, g, name, x):
        y = self.cv2.emit(g, f"{name}/cv2", self.cv1.emit(g, f"{name}/cv1", x))
        return g.node("Add", name, [x, y]) if self.shortcut else y


class C2f(nn.Module):
    """1x1 in, split in halves, one bottleneck on the second half, all three parts to a 1x1."""

    def __init__(self, ci, co, shortcut):
        super().__init__()
        self.half = co // 2
        self.cv1, self.cv2 = Conv(ci, co), Conv(3 * self.half, co)
        self.m = Bottleneck(self.half, shortcut)

    def forward(self, x):
        a, b = self.cv1(x).split(self.half, 1)
        return self.cv2(torch.cat([a, b, self.m(b)], 1))

    def emit(self, g, name, x):
        a, b = g.split(name, self.cv1.emit(g, f"{name}/cv1", x), [self.half, self.half])
        parts = g.node("Concat", name, [a, b, self.m.emit(g, f"{name}/m.0", b)], axis=1)
        return self.cv2.emit(g, f"{name}/cv2", parts)


class SPPF(nn.Module):
    """Max-pooling over 5, 9 and 13 pixels, beside the input."""

    def __init__(self, c):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c // 2), Conv(2 * c, c)

    def forward(self, x):
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.cv2(torch.cat(parts, 1))

    def emit(self, g, name, x):
        parts = [self.cv1.emit(g, f"{name}/cv1", x)]
        for _ in range(3):
            parts.append(g.node("MaxPool", f"{name}/m", [parts[-1]], kernel_shape=[5, 5],
                                strides=[1, 1], pads=[2, 2, 2, 2], dilations=[1, 1], ceil_mode=0))
        return self.cv2.emit(g, f"{name}/cv2", g.node("Concat", name, parts, axis=1))


class Branch(nn.Module):
    """Two 3x3 convolutions and a plain 1x1: box or class outputs of one level."""

    def __init__(self, ci, hidden, co):
        super().__init__()
        self.a, self.b = Conv(ci, hidden, 3), Conv(hidden, hidden, 3)
        self.out = nn.Conv2d(hidden, co, 1)

    def forward(self, x):
        return self.out(self.b(self.a(x)))

    def emit(self, g, name, x):
        x = self.b.emit(g, f"{name}.1", self.a.emit(g, f"{name}.0", x))
        return g.conv(f"{name}.2", x, self.out.weight, self.out.bias, 1)


class Net(nn.Module):
    """[N,3,S,S] in 0..1 -> box logits [N,4*BINS,A], class logits [N,classes,A]; A anchors, the
    levels one after the other, row by row."""

    def __init__(self, classes=len(NAMES)):
        super().__init__()
        w = WIDTHS
        self.stem, self.down2 = Conv(3, w["stem"], 3, 2), Conv(w["stem"], w["p2"], 3, 2)
        self.stage2 = C2f(w["p2"], w["p2"], True)
        self.down3, self.stage3 = Conv(w["p2"], w["p3"], 3, 2), C2f(w["p3"], w["p3"], True)
        self.down4, self.stage4 = Conv(w["p3"], w["p4"], 3, 2), C2f(w["p4"], w["p4"], True)
        self.sppf = SPPF(w["p4"])
        self.up3 = C2f(w["p4"] + w["p3"], w["p3"], False)
        self.pan4, self.out4 = Conv(w["p3"], w["p3"], 3, 2), C2f(w["p3"] + w["p4"], w["p4"], False)
        levels = (w["p3"], w["p4"])
        self.box = nn.ModuleList(Branch(c, w["box"], 4 * BINS) for c in levels)
        self.cls = nn.ModuleList(Branch(c, w["cls"], classes) for c in levels)
        for box, cls in zip(self.box, self.cls):
            nn.init.constant_(box.out.bias, 1.0)
            nn.init.constant_(cls.out.bias, -4.6)  # a score of 0.01 (Lin et al. 2017)

    def forward(self, x):
        p3 = self.stage3(self.down3(self.stage2(self.down2(self.stem(x)))))
        p4 = self.sppf(self.stage4(self.down4(p3)))
        t3 = self.up3(torch.cat([F.interpolate(p4, scale_factor=2), p3], 1))
        t4 = self.out4(torch.cat([self.pan4(t3), p4], 1))
        levels = (t3, t4)
        box = torch.cat([m(t).flatten(2) for m, t in zip(self.box, levels)], 2)
        cls = torch.cat([m(t).flatten(2) for m, t in zip(self.cls, levels)], 2)
        return box.float(), cls.float()

    def emit(self, g, x):
        p3 = x
        for part in ("stem", "down2", "stage2", "down3", "stage3"):
            p3 = getattr(self, part).emit(g, f"/{part}", p3)
        p4 = self.stage4.emit(g, "/stage4", self.down4.emit(g, "/down4", p3))
        p4 = self.sppf.emit(g, "/sppf", p4)
        joined = g.node("Concat", "/up3", [g.upsample("/up3", p4), p3], axis=1)
        t3 = self.up3.emit(g, "/up3", joined)
        joined = g.node("Concat", "/out4", [self.pan4.emit(g, "/pan4", t3), p4], axis=1)
        return t3, self.out4.emit(g, "/out4", joined)


def anchor_grid(size):
    """Cell centres [A,2] in strides, and strides [A]."""
    points, strides = [], []
    for s in STRIDES:
        line = torch.arange(size // s) + 0.5
        y, x = torch.meshgrid(line, line, indexing="ij")
        points.append(torch.stack([x, y], -1).view(-1, 2))
        strides.append(torch.full((points[-1].shape[0],), float(s)))
    return torch.cat(points), torch.cat(strides)


# --- targets and losses --------------------------------------------------------------------------


def decode(box_logits, points):
    """[N,4*BINS,A] -> corners [N,A,4] in strides."""
    n, _, a = box_logits.shape
    prob = box_logits.view(n, 4, BINS, a).softmax(2)
    dist = torch.einsum("nkba,b->nak", prob, torch.arange(BINS, dtype=torch.float32))
    return torch.cat([points - dist[..., :2], points + dist[..., 2:]], -1)


def ciou(a, b, eps=1e-7):
    """Complete IoU of corner boxes, broadcast over leading dimensions; at most 1."""
    aw, ah = a[..., 2] - a[..., 0], a[..., 3] - a[..., 1]
    bw, bh = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]
    lo, hi = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (hi - lo).clamp(0).prod(-1)
    iou = both / (aw * ah + bw * bh - both + eps)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    gap = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    v = (4 / math.pi**2) * (torch.atan(bw / (bh + eps)) - torch.atan(aw / (ah + eps))).square()
    with torch.no_grad():
        alpha = v / (v - iou + 1 + eps)
    return iou - gap / (hull.square().sum(-1) + eps) - alpha * v


@torch.no_grad()
def assign(scores, boxes, points, gt_box, gt_class, gt_valid, top=10, alpha=0.5, beta=6.0):
    """Task-aligned assignment. scores [N,A,C] in 0..1; boxes [N,A,4], gt_box [N,M,4] and points
    [A,2] in pixels; gt_class [N,M], gt_valid [N,M]. Returns positive [N,A], which object [N,A] and
    the soft class target [N,A,C]."""
    n, a, classes = scores.shape
    m = gt_box.shape[1]
    # a box thinner than the finest cell could miss every cell centre: widen it for this test
    middle, half = (gt_box[..., :2] + gt_box[..., 2:]) / 2, (gt_box[..., 2:] - gt_box[..., :2]) / 2
    reach = half.clamp(min=STRIDES[0] / 2 + 0.01)
    inside = ((points - middle[:, :, None]).abs() < reach[:, :, None]).all(-1)
    inside &= gt_valid[..., None]
    overlap = ciou(gt_box[:, :, None], boxes[:, None]).clamp(0) * inside  # [N,M,A]
    index = gt_class[:, None, :].expand(n, a, m)
    metric = scores.gather(2, index).transpose(1, 2).pow(alpha) * overlap.pow(beta) * inside
    best = metric.topk(top, -1).indices
    chosen = torch.zeros_like(metric).scatter_(-1, best, 1.0) * inside
    # an anchor wanted by several objects goes to the one it overlaps most
    owner = (overlap * chosen + chosen * 1e-9).argmax(1)  # [N,A]
    positive = chosen.sum(1) > 0
    chosen = chosen * F.one_hot(owner, m).transpose(1, 2)
    metric = metric * chosen
    peak = metric.amax(-1, keepdim=True)
    strength = (metric * (overlap * chosen).amax(-1, keepdim=True) / (peak + 1e-9)).amax(1)
    target = F.one_hot(gt_class.gather(1, owner), classes) * (strength * positive)[..., None]
    return positive, owner, target


def detection_loss(box_logits, cls_logits, points, strides, gt_box, gt_class, gt_valid):
    """Sum of 7.5 CIoU, 1.5 DFL, 0.5 BCE, each over the sum of the soft targets. Returns the parts
    too."""
    boxes = decode(box_logits, points)  # strides
    scores = cls_logits.transpose(1, 2)
    positive, owner, target = assign(scores.sigmoid().detach(),
                                     boxes.detach() * strides[:, None], points * strides[:, None],
                                     gt_box, gt_class, gt_valid)
    total = target.sum().clamp(min=1.0)
    bce = F.binary_cross_entropy_with_logits(scores, target, reduction="sum") / total
    if not positive.any():
        return 0.5 * bce, (0.0, 0.0, bce.item())
    weight = target.sum(-1)[positive]
    cell = strides.expand(positive.shape)[positive][:, None]
    want = gt_box.gather(1, owner[..., None].expand(-1, -1, 4))[positive] / cell
    at = points.expand(*positive.shape, 2)[positive]
    fit = ((1 - ciou(boxes[positive], want)) * weight).sum() / total
    # DFL: the two bins around the true distance share the probability
    dist = torch.cat([at - want[:, :2], want[:, 2:] - at], -1).clamp(0, BINS - 1.01)
    low = dist.long()
    logits = box_logits.transpose(1, 2)[positive].view(-1, BINS)
    near = F.cross_entropy(logits, low.view(-1), reduction="none").view_as(dist)
    far = F.cross_entropy(logits, low.view(-1) + 1, reduction="none").view_as(dist)
    dfl = ((near * (low + 1 - dist) + far * (dist - low)).mean(-1) * weight).sum() / total
    return 7.5 * fit + 1.5 * dfl + 0.5 * bce, (fit.item(), dfl.item(), bce.item())


# --- data ----------------------------------------------------------------------------------------


def letterbox(bgr, size):
    """Fits a picture into size x size as Ultralytics does; returns it and (gain, left, top)."""
    h, w = bgr.shape[:2]
    gain = min(size / h, size / w)
    nw, nh = round(w * gain), round(h * gain)
    if (nw, nh) != (w, h):
        bgr = cv2.resize(bgr, (nw, nh), interpolation=cv2.INTER_LINEAR)
    dw, dh = (size - nw) / 2, (size - nh) / 2
    left, top = round(dw - 0.1), round(dh - 0.1)
    right, bottom = round(dw + 0.1), round(dh + 0.1)
    bgr = cv2.copyMakeBorder(bgr, top, bottom, left, right, cv2.BORDER_CONSTANT,
                             value=(114, 114, 114))
    return bgr, (gain, left, top)


class Scenes:
    """A data set in memory: pixels [P,3,S,S] uint8, boxes [P,M,4], classes and valid [P,M]."""

    def __init__(self, folder, size, limit=0):
        with open(os.path.join(folder, "instances.json"), encoding="utf-8") as f:
            labels = json.load(f)
        images = labels["images"][: limit or None]
        per_image = {image["id"]: [] for image in images}
        for a in labels["annotations"]:
            if a["image_id"] in per_image:
                per_image[a["image_id"]].append(a)
        most = max(1, max(len(v) for v in per_image.values()))
        count = len(images)
        self.pixels = torch.empty(count, 3, size, size, dtype=torch.uint8)
        self.boxes = torch.zeros(count, most, 4)
        self.classes = torch.zeros(count, most, dtype=torch.long)
        self.valid = torch.zeros(count, most, dtype=torch.bool)
        for i, image in enumerate(images):
            bgr = cv2.imread(os.path.join(folder, "images", image["file_name"]))
            bgr, (gain, left, top) = letterbox(bgr, size)
            rgb = np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1))
            self.pixels[i] = torch.from_numpy(rgb)
            for k, a in enumerate(per_image[image["id"]]):
                x, y, w, h = a["bbox"]
                corners = torch.tensor([x, y, x + w, y + h]) * gain
                self.boxes[i, k] = corners + torch.tensor([left, top, left, top])
                self.classes[i, k] = a["category_id"] - 1
                self.valid[i, k] = True

    def batch(self, index, rng):
        """Normalized pictures and targets, each picture in one of its eight symmetries."""
        size = self.pixels.shape[-1]
        pixels, boxes = [], self.boxes[index].clone()
        for k, i in enumerate(index.tolist()):
            p, turn = self.pixels[i], int(rng.integers(8))
            if turn & 4:
                p, boxes[k] = p.transpose(1, 2), boxes[k][:, [1, 0, 3, 2]]
            if turn & 1:
                p = p.flip(2)
                boxes[k, :, [0, 2]] = size - boxes[k][:, [2, 0]]
            if turn & 2:
                p = p.flip(1)
                boxes[k, :, [1, 3]] = size - boxes[k][:, [3, 1]]
            pixels.append(p)
        pixels = torch.stack(pixels).float().div_(255).contiguous(memory_format=torch.channels_last)
        return pixels, boxes, self.classes[index], self.valid[index]


# --- training ------------------------------------------------------------------------------------


class Muon:
    """Momentum whose update is made orthogonal by five Newton-Schulz steps, for the weights of
    hidden convolutions (as matrices [co, ci*k*k]); AdamW for everything else. Jordan et al. 2024,
    "Muon: an optimizer for hidden layers", with its coefficients. It needs half the steps that
    AdamW alone needs here."""

    def __init__(self, net, rate, adam_rate):
        last = {id(branch.out.weight) for branch in [*net.box, *net.cls]}
        hidden = [p for p in net.parameters() if p.ndim == 4 and id(p) not in last]
        others = [p for p in net.parameters() if p.ndim != 4 or id(p) in last]
        self.momentum = [(p, torch.zeros_like(p)) for p in hidden]
        self.adam = torch.optim.AdamW(others, lr=adam_rate, weight_decay=0.0)
        self.rate, self.adam_rate = rate, adam_rate

    @staticmethod
    def orthogonal(m):
        tall = m.shape[0] > m.shape[1]
        x = m.T if tall else m
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            y = x @ x.T
            x = 3.4445 * x + (-4.7750 * y + 2.0315 * y @ y) @ x
        return x.T if tall else x

    @torch.no_grad()
    def step(self, factor, decay=0.02):
        """One step at `factor` times the peak rates."""
        rate = factor * self.rate
        for p, m in self.momentum:
            m.lerp_(p.grad, 0.1)
            update = self.orthogonal(p.grad.lerp(m, 0.9).flatten(1))
            scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
            p.mul_(1 - rate * decay).add_(update.view_as(p), alpha=-rate * scale)
        self.adam.param_groups[0]["lr"] = factor * self.adam_rate
        self.adam.step()


@torch.no_grad()
def update_average(average, net, step):
    """Exponential moving average of weights and BatchNorm statistics; short memory at first."""
    keep = 0.998 * (1 - math.exp(-step / 300))
    for (_, a), (_, b) in zip(average.state_dict().items(), net.state_dict().items()):
        if a.dtype.is_floating_point:
            a.mul_(keep).add_(b, alpha=1 - keep)
        else:
            a.copy_(b)


def schedule(step, steps):
    """Linear warm-up, then a cosine to 1 %; 1 at the peak."""
    warm = min(200, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def train(args):
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    data = Scenes(args.data, args.size, args.limit)
    net = Net().to(memory_format=torch.channels_last)
    average = copy.deepcopy(net).eval()
    optimizer = Muon(net, args.rate, args.adam_rate)
    points, strides = anchor_grid(args.size)
    count = data.pixels.shape[0]
    per_epoch = count // args.batch
    steps, step, start = args.epochs * per_epoch, 0, time.time()
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {count} pictures, {steps} steps",
          flush=True)
    for epoch in range(args.epochs):
        order, sums = torch.from_numpy(rng.permutation(count)), np.zeros(4)
        net.train()
        for i in range(per_epoch):
            x, boxes, classes, valid = data.batch(order[i * args.batch:(i + 1) * args.batch], rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                box, cls = net(x)
            loss, parts = detection_loss(box, cls, points, strides, boxes, classes, valid)
            net.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimizer.step(schedule(step, steps))
            step += 1
            update_average(average, net, step)
            sums += [loss.item(), *parts]
        fit, dfl, bce = sums[1:] / per_epoch
        print(f"epoch {epoch + 1}/{args.epochs} loss {sums[0] / per_epoch:.3f} (ciou {fit:.3f} "
              f"dfl {dfl:.3f} bce {bce:.3f}) {time.time() - start:.0f} s", flush=True)
    return average


# --- export --------------------------------------------------------------------------------------


class Graph:
    """Collects ONNX nodes; names end in the operator, numbered where a place has several."""

    def __init__(self):
        self.nodes, self.weights, self.used = [], [], {}

    def node(self, op, place, inputs, outputs=1, final=None, **attributes):
        from onnx import helper
        name = f"{place}/{op}"
        number = self.used[name] = self.used.get(name, -1) + 1
        name += f"_{number}" if number else ""
        results = [final] if final else [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, results, name=name, **attributes))
        return results[0] if outputs == 1 else results

    def constant(self, name, value, dtype=np.float32):
        from onnx import numpy_helper
        if isinstance(value, torch.Tensor):
            value = value.detach().numpy()
        value = np.ascontiguousarray(value, dtype=dtype)
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, place, x, weight, bias, stride):
        key = place.strip("/").replace("/", ".")
        k = weight.shape[-1]
        inputs = [x, self.constant(f"{key}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{key}.bias", bias))
        return self.node("Conv", place, inputs, kernel_shape=[k, k], strides=[stride, stride],
                         pads=[k // 2] * 4, dilations=[1, 1], group=1)

    def split(self, place, x, sizes):
        sizes = self.constant(f"{place}/sizes", sizes, np.int64)
        return self.node("Split", place, [x, sizes], outputs=2, axis=1)

    def upsample(self, place, x):
        scales = self.constant(f"{place}/scales", [1, 1, 2, 2])
        return self.node("Resize", place, [x, "", scales], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")

    def reshape(self, place, x, shape):
        count = sum(w.name.startswith(f"{place}/shape") for w in self.weights)
        return self.node("Reshape", place, [x, self.constant(f"{place}/shape_{count}", shape,
                                                             np.int64)])

    def slice(self, place, x, start, end):
        key = f"{place}/slice_{start}"
        return self.node("Slice", place, [x, self.constant(f"{key}_start", [start], np.int64),
                                          self.constant(f"{key}_end", [end], np.int64),
                                          self.constant(f"{key}_axis", [1], np.int64)])


def emit_head(g, net, levels, size):
    """Levels -> output0 [1, 4+classes, A]: centre x, y, width, height in pixels, scores."""
    h, classes = "/head", len(NAMES)
    rows = []
    for i, t in enumerate(levels):
        both = [net.box[i].emit(g, f"{h}/box.{i}", t), net.cls[i].emit(g, f"{h}/cls.{i}", t)]
        rows.append(g.reshape(h, g.node("Concat", h, both, axis=1), [1, 4 * BINS + classes, -1]))
    rows = g.node("Concat", h, rows, axis=2)
    box, cls = g.split(h, rows, [4 * BINS, classes])
    points, strides = anchor_grid(size)
    box = g.reshape(f"{h}/dfl", box, [1, 4, BINS, len(strides)])
    box = g.node("Transpose", f"{h}/dfl", [box], perm=[0, 2, 1, 3])
    box = g.node("Softmax", f"{h}/dfl", [box], axis=1)
    box = g.conv(f"{h}/dfl/conv", box, torch.arange(BINS).float().view(1, BINS, 1, 1), None, 1)
    box = g.reshape(f"{h}/dfl", box, [1, 4, len(strides)])
    centre = g.constant(f"{h}/anchors", points.T[None])
    low = g.node("Sub", h, [centre, g.slice(h, box, 0, 2)])
    high = g.node("Add", h, [centre, g.slice(h, box, 2, 4)])
    middle = g.node("Div", h, [g.node("Add", h, [low, high]), g.constant(f"{h}/two", 2.0)])
    xywh = g.node("Concat", h, [middle, g.node("Sub", h, [high, low])], axis=1)
    xywh = g.node("Mul", h, [xywh, g.constant(f"{h}/strides", strides[None])])
    g.node("Concat", h, [xywh, g.node("Sigmoid", h, [cls])], final="output0", axis=1)
    return len(strides)


def export(net, size, path, date):
    import onnx
    from onnx import TensorProto, helper
    net = copy.deepcopy(net).float().eval().to(memory_format=torch.contiguous_format)
    g = Graph()
    anchors = emit_head(g, net, net.emit(g, "images"), size)
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT,
                                           [1, 4 + len(NAMES), anchors])
    graph = helper.make_graph(g.nodes, "shapes", [image], [output], g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="crayon")
    facts = {"description": "Crayon shapes: a small YOLOv8-style detector of synthetic scenes",
             "author": "Crayon", "date": date, "version": "1.0", "license": "Apache-2.0",
             "stride": str(max(STRIDES)), "task": "detect", "batch": "1", "channels": "3",
             "imgsz": f"[{size}, {size}]", "names": str(dict(enumerate(NAMES)))}
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path + ".tmp")
    os.replace(path + ".tmp", path)
    print(f"{path}: {os.path.getsize(path)} bytes, {len(g.nodes)} nodes")


# --- evaluation of the exported file -------------------------------------------------------------


def nms(boxes, scores, limit):
    """Greedy suppression over corner boxes, best first; returns indices."""
    order, keep = np.argsort(-scores, kind="stable"), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size and len(keep) < 300:
        i, rest = order[0], order[1:]
        keep.append(i)
        side = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        both = side.clip(0).prod(1)
        order = rest[both <= limit * (area[i] + area[rest] - both)]
    return keep


def detect(session, bgr, size, conf=0.001, iou=0.7):
    """Boxes x,y,w,h in source pixels, scores, classes."""
    fitted, (gain, left, top) = letterbox(bgr, size)
    x = np.ascontiguousarray(fitted[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
    out = session.run(None, {"images": x})[0][0].T
    found, cls = np.nonzero(out[:, 4:] > conf)
    score, xywh = out[found, 4 + cls], out[found, :4]
    corners = np.concatenate([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2], 1)
    keep = nms(corners + cls[:, None] * 4 * size, score, iou)
    h, w = bgr.shape[:2]
    corners = ((corners[keep] - [left, top, left, top]) / gain).clip(0, [w, h, w, h])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    return boxes, score[keep], cls[keep]


def evaluate(path, folder, size):
    import onnxruntime
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    truth = COCO(os.path.join(folder, "instances.json"))
    results = []
    for image in truth.dataset["images"]:
        bgr = cv2.imread(os.path.join(folder, "images", image["file_name"]))
        for box, score, cls in zip(*detect(session, bgr, size)):
            results.append({"image_id": image["id"], "category_id": int(cls) + 1,
                            "bbox": [float(v) for v in box], "score": float(score)})
    run = COCOeval(truth, truth.loadRes(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    for i, name in enumerate(NAMES):
        precision = run.eval["precision"][:, :, i, 0, 2]
        print(f"{name:10s} mAP50-95 {precision[precision > -1].mean():.4f}")
    return run.stats[0]


def main():
    p = argparse.ArgumentParser(description="trains and exports the sample detector")
    p.add_argument("--data", help="folder made by `crayon synth --seed 1`")
    p.add_argument("--val", help="folder made by `crayon synth --seed 2`")
    p.add_argument("-o", "--output", default="sample/shapes.onnx")
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--epochs", type=int, default=24)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--rate", type=float, default=0.02, help="peak learning rate of Muon")
    p.add_argument("--adam-rate", type=float, default=3e-3, help="peak learning rate of AdamW")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="use only the first N pictures")
    p.add_argument("--date", default="2026-11-21", help="date in the metadata")
    p.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    p.add_argument("--evaluate-only", action="store_true", help="evaluate an existing file")
    args = p.parse_args()
    if not args.evaluate_only:
        net = train(args)
        export(net, args.size, args.output, args.date)
    if args.val:
        evaluate(args.output, args.val, args.size)


if __name__ == "__main__":
    main()
