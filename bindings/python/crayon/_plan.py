"""Calibrating, planning, exporting: what crayon.quantize and crayon.quantization share."""

from __future__ import annotations

import os
import tempfile
from ctypes import byref, c_size_t
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, List, Mapping, Optional, Sequence

import numpy as np

from ._library import CrayonError, Handle, Progress, Watch, call, lib, path_bytes, strings
from ._model import Model, as_picture, fit_picture


MODES = ("static", "weights", "dynamic")


@dataclass(frozen=True)
class Report:
    """What a plan did."""

    convs: int  # convolutions and gemms
    convs_quantized: int
    head_nodes: int  # behind the last convolutions
    last_convs: int
    activations: int  # entries in the recipe
    weights: int
    excluded: int  # nodes that stayed float as asked
    samples: int  # that calibration ran
    bytes_before: int
    bytes_after: int


class Plan:
    """Options of a plan, by the names of `crayon quantize` with _ for -."""

    def __init__(self, threads: int = 0):
        self._handle = Handle("cr_py_plan_free")
        self._handle.pointer.value = lib.cr_py_plan_create()
        lib.cr_py_plan_threads(self.pointer, int(threads))

    @property
    def pointer(self) -> Any:
        return self._handle.pointer

    def set(self, name: str, value: Any) -> None:
        """A flag takes a bool, an option that may be repeated a list, every other one its value."""
        option = name.replace("_", "-").encode()
        kind = lib.cr_py_plan_kind(option)
        if kind < 0:
            raise TypeError(f"no option {name!r}; options: {', '.join(option_names())}")
        if kind == 1:
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(f"{name}: True or False, not {value!r}")
            if value:
                call("cr_py_plan_set", self.pointer, option, None)
            return
        for one in value if isinstance(value, (list, tuple)) else [value]:
            call("cr_py_plan_set", self.pointer, option, str(one).encode())

    def mode(self, name: str) -> None:
        if name not in MODES:
            raise ValueError(f"mode {name!r}: one of {', '.join(MODES)}")
        lib.cr_py_plan_mode(self.pointer, MODES.index(name))

    def keep_float(self, names: Sequence[str]) -> None:
        call("cr_py_plan_nodes", self.pointer, 0, strings(names), len(names))

    def only(self, names: Sequence[str]) -> None:
        call("cr_py_plan_nodes", self.pointer, 1, strings(names), len(names))


def option_names() -> List[str]:
    names: List[str] = []
    while True:
        name = lib.cr_py_plan_name(len(names))
        if name is None:
            return sorted(names)
        names.append(name.decode().replace("-", "_"))


class Stats(Handle):
    """What calibration saw."""

    def __init__(self) -> None:
        super().__init__("cr_stats_free")

    @classmethod
    def load(cls, path: Any) -> "Stats":
        stats = cls()
        call("cr_stats_load", path_bytes(path), byref(stats.pointer))
        return stats

    def save(self, path: Any) -> None:
        call("cr_stats_save", self.pointer, path_bytes(path))

    @property
    def samples(self) -> int:
        return int(lib.cr_stats_pictures(self.pointer))


