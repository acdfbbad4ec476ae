"""What of parts and whole counts in their assembly: it is fused with all of them, and without each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class AssemblyContest(NamedTuple):
    """What counts in an assembly: with all (0), without each part (1 to P), without the whole (P+1).

    Args:
        feature: x^comb_4 of each variant. [P+2, R, C, S, S]
        shares: Share of the maxima that each part wins (or of the sums that it makes up, where nodes add),
            the whole last; their sum is 1, or 0 where nothing passes the ReLU. [P+2, R, P+1]
    """

    feature: Tensor
    shares: Tensor


#: How two features meet in every variant.
Meeting = Callable[[AssemblyContest, AssemblyContest], AssemblyContest]


@runtime_checkable
class Assembly(Protocol):
    """A fusion in which parts and whole meet, and that can tell how much each counts."""

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse [R, C, S, S] and [R, P, C, S, S] with all parts, without each, and without the whole."""
        ...


def share_won(won: Tensor, feature: Tensor) -> Tensor:
    """Return the share of a feature's elements, those that are not zero, which `won` marks.

    Args:
        won: Elements, bool; those of zero count for nobody. [..., C, S, S]
        feature: What came out of the maximum. [..., C, S, S]

    Returns:
        0 where all is zero. [...]
    """
    alive = feature != 0
    return (won & alive).flatten(-3).sum(dim=-1) / alive.flatten(-3).sum(dim=-1).clamp(min=1)


def variants_without(feature: Tensor, number: int, count: int) -> Tensor:
    """Return a feature in each variant of an assembly: in the one without it, it wins no maximum.

    Args:
        feature: What part `number`, or the whole, looks like. [R, C, S, S]
        number: 0..P-1, or P for the whole.
        count: P.

    Returns:
        [P+2, R, C, S, S]
    """
    variants = feature.repeat(count + 2, 1, 1, 1, 1)
    variants[number + 1] = -torch.inf
    return variants


def enter(feature: Tensor, number: int, count: int) -> AssemblyContest:
    """Return what a transformed part, or the whole, brings into a contest: itself, but where it is out.

    Args:
        feature: [R, C, S, S]
        number: 0..P-1, or P for the whole.
        count: P.
    """
    shares = feature.new_zeros(count + 2, len(feature), count + 1)
    shares[..., number] = 1
    shares[number + 1] = 0
    return AssemblyContest(variants_without(feature, number, count), shares)


def through(transform: nn.Module, one: AssemblyContest) -> AssemblyContest:
    """Return a transformed feature, in every variant, with the shares of the feature that it was."""
    transformed = transform(one.feature.flatten(0, 1)).unflatten(0, one.feature.shape[:2])
    return one._replace(feature=transformed)


def larger(a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
    """Return the larger of two features, to which each side's shares count as far as it won."""
    feature, won = torch.maximum(a.feature, b.feature), a.feature >= b.feature
    shares = share_won(won, feature)[..., None] * a.shares + share_won(~won, feature)[..., None] * b.shares
    return AssemblyContest(feature, shares)
