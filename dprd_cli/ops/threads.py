"""Operators that PyTorch runs on one thread, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

Result = TypeVar("Result")


def at_once(function: Callable[..., Result], jobs: Iterable[tuple[object, ...]]) -> list[Result]:
    """Call a function with each job's arguments, on as many threads as an operator may have.

    Calls are without gradient. On one thread, and where operators are watched (`benchmark/profile.py`), which
    only sees this thread's, one after the other.

    Args:
        function: Most of its time has to be spent in operators, which let other threads run.
        jobs: Arguments of each call.

    Returns:
        The results, in order. Whatever a call raises, is raised here.
    """
    calls = list(jobs)
    threads = min(torch.get_num_threads(), len(calls))

    @torch.no_grad()
    def call(arguments: tuple[object, ...]) -> Result:
        return function(*arguments)

    if threads < 2 or is_in_torch_dispatch_mode():
        return [call(arguments) for arguments in calls]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, calls))


__all__ = ["at_once"]
