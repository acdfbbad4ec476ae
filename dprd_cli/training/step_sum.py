"""Sums over the ranks in a training step: gradients, what is logged, BatchNorm's running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dprd_cli.distributed import Ranks


class StepSum:
    """Sums gradients and logged values over the ranks, in one call each.

    DistributedDataParallel is not used: it needs care where a rank has no object, mask or proposal and thus
    no gradient for some layers, and it averages, where pictures are to weigh alike although ranks may have
    different numbers of them. Here every gradient is copied into one buffer, zeros where there is none, and
    the buffer is summed. What that costs is DDP's overlap of the sum with the backward pass; the last pass of
    a step is the only one that could overlap.

    Law: a parameter that no rank has a gradient for keeps none, as in a single process.

    Args:
        detector: Its trainable parameters' gradients are summed.
        world: The ranks.
    """

    def __init__(self, detector: nn.Module, world: Ranks) -> None:
        self._world = world
        self._parameters = [p for p in detector.parameters() if p.requires_grad]
        sizes = [p.numel() for p in self._parameters]
        self._buffer = self._parameters[0].new_zeros(sum(sizes))
        self._views = [  # in the memory order of the parameter, which may be channels-last
            piece.as_strided(p.shape, p.stride())
            for piece, p in zip(torch.split(self._buffer, sizes), self._parameters, strict=True)
        ]

    @torch.no_grad()
    def gradients(self) -> None:
        """Replace each gradient by its sum over the ranks."""
        own = [p.grad is not None for p in self._parameters]
        used = torch.tensor(own, dtype=torch.int32)
        self._world.sum_(used)
        self._buffer.zero_()
        pairs = [
            (v, p.grad) for v, p in zip(self._views, self._parameters, strict=True) if p.grad is not None
        ]
        if pairs:
            views, gradients = zip(*pairs, strict=True)
            torch._foreach_copy_(views, gradients)
        self._world.sum_(self._buffer)
        for parameter, view, count in zip(self._parameters, self._views, used.tolist(), strict=True):
            parameter.grad = view if count else None

    def values(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over the ranks of scalars with the same keys on each."""
        stacked = torch.stack([value.float() for value in values.values()])
        self._world.sum_(stacked)
        return dict(zip(values, stacked.unbind(), strict=True))


class RunningStatistics:
    """Lets BatchNorm's running statistics go on as if the ranks' passes had followed each other.

    One pass does r <- (1 - m) r + m s with its batch's statistics s. After n passes a rank's r_k is
    q r + (what it has seen), with q = (1 - m)^n; W ranks in a row give
    q^W r + sum over k of q^(W-1-k) (r_k - q r), which needs one sum over the ranks.

    Args:
        detector: Its BatchNorms in training mode are looked after; there may be none.
        passes: Of each rank in a step.
        world: The ranks.
    """

    def __init__(self, detector: nn.Module, passes: int, world: Ranks) -> None:
        self._all = [
            m for m in detector.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None
        ]
        self._passes, self._world = passes, world
        self._norms: list[_BatchNorm] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Remember the statistics before a step."""
        self._norms = [norm for norm in self._all if norm.training]
        if self._norms:
            self._before = torch.cat(self._tensors())

    @torch.no_grad()
    def end(self) -> None:
        """Put the statistics after the step in their place."""
        if not self._norms:
            return
        tensors, size = self._tensors(), self._world.size
        sizes = torch.tensor([len(tensor) for tensor in tensors])
        keeps = torch.tensor(
            [(1 - (norm.momentum or 0.0)) ** self._passes for norm in self._norms for _ in "mv"]
        )
        keep = keeps.repeat_interleave(sizes).to(self._before)
        seen = (torch.cat(tensors) - keep * self._before) * keep ** (size - 1 - self._world.rank)
        self._world.sum_(seen)
        after = torch.split(keep**size * self._before + seen, sizes.tolist())
        torch._foreach_copy_(tensors, list(after))
        for norm in self._norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += self._passes * (size - 1)

    def _tensors(self) -> list[Tensor]:
        return [tensor for norm in self._norms for tensor in (norm.running_mean, norm.running_var)]  # type: ignore[misc]
