"""Reads pickles of numeric arrays and plain containers by itself: nothing that a file names is ever called.

Detectron2's model zoo publishes its weights as pickles. Python's own reader calls whatever a file names; even
one that admits numpy's constructors alone can be made to follow pointers of the file's choice, or to allocate
what the file does not hold. So this module walks over the opcodes. A name in the file becomes an inert
record, or an error, and an array is always made of bytes that the file holds.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from dprd_cli.errors import UserError, is_out_of_memory
from dprd_cli.weights.pickled_arrays import (
    BrokenPickleError,
    NumberType,
    PendingArray,
    RefusedPickleError,
    byte_order,
    number_type,
    numeric_array,
)

_MAX_STEPS = 2_000_000  # the zoo's largest file has some ten thousand
_MAX_KEY = 2**60  # larger integers can be chosen so that a dict finds all of them in one place
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_PLAIN = frozenset(["int", "int_or_bool", "float", "str", "bytes", "bytes_or_str", "bytearray"])
#: Opcodes whose argument is a value.
_VALUES = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.arg is not None and {kind.name for kind in opcode.stack_after} & _PLAIN
)
_MARK = object()

#: What a file may name.
_NAMES = {
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "collections.OrderedDict": "OrderedDict",
    "_codecs.encode": "encode",
}
for _module in ("__builtin__", "builtins"):
    _NAMES |= {f"{_module}.{name}": name for name in ("set", "frozenset", "bytes")}
for _module in ("numpy.core", "numpy._core"):
    _NAMES |= {f"{_module}.multiarray.{name}": name for name in ("_reconstruct", "scalar")}
    _NAMES[f"{_module}.numeric._frombuffer"] = "_frombuffer"


@dataclass(frozen=True, slots=True)
class _GlobalName:
    """A function or class that the file names. It stands for itself: there is nothing behind it to call."""

    text: str


def read_numpy_pickle(path: Path) -> Any:
    """Read a pickle that holds numeric arrays and plain containers.

    Arrays come in C order and this machine's byte order, ordered dicts as dicts, and bytearrays as bytes. All
    arrays together take no more than twice the file's size.

    Raises:
        UserError: One line, if it holds anything else, is broken, or cannot be read.
    """
    try:
        return _Machine(path.read_bytes()).run()
    except OSError as error:
        raise UserError(f"{path}: cannot read the weights ({error.strerror})") from error
    except RefusedPickleError as error:
        raise UserError(f"{path}: contains pickled code ({error}); refused") from error
    except Exception as error:  # whatever a broken file makes pickletools, numpy and this module stumble over
        if is_out_of_memory(error):
            raise UserError(f"{path}: larger than the memory; pass a file of weights") from error
        raise UserError(f"{path}: not a pickle of weights, or truncated") from error


def _read_opcodes(data: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes before the end, with their arguments, which are no larger than the file."""
    file = io.BytesIO(data)
    for _ in range(_MAX_STEPS):
        opcode = _OPCODES[file.read(1)]
        argument: Any = None
        if opcode.name == "STRING":  # of Python 2, which pickletools takes for ASCII
            argument = codecs.escape_decode(file.readline().strip()[1:-1])[0].decode("latin1")
        elif opcode.arg is not None:
            argument = opcode.arg.reader(file)
        if opcode.name == "STOP":
            return
        if opcode.name == "FRAME" and argument > len(data) - file.tell():
            break
        yield opcode.name, argument
    raise BrokenPickleError


