"""Checking what a script asks for: everything is honoured or refused by name."""

from __future__ import annotations

import difflib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from .._model import Model, check_types
from .._plan import Plan
from ._types import QuantType

_WEIGHTS = {QuantType.QInt8: "int8", QuantType.QUInt8: "uint8"}
_ACTIVATIONS = {QuantType.QInt8: "int8", QuantType.QUInt8: "uint8"}


def _choose(table: Mapping[Any, str], value: Any, argument: str) -> str:
    if not isinstance(value, QuantType):
        raise TypeError(f"{argument}: {value!r} is no QuantType")
    if value not in table:
        raise ValueError(f"{argument}={value}: not supported; "
                         f"{', '.join(str(k) for k in table)} are")
    return table[value]


def weight_name(value: Any) -> str:
    return _choose(_WEIGHTS, value, "weight_type")


def activation_name(value: Any) -> str:
    return _choose(_ACTIVATIONS, value, "activation_type")


@contextmanager
def model_file(model: Any) -> Iterator[Path]:
    """The path that was given, or a file of the ModelProto that was."""
    if not hasattr(model, "SerializeToString"):
        yield Path(os.fspath(model))
        return
    with tempfile.TemporaryDirectory(prefix="crayon-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        yield path


def _near(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 3, 0)
    return ", ".join(repr(n) for n in close)


def _fused_pieces(name: str, names: Sequence[str]) -> List[str]:
    """Node names that make up `name` when written one behind the other: two strings of a list with
    no comma between them."""
    known = set(names)
    for cut in range(1, len(name)):
        if name[:cut] in known and name[cut:] in known:
            return [name[:cut], name[cut:]]
    return []


def check_nodes(argument: str, wanted: Optional[Sequence[str]], model: Model) -> List[str]:
    """The names, each of which the file has."""
    if isinstance(wanted, (str, bytes)):
        raise TypeError(f"{argument}: a list of names, not one string")
    listed = list(wanted or [])
    check_types(argument, listed, str)
    names = [n.name for n in model.file_nodes] + [n.name for n in model.nodes]
    known = set(names)
    for name in listed:
        if name in known:
            continue
        pieces = _fused_pieces(name, names)
        if pieces:
            raise ValueError(f"{argument}: no node is called {name!r}; it is {pieces[0]!r} and "
                             f"{pieces[1]!r} with a comma missing between them")
        raise ValueError(f"{argument}: no node is called {name!r}; the nearest are "
                         f"{_near(name, names)}")
    return listed


def choose_nodes(plan: Plan, model: Model, to_quantize: Optional[Sequence[str]],
                 to_exclude: Optional[Sequence[str]], op_types: Optional[Sequence[str]]) -> None:
    """Tells the plan which nodes it may take."""
    excluded = check_nodes("nodes_to_exclude", to_exclude, model)
    included = set(check_nodes("nodes_to_quantize", to_quantize, model))
    if isinstance(op_types, (str, bytes)):
        raise TypeError("op_types_to_quantize: a list of operators, not one string")
    types = set(op_types or [])
    present = {n.name for n in model.nodes}
    plan.keep_float([n for n in excluded if n in present])
    if not included and not types:
        return
    chosen = [n.name for n in model.nodes
              if (not included or n.name in included) and (not types or n.op in types)]
    if not chosen:
        raise ValueError("nothing to quantize: no node is named in nodes_to_quantize and of a type "
                         "in op_types_to_quantize")
    plan.only(chosen)


class Extra:
    """extra_options: each is asked for by name, and what nobody asked for is refused."""

    def __init__(self, options: Optional[Mapping[str, Any]]):
        self._left: Dict[str, Any] = dict(options or {})

    def take(self, name: str, default: Any) -> Any:
        return self._left.pop(name, default)

    def take_flag(self, name: str, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, (bool, int)):
            raise TypeError(f"extra_options[{name!r}]: True or False, not {value!r}")
        return bool(value)

    def accept_only(self, name: str, *values: Any) -> None:
        """An option whose other values would change the result in a way that is not offered."""
        value = self._left.pop(name, values[0])
        if value not in values:
            raise ValueError(f"extra_options[{name!r}]={value!r}: not supported, only "
                             f"{' or '.join(repr(v) for v in values)}")

    def finish(self) -> None:
        if self._left:
            raise ValueError("extra_options not supported: " + ", ".join(sorted(self._left)))
