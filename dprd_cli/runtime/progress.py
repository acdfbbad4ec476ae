"""What the library tells: lines through `logging`, and how far it is; of many processes, one speaks.

What takes a while is a `Work`, opened by `progress`. On a terminal it is a bar on stderr, and what is opened
inside it is another one below. Elsewhere it is a line now and then, never about short work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

from dprd_cli.errors import one_line
from dprd_cli.runtime.ranks import rank

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

T = TypeVar("T")
LOGGER = logging.getLogger("dprd_cli")

#: Called with (done, total).
Progress = Callable[[int, int], None]

#: Seconds until a line tells how far a work is, where there is no terminal, and from one line to the next;
#: later it is a tenth of the time that the work has taken.
EVERY = 10.0
_RECENT = 30.0  # seconds over which a speed is measured
_APART = 0.1  # seconds from one measurement to the next
_BAR = 20  # characters
_DAY, _HOUR = 86400.0, 3600.0


def say(line: str) -> None:
    """Tell a line, through the logger `dprd_cli`; the main process alone speaks."""
    if rank() == 0:
        LOGGER.info("%s", line)


def detail(line: str) -> None:
    """Tell a line for those who want to know how things are done (`--verbose`); see `say`."""
    if rank() == 0:
        LOGGER.debug("%s", line)


def tell(line: str) -> None:
    """Print a line on stderr; a closed one, or a terminal or pipe that has gone away, is no error."""
    if sys.stderr is not None:  # None where it was closed at the start; `print` would take stdout
        with contextlib.suppress(OSError, ValueError):
            print(one_line(line), file=sys.stderr, flush=True)


class LineHandler(logging.Handler):
    """Shows what the library tells as plain lines on stderr, whatever that is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        tell(record.getMessage())


