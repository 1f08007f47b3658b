#!/usr/bin/env python3
"""The steps around the network against OpenCV and NumPy, on one core.

    vision.py BUILD/libcrayon.so PICTURE [--size 1280x720] [--model yolov8n.onnx] [--runs N] [--json]

Both sides do the same work on the same picture, taking turns: JPEG decoding, letterbox to 640x640 as
pixels, the same as float32 [1,3,640,640], and the decoding of a YOLOv8 head with suppression. The head's
tensor is the model's own output (ONNX Runtime) or, without --model, random. Figures are CPU milliseconds of
the thread, the least of all runs. That results are equal is checked here too, before anything is timed.
"""
import argparse
import ctypes as C
import json
import os
import sys
import time

import cv2
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "peers"))
from vision_opencv import Image, Placement, Preprocess  # noqa: E402

F = np.float32
CONF, IOU, SIDE = .25, .7, 640


class Head(C.Structure):
    _fields_ = [("kind", C.c_int), ("classes", C.c_int), ("keypoints", C.c_int), ("keypoint_dims", C.c_int),
                ("masks", C.c_int), ("oriented", C.c_bool), ("fractions", C.c_bool),
                ("transposed", C.c_bool), ("input_width", C.c_int), ("input_height", C.c_int)]


class Output(C.Structure):
    _fields_ = [("data", C.c_void_p), ("rank", C.c_int), ("dim", C.c_int64 * 8)]


class Options(C.Structure):
    _fields_ = [("conf", C.c_float), ("iou", C.c_float), ("max_detections", C.c_int),
                ("max_candidates", C.c_int), ("class_agnostic", C.c_bool), ("multi_label", C.c_bool),
                ("classes", C.c_void_p), ("class_count", C.c_size_t)]


class Detection(C.Structure):
    _fields_ = [("class_id", C.c_int), ("score", C.c_float), ("box", C.c_float * 4),
                ("keypoints", C.c_void_p), ("index", C.c_int)]


class Detections(C.Structure):
    _fields_ = [("items", C.POINTER(Detection)), ("count", C.c_size_t), ("keypoint_count", C.c_int),
                ("keypoint_block", C.c_void_p)]


# --- the usual Python -----------------------------------------------------------------------------

def cv_letterbox(bgr):
    h, w = bgr.shape[:2]
    r = min(SIDE / h, SIDE / w)
    nw, nh = max(1, round(w * r)), max(1, round(h * r))
    top, left = round((SIDE - nh) / 2 - 0.1), round((SIDE - nw) / 2 - 0.1)
    if (nw, nh) != (w, h):
        bgr = cv2.resize(bgr, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(bgr, top, SIDE - nh - top, left, SIDE - nw - left, cv2.BORDER_CONSTANT,
                              value=(114, 114, 114))


def np_tensor(bgr):
    x = np.ascontiguousarray(cv_letterbox(bgr)[..., ::-1].transpose(2, 0, 1)[None])
    return x.astype(F) / F(255)


def cv_blob(bgr):
    return cv2.dnn.blobFromImage(cv_letterbox(bgr), 1 / 255, swapRB=True)


def np_head(out, place):
    """Best class, threshold, cv2's suppression per class, boxes into the picture."""
    p = out[0]
    best = p[4:].argmax(0)
    score = p[4:].max(0)
    keep = score > CONF
    x, y, w, h = p[:4, keep]
    score, best = score[keep], best[keep]
    boxes = np.stack((x - w / 2, y - h / 2, w, h), 1)
    chosen = np.asarray(cv2.dnn.NMSBoxesBatched(boxes.tolist(), score.tolist(), best.tolist(), CONF, IOU), int)
    xyxy = boxes[chosen]
    xyxy[:, 2:] += xyxy[:, :2]
    gain, dx, dy, sw, sh = place
    xyxy = (xyxy - np.array([dx, dy, dx, dy], F)) / gain
    xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, sw)
    xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, sh)
    return xyxy, score[chosen], best[chosen]


# --- timing ---------------------------------------------------------------------------------------

def least_ms(functions, runs):
    """The functions take turns, so that a slow moment of the machine meets all of them."""
    best = [float("inf")] * len(functions)
    for _ in range(runs):
        for i, f in enumerate(functions):
            start = time.thread_time_ns()
            f()
            best[i] = min(best[i], time.thread_time_ns() - start)
    return [b * 1e-6 for b in best]


