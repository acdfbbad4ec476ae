"""Sums over the ranks in a training step beside the gradients': what is logged, running statistics."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from dprd_cli.model.detector import Detector
from dprd_cli.runtime.process_group import ProcessGroup


class ScalarSums:
    """Sums of what a step logs over the ranks.

    Args:
        device: Where the scalars are.
        group: The ranks.
    """

    def __init__(self, device: torch.device, group: ProcessGroup) -> None:
        self._device, self._group = device, group
        self._keys: list[str] = []

    @torch.no_grad()
    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums of scalars; a rank may lack some (diagnostics of objects, say).

        Law: in a single process they are what they were.
        """
        if self._group.size == 1:
            return dict(values)
        if self._group.all_reduce_max(any(key not in self._keys for key in values)):
            parts = self._group.gather(list(values))
            known = dict.fromkeys([*self._keys, *(key for part in parts for key in part)])
            self._keys = self._group.broadcast(lambda: list(known))
        present = torch.tensor([key in values for key in self._keys], dtype=torch.int32)
        self._group.all_reduce_sum(present)
        zero = torch.zeros((), device=self._device)
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
