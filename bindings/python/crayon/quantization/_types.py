"""Enums and the reader's base class, with ONNX Runtime's names and values."""

from __future__ import annotations

import abc
from enum import Enum
from typing import Any, Dict, Iterator, Optional


class _Named(Enum):
    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_string(cls, name: str) -> "_Named":
        try:
            return cls[name]
        except KeyError:
            raise ValueError(f"no {cls.__name__} {name!r}; there are "
                             f"{', '.join(m.name for m in cls)}") from None


class QuantType(_Named):
    QInt8 = 0
    QUInt8 = 1
    QFLOAT8E4M3FN = 2
    QInt16 = 3
    QUInt16 = 4
    QInt4 = 5
    QUInt4 = 6


class QuantFormat(_Named):
    QOperator = 0
    QDQ = 1


class CalibrationMethod(Enum):
    MinMax = 0
    Entropy = 1
    Percentile = 2
    Distribution = 3


class CalibrationDataReader(abc.ABC):
    """Gives one dict {input name: array} per call of get_next, then None. Any class that has
    get_next will do."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        return callable(getattr(other, "get_next", None)) or NotImplemented

    @abc.abstractmethod
    def get_next(self) -> Optional[Dict[str, Any]]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        return self

    def __next__(self) -> Dict[str, Any]:
        feed = self.get_next()
        if feed is None:
            raise StopIteration
        return feed

    def __len__(self) -> int:
        raise NotImplementedError

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError
