"""Exponential moving average of a detector's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dprd_cli.model.detector import Detector


class WeightAverage:
    """A second detector whose weights and running statistics follow the trained one's, in float32.

    After step n (from 1) every floating tensor becomes `d * average + (1 - d) * trained`, with
    d = min(decay, (1 + n) / (10 + n)), so that the random weights of the beginning are soon forgotten;
    integers are copied. As d is a function of n, the averaged tensors are the whole state.

    Args:
        detector: The trained one; the average starts as its copy.
        decay: 0..1.

    Source: the ramp is `tf.train.ExponentialMovingAverage`'s.
    """

    def __init__(self, detector: Detector, decay: float) -> None:
        self.detector = copy.deepcopy(detector).requires_grad_(requires_grad=False).eval()
        self._decay = decay
        pairs = list(zip(_tensors(self.detector), _tensors(detector), strict=True))
        self._floating = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        self._other = [(mine, theirs) for mine, theirs in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the trained detector after its step `step`, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine, theirs = zip(*self._floating, strict=True)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in self._other:
            own.copy_(other)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Return what of a module changes in training, sharing its memory."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
