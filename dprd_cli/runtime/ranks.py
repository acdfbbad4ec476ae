"""Which of a job's processes this one is, by what torchrun and `--gpus` set in the environment."""

from __future__ import annotations

import os
import re


def world_size() -> int:
    """Return how many processes do this job; 1 where nothing says that there are more."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def rank() -> int:
    """Return this process's number among all of the job, from 0."""
    return _number("RANK", 0) if world_size() > 1 else 0


def local_rank() -> int:
    """Return this process's number on its machine, from 0."""
    return _number("LOCAL_RANK", rank()) if world_size() > 1 else 0


def local_size() -> int:
    """Return how many of the job's processes are on this machine."""
    return _number("LOCAL_WORLD_SIZE", world_size()) if world_size() > 1 else 1


def is_launched() -> bool:
    """Whether a launcher that starts processes again has started this one."""
    return "TORCHELASTIC_RESTART_COUNT" in os.environ


def restart_count() -> int:
    """Return how often the launcher has started this job's processes again; 0 the first time."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def rank_slice(total: int, rank: int, size: int) -> range:
    """Return which of `total` things a rank takes: an even share, in order; shares differ by one at most.

    Law: a rank's share is that of its sub-ranks together:
    `rank_slice(n, r, W)` is `rank_slice(n, r * A, W * A)` and those after it, A in all.
    """
    return range(rank * total // size, (rank + 1) * total // size)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else default
