"""Sums over the ranks in a training step: gradients, what is logged, running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dprd_cli.model.detector import Detector
from dprd_cli.runtime.process_group import ProcessGroup


class StepSum:
    """Sums gradients and logged values over the ranks, in one call each.

    DistributedDataParallel is not used: it needs care where a rank has no object, mask or proposal and thus
    no gradient for some layers, and it averages, where images are to weigh alike although ranks may have
    different numbers of them. Here every gradient is copied into one buffer, zeros where there is none, and
    the buffer is summed. What that costs is DDP's overlap of the sum with the backward pass; the last pass of
    a step is the only one that could overlap.

    Law: a parameter that no rank has a gradient for keeps none, as in a single process.

    Args:
        detector: Its trainable parameters' gradients are summed.
        group: The ranks.
    """

    def __init__(self, detector: nn.Module, group: ProcessGroup) -> None:
        self._group = group
        self._keys: list[str] = []
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
        self._group.all_reduce_sum(used)
        self._buffer.zero_()
        pairs = [
            (v, p.grad) for v, p in zip(self._views, self._parameters, strict=True) if p.grad is not None
        ]
        if pairs:
            views, gradients = zip(*pairs, strict=True)
            torch._foreach_copy_(views, gradients)
        self._group.all_reduce_sum(self._buffer)
        for parameter, view, count in zip(self._parameters, self._views, used.tolist(), strict=True):
            parameter.grad = view if count else None

    def values(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over the ranks of scalars; a rank may lack some (diagnostics of objects, say)."""
        if self._group.all_reduce_max(any(key not in self._keys for key in values)):
            parts = self._group.gather(list(values))
            known = dict.fromkeys([*self._keys, *(key for part in parts for key in part)])
            self._keys = self._group.broadcast(lambda: list(known))
        present = torch.tensor([key in values for key in self._keys], dtype=torch.int32)
        self._group.all_reduce_sum(present)
        zero = self._buffer.new_zeros(())
        stacked = torch.stack([values.get(key, zero).float() for key in self._keys])
        self._group.all_reduce_sum(stacked)
        rows = zip(self._keys, stacked.unbind(), present.tolist(), strict=True)
        return {key: value for key, value, count in rows if count}


class RunningStatistics:
    """Lets running means go on as if the ranks' passes had followed each other.

    One pass does r <- (1 - m) r + m s with its batch's statistics s. After n passes a rank's r_k is
    q r + (what it has seen), with q = (1 - m)^n; W ranks in a row give
    q^W r + sum over k of q^(W-1-k) (r_k - q r), which needs one sum over the ranks. Where a pass has no
    foreground, the parts' mean offsets are off by a term of order m^2.

    Args:
        detector: Its BatchNorms in training mode and its parts' mean offsets are looked after.
        passes: Passes of each rank in a step.
        group: The ranks.
    """

    def __init__(self, detector: Detector, passes: int, group: ProcessGroup) -> None:
        self._detector, self._passes, self._group = detector, passes, group
        self._norms: list[_BatchNorm] = []
        self._means: list[tuple[Tensor, float]] = []  # and their momentum

    @torch.no_grad()
    def begin(self) -> None:
        """Remember the statistics before a step."""
        if self._group.size == 1:
            return
        self._norms = [m for m in self._detector.modules() if isinstance(m, _BatchNorm) and m.training]
        self._means = list(self._detector.running_means)
        for norm in self._norms:
            means = (norm.running_mean, norm.running_var)
            self._means += [(mean, norm.momentum or 0.0) for mean in means if mean is not None]
        self._before = [mean.clone() for mean, _ in self._means]

    @torch.no_grad()
    def end(self) -> None:
        """Put the statistics after the step in their place."""
        if not self._means:
            return
        size, later = self._group.size, self._group.size - 1 - self._group.rank
        keeps = [(1 - momentum) ** self._passes for _, momentum in self._means]
        rows = list(zip(self._means, self._before, keeps, strict=True))
        seen = [((mean - keep * before) * keep**later).flatten() for (mean, _), before, keep in rows]
        buffer = torch.cat(seen)
        self._group.all_reduce_sum(buffer)
        pieces = torch.split(buffer, [len(piece) for piece in seen])
        for ((mean, _), before, keep), piece in zip(rows, pieces, strict=True):
            mean.copy_(keep**size * before + piece.view_as(mean))
        for norm in self._norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += self._passes * (size - 1)
