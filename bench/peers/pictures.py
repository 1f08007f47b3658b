"""The usual Python around a detector: cv2.imread, letterbox as Ultralytics does it, NumPy decoding and
suppression. Written as such programs are written, with vectorised NumPy and cv2 where there is a call
for it, so that the comparison is with a good loop and not with a slow one."""
import cv2
import numpy as np

from models import MODELS


def letterbox(picture, side):
    """[side, side, 3] uint8, the picture scaled to fit in the middle, 114 around it; gain and offsets."""
    h, w = picture.shape[:2]
    gain = min(side / h, side / w)
    new_w, new_h = round(w * gain), round(h * gain)
    dw, dh = (side - new_w) / 2, (side - new_h) / 2
    if (w, h) != (new_w, new_h):
        picture = cv2.resize(picture, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    top, bottom = round(dh - 0.1), round(dh + 0.1)
    left, right = round(dw - 0.1), round(dw + 0.1)
    boxed = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT,
                               value=(114, 114, 114))
    return boxed, gain, left, top


def top_left(picture, side):
    """The same as YOLOX does it: at the top left."""
    h, w = picture.shape[:2]
    gain = min(side / h, side / w)
    boxed = np.full((side, side, 3), 114, np.uint8)
    new_w, new_h = int(w * gain), int(h * gain)
    boxed[:new_h, :new_w] = cv2.resize(picture, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    return boxed, gain, 0, 0


def fit(picture, model):
    return (letterbox if MODELS[model]["fit"] == "letterbox" else top_left)(picture,
                                                                            MODELS[model]["side"])


def normalised(boxed, model):
    """[1, 3, side, side] float32."""
    about = MODELS[model]
    if about["rgb"]:
        boxed = boxed[..., ::-1]
    planes = np.ascontiguousarray(boxed.transpose(2, 0, 1))[None]
    x = planes.astype(np.float32)
    if about["div"] != 1:
        x /= about["div"]
    return x


def tensor_of(picture, model):
    return normalised(fit(picture, model)[0], model)


def nms(boxes, scores, iou):
    """Rows that stay, best first; boxes [n, 4] x1,y1,x2,y2."""
    order = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(best)
        lo = np.maximum(boxes[best, :2], boxes[rest, :2])
        hi = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        inter = np.clip(hi - lo, 0, None).prod(1)
        order = rest[inter / (area[best] + area[rest] - inter) <= iou]
    return np.array(keep, np.int64)


def yolox_grid(side):
    """Cell x, y and stride of each row."""
    parts = []
    for stride in (8, 16, 32):
        n = side // stride
        y, x = np.mgrid[:n, :n]
        parts.append(np.stack([x.ravel(), y.ravel(), np.full(n * n, stride)], 1))
    return np.concatenate(parts).astype(np.float32)


GRID = yolox_grid(MODELS["yolox_nano"]["side"])


def candidates(output, model, conf):
    """Boxes (x, y, w, h in input pixels), scores and classes of the rows above conf."""
    if model == "yolov8n":
        scores = output[0, 4:]
        best = scores.max(0)
        rows = np.flatnonzero(best > conf)
        return output[0, :4, rows], best[rows], scores[:, rows].argmax(0)
    rows = np.flatnonzero(output[0, :, 4] > conf)
    found, grid = output[0, rows], GRID[rows]
    scores = found[:, 5:] * found[:, 4:5]
    best = scores.max(1)
    over = best > conf
    found, grid = found[over], grid[over]
    xywh = np.concatenate([(found[:, :2] + grid[:, :2]) * grid[:, 2:],
                           np.exp(found[:, 2:4]) * grid[:, 2:]], 1)
    return xywh, best[over], scores[over].argmax(1)


def detections(output, model, size, gain, left, top, conf=0.25, iou=0.7):
    """[n, 6]: x1, y1, x2, y2 in source pixels, score, class; best first."""
    xywh, scores, classes = candidates(output, model, conf)
    half = xywh[:, 2:] / 2
    boxes = np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], 1)
    keep = nms(boxes + classes[:, None] * np.float32(7680), scores, iou)[:300]
    boxes = (boxes[keep] - np.float32([left, top, left, top])) / np.float32(gain)
    boxes = boxes.clip(0, np.float32([size[1], size[0], size[1], size[0]]))
    return np.concatenate([boxes, scores[keep, None], classes[keep, None]], 1)
