"""The shared library, as ctypes sees it. Calls release the GIL; nothing here keeps state."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint64
from ctypes import c_void_p
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np

__all__ = ["CrayonError", "Progress"]

Progress = Callable[[str, int, int], Any]
"""Called as progress(what, done, total) now and then; returning False cancels."""


class CrayonError(RuntimeError):
    """What the library refused, in one line. `status` is its short kind: "argument", "io", ..."""

    def __init__(self, message: str, status: str = "argument"):
        super().__init__(message)
        self.status = status


_STATUS = ("ok", "argument", "io", "format", "unsupported", "memory", "limit", "cancelled",
           "internal")


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", c_char * 480)]


class Tensor(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("dtype", c_char_p), ("data", c_void_p), ("bytes", c_size_t),
                ("rank", c_int64), ("dim", c_int64 * 8)]

    @property
    def shape(self) -> Tuple[int, ...]:
        return tuple(self.dim[:max(self.rank, 0)])


class Detect(ctypes.Structure):
    _fields_ = [("conf", c_float), ("iou", c_float), ("max_detections", c_int),
                ("class_agnostic", c_int), ("multi_label", c_int), ("classes", POINTER(c_int)),
                ("class_count", c_size_t)]


ProgressFn = ctypes.CFUNCTYPE(ctypes.c_bool, c_void_p, c_char_p, c_uint64, c_uint64)

# Arguments and result by name; the error that a fallible function takes last is added by call().
_P, _PP, _S, _I, _N = c_void_p, POINTER(c_void_p), c_char_p, c_int, c_size_t
_FALLIBLE = {
    "cr_cpu_limit": [_S],
    "cr_py_open": [_S, _I, _I, _I, _I, _PP],
    "cr_runner_create": [_P, _I, _PP],
    "cr_runner_share": [_P, _I, _PP],
    "cr_runner_run": [_P],
    "cr_py_output": [_P, _N, POINTER(Tensor)],
    "cr_detector_create": [_P, _I, _PP],
    "cr_detector_share": [_P, _I, _PP],
    "cr_py_preprocess": [_P, _P, _I, _I, _P],
    "cr_py_read_image": [_S, _PP, _PP, POINTER(_I), POINTER(_I)],
    "cr_py_detect_run": [_P, _P, _I, _I, POINTER(Detect), _PP, POINTER(_N), POINTER(_I)],
    "cr_py_plan_set": [_P, _S, _S],
    "cr_py_plan_nodes": [_P, _I, POINTER(_S), _N],
    "cr_py_calibrate_images": [_P, POINTER(_S), _N, _P, ProgressFn, _PP],
    "cr_py_calibrate_folder": [_P, _S, _P, ProgressFn, _PP],
    "cr_py_tune_images": [_P, POINTER(_S), _N, _P, ProgressFn],
    "cr_py_tune_folder": [_P, _S, _P, ProgressFn],
    "cr_py_calibrate_file": [_P, _I, _N, _P, ProgressFn, _PP],
    "cr_py_quantize": [_P, _P, _P, POINTER(_N)],
    "cr_model_export": [_P, _S, _P],
    "cr_model_save_recipe": [_P, _S],
    "cr_stats_save": [_P, _S],
    "cr_stats_load": [_S, _PP],
}
_PLAIN = {
    "cr_version": ([], _S),
    "cr_model_free": ([_PP], None),
    "cr_runner_free": ([_PP], None),
    "cr_detector_free": ([_PP], None),
    "cr_stats_free": ([_PP], None),
    "cr_stats_pictures": ([_P], c_uint64),
    "cr_runner_input": ([_P, _N, POINTER(_N)], _P),
    "cr_py_text": ([_P, _I], _S),
    "cr_py_class_name": ([_P, _N], _S),
    "cr_py_quantized": ([_P], _I),
    "cr_py_ports": ([_P, _I], _N),
    "cr_py_port": ([_P, _I, _N, POINTER(Tensor)], None),
    "cr_py_node": ([_P, _I, _N, POINTER(_S), POINTER(_S)], _I),
    "cr_py_picture_size": ([_P, POINTER(_I), POINTER(_I)], _I),
    "cr_py_free_image": ([_PP], None),
    "cr_py_found_copy": ([_P, _P, _P, _P, _P], None),
    "cr_py_found_free": ([_PP], None),
    "cr_py_plan_create": ([], _P),
    "cr_py_plan_free": ([_PP], None),
    "cr_py_plan_kind": ([_S], _I),
    "cr_py_plan_name": ([_N], _S),
    "cr_py_plan_mode": ([_P, _I], None),
    "cr_py_plan_threads": ([_P, _I], None),
}


def _load() -> ctypes.CDLL:
    """The library beside this file; CRAYON_LIBRARY names another one (a build folder's)."""
    path = os.environ.get("CRAYON_LIBRARY") or Path(__file__).with_name("libcrayon_python.so")
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"crayon: {error} (CRAYON_LIBRARY may name the file)") from None
    for name, arguments in _FALLIBLE.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = [*arguments, POINTER(Error)], c_int
    for name, (arguments, result) in _PLAIN.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, result
    return loaded


lib = _load()


def call(name: str, *arguments: Any) -> None:
    """Calls a function that can fail; CrayonError with its message if it does."""
    error = Error()
    status = getattr(lib, name)(*arguments, byref(error))
    if status:
        message = error.message.decode("utf-8", "replace") or _STATUS[status]
        raise CrayonError(message, _STATUS[status])


class Handle:
    """An object of the library's, freed with its Python owner."""

    def __init__(self, free: str):
        self.pointer = c_void_p()
        self._free = getattr(lib, free)

    def __del__(self) -> None:
        if self.pointer:
            self._free(byref(self.pointer))


def path_bytes(path: Any) -> bytes:
    return os.fsencode(os.fspath(path))


class Watch:
    """A progress function for the library. It also lets Ctrl-C through: Python sees signals only
    while it runs code of its own, so an exception in here cancels the call and is raised behind it.
    """

    def __init__(self, progress: Optional[Progress]):
        self._progress = progress
        self._raised: Optional[BaseException] = None
        self.function = ProgressFn(self._see)

    def _see(self, _user: Any, what: bytes, done: int, total: int) -> bool:
        try:
            return self._progress is None or self._progress(what.decode(), done, total) is not False
        except BaseException as error:  # noqa: B036  (raised again by call)
            self._raised = error
            return False

    def call(self, name: str, *arguments: Any) -> None:
        try:
            call(name, *arguments)
        except CrayonError:
            if self._raised is not None:
                raise self._raised from None
            raise


def strings(texts: Sequence[str]) -> Any:
    encoded = [os.fsencode(t) for t in texts]
    return (c_char_p * len(encoded))(*encoded)


def tensor_copy(t: Tensor) -> np.ndarray:
    """A NumPy array of its own with a tensor's content."""
    out = np.empty(t.shape, dtype=np.dtype(t.dtype.decode()))
    if out.nbytes:
        ctypes.memmove(out.ctypes.data, t.data, out.nbytes)
    return out
