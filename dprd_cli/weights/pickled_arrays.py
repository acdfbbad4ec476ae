"""What a pickle says of numpy's arrays, as inert records; and the arrays, made of bytes of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])
_MAX_DIMENSIONS = 32
_MAX_SIDE = 2**31


class RefusedPickleError(Exception):
    """What a file asks for and does not get, in words."""


class BrokenPickleError(Exception):
    """No pickle of weights."""


@dataclass(slots=True)
class NumberType:
    """A type of numbers, whose byte order comes with its `BUILD`.

    Args:
        code: Kind and size in bytes, such as `f4`.
        order: `<`, `>`, `=` or `|`.
    """

    code: str
    order: str = "="


@dataclass(slots=True)
class PendingArray:
    """An array whose `BUILD` is still to come.

    Args:
        places: Where the memo holds it.
    """

    places: list[int] = field(default_factory=list)


def number_type(code: Any) -> NumberType:
    """Return a type of numbers; objects, records, texts and dates are none.

    Raises:
        RefusedPickleError: If it is another type.
    """
    if type(code) is not str or code not in _CODES:
        raise RefusedPickleError(f"numpy.dtype {code[:20] if type(code) is str else ''}")
    return NumberType(code)


def byte_order(version: Any, order: Any, *rest: Any) -> str:
    """Return the order in the state of a type; one with fields, or of arrays, is no type of numbers.

    Raises:
        RefusedPickleError: If it is another type.
    """
    if version not in (3, 4) or any(part is not None for part in rest[:3]):
        raise RefusedPickleError("numpy.dtype of records")
    if order not in ("<", ">", "|", "="):
        raise BrokenPickleError
    return str(order)


def numeric_array(data: bytes, number: NumberType, shape: tuple[Any, ...], order: Any) -> NDArray[Any]:
    """Return the array that bytes hold, to the last one: writable, in C order and this machine's byte order.

    Raises:
        BrokenPickleError: If the bytes are not as many as the shape says.
    """
    dtype = np.dtype(number.order + number.code)
    if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < _MAX_SIDE for n in shape):
        raise BrokenPickleError
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BrokenPickleError
    flat = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    array = flat.reshape(shape, order="F" if order == "F" else "C")
    return np.array(array, dtype.newbyteorder("="), order="C")
