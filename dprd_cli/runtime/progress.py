"""Lines and progress bars on stderr; of several processes that do one job, only the main one's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dprd_cli.errors import one_line
from dprd_cli.runtime.ranks import rank

#: Called with (done, total).
Progress = Callable[[int, int], None]


def say(line: str) -> None:
    """Print a line on stderr."""
    if rank() == 0:
        print(one_line(line), file=sys.stderr, flush=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show a bar while stderr is a terminal; yields what to call with (done, total)."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(
        console=Console(stderr=True), transient=True, disable=rank() > 0 or not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
