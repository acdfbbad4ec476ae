"""What the library tells: lines through `logging`, and progress bars; of many processes, one speaks."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dprd_cli.errors import one_line
from dprd_cli.runtime.ranks import rank

LOGGER = logging.getLogger("dprd_cli")

#: Called with (done, total).
Progress = Callable[[int, int], None]


def say(line: str) -> None:
    """Tell a line, through the logger `dprd_cli`; the main process alone speaks."""
    if rank() == 0:
        LOGGER.info("%s", line)


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


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show a bar while stderr is a terminal; yields what to call with (done, total)."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bar

    quiet = rank() > 0 or sys.stderr is None or not sys.stderr.isatty()
    with Bar(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(escape(one_line(title)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