class Spool:
    """Samples on their way to the library, in an unnamed file: memory stays flat however many there
    are, and calibration reads them from all cores at once, as often as it likes."""

    def __init__(self, model: Model):
        if len(model.inputs) != 1 or model.inputs[0].dtype != "float32":
            raise CrayonError(f"{model.path}: calibration needs a model with one float32 input, "
                              f"not {[tuple(p) for p in model.inputs]}", "unsupported")
        self._model, self._port = model, model.inputs[0]
        self._file = tempfile.TemporaryFile(prefix="crayon-")
        self.count = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def add(self, array: Any) -> None:
        """A tensor of the input's shape, or a batch of several."""
        x = np.ascontiguousarray(array)
        want = self._port.shape
        if x.dtype != np.float32:
            raise TypeError(f"input {self._port.name!r} is float32, not {x.dtype}")
        fits = x.ndim == len(want) and x.shape[1:] == want[1:] and x.shape[0] % want[0] == 0
        if not fits or not x.size:
            raise ValueError(f"input {self._port.name!r} has shape {list(want)}, "
                             f"not {list(x.shape)}")
        self._file.write(x.data)
        self.count += x.shape[0] // want[0]

    def add_feed(self, feed: Any) -> None:
        """The dict that a calibration reader gives."""
        if not isinstance(feed, Mapping):
            raise TypeError(f"a calibration reader gives dicts of arrays by input name, not "
                            f"{type(feed).__name__}")
        if set(feed) != {self._port.name}:
            raise ValueError(f"the reader gave inputs {sorted(map(str, feed))}: the model has "
                             f"{self._port.name!r}")
        self.add(feed[self._port.name])

    def add_picture(self, rgb: Any) -> None:
        self.add(np.repeat(fit_picture(self._model, as_picture(rgb))[None],
                           self._port.shape[0], 0))

    def calibrate(self, plan: Plan, progress: Optional[Progress]) -> Stats:
        if not self.count:
            raise ValueError("no calibration data: the reader gave nothing")
        self._file.flush()
        stats, watch = Stats(), Watch(progress)
        watch.call("cr_py_calibrate_file", self._model.pointer, self._file.fileno(), self.count,
                   plan.pointer, watch.function, byref(stats.pointer))
        return stats


def _are_paths(images: Any) -> bool:
    return isinstance(images, (list, tuple)) and bool(images) and \
        all(isinstance(p, (str, os.PathLike)) for p in images)


def tune(model: Model, images: Any, plan: Plan, progress: Optional[Progress]) -> None:
    """Rounds the planned weights by pictures: a folder (list, pattern) or a list of files; None: without
    pictures, so that errors cancel in sums."""
    watch = Watch(progress)
    if images is None:
        watch.call("cr_py_tune_images", model.pointer, strings([]), 0, plan.pointer, watch.function)
        return
    if isinstance(images, (str, os.PathLike)):
        watch.call("cr_py_tune_folder", model.pointer, path_bytes(images), plan.pointer,
                   watch.function)
    elif _are_paths(images):
        watch.call("cr_py_tune_images", model.pointer, strings([os.fspath(p) for p in images]),
                   len(images), plan.pointer, watch.function)


def calibrate(model: Model, images: Any, plan: Plan, progress: Optional[Progress]) -> Stats:
    """From a folder (list, pattern), a list of files, or arrays: pictures or prepared tensors."""
    watch, stats = Watch(progress), Stats()
    if isinstance(images, (str, os.PathLike)):
        watch.call("cr_py_calibrate_folder", model.pointer, path_bytes(images), plan.pointer,
                   watch.function, byref(stats.pointer))
        return stats
    if _are_paths(images):
        paths = strings([os.fspath(p) for p in images])
        watch.call("cr_py_calibrate_images", model.pointer, paths, len(images), plan.pointer,
                   watch.function, byref(stats.pointer))
        return stats
    return calibrate_arrays(model, images, plan, progress)


def calibrate_arrays(model: Model, arrays: Iterable[Any], plan: Plan,
                     progress: Optional[Progress]) -> Stats:
    with Spool(model) as spool:
        for a in arrays:
            (spool.add_picture if np.asarray(a).dtype == np.uint8 else spool.add)(a)
        return spool.calibrate(plan, progress)


def plan_and_export(model: Model, stats: Optional[Stats], plan: Plan, output: Any, *,
                    images: Any = None, progress: Optional[Progress] = None) -> Report:
    figures = (c_size_t * 7)()
    before = Path(model.path).stat().st_size
    call("cr_py_quantize", model.pointer, stats.pointer if stats else None, plan.pointer, figures)
    if images is not None or stats is None:
        tune(model, images, plan, progress)
    call("cr_model_export", model.pointer, path_bytes(output), None)
    return Report(*figures, samples=stats.samples if stats else 0, bytes_before=before,
                  bytes_after=Path(output).stat().st_size)
