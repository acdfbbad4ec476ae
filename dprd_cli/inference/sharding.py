"""How the processes of a job share out what is looked at, and how what they found comes together again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from dprd_cli.runtime.process_group import ProcessGroup

S = TypeVar("S")
T = TypeVar("T")
_IMAGES = 16  # of a rank, between two meetings


def own_batches(numbers: Sequence[int], batch_size: int, index: int, count: int) -> list[int]:
    """Return one process's share: every so many-th batch, so that who looks does not change what is padded.

    Args:
        numbers: All there is.
        batch_size: Things in a batch.
        index: Which share, from 0.
        count: How many shares there are.
    """
    starts = range(index * batch_size, len(numbers), count * batch_size)
    return [number for start in starts for number in numbers[start : start + batch_size]]


def merge_in_order(
    items: Iterator[tuple[int, S]],
    numbers: Sequence[int],
    batch_size: int,
    group: ProcessGroup,
    stopped: Callable[[], bool],
    *,
    make: Callable[[Iterable[tuple[int, S]]], Iterator[tuple[int, T]]],
) -> Generator[tuple[int, T], None, None]:
    """Yield what is made of what all ranks found on the main one, in order, and nothing on the others.

    The ranks meet every few batches, so that the main one need not wait for the end to write, and all stop
    together. What `make` has taken ahead by then is yielded too.

    Args:
        items: This rank's: for several ranks, one a number of its `own_batches`; else any.
        numbers: What all ranks look at together.
        batch_size: As for `own_batches`.
        group: The ranks.
        stopped: Whether this rank was asked to stop.
        make: Turns items into what is yielded, in their order; may take a few ahead.
    """
    if group.size == 1:
        yield from make(_until(items, stopped))
        return
    span = group.size * batch_size * max(1, _IMAGES // batch_size)
    for start in range(0, len(numbers), span):
        mine = own_batches(numbers[start : start + span], batch_size, group.rank, group.size)
        parts = group.gather(list(make(islice(items, len(mine)))))
        yield from sorted((item for part in parts for item in part), key=lambda item: item[0])
        if group.all_reduce_max(stopped()):
            return


def _until(items: Iterable[T], stopped: Callable[[], bool]) -> Iterator[T]:
    """Yield items up to the one at hand when the program is asked to stop."""
    for item in items:
        yield item
        if stopped():
            return
