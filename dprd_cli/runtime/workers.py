"""Work handed to processes beside this one, none of which is relied on: what they do not do is done here.

Each has a socket of its own, and large arrays come back in memory of the process's own (`memfd`), so nothing
depends on locks or files in `/dev/shm`, of which a container has little. Where the system has no such memory,
they come through the socket. On Linux a process begins as a copy of this one; elsewhere, where that is unsafe
or impossible, it begins anew, and what it works on is sent to it.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any, Generic, TypeVar

from dprd_cli.errors import DprdWarning
from dprd_cli.runtime.signals import ANSWERED

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 120.0  # seconds for an answer, which holds a batch at most
_GRACE = 2.0  # seconds for it once the program was asked to stop
_SLICE = 0.2  # seconds between looks at whether it was
_AHEAD = 2  # tasks that a process is given ahead
_LARGE = 1 << 16  # bytes from which an array gets memory of its own
_ALIGNED = 64  # bytes; arrays begin at multiples of it
_LENGTH = struct.Struct("!Q")  # of a message, before it
# neither is bound to the 1024 files of `select`; Windows has that alone, and there it counts sockets only
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class WorkerLostError(Exception):
    """A process that has ended, or does not answer; what has become of it."""


def start_method() -> str:
    """Return how processes begin: `fork`, a copy of this one, on Linux, else `spawn`, a new Python."""
    copies = sys.platform == "linux" and hasattr(os, "fork")
    return "fork" if copies else "spawn"


def _nothing() -> None:
    """Prepare nothing."""


def _never() -> bool:
    return False


@dataclass
class WorkerPool(Generic[T, R]):
    """Processes that work ahead.

    Args:
        call: What is done with a task; the same wherever it is called.
        count: How many processes; none where it is 0. Halved whenever one is lost.
        name: What they are, for the warning: "loader processes".
        begin: Called in each process first.
        is_stopping: Whether the program was asked to stop; then nobody waits for a process for long.
        patience: Longest wait for an answer, seconds.
    """

    call: Callable[[T], R]
    count: int
    name: str = "processes"
    begin: Callable[[], None] = _nothing
    is_stopping: Callable[[], bool] = _never
    patience: float = PATIENCE

    def map(self, tasks: Iterable[T]) -> Iterator[R]:
        """Yield what `call` gives for each task, in their order.

        Law: the same as `map(call, tasks)`, with the same exceptions, whatever befalls the processes.
        """
        left = iter(tasks)
        while self.count:
            given: deque[T] = deque()
            try:
                yield from self._work_ahead(left, given)
            except WorkerLostError as lost:
                self.count = 0 if self.is_stopping() else self.count // 2
                if not self.is_stopping():
                    rest = f"with {self.count}" if self.count else "without any"
                    text = f"{self.name}: {lost}; memory may be short; going on {rest}"
                    warnings.warn(text, DprdWarning, stacklevel=2)
                left = chain(given, left)
            else:
                return
        yield from map(self.call, left)

    def _work_ahead(self, tasks: Iterator[T], given: deque[T]) -> Iterator[R]:
        """Yield answers while there are tasks; `given` are those whose answers were not yielded."""
        workers: list[_Worker] = []
        try:
            for _ in range(self.count):
                workers.append(_Worker(self.call, self.begin, [worker.pipe for worker in workers]))
            givers, takers = cycle(workers), cycle(workers)
            for task in islice(tasks, _AHEAD * len(workers)):
                given.append(task)
                next(givers).give(task, self.patience)
            while given:
                done, answer = next(takers).take(self.patience, self.is_stopping)
                first = given.popleft()
                for task in islice(tasks, 1):
                    given.append(task)
                    next(givers).give(task, self.patience)
                yield answer if done else self.call(first)
        finally:
            for worker in workers:
                worker.end()


class _Worker:
    """One process, which does the tasks that it is given one after the other.

    Args:
        call: What it does with a task.
        begin: Called in it first.
        others: This side of the other processes' sockets, which a fork inherits.
    """

    def __init__(
        self, call: Callable[[Any], Any], begin: Callable[[], None], others: list[socket.socket]
    ) -> None:
        self.pipe, theirs = socket.socketpair()
        context = multiprocessing.get_context(start_method())
        inherited = [self.pipe, *others] if start_method() == "fork" else []
        # both contexts have it, but only the types of each say so
        self._process: multiprocessing.Process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, inherited, begin, call), daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            self.pipe.close()
            raise WorkerLostError(f"one could not be started ({error.strerror})") from error
        except (pickle.PicklingError, AttributeError, TypeError) as error:  # what it works on cannot be sent
            self.pipe.close()
            raise WorkerLostError(f"one could not be started ({error})") from error
        finally:
            theirs.close()

    def give(self, task: Any, patience: float) -> None:
        """Give it a task; that it has ended, or takes none in time, shows when the answer is awaited."""
        self.pipe.settimeout(patience)  # it may hang while the socket is full
        try:
            _send(self.pipe, pickle.dumps(task))
        except OSError:
            with contextlib.suppress(OSError):
                self.pipe.shutdown(socket.SHUT_WR)  # half a task is none
        finally:
            self.pipe.settimeout(None)

    def take(self, patience: float, is_stopping: Callable[[], bool]) -> tuple[bool, Any]:
        """Return whether it could do the next task, and the answer.

        Raises:
            WorkerLostError: If it has ended, or does not answer in time.
        """
        deadline = time.monotonic() + patience

        def wait_for_more() -> None:
            nonlocal deadline
            while not _has_come(self.pipe, _SLICE):
                if is_stopping():
                    deadline = min(deadline, time.monotonic() + _GRACE)
                if time.monotonic() > deadline:
                    raise WorkerLostError("one does not answer")

        try:
            with _received(self.pipe, wait_for_more) as (message, handles):
                done, answer = _load(message, handles)
                return done, answer
        except (OSError, EOFError) as error:
            raise WorkerLostError(self._fate()) from error

    def _fate(self) -> str:
        self._process.join(_GRACE)
        code = self._process.exitcode
        if code is None or code >= 0:
            return "one has failed"
        return f"one was ended by {signal.Signals(-code).name}"

    def end(self) -> None:
        """End it, whatever it does."""
        self.pipe.close()
        self._process.kill()
        self._process.join(_GRACE)


def _serve(
    pipe: socket.socket,
    inherited: list[socket.socket],
    begin: Callable[[], None],
    call: Callable[[Any], Any],
) -> None:
    """Answer tasks until the other side is gone, which itself does those that raise something."""
    try:
        for number in ANSWERED:  # Ctrl-C and hanging up are the main process's business
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
        for other in inherited:
            other.close()
        begin()
        while True:
            with _received(pipe) as (message, _):
                task = pickle.loads(message)
            try:
                answer = True, call(task)
            except Exception:
                answer = False, None
            _answer(pipe, answer)
    finally:
        os._exit(1)  # without a traceback, and without what the main process has to do at its end


def _answer(pipe: socket.socket, answer: Any) -> None:
    """Send an answer, its large arrays in memory of their own where the system has such."""
    large: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= _LARGE:
            large.append(view)
        return view.nbytes < _LARGE

    data = pickle.dumps(answer, protocol=5, buffer_callback=is_small)
    memory = -1
    try:
        places: list[slice] = []
        if large:
            memory = os.memfd_create("answer")
        for view in large:
            places.append(_append(memory, view, places[-1].stop if places else 0))
        _send(pipe, pickle.dumps((data, places)), memory)
    except (OSError, AttributeError):  # no such memory: on this system, or by a limit
        _send(pipe, pickle.dumps((pickle.dumps(answer, protocol=5), [])))
    finally:
        if memory >= 0:
            os.close(memory)


def _append(memory: int, view: memoryview, end: int) -> slice:
    """Write bytes at the next aligned place from `end`, and return the place."""
    start = -(-end // _ALIGNED) * _ALIGNED
    done = 0
    while done < view.nbytes:
        done += os.pwrite(memory, view[done:], start + done)
    return slice(start, start + done)


def _load(message: bytearray, handles: list[int]) -> Any:
    """Undo `_answer`; arrays are views of the memory, which lives as long as they do."""
    data, places = pickle.loads(message)
    if not places:
        return pickle.loads(data)
    whole = memoryview(mmap.mmap(handles[0], 0))
    return pickle.loads(data, buffers=[whole[place] for place in places])


def _send(pipe: socket.socket, message: bytes, memory: int = -1) -> None:
    """Send a message, and a handle to memory with it if there is any."""
    length = _LENGTH.pack(len(message))
    if memory >= 0:
        socket.send_fds(pipe, [length], [memory])
    else:
        pipe.sendall(length)
    pipe.sendall(message)


def _has_come(pipe: socket.socket, seconds: float) -> bool:
    """Whether something can be received, or the other side is gone, within so many seconds."""
    with _Selector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


@contextlib.contextmanager
def _received(
    pipe: socket.socket, wait_for_more: Callable[[], None] = _nothing
) -> Iterator[tuple[bytearray, list[int]]]:
    """Receive a message; the handle with it, if there is any, is closed in the end.

    Raises:
        EOFError: If the other side is gone.
    """
    wait_for_more()
    length, handles = _receive_length(pipe)
    try:
        if len(length) < _LENGTH.size:
            raise EOFError
        message = bytearray(_LENGTH.unpack(length)[0])
        rest = memoryview(message)
        while rest:
            wait_for_more()
            got = pipe.recv_into(rest)
            if not got:
                raise EOFError
            rest = rest[got:]
        yield message, handles
    finally:
        for handle in handles:
            os.close(handle)


def _receive_length(pipe: socket.socket) -> tuple[bytes, list[int]]:
    """Return the start of a message, and the handles that came with it, where the system can send such."""
    if not hasattr(socket, "recv_fds"):
        return pipe.recv(_LENGTH.size, socket.MSG_WAITALL), []
    length, handles, _, _ = socket.recv_fds(pipe, _LENGTH.size, 1)
    return length, handles
