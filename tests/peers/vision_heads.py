#!/usr/bin/env python3
"""Every head and the suppression against restatements in PyTorch, on random tensors and real models.

    vision_heads.py --driver BUILD/tests/peers-vision_detect [--cases N]

The restatements are written from the formulas (Ultralytics' non_max_suppression, torchvision's CPU
nms, YOLOX's grid, NanoDet's distribution), share no code with libcrayon, and work in float32.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("CRAYON_DATA", os.path.join(ROOT, "..", "shared", "data"))

try:
    import numpy as np
    import torch
except ImportError as e:
    print(f"SKIP {e}")
    sys.exit(0)


class Driver:
    def __init__(self, path, tmp):
        self.path, self.tmp = path, tmp

    def raw(self, arrays):
        names = []
        for i, a in enumerate(arrays):
            a = np.ascontiguousarray(a, np.float32)
            names.append(os.path.join(self.tmp, f"raw{i}"))
            with open(names[-1], "wb") as f:
                f.write(struct.pack(f"<{1 + a.ndim}q", a.ndim, *a.shape) + a.tobytes())
        return names

    def rows(self, arrays, w, h, classes, keypoints, task, conf, iou, multi):
        cmd = [self.path, "rows", w, h, classes, keypoints, task or "-", conf, iou,
               "multi" if multi else "best", *self.raw(arrays)]
        out = subprocess.run([str(c) for c in cmd], check=True, capture_output=True).stdout
        rows = json.loads(out)
        return np.array(rows, np.float32).reshape(len(rows), -1)

    def nms(self, boxes, iou, limit):
        path = os.path.join(self.tmp, "boxes")
        np.ascontiguousarray(boxes, np.float32).tofile(path)
        out = subprocess.run([self.path, "nms", str(iou), str(limit), path], check=True,
                             capture_output=True).stdout
        return [int(v) for v in out.split()]


def nms(boxes, scores, iou):
    """torchvision.ops.nms: boxes [n,4], returns kept numbers, best first."""
    order = scores.sort(stable=True, descending=True).indices
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone = torch.zeros(len(boxes), dtype=torch.bool)
    thr = torch.tensor(iou, dtype=torch.float32)
    keep = []
    for at, i in enumerate(order):
        if gone[i]:
            continue
        keep.append(int(i))
        rest = order[at + 1:]
        lo = torch.maximum(boxes[i, :2], boxes[rest, :2])
        hi = torch.minimum(boxes[i, 2:], boxes[rest, 2:])
        wh = (hi - lo).clamp(min=0)
        inter = wh[:, 0] * wh[:, 1]
        gone[rest] |= inter / (area[i] + area[rest] - inter) > thr
    return keep


def suppress(xyxy, scores, extra, conf, iou, multi, max_det=300, max_nms=30000):
    """Ultralytics: xyxy [N,4], scores [N,nc], extra [N,e] -> [K, 6 + e]."""
    if multi and scores.shape[1] > 1:
        i, j = torch.where(scores > conf)
        x = torch.cat([xyxy[i], scores[i, j, None], j[:, None].float(), extra[i]], 1)
    else:
        top, j = scores.max(1, keepdim=True)
        x = torch.cat([xyxy, top, j.float(), extra], 1)[top[:, 0] > conf]
    if len(x) > max_nms:
        x = x[x[:, 4].sort(stable=True, descending=True).indices[:max_nms]]
    keep = nms(x[:, :4] + x[:, 5:6] * 7680, x[:, 4], iou)[:max_det]
    return x[keep]


def xywh2xyxy(x):
    half = x[:, 2:4] / 2
    return torch.cat([x[:, :2] - half, x[:, :2] + half], 1)


def clip(det, w, h):
    det = det.clone()
    det[:, [0, 2]] = det[:, [0, 2]].clamp(0, w)
    det[:, [1, 3]] = det[:, [1, 3]].clamp(0, h)
    return det


def cells(w, h, strides):
    xy, st = [], []
    for s in strides:
        gy, gx = torch.meshgrid(torch.arange(-(-h // s)), torch.arange(-(-w // s)), indexing="ij")
        xy.append(torch.stack([gx, gy], -1).reshape(-1, 2).float())
        st.append(torch.full((len(xy[-1]), 1), float(s)))
    return torch.cat(xy), torch.cat(st)


def random_rows(g, n, nc, w, h):
    """Clustered boxes, so that suppression has work, with scores that tie now and then."""
    centres = torch.rand(max(1, n // 12), 2, generator=g) * torch.tensor([w, h])
    xy = centres[torch.randint(len(centres), (n,), generator=g)] + torch.randn(n, 2, generator=g) * 6
    wh = 20 + 60 * torch.rand(n, 2, generator=g)
    scores = torch.rand(n, nc, generator=g) ** 4
    ties = torch.rand(n, nc, generator=g) < .2
    scores[ties] = (scores[ties] * 16).round() / 16
    return torch.cat([xy, wh], 1), scores


def compare(label, own, want, tolerance):
    want = want.numpy()
    if own.shape[0] == want.shape[0] == 0:
        return 0, 0.0
    if own.shape != want.shape or not np.array_equal(own[:, 5], want[:, 5]):
        print(f"FAIL {label}: {own.shape} for {want.shape}")
        return 1, 0.0
    worst = float(np.abs(own - want).max())
    if worst > tolerance:
        print(f"FAIL {label}: differs by {worst:.3g}")
    return int(worst > tolerance), worst


def case_yolov8(g, t, driver, conf, iou, multi):
    w, h, nc = 96 + 32 * (t % 3), 128, (1, 3, 80, 7)[t % 4]
    xywh, scores = random_rows(g, len(cells(w, h, (8, 16, 32))[0]), nc, w, h)
    out = torch.cat([xywh, scores], 1).T[None]
    want = suppress(xywh2xyxy(xywh), scores, xywh[:, :0], conf, iou, multi)
    return driver.rows([out], w, h, nc, 0, "detect", conf, iou, multi), clip(want, w, h), 0


def case_transposed(g, t, driver, conf, iou, multi):
    w, h, nc = 128, 96, 11
    xywh, scores = random_rows(g, len(cells(w, h, (8, 16, 32))[0]), nc, w, h)
    want = suppress(xywh2xyxy(xywh), scores, xywh[:, :0], conf, iou, multi)
    out = torch.cat([xywh, scores], 1)[None]
    return driver.rows([out], w, h, nc, 0, "detect", conf, iou, multi), clip(want, w, h), 0


def case_masks(g, t, driver, conf, iou, multi):
    w, h, nc = 160, 96, 5
    xywh, scores = random_rows(g, len(cells(w, h, (8, 16, 32))[0]), nc, w, h)
    coef = torch.randn(len(xywh), 32, generator=g)
    out = torch.cat([xywh, scores, coef], 1).T[None]
    proto = torch.zeros(1, 32, h // 4, w // 4)
    want = suppress(xywh2xyxy(xywh), scores, xywh[:, :0], conf, iou, multi)
    return driver.rows([out, proto], w, h, nc, 0, "segment", conf, iou, multi), clip(want, w, h), 0


def case_yolov5(g, t, driver, conf, iou, multi):
    w, h, nc = 128, 64, (80, 2)[t % 2]
    xywh, scores = random_rows(g, 3 * len(cells(w, h, (8, 16, 32))[0]), nc, w, h)
    obj = torch.rand(len(xywh), 1, generator=g)
    out = torch.cat([xywh, obj, scores], 1)[None]
    want = suppress(xywh2xyxy(xywh), scores * obj, xywh[:, :0], conf, iou, multi)
    return driver.rows([out], w, h, nc, 0, None, conf, iou, multi), clip(want, w, h), 0


def case_yolox(g, t, driver, conf, iou, multi):
    w, h, nc = 128, 128, 80
    grid, stride = cells(w, h, (8, 16, 32) if t % 2 else (8, 16, 32, 64))
    raw = torch.cat([torch.randn(len(grid), 2, generator=g), torch.randn(len(grid), 2, generator=g) * .5], 1)
    obj, scores = torch.rand(len(grid), 1, generator=g), torch.rand(len(grid), nc, generator=g) ** 6
    out = torch.cat([raw, obj, scores], 1)[None]
    xywh = torch.cat([(raw[:, :2] + grid) * stride, torch.exp(raw[:, 2:]) * stride], 1)
    want = suppress(xywh2xyxy(xywh), scores * obj, xywh[:, :0], conf, iou, multi)
    # exp() of PyTorch and of the C library may differ in the last bit; measured 7.7e-6 px
    return driver.rows([out], w, h, nc, 0, None, conf, iou, multi), clip(want, w, h), 3e-5


def case_pose(g, t, driver, conf, iou, multi):
    w, h, k, dims = 128, 96, (17, 5)[t % 2], (3, 2)[t // 2 % 2]
    xywh, scores = random_rows(g, len(cells(w, h, (8, 16, 32))[0]), 1, w, h)
    points = torch.rand(len(xywh), k, dims, generator=g) * 100
    out = torch.cat([xywh, scores, points.reshape(len(xywh), -1)], 1).T[None]
    full = points if dims == 3 else torch.cat([points, torch.ones(len(xywh), k, 1)], 2)
    full = full.clone()
    full[..., 0].clamp_(0, w), full[..., 1].clamp_(0, h)
    want = suppress(xywh2xyxy(xywh), scores, full.reshape(len(xywh), -1), conf, iou, multi)
    return driver.rows([out], w, h, 1, k, "pose", conf, iou, multi), clip(want, w, h), 0


def nanodet_rows(cls, reg, w, h):
    grid, stride = cells(w, h, (8, 16, 32))
    bins = reg.shape[1] // 4
    d = (torch.softmax(reg.reshape(-1, 4, bins), 2) * torch.arange(bins)).sum(2) * stride
    c = (grid + .5) * stride
    xyxy = torch.cat([c - d[:, :2], c + d[:, 2:]], 1)
    return clip(xyxy, w, h), cls


def case_nanodet(g, t, driver, conf, iou, multi):
    w, h, nc = 96, 128, 80
    n = [len(cells(w, h, (s,))[0]) for s in (8, 16, 32)]
    cls = [torch.rand(m, nc, generator=g) ** 6 for m in n]
    reg = [torch.randn(m, 32, generator=g) * 2 for m in n]
    want = suppress(*nanodet_rows(torch.cat(cls), torch.cat(reg), w, h), torch.zeros(sum(n), 0), conf, iou, multi)
    outs = [cls[0], cls[1], cls[2], reg[0], reg[1], reg[2]] if t % 2 else [reg[2], cls[0], reg[1], cls[2], reg[0], cls[1]]
    # softmax sums in another order: measured 2.3e-5 px
    return driver.rows(outs, w, h, nc, 0, None, conf, iou, multi), clip(want, w, h), 1e-4


def case_end2end(g, t, driver, conf, iou, multi):
    w, h = 320, 320
    b = torch.rand(300, 4, generator=g) * 160
    x = torch.cat([b[:, :2], b[:, :2] + b[:, 2:], torch.rand(300, 1, generator=g),
                   torch.randint(80, (300, 1), generator=g).float()], 1)
    x = x[x[:, 4].sort(stable=True, descending=True).indices]
    return driver.rows([x[None]], w, h, 80, 0, "detect", conf, iou, multi), clip(x[x[:, 4] > conf], w, h), 0


CASES = [case_yolov8, case_transposed, case_masks, case_yolov5, case_yolox, case_pose, case_nanodet, case_end2end]


def test_random(driver, cases):
    bad = 0
    for case in CASES:
        worst, rows = 0.0, 0
        for t in range(cases):
            g = torch.Generator().manual_seed(1000 + t)
            conf, iou, multi = (.001, .25, .1)[t % 3], (.7, .45, .65, .5)[t % 4], bool(t & 1)
            own, want, tolerance = case(g, t, driver, conf, iou, multi)
            b, d = compare(f"{case.__name__} {t}", own, want, tolerance)
            bad, worst, rows = bad + b, max(worst, d), rows + len(own)
        print(f"{case.__name__[5:]}: {cases} cases, {rows} detections, worst difference {worst:.3g}")
    return bad


def test_nms(driver, cases):
    bad = kept = 0
    for t in range(cases):
        g = torch.Generator().manual_seed(t)
        n = int(torch.randint(0, 900, (1,), generator=g))
        xywh = random_rows(g, max(n, 1), 1, 200, 150)[0][:n]
        boxes = xywh2xyxy(xywh).round() if t % 2 else xywh2xyxy(xywh)  # whole corners: overlaps tie with iou
        if n > 4:
            boxes[1] = boxes[0]
            boxes[2, 2:] = boxes[2, :2]  # empty
            boxes[3] = boxes[3][[2, 3, 0, 1]]  # inside out
        iou = (.5, .7, .45, 0., 1.)[t % 5]
        want = nms(boxes, torch.arange(n, 0, -1).float(), iou)[:300]
        own = driver.nms(boxes.numpy(), iou, 300)
        kept += len(own)
        if own != want:
            bad += 1
            print(f"FAIL nms case {t}: {len(own)} kept for {len(want)}")
    print(f"nms: {cases} cases, {kept} survivors, {bad} differ")
    return bad


def session(name):
    import onnxruntime as ort
    path = os.path.join(DATA, "models", name)
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]) if os.path.exists(path) else None


def picture(path, w, h):
    import cv2
    return cv2.resize(cv2.imread(path), (w, h), interpolation=cv2.INTER_LINEAR)


def test_real(driver):
    """Pose and NanoDet on bus.jpg stretched to the input, so that input pixels are picture pixels."""
    bad = 0
    bus = os.path.join(DATA, "seed", "bus.jpg")
    pose, nano = session("yolov8n-pose.onnx"), session("nanodet_m_320.onnx")
    if not pose or not nano or not os.path.exists(bus):
        print("SKIP real models: no data")
        return 0
    x = picture(bus, 640, 640)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    out = torch.tensor(pose.run(None, {"images": x})[0])
    p = out[0].T
    k = p[:, 5:].reshape(-1, 17, 3).clone()
    k[..., :2].clamp_(0, 640)
    want = clip(suppress(xywh2xyxy(p[:, :4]), p[:, 4:5], k.reshape(-1, 51), .25, .7, False), 640, 640)
    own = driver.rows([out], 640, 640, 1, 17, "pose", .25, .7, False)
    b, worst = compare("yolov8n-pose", own, want, 0)
    print(f"yolov8n-pose: {len(own)} persons, worst difference {worst:.3g}")
    bad += b + (len(own) < 3)
    mean, std = np.array([103.53, 116.28, 123.675], np.float32), np.array([57.375, 57.12, 58.395], np.float32)
    x = ((picture(bus, 320, 320).astype(np.float32) - mean) / std).transpose(2, 0, 1)[None]
    outs = [torch.tensor(o) for o in nano.run(None, {nano.get_inputs()[0].name: x})]
    cls = torch.cat([o for o in sorted(outs, key=len, reverse=True) if o.shape[1] == 80])
    reg = torch.cat([o for o in sorted(outs, key=len, reverse=True) if o.shape[1] == 32])
    want = clip(suppress(*nanodet_rows(cls, reg, 320, 320), torch.zeros(len(cls), 0), .3, .6, True), 320, 320)
    own = driver.rows(outs, 320, 320, 80, 0, None, .3, .6, True)
    b, worst = compare("nanodet_m_320", own, want, 1e-4)  # measured 3.1e-5
    print(f"nanodet_m_320: {len(own)} detections, classes {sorted(set(own[:, 5].astype(int).tolist()))}, worst {worst:.3g}")
    return bad + b + (not {0, 5} <= set(own[:, 5].astype(int)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--driver", required=True)
    p.add_argument("--cases", type=int, default=12)
    args = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as tmp:
        driver = Driver(os.path.abspath(args.driver), tmp)
        bad = test_nms(driver, 4 * args.cases) + test_random(driver, args.cases) + test_real(driver)
    print(f"vision_heads: {bad} failures")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