def head_tensor(model, blob):
    if model:
        import onnxruntime as ort
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: blob})[0]
    rng = np.random.default_rng(1)
    out = (rng.random((1, 84, 8400)) ** 300).astype(F) * F(.9)
    out[:, :4] = rng.random((1, 4, 8400)) * 200
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("library")
    p.add_argument("picture")
    p.add_argument("--size", help="WxH: the picture is scaled to it and encoded again, quality 90")
    p.add_argument("--model")
    p.add_argument("--runs", type=int, default=200)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    cv2.setNumThreads(1)
    lib = C.CDLL(os.path.abspath(args.library))
    with open(args.picture, "rb") as f:
        data = f.read()
    if args.size:
        size = tuple(int(v) for v in args.size.split("x"))
        img = cv2.resize(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), size)
        data = cv2.imencode(".jpg", img, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    encoded = np.frombuffer(data, np.uint8)
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    h, w = bgr.shape[:2]
    image = Image(w, h, rgb.ctypes.data_as(C.POINTER(C.c_uint8)))
    pre = Preprocess(0, SIDE, SIDE, False, (C.c_float * 3)(0, 0, 0), (C.c_float * 3)(255, 255, 255), 114)
    place, pixels = Placement(), np.empty((SIDE, SIDE, 3), np.uint8)
    tensor = np.empty((1, 3, SIDE, SIDE), F)

    def own_decode():
        img = Image()
        assert lib.cr_image_decode(data, C.c_size_t(len(data)), b"picture", C.byref(img), None) == 0
        lib.cr_image_free(C.byref(img))

    def own_pixels():
        assert lib.cr_preprocess_pixels(C.byref(pre), C.byref(image), pixels.ctypes.data_as(C.c_void_p),
                                        C.byref(place), None) == 0

    def own_tensor():
        assert lib.cr_preprocess_run(C.byref(pre), C.byref(image), tensor.ctypes.data_as(C.c_void_p),
                                     C.byref(place), None) == 0

    own_tensor()
    if not np.array_equal(tensor, np_tensor(bgr)):
        sys.exit("vision.py: the input tensors differ")
    own_pixels()
    if not np.array_equal(pixels, cv_letterbox(bgr)[..., ::-1]):
        sys.exit("vision.py: the letterboxed pictures differ")

    raw = np.ascontiguousarray(head_tensor(args.model, np_tensor(bgr)), F)
    output = Output(raw.ctypes.data, 3, (C.c_int64 * 8)(*raw.shape))
    head = Head(1, raw.shape[1] - 4, 0, 0, 0, False, False, False, SIDE, SIDE)
    options = Options(CONF, IOU, 300, 30000, False, False, None, 0)
    where = (F(place.gain_x), place.pad_x, place.pad_y, w, h)
    seen = []

    def own_head():
        found = Detections()
        assert lib.cr_head_decode(C.byref(head), C.byref(output), C.c_size_t(1), C.byref(place),
                                  C.byref(options), C.byref(found), None) == 0
        seen[:] = [found.count]
        lib.cr_detections_free(C.byref(found))

    steps = [("jpeg", own_decode, [("cv2", lambda: cv2.imdecode(encoded, cv2.IMREAD_COLOR))]),
             ("letterbox", own_pixels, [("cv2", lambda: cv_letterbox(bgr))]),
             ("tensor", own_tensor, [("cv2 + numpy", lambda: np_tensor(bgr)),
                                     ("cv2 + blobFromImage", lambda: cv_blob(bgr))]),
             ("head", own_head, [("numpy + cv2.dnn", lambda: np_head(raw, where))])]
    result = {"picture": f"{w}x{h}", "opencv": cv2.__version__, "steps": []}
    for name, own, peers in steps:
        times = least_ms([own] + [f for _, f in peers], args.runs)
        result["steps"].append({"step": name, "crayon_ms": times[0],
                                "peers": {peer: ms for (peer, _), ms in zip(peers, times[1:])}})
    own_head()
    result["boxes"] = seen[0], len(np_head(raw, where)[1])
    if args.json:
        print(json.dumps(result))
        return
    print(f"{result['picture']}, OpenCV {cv2.__version__}, one thread, CPU ms, least of {args.runs}; "
          f"boxes {result['boxes']}")
    for s in result["steps"]:
        peers = "  ".join(f"{k} {v:.3f} (x{v / s['crayon_ms']:.1f})" for k, v in s["peers"].items())
        print(f"  {s['step']:10} crayon {s['crayon_ms']:.3f}   {peers}")


if __name__ == "__main__":
    main()