@contextmanager
def lines_on_stderr() -> Iterator[None]:
    """Show on stderr what the library tells, as the command line does; other programs may do otherwise."""
    handler, level = LineHandler(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


def on_terminal() -> bool:
    """Whether stderr is a terminal that can show bars."""
    return _is_terminal(sys.stderr) and os.environ.get("TERM") not in ("dumb", "unknown")


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def in_words(seconds: float) -> str:
    """Return a time as one would say it: `40 s`, `36 min`, `4.9 h`, `3.1 days`."""
    for unit, size, digits in (("days", _DAY, 1), ("h", _HOUR, 1), ("min", 60.0, 0)):
        if seconds > 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


class Work:
    """Something that takes a while: how far it is, how fast it goes, and what is left.

    Called with (done, total) as it goes on; total is 0 where it is not known. Counts that go back, or another
    total, are the start of a new series, such as the next split of a data set.

    Args:
        title: What it is.
        unit: What is counted, in the plural; empty for a stage that cannot be counted.
        lines: Whether lines are told of it where there is no terminal.
        clock: Returns the time in seconds.

    Attributes:
        note: More to say at the end.
    """

    def __init__(
        self, title: str, unit: str = "", *, lines: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title = one_line(title)
        self.unit, self.lines = unit, lines
        self.note = ""
        self.done = self.total = 0
        self._clock = clock
        self._started = self._told = clock()
        self._seen = deque([(self._started, 0)])  # (when, done), oldest first

    def begin(self, done: int, total: int) -> None:
        """Note that so much was done before, or in another time than that which counts from here on."""
        self._seen = deque([(self._clock(), done)])
        self.done, self.total = done, total

    def __call__(self, done: int, total: int) -> None:
        """Note that so much is done."""
        now = self._clock()
        if done < self.done or (self.total and total != self.total):
            self._seen = deque([(now, done)])
        self.done, self.total = done, total
        if len(self._seen) > 1 and self._seen[-1][0] - self._seen[-2][0] < _APART:
            self._seen.pop()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _RECENT:
            self._seen.popleft()

    @property
    def speed(self) -> float | None:
        """How many are done in a second, of late; None before it is known."""
        (first, before), (last, done) = self._seen[0], self._seen[-1]
        return (done - before) / (last - first) if last > first and done > before else None

    def words(self) -> str:
        """Return how far it is: `12 of 200 images, 3.4 images/s, 55 s left`, or for how long it goes on."""
        speed = self.speed if self.unit else None
        counted = bool(self.unit and (self.total or self.done))
        count = f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}"
        parts = [f"{count} {self.unit}" if counted else in_words(self._clock() - self._started)]
        if speed is not None:
            parts.append(f"{speed:.{0 if speed >= 10 else 1}f} {self.unit}/s" if speed >= 1 else _each(speed))
            if self.total > self.done:
                parts.append(f"{in_words((self.total - self.done) / speed)} left")
        return ", ".join(filter(None, (*parts, self.note)))

    def line(self) -> str:
        """Return a line if it is time for one, else nothing."""
        now = self._clock()
        if not self.lines or now - self._told < max(EVERY, 0.1 * (now - self._started)):
            return ""
        self._told = now
        return f"{self.title}: {self.words()}"


def _each(speed: float) -> str:
    seconds = 1 / speed
    return f"{seconds:.1f} s each" if seconds < 100 else f"{in_words(seconds)} each"


class _Lines:
    """Tells a line now and then of the innermost work, from a thread: it may be busy for minutes."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="progress").start()

    def _run(self) -> None:
        while not self._over.wait(EVERY / 10):
            works = self._works[-1:]
            if works and (line := works[0].line()):
                say(line)

    def add(self, work: Work) -> None:
        """Tell of a work from now on."""
        self._works = [*self._works, work]

    def remove(self, work: Work) -> None:
        """Tell no more of it."""
        self._works = [one for one in self._works if one is not work]

    def close(self) -> None:
        """Tell nothing any more."""
        self._over.set()


class _Bars:
    """Bars on the terminal that stderr is, one below the other; lines move above them."""

    def __init__(self) -> None:
        self._tasks: dict[int, TaskID] = {}
        self._rich = _rich_progress()
        with _whatever_becomes_of_the_terminal():
            self._rich.start()

    def add(self, work: Work) -> None:
        """Show a bar."""
        with _whatever_becomes_of_the_terminal():
            self._tasks[id(work)] = self._rich.add_task(work.title, total=None, work=work)

    def remove(self, work: Work) -> None:
        """Take its bar away."""
        with _whatever_becomes_of_the_terminal():
            self._rich.remove_task(self._tasks.pop(id(work)))

    def close(self) -> None:
        """Take away what is left."""
        with _whatever_becomes_of_the_terminal():
            self._rich.stop()


@contextmanager
def _whatever_becomes_of_the_terminal() -> Iterator[None]:
    """Go on where the terminal went away."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        yield


def _rich_progress() -> RichProgress:
    """Return rich's display of works, which asks each how far it is whenever it draws."""
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, Task
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    class Title(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["work"].title, overflow="ellipsis", no_wrap=True)

    class Bar(ProgressColumn):
        def render(self, task: Task) -> ProgressBar:
            work: Work = task.fields["work"]
            known = work.total or None
            return ProgressBar(total=known, completed=work.done, width=_BAR, pulse=known is None)

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["work"].words(), overflow="ellipsis", no_wrap=True)

    # what is printed on stdout is for whoever reads it, and stays there
    console = Console(stderr=True, highlight=False)
    return Bars(Title(), Bar(), Words(), console=console, transient=True, redirect_stdout=False)


class _Screen:
    """What is being done, and what shows it: one display while there is any work, however deep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._display: _Bars | _Lines | None = None

    @contextmanager
    def showing(self, work: Work) -> Iterator[None]:
        """Show a work."""
        with self._lock:
            self._count += 1
            display = self._display = self._display or (_Bars() if on_terminal() else _Lines())
        display.add(work)
        try:
            yield
        finally:
            display.remove(work)
            with self._lock:
                self._count -= 1
                if not self._count:
                    display.close()
                    self._display = None


_SCREEN = _Screen()


@contextmanager
def progress(title: str, unit: str = "images", *, lines: bool = True) -> Iterator[Work]:
    """Show how far something is; yields what to call with (done, total).

    Args:
        title: What is being done.
        unit: What is counted; empty for a stage that cannot be counted.
        lines: Whether to tell lines where there is no terminal.
    """
    work = Work(title, unit, lines=lines)
    heard = rank() == 0 and LOGGER.level < logging.ERROR
    with _SCREEN.showing(work) if heard else contextlib.nullcontext():
        yield work


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Show that something which cannot be counted goes on, and for how long."""
    with progress(title, unit=""):
        yield


def counted(items: Iterable[T], title: str, total: int, unit: str = "images") -> Iterator[T]:
    """Yield items, and show how many of them are done with."""
    with progress(title, unit) as show:
        for done, item in enumerate(items, start=1):
            yield item
            show(done, total)
