"""An open model: its ports, nodes and facts."""

from __future__ import annotations

from ctypes import byref, c_char_p, c_int
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ._library import Handle, Tensor, call, lib, path_bytes

ImageSize = Union[int, Tuple[int, int]]
_PRECISIONS = ("float32", "bf16", "auto")


class Port(NamedTuple):
    """An input or output; -1 stands for a size that is known only when it runs."""

    name: str
    dtype: str
    shape: Tuple[int, ...]


class Node(NamedTuple):
    name: str
    op: str


class Model:
    """A model file. Sizes that the file leaves open are given by `imgsz` (N or (height, width))."""

    def __init__(self, path: Any, *, imgsz: Optional[ImageSize] = None, batch: int = 0,
                 precision: str = "float32"):
        if precision not in _PRECISIONS:
            raise ValueError(f"precision {precision!r}: one of {', '.join(_PRECISIONS)}")
        height, width = (imgsz, imgsz) if isinstance(imgsz, (int, np.integer)) else imgsz or (0, 0)
        self._handle = Handle("cr_model_free")
        call("cr_py_open", path_bytes(path), int(height), int(width), int(batch),
             _PRECISIONS.index(precision), byref(self._handle.pointer))
        self.path = path

    @property
    def pointer(self) -> Any:
        return self._handle.pointer

    def _ports(self, outputs: int) -> List[Port]:
        found, t = [], Tensor()
        for i in range(lib.cr_py_ports(self.pointer, outputs)):
            lib.cr_py_port(self.pointer, outputs, i, byref(t))
            found.append(Port(t.name.decode(), t.dtype.decode(), t.shape))
        return found

    @property
    def inputs(self) -> List[Port]:
        return self._ports(0)

    @property
    def outputs(self) -> List[Port]:
        return self._ports(1)

    def _nodes(self, of_file: int) -> Iterator[Node]:
        name, op, i = c_char_p(), c_char_p(), 0
        while lib.cr_py_node(self.pointer, of_file, i, byref(name), byref(op)):
            yield Node((name.value or b"").decode(), (op.value or b"").decode())
            i += 1

    @property
    def file_nodes(self) -> List[Node]:
        """As the file has them."""
        return list(self._nodes(1))

    @property
    def nodes(self) -> List[Node]:
        """As they run: activations that were exported in pieces are one, constants are folded."""
        return list(self._nodes(0))

    @property
    def family(self) -> str:
        return lib.cr_py_text(self.pointer, 0).decode()

    @property
    def task(self) -> str:
        return lib.cr_py_text(self.pointer, 1).decode()

    @property
    def precision(self) -> str:
        """Of its arithmetic: "float32", "bfloat16", "int8", ..."""
        return lib.cr_py_text(self.pointer, 2).decode()

    @property
    def quantized(self) -> bool:
        return bool(lib.cr_py_quantized(self.pointer))

    @property
    def class_names(self) -> List[str]:
        names: List[str] = []
        while True:
            name = lib.cr_py_class_name(self.pointer, len(names))
            if name is None:
                return names
            names.append(name.decode("utf-8", "replace"))

    @property
    def picture_size(self) -> Optional[Tuple[int, int]]:
        """Height and width of the input if it is one picture of three planes."""
        height, width = c_int(), c_int()
        if not lib.cr_py_picture_size(self.pointer, byref(height), byref(width)):
            return None
        return height.value, width.value


def as_picture(array: Any, bgr: bool = False) -> np.ndarray:
    """A packed uint8 [H,W,3] RGB array, or ValueError."""
    picture = np.asarray(array)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"a picture is a uint8 array [height,width,3], not {picture.dtype} "
                         f"{list(picture.shape)}")
    return np.ascontiguousarray(picture[:, :, ::-1] if bgr else picture)


def fit_picture(model: Model, picture: np.ndarray) -> np.ndarray:
    """The network's input [3,H,W] of a picture."""
    size = model.picture_size
    if size is None:
        raise ValueError(f"{model.path}: the input is not one picture")
    out = np.empty((3, *size), dtype=np.float32)
    call("cr_py_preprocess", model.pointer, picture.ctypes.data, picture.shape[0],
         picture.shape[1], out.ctypes.data)
    return out


def check_types(what: str, values: Sequence[Any], kind: type) -> None:
    for v in values:
        if not isinstance(v, kind):
            raise TypeError(f"{what}: {v!r} is not a {kind.__name__}")
