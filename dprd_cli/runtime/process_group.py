"""What the processes of one job tell each other. A single process is a job of one rank.

The processes are started by torchrun, or by `--gpus` (`runtime/launch.py`). Tensors on a GPU go through
NCCL, all else through gloo, where a process that ended is noticed at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dprd_cli.errors import UsageError, UserError, is_out_of_memory
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.ranks import world_size

T = TypeVar("T")
_PATIENCE = 1800.0  # seconds; the main rank may have to check all images before training


class RankLostError(UserError):
    """Another process of the job has ended, or did not answer in time."""


class ProcessGroup:
    """The processes of a job; every method must be called by all of them, in the same order.

    Args:
        rank: Number of this process.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.rank == 0

    def all_reduce_sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the ranks, the same to the bit on all of them."""
        if self.size == 1:
            return
        if tensor.is_cuda:  # NCCL would wait for a process that ended
            self.barrier()
        with raising_rank_lost():
            dist.all_reduce(tensor)

    def all_reduce_max(self, value: int) -> int:
        """Return the largest of the ranks' values."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value])
        with raising_rank_lost():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def barrier(self) -> None:
        """Wait until all ranks are here; by gloo, which notices a process that ended at once."""
        self.all_reduce_max(0)

    def gather(self, item: T) -> list[T]:
        """Return the ranks' items on the main rank, in the order of the ranks; nothing on the others."""
        if self.size == 1:
            return [item]
        items: list[Any] | None = [None] * self.size if self.is_main else None
        with raising_rank_lost():
            dist.gather_object(item, items)
        return items or []

    def broadcast(self, call: Callable[[], T]) -> T:
        """Call on the main rank alone, and return there and everywhere what it gave."""
        if self.size == 1:
            return call()
        box: list[Any] = [call() if self.is_main else None]
        with raising_rank_lost():
            dist.broadcast_object_list(box)
        result: T = box[0]
        return result

    def main_first(self, call: Callable[[], T]) -> T:
        """Call on all ranks, on the main one first: what it downloads is there for those on its machine."""
        result = [call()] if self.is_main else []
        self.barrier()
        return result[0] if result else call()

    def shared_error(self, error: UserError) -> BaseException:
        """Return what to raise for an error that all ranks come to together: the main rank says it."""
        return error if self.is_main else SystemExit(error.exit_code)


#: The job of a single process.
SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group(device: str = "auto") -> Iterator[ProcessGroup]:
    """Join the other processes of the job, if there are any.

    `DPRD_RANK_TIMEOUT` is how many seconds a process waits for the others.

    Args:
        device: As for `pick_device`; each process gets its own GPU.

    Raises:
        RankLostError: If they do not come.
        UsageError: If there is no GPU for this process.
    """
    if world_size() == 1:
        yield SINGLE_PROCESS
        return
    place = pick_device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    with raising_rank_lost():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timeout=timedelta(seconds=_timeout())
        )
    yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: the end of the process tells the others sooner


def _timeout() -> float:
    text = os.environ.get("DPRD_RANK_TIMEOUT", "")
    try:
        return float(text) if text else _PATIENCE
    except ValueError as error:
        raise UsageError(f"DPRD_RANK_TIMEOUT={text}: expected a number of seconds") from error


@contextmanager
def raising_rank_lost() -> Iterator[None]:
    """Turn what a lost connection raises into a line.

    Raises:
        RankLostError: If an operation between the ranks fails.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error) or not _is_of_backend(error):
            raise
        raise RankLostError(
            "another process of this job has ended, or did not answer in time (DPRD_RANK_TIMEOUT); its own "
            "message says why"
        ) from error


def _is_of_backend(error: RuntimeError) -> bool:
    """Whether gloo or NCCL raised it: gloo's errors are plain, and begin with the place in its sources."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