class _Machine:
    """Pickle's stack and memo.

    Args:
        data: The file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._budget = 2 * len(data)  # each byte may be a text's first, and an array's then

    def run(self) -> Any:
        """Return what the file holds."""
        for name, argument in _read_opcodes(self._data):
            if name in self._PUSHES:
                self._stack.append(self._PUSHES[name]())
            elif name in self._ACTIONS:
                self._ACTIONS[name](self)
            elif name in self._ACTIONS_WITH_ARGUMENT:
                self._ACTIONS_WITH_ARGUMENT[name](self, argument)
            elif name in _VALUES:
                self._stack.append(bytes(argument) if type(argument) is bytearray else argument)
            elif name not in ("PROTO", "FRAME"):  # persistent ids, extensions, objects, buffers elsewhere
                raise RefusedPickleError(name)
        (content,) = self._stack
        _check_plain(content)
        return content

    # ---- stack and memo ---------------------------------------------------------------------------------

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise BrokenPickleError
        return value

    def _pop_to_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise BrokenPickleError
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _put(self, index: int) -> None:
        if index > len(self._data):  # Python's own reader would allocate that much
            raise BrokenPickleError
        value = self._memo[index] = self._stack[-1]
        if type(value) is PendingArray:
            value.places.append(index)

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _spend(self, size: int) -> None:
        """Account for bytes or entries that are copied: one value may be named many times."""
        self._budget -= size
        if self._budget < 0:
            raise BrokenPickleError

    # ---- containers -------------------------------------------------------------------------------------

    def _make_tuple(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(values)))

    def _make_dict(self) -> None:
        values = self._pop_to_mark()
        self._stack.append({})
        self._fill(values)

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(values)
        elif type(target) is set:
            target.update(map(_key, values))
        else:
            raise BrokenPickleError

    def _fill(self, values: list[Any]) -> None:
        """Add keys and values, in turns, to the dict on top."""
        target = self._stack[-1]
        if type(target) is not dict:
            raise BrokenPickleError
        target.update(zip(map(_key, values[::2]), values[1::2], strict=True))

    # ---- what would be calls ----------------------------------------------------------------------------

    def _push_name(self, text: str) -> None:
        if text not in _NAMES:
            raise RefusedPickleError(text)
        self._stack.append(_GlobalName(_NAMES[text]))

    def _push_stacked_name(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenPickleError
        self._push_name(f"{module}.{name}")

    def _reduce(self) -> None:
        """Do what a call of the name below the arguments would do."""
        arguments, name = self._pop(), self._pop()
        if type(name) is not _GlobalName or type(arguments) is not tuple or name.text not in self._CALLS:
            raise RefusedPickleError("a call")
        self._stack.append(self._CALLS[name.text](self, *arguments))

    def _build(self) -> None:
        """Complete the type or array that is below its state."""
        state, target = self._pop(), self._pop()
        if type(state) is tuple and type(target) is NumberType:
            target.order = byte_order(*state)
            self._stack.append(target)
        elif type(state) is tuple and type(target) is PendingArray:
            array = self._array_of_state(*state)
            self._spend(len(target.places))
            self._memo.update(dict.fromkeys(target.places, array))
            self._stack.append(array)
        else:
            raise RefusedPickleError("the state of an object")

    def _number_type(self, code: Any, *_: Any) -> NumberType:
        return number_type(code)

    def _pending_array(self, kind: Any, *_: Any) -> PendingArray:
        if type(kind) is not _GlobalName or kind.text != "ndarray":
            raise RefusedPickleError("an array of another class")
        return PendingArray()

    def _array_of_state(self, version: Any, shape: Any, number: Any, fortran: Any, data: Any) -> NDArray[Any]:
        if version != 1:
            raise BrokenPickleError
        return self._array(data, number, shape, "F" if fortran is True or fortran == 1 else "C")

    def _array(self, data: Any, number: Any, shape: Any, order: Any) -> NDArray[Any]:
        """Return the array that bytes (or, from Python 2, a text) hold."""
        if type(data) is str:
            data = self._encode(data)
        if type(number) is not NumberType or type(shape) is not tuple or type(data) is not bytes:
            raise RefusedPickleError("an array that is not of numbers")
        self._spend(len(data))
        return numeric_array(data, number, shape, order)

    def _scalar(self, number: Any, data: Any) -> Any:
        return self._array(data, number, (), "C")[()]

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """Return the bytes that an old protocol stores as text."""
        if type(text) is not str or encoding != "latin1":
            raise RefusedPickleError("_codecs.encode")
        self._spend(len(text))
        return text.encode("latin1")

    def _entries(self, values: Any = ()) -> list[Any]:
        if type(values) not in (list, tuple):
            raise BrokenPickleError
        self._spend(len(values))
        return list(values)

    def _ordered_dict(self, pairs: Any = ()) -> dict[Any, Any]:
        entries = self._entries(pairs)
        if any(type(one) not in (list, tuple) for one in entries):
            raise BrokenPickleError
        return {_key(key): value for key, value in entries}

    def _set(self, values: Any = ()) -> set[Any]:
        return set(map(_key, self._entries(values)))

    # ---- which opcode does what ---------------------------------------------------------------------------

    _CALLS: ClassVar[dict[str, Callable[..., Any]]] = {
        "dtype": _number_type,
        "OrderedDict": _ordered_dict,
        "encode": _encode,
        "_reconstruct": _pending_array,
        "scalar": _scalar,
        "_frombuffer": _array,
        "set": _set,
        "frozenset": lambda self, *values: frozenset(self._set(*values)),
        "bytes": lambda self: self._encode(""),  # as protocols before 3 write an empty one
    }
    _PUSHES: ClassVar[dict[str, Callable[[], Any]]] = {
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_LIST": list,
        "EMPTY_TUPLE": tuple,
        "EMPTY_DICT": dict,
        "EMPTY_SET": set,
        "MARK": lambda: _MARK,
    }
    _ACTIONS: ClassVar[dict[str, Callable[[_Machine], Any]]] = {
        "POP": lambda self: self._stack.pop(),
        "POP_MARK": _pop_to_mark,
        "DUP": lambda self: self._stack.append(self._stack[-1]),
        "TUPLE": lambda self: self._stack.append(tuple(self._pop_to_mark())),
        "TUPLE1": lambda self: self._make_tuple(1),
        "TUPLE2": lambda self: self._make_tuple(2),
        "TUPLE3": lambda self: self._make_tuple(3),
        "LIST": lambda self: self._stack.append(self._pop_to_mark()),
        "DICT": _make_dict,
        "FROZENSET": lambda self: self._stack.append(frozenset(map(_key, self._pop_to_mark()))),
        "APPEND": lambda self: self._extend([self._pop()]),
        "APPENDS": lambda self: self._extend(self._pop_to_mark()),
        "ADDITEMS": lambda self: self._extend(self._pop_to_mark()),
        "SETITEM": lambda self: self._fill([self._pop(), self._pop()][::-1]),
        "SETITEMS": lambda self: self._fill(self._pop_to_mark()),
        "MEMOIZE": lambda self: self._put(len(self._memo)),
        "STACK_GLOBAL": _push_stacked_name,
        "REDUCE": _reduce,
        "BUILD": _build,
    }
    _ACTIONS_WITH_ARGUMENT: ClassVar[dict[str, Callable[[_Machine, Any], Any]]] = {
        "GLOBAL": lambda self, text: self._push_name(text.replace(" ", ".", 1)),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    }


def _key(value: Any) -> Any:
    """Return a value that is looked up fast, and without a look into anything deep."""
    if value is None or type(value) in (str, bytes, bool) or (type(value) is int and abs(value) < _MAX_KEY):
        return value
    raise BrokenPickleError


def _check_plain(content: Any) -> None:
    """Check that no record is left; containers may hold one another."""
    seen, todo = {id(content)}, [content]
    while todo:
        value = todo.pop()
        if value is _MARK or isinstance(value, _GlobalName | NumberType | PendingArray):
            raise RefusedPickleError("a class where a value was expected")
        inside = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
        new = {id(one): one for one in inside if id(one) not in seen}
        seen.update(new)
        todo += new.values()
