"""Reads pickles of numeric arrays and plain containers; an array is always made of bytes that the file holds.

Detectron2's model zoo publishes its weights as pickles.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dprd_cli.errors import UserError, is_out_of_memory
from dprd_cli.weights.pickle_machine import (
    BrokenPickleError,
    Dialect,
    GlobalName,
    PickleMachine,
    RefusedPickleError,
    Unfinished,
    ordered_dict,
    plain_key,
)

_CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])
_MAX_DIMENSIONS = 32
_MAX_SIDE = 2**31


def read_numpy_pickle(path: Path) -> Any:
    """Read a pickle that holds numeric arrays and plain containers.

    Arrays come writable, in C order and this machine's byte order; ordered dicts as dicts, bytearrays as
    bytes. All arrays together take no more than twice the file's size.

    Raises:
        UserError: One line, if it holds anything else, is broken, or cannot be read.
    """
    try:
        data = path.read_bytes()  # each byte may be a text's first, and an array's then
        return PickleMachine(io.BytesIO(data), len(data), _NUMPY, budget=2 * len(data)).run()
    except OSError as error:
        raise UserError(f"{path}: cannot read the weights ({error.strerror})") from error
    except RefusedPickleError as error:
        raise UserError(f"{path}: contains pickled code ({error}); refused") from error
    except Exception as error:  # whatever a broken file makes pickletools, numpy and the machine stumble over
        if is_out_of_memory(error):
            raise UserError(f"{path}: larger than the memory; pass a file of weights") from error
        raise UserError(f"{path}: not a pickle of weights, or truncated") from error


@dataclass(slots=True)
class NumberType(Unfinished):
    """A type of numbers.

    Args:
        code: Kind and size in bytes, such as `f4`; objects, records, texts and dates are none.
        order: `<`, `>`, `=` or `|`.
    """

    code: str
    order: str = "="

    def build(self, _: PickleMachine, /, *state: Any) -> NumberType:
        """Take the byte order from numpy's state."""
        version, order, *rest = state
        if version not in (3, 4) or any(part is not None for part in rest[:3]):
            raise RefusedPickleError("numpy.dtype of records")
        if order not in ("<", ">", "|", "="):
            raise BrokenPickleError
        self.order = order
        return self


@dataclass(slots=True)
class PendingArray(Unfinished):
    """An array whose shape, type and bytes are still to come."""

    def build(self, machine: PickleMachine, /, *state: Any) -> NDArray[Any]:
        """Return the array of numpy's state."""
        version, shape, number, is_fortran, data = state
        if version != 1:
            raise BrokenPickleError
        return _array(machine, data, number, shape, "F" if is_fortran is True or is_fortran == 1 else "C")


def _number_type(_: PickleMachine, code: Any, *__: Any) -> NumberType:
    if type(code) is not str or code not in _CODES:
        raise RefusedPickleError(f"numpy.dtype {code[:20] if type(code) is str else ''}")
    return NumberType(code)


def _pending_array(_: PickleMachine, kind: Any, *__: Any) -> PendingArray:
    if kind != GlobalName("numpy.ndarray"):
        raise RefusedPickleError("an array of another class")
    return PendingArray()


def _array(machine: PickleMachine, data: Any, number: Any, shape: Any, order: Any) -> NDArray[Any]:
    """Return the array that bytes (or, from Python 2, a text) hold, to the last one."""
    if type(data) is str:
        data = _encode(machine, data)
    if type(number) is not NumberType or type(shape) is not tuple or type(data) is not bytes:
        raise RefusedPickleError("an array that is not of numbers")
    machine.spend(len(data))
    dtype = np.dtype(number.order + number.code)
    if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < _MAX_SIDE for n in shape):
        raise BrokenPickleError
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BrokenPickleError
    flat = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    array = flat.reshape(shape, order="F" if order == "F" else "C")
    return np.array(array, dtype.newbyteorder("="), order="C")


def _scalar(machine: PickleMachine, number: Any, data: Any) -> Any:
    return _array(machine, data, number, (), "C")[()]


def _encode(machine: PickleMachine, text: Any, encoding: Any = "latin1") -> bytes:
    """Return the bytes that an old protocol stores as text."""
    if type(text) is not str or encoding != "latin1":
        raise RefusedPickleError("_codecs.encode")
    machine.spend(len(text))
    return text.encode("latin1")


def _set(machine: PickleMachine, values: Any = ()) -> set[Any]:
    if type(values) not in (list, tuple):
        raise BrokenPickleError
    machine.spend(len(values))
    return set(map(plain_key, values))


_CALLS: dict[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _number_type,
    "collections.OrderedDict": ordered_dict,
    "_codecs.encode": _encode,
}
for _module in ("__builtin__", "builtins"):
    _CALLS |= {
        f"{_module}.set": _set,
        f"{_module}.frozenset": lambda machine, *values: frozenset(_set(machine, *values)),
        f"{_module}.bytes": lambda _: b"",  # as protocols before 3 write an empty one
    }
for _module in ("numpy.core", "numpy._core"):
    _CALLS |= {
        f"{_module}.multiarray._reconstruct": _pending_array,
        f"{_module}.multiarray.scalar": _scalar,
        f"{_module}.numeric._frombuffer": _array,
    }
_NUMPY = Dialect(_CALLS)
