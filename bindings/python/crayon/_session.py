"""Running models: tensors with Session, pictures with Detector.

Both may be used from several threads at once. The compiled model is shared; memory for a run is taken
from a stock that grows with the number of threads that run at the same time.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import byref, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ._library import CrayonError, Detect, Handle, Tensor, call, lib, path_bytes, tensor_copy
from ._model import ImageSize, Model, Port, as_picture


class _Stock:
    """Handles that are free to run; a new one shares what the first has compiled."""

    def __init__(self, kind: str, model: Model, threads: int):
        self._kind, self._lock = kind, threading.Lock()
        self._first = Handle(f"cr_{kind}_free")
        call(f"cr_{kind}_create", model.pointer, int(threads), byref(self._first.pointer))
        self._free = [self._first]

    def run(self, job: Callable[[Any], Any]) -> Any:
        with self._lock:
            handle = self._free.pop() if self._free else None
        if handle is None:
            handle = Handle(f"cr_{self._kind}_free")
            call(f"cr_{self._kind}_share", self._first.pointer, 0, byref(handle.pointer))
        try:
            return job(handle.pointer)
        finally:
            with self._lock:
                self._free.append(handle)


class Session:
    """A compiled model.

        y = crayon.Session("model.onnx").run(x)

    threads: 0 for all cores. imgsz, batch: sizes that the file leaves open. precision: "float32",
    "bf16" or "auto", of float models; a quantized one runs on integers.
    """

    def __init__(self, path: Any, *, threads: int = 0, imgsz: Optional[ImageSize] = None,
                 batch: int = 0, precision: str = "float32"):
        self.model = Model(path, imgsz=imgsz, batch=batch, precision=precision)
        self._inputs, self._outputs = self.model.inputs, self.model.outputs
        self._stock = _Stock("runner", self.model, threads)

    @property
    def inputs(self) -> List[Port]:
        return list(self._inputs)

    @property
    def outputs(self) -> List[Port]:
        return list(self._outputs)

    def _arrange(self, arrays: Sequence[Any]) -> List[np.ndarray]:
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            given = dict(arrays[0])
            wanted = [p.name for p in self._inputs]
            if set(given) != set(wanted):
                raise ValueError(f"inputs {sorted(given)}: the model's are {wanted}")
            arrays = [given[name] for name in wanted]
        if len(arrays) != len(self._inputs):
            raise ValueError(f"{len(arrays)} arrays: the model has {len(self._inputs)} inputs")
        return [_fitting(p, a) for p, a in zip(self._inputs, arrays)]

    def run(self, *arrays: Any) -> Union[np.ndarray, Tuple[np.ndarray, ...]]:
        """Outputs for the inputs, given in order or as one dict by name: an array if the model has
        one output, else a tuple. Types and shapes must be the ports' own: nothing is converted."""
        inputs = self._arrange(arrays)

        def job(runner: Any) -> List[np.ndarray]:
            size = c_size_t()
            for i, x in enumerate(inputs):
                place = lib.cr_runner_input(runner, i, byref(size))
                ctypes.memmove(place, x.ctypes.data, min(size.value, x.nbytes))
            call("cr_runner_run", runner)
            return [_read_output(runner, i) for i in range(len(self._outputs))]

        found = self._stock.run(job)
        return found[0] if len(found) == 1 else tuple(found)


def _fitting(port: Port, array: Any) -> np.ndarray:
    x = np.asarray(array)
    if x.dtype != np.dtype(port.dtype):
        raise TypeError(f"input {port.name!r} is {port.dtype}, not {x.dtype}")
    if x.shape != port.shape:
        raise ValueError(f"input {port.name!r} has shape {list(port.shape)}, not {list(x.shape)}")
    return np.ascontiguousarray(x)


def _read_output(runner: Any, index: int) -> np.ndarray:
    t = Tensor()
    call("cr_py_output", runner, index, byref(t))
    return tensor_copy(t)


