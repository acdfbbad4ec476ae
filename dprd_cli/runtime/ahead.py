"""Threads that work ahead of whoever takes the results, a few steps and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(tasks: Iterable[Callable[[], T]], workers: int, depth: int) -> Iterator[T]:
    """Yield what tasks return, in their order, while threads work on up to `depth` more of them.

    Args:
        tasks: Taken as they are needed, in the caller's thread.
        workers: Number of threads; 0 does each task when its turn comes.
        depth: Results that may wait.
    """
    if not workers:
        yield from (task() for task in tasks)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
