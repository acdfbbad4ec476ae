"""Walks over the opcodes of a pickle: nothing that the file names is ever called.

Python's own reader calls whatever a file names; even one that admits a few harmless constructors can be made
to follow pointers of the file's choice, or to allocate what the file does not hold. Here a name becomes an
inert record, or an error. What a call of it would give is up to a `Dialect`, in terms of what the file holds.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

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


class RefusedPickleError(Exception):
    """What a file asks for and does not get, in words."""


class BrokenPickleError(Exception):
    """No pickle of weights."""


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A function or class that a file names. It stands for itself: there is nothing behind it to call."""

    text: str


@dataclass(slots=True)
class Unfinished:
    """What a call gave, and a `BUILD` is to complete; no value of a finished file.

    Args:
        places: Where the memo holds it.
    """

    places: list[int] = field(default_factory=list, init=False)

    def build(self, machine: PickleMachine, /, *state: Any) -> Any:
        """Return what takes its place."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a kind of pickle may name.

    Args:
        calls: Dotted name -> what a call of it gives, from the machine and the arguments; None where the name
            is only passed on.
        load: What a persistent id stands for; none is admitted by default.
        drops_state: Whether the attributes that a `BUILD` gives a dict are left out; else they are an error.
    """

    calls: Mapping[str, Callable[..., Any] | None]
    load: Callable[[Any], Any] | None = None
    drops_state: bool = False


class PickleMachine:
    """Pickle's stack and memo.

    Args:
        file: At the pickle's start; after `run` behind its end.
        size: The file's size in bytes: nothing in the pickle is longer.
        dialect: What it may name.
        budget: Bytes, and entries of containers, that calls may copy.
    """

    def __init__(self, file: io.BytesIO, size: int, dialect: Dialect, budget: int) -> None:
        self._file, self._size, self._dialect, self._budget = file, size, dialect, budget
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the file holds: plain values, and what the dialect's calls gave.

        Raises:
            RefusedPickleError: If it asks for more than that.
            Exception: Whatever broken bytes lead to.
        """
        for name, argument in self._read_opcodes():
            if name in self._PUSHES:
                self._stack.append(self._PUSHES[name]())
            elif name in self._ACTIONS:
                self._ACTIONS[name](self)
            elif name in self._ACTIONS_WITH_ARGUMENT:
                self._ACTIONS_WITH_ARGUMENT[name](self, argument)
            elif name in _VALUES:
                self._stack.append(bytes(argument) if type(argument) is bytearray else argument)
            elif name not in ("PROTO", "FRAME"):  # extensions, objects, buffers elsewhere
                raise RefusedPickleError(name)
        (content,) = self._stack
        _check_plain(content)
        return content

    def spend(self, size: int) -> None:
        """Account for bytes or entries that are copied: one value may be named many times.

        Raises:
            BrokenPickleError: If the budget is spent.
        """
        self._budget -= size
        if self._budget < 0:
            raise BrokenPickleError

    def _read_opcodes(self) -> Iterator[tuple[str, Any]]:
        """Yield the opcodes before the end, with their arguments, which are no larger than the file."""
        for _ in range(_MAX_STEPS):
            opcode = _OPCODES[self._file.read(1)]
            argument: Any = None
            if opcode.name == "STRING":  # of Python 2, which pickletools takes for ASCII
                argument = codecs.escape_decode(self._file.readline().strip()[1:-1])[0].decode("latin1")
            elif opcode.arg is not None:
                argument = opcode.arg.reader(self._file)
            if opcode.name == "STOP":
                return
            if opcode.name == "FRAME" and argument > self._size - self._file.tell():
                break
            yield opcode.name, argument
        raise BrokenPickleError

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
        if index > self._size:  # Python's own reader would allocate that much
            raise BrokenPickleError
        value = self._memo[index] = self._stack[-1]
        if isinstance(value, Unfinished):
            value.places.append(index)

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

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
            target.update(map(plain_key, values))
        else:
            raise BrokenPickleError

    def _fill(self, values: list[Any]) -> None:
        """Add keys and values, in turns, to the dict on top."""
        target = self._stack[-1]
        if type(target) is not dict:
            raise BrokenPickleError
        target.update(zip(map(plain_key, values[::2]), values[1::2], strict=True))

    # ---- what would be calls ----------------------------------------------------------------------------

    def _push_name(self, text: str) -> None:
        if text not in self._dialect.calls:
            raise RefusedPickleError(text)
        self._stack.append(GlobalName(text))

    def _push_stacked_name(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenPickleError
        self._push_name(f"{module}.{name}")

    def _push_persistent(self) -> None:
        if self._dialect.load is None:
            raise RefusedPickleError("a persistent id")
        self._stack.append(self._dialect.load(self._pop()))

    def _reduce(self) -> None:
        """Do what a call of the name below the arguments would do."""
        arguments, name = self._pop(), self._pop()
        call = self._dialect.calls.get(name.text) if type(name) is GlobalName else None
        if call is None or type(arguments) is not tuple:
            raise RefusedPickleError("a call")
        self._stack.append(call(self, *arguments))

    def _build(self) -> None:
        """Complete what is below its state."""
        state, target = self._pop(), self._pop()
        if isinstance(target, Unfinished) and type(state) is tuple:
            value = target.build(self, *state)
            self.spend(len(target.places))
            self._memo.update(dict.fromkeys(target.places, value))
            self._stack.append(value)
        elif type(target) is dict and self._dialect.drops_state:
            self._stack.append(target)
        else:
            raise RefusedPickleError("the state of an object")

    # ---- which opcode does what ---------------------------------------------------------------------------

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
    _ACTIONS: ClassVar[dict[str, Callable[[PickleMachine], Any]]] = {
        "POP": lambda self: self._stack.pop(),
        "POP_MARK": _pop_to_mark,
        "DUP": lambda self: self._stack.append(self._stack[-1]),
        "TUPLE": lambda self: self._stack.append(tuple(self._pop_to_mark())),
        "TUPLE1": lambda self: self._make_tuple(1),
        "TUPLE2": lambda self: self._make_tuple(2),
        "TUPLE3": lambda self: self._make_tuple(3),
        "LIST": lambda self: self._stack.append(self._pop_to_mark()),
        "DICT": _make_dict,
        "FROZENSET": lambda self: self._stack.append(frozenset(map(plain_key, self._pop_to_mark()))),
        "APPEND": lambda self: self._extend([self._pop()]),
        "APPENDS": lambda self: self._extend(self._pop_to_mark()),
        "ADDITEMS": lambda self: self._extend(self._pop_to_mark()),
        "SETITEM": lambda self: self._fill([self._pop(), self._pop()][::-1]),
        "SETITEMS": lambda self: self._fill(self._pop_to_mark()),
        "MEMOIZE": lambda self: self._put(len(self._memo)),
        "STACK_GLOBAL": _push_stacked_name,
        "BINPERSID": _push_persistent,
        "REDUCE": _reduce,
        "BUILD": _build,
    }
    _ACTIONS_WITH_ARGUMENT: ClassVar[dict[str, Callable[[PickleMachine, Any], Any]]] = {
        "GLOBAL": lambda self, text: self._push_name(text.replace(" ", ".", 1)),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    }


def plain_key(value: Any) -> Any:
    """Return a value that is looked up fast, and without a look into anything deep.

    Raises:
        BrokenPickleError: If it is no text, small integer or None.
    """
    if value is None or type(value) in (str, bytes, bool) or (type(value) is int and abs(value) < _MAX_KEY):
        return value
    raise BrokenPickleError


def ordered_dict(machine: PickleMachine, pairs: Any = ()) -> dict[Any, Any]:
    """Return what `OrderedDict(pairs)` would hold."""
    if type(pairs) not in (list, tuple) or any(type(one) not in (list, tuple) for one in pairs):
        raise BrokenPickleError
    machine.spend(len(pairs))
    return {plain_key(key): value for key, value in pairs}


def _check_plain(content: Any) -> None:
    """Check that no record is left; containers may hold one another."""
    seen, todo = {id(content)}, [content]
    while todo:
        value = todo.pop()
        if value is _MARK or isinstance(value, GlobalName | Unfinished):
            raise RefusedPickleError("a class where a value was expected")
        inside = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
        new = {id(one): one for one in inside if id(one) not in seen}
        seen.update(new)
        todo += new.values()