@dataclass(frozen=True)
class Detections:
    """What was found, best first. Boxes are x1, y1, x2, y2 in the picture's pixels."""

    boxes: np.ndarray  # float32 [n, 4]
    scores: np.ndarray  # float32 [n]
    classes: np.ndarray  # int32 [n]
    names: Sequence[str]  # by class; empty if the model has none
    keypoints: Optional[np.ndarray] = None  # float32 [n, k, 3]: x, y, score

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, index: int) -> str:
        number = int(self.classes[index])
        return self.names[number] if number < len(self.names) else str(number)

    def as_dicts(self) -> List[Dict[str, Any]]:
        """One dict per detection with plain Python values, as `crayon detect --json` has them."""
        return [{"class": int(self.classes[i]), "name": self.label(i),
                 "score": float(self.scores[i]), "box": [float(v) for v in self.boxes[i]]}
                for i in range(len(self))]


def read_picture(path: Any) -> np.ndarray:
    """A JPEG or PNG file as uint8 [H,W,3] RGB: what cv2.imread gives, channels turned round."""
    image, pixels, height, width = Handle("cr_py_free_image"), c_void_p(), c_int(), c_int()
    call("cr_py_read_image", path_bytes(path), byref(image.pointer), byref(pixels), byref(height),
         byref(width))
    out = np.empty((height.value, width.value, 3), dtype=np.uint8)
    ctypes.memmove(out.ctypes.data, pixels, out.nbytes)
    return out


class Detector:
    """A detection (pose, classification) model for pictures."""

    def __init__(self, path: Any, *, threads: int = 0, imgsz: Optional[ImageSize] = None,
                 precision: str = "float32"):
        self.model = Model(path, imgsz=imgsz, precision=precision)
        self._names = tuple(self.model.class_names)
        self._stock = _Stock("detector", self.model, threads)

    def detect(self, picture: Any, *, conf: float = .25, iou: float = .7,
               max_detections: int = 300, classes: Optional[Sequence[int]] = None,
               class_agnostic: bool = False, multi_label: bool = False,
               bgr: bool = False) -> Detections:
        """Finds things in a file, or in a uint8 array [H,W,3] (RGB; bgr=True for OpenCV's order).

        conf: least score. iou: a box that overlaps a better one by more is dropped. classes: only
        these numbers.
        """
        array = picture if hasattr(picture, "__array__") else read_picture(picture)
        rgb = as_picture(array, bgr and array is picture)
        if not (0 <= conf <= 1 and 0 <= iou <= 1 and max_detections > 0):
            raise ValueError(f"conf {conf}, iou {iou}, max_detections {max_detections}: "
                             "0..1, 0..1 and above 0")
        wanted = None if classes is None else (c_int * len(classes))(*classes)
        options = Detect(conf, iou, max_detections, class_agnostic, multi_label, wanted,
                         0 if classes is None else len(classes))
        if classes is not None and not len(classes):
            return self._empty()

        def job(detector: Any) -> Detections:
            found, count, points = Handle("cr_py_found_free"), c_size_t(), c_int()
            call("cr_py_detect_run", detector, rgb.ctypes.data, rgb.shape[0], rgb.shape[1],
                 byref(options), byref(found.pointer), byref(count), byref(points))
            return self._collect(found.pointer, count.value, points.value)

        return self._stock.run(job)

    def _collect(self, found: Any, n: int, points: int) -> Detections:
        out = Detections(np.empty((n, 4), np.float32), np.empty(n, np.float32),
                         np.empty(n, np.int32), self._names,
                         np.zeros((n, points, 3), np.float32) if points else None)
        lib.cr_py_found_copy(found, out.boxes.ctypes.data, out.scores.ctypes.data,
                             out.classes.ctypes.data,
                             None if out.keypoints is None else out.keypoints.ctypes.data)
        return out

    def _empty(self) -> Detections:
        return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32),
                          np.empty(0, np.int32), self._names)


def detect(model: Any, picture: Any, **options: Any) -> Detections:
    """Detector(model).detect(picture, ...) in one call: `model` is a file or a Detector. Opening
    takes some 30 ms; keep a Detector for many pictures."""
    detector = model if isinstance(model, Detector) else Detector(model)
    return detector.detect(picture, **options)
