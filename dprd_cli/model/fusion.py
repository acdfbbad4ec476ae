"""Region assembly (RDA) and its alternatives: how part features and the whole feature become one.

Every fusion maps (whole [R, C, S, S], parts [R, P, C, S, S]) to (comb_parts, comb): the feature of the parts
alone (x^comb_3 in the paper; None where there is none) and the feature with the whole (x^comb_4). All sizes
stay S x S.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import conv_block


class FusionOutput(NamedTuple):
    """Assembled RoI features.

    Args:
        parts: From the parts only, x^comb_3, or None. [R, C, S, S]
        whole: From parts and whole, x^comb_4. [R, C, S, S]
    """

    parts: Tensor | None
    whole: Tensor


class AssemblyContest(NamedTuple):
    """Who won the maxima of an assembly.

    Args:
        feature: x^comb_4 as it is without what was taken out. [R, C, S, S]
        shares: Share of the maxima that each part wins, the whole last; their sum is 1, or 0 where nothing
            passes the ReLU. [R, P+1]
    """

    feature: Tensor
    shares: Tensor


def share_won(won: Tensor, feature: Tensor) -> Tensor:
    """Return the share of a feature's elements, those that are not zero, which `won` marks.

    Args:
        won: Elements, bool; those of zero count for nobody. [R, ...]
        feature: What came out of the maximum. [R, ...]

    Returns:
        0 where all is zero. [R]
    """
    alive = feature != 0
    return (won & alive).flatten(1).sum(dim=1) / alive.flatten(1).sum(dim=1).clamp(min=1)


class _Max(torch.autograd.Function):
    """Elementwise maximum whose gradient goes to the larger input, and to the first on a tie.

    `torch.maximum` halves the gradient on ties (half of all elements here: both sides end in ReLU) and takes
    seven times as long forward and backward on a CPU (24 against 3.4 ms for 431 x 64 x 7 x 7).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a >= b)
        return torch.maximum(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (first,) = ctx.saved_tensors
        to_a = grads[0] * first
        return to_a, grads[0] - to_a


def strongest(a: Tensor, b: Tensor) -> Tensor:
    """Return the elementwise maximum, the "max unit" of Eq. 1. [...], [...] -> [...]."""
    larger: Tensor = _Max.apply(a, b)
    return larger


class Transform(nn.Sequential):
    """F of Eq. 1's blocks: 3x3 conv C -> C/b, ReLU, 3x3 conv C/b -> C, ReLU.

    Args:
        channels: C.
        bottleneck: b.
        norm: Normalisation after each convolution.
        residual: Add the input to the result: F(x) = x + relu(conv(relu(conv(x)))).

    Reading: the paper's parameter counts (Table 2: 44 M -> 46 M) fit b = 4; full width would add 8 M.
    Departs: with `residual`. Without it all that the heads see passes random convolutions of C/b channels,
    which a short training does not recover from (docs/evidence.md).
    """

    def __init__(self, channels: int, bottleneck: int, norm: str, *, residual: bool = False) -> None:
        narrow = max(channels // bottleneck, 1)
        super().__init__(
            conv_block(channels, narrow, norm=norm),
            conv_block(narrow, channels, norm=norm)[:-1],
        )
        self.residual = residual

    def unrectified(self, feature: Tensor) -> Tensor:
        """Return F without its last ReLU (and without the input added). [R, C, S, S] -> [R, C, S, S]."""
        transformed: Tensor = super().forward(feature)  # type: ignore[no-untyped-call]
        return transformed

    def forward(self, feature: Tensor) -> Tensor:
        """Transform a feature [R, C, S, S] into another."""
        transformed = F.relu(self.unrectified(feature), inplace=True)
        return feature + transformed if self.residual else transformed


class RAB(nn.Module):
    """Region assembly block: RAB(a, b) = max(F_a(a), F_b(b)), elementwise.

    Where F ends in ReLU, one after the max does for both: max(relu(x), relu(y)) = relu(max(x, y)). So the
    gradient needs one map where it would need three.

    Source: Eq. 1, Fig. 1 ("four consecutive 3x3 conv filters, ReLU, and one element-wise max unit").
    """

    def __init__(self, channels: int, bottleneck: int, norm: str, *, residual: bool = False) -> None:
        super().__init__()
        self.a = Transform(channels, bottleneck, norm, residual=residual)
        self.b = Transform(channels, bottleneck, norm, residual=residual)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Assemble two features [R, C, S, S] and [R, C, S, S] into one [R, C, S, S]."""
        if self.a.residual:
            return strongest(self.a(a), self.b(b))
        return F.relu(strongest(self.a.unrectified(a), self.b.unrectified(b)), inplace=True)

    def contest(self, a: AssemblyContest | None, b: AssemblyContest | None) -> AssemblyContest | None:
        """Assemble two features as `forward` does, and pass on who won; None wins no maximum."""
        left = None if a is None else AssemblyContest(self.a(a.feature), a.shares)
        right = None if b is None else AssemblyContest(self.b(b.feature), b.shares)
        return meet(left, right)


def meet(a: AssemblyContest | None, b: AssemblyContest | None) -> AssemblyContest | None:
    """Return the larger of two features, to which each side's shares count as far as it won."""
    if a is None or b is None:
        return b if a is None else a
    feature, won = torch.maximum(a.feature, b.feature), a.feature >= b.feature
    shares = share_won(won, feature)[:, None] * a.shares + share_won(~won, feature)[:, None] * b.shares
    return AssemblyContest(feature, shares)


class RDAFusion(nn.Module):
    """Region decomposition and assembly: a tree of RABs over the parts, then the whole.

    For P=4: (left, right) -> l/r, (upper, bottom) -> b/u, (l/r, b/u) -> comb_3, and comb_4 is
    max(comb_3, F_w(whole)).

    Args:
        channels: C.
        num_parts: P, a power of two; the tree has log2(P) stages.
        bottleneck: Channel divisor inside each transform.
        norm: Normalisation after each convolution.
        residual: See `Transform`.

    Source: "Preliminaries of D-PRD", Eq. 1, Fig. 1. RABs do not share weights; the detection and the
    segmentation branch share the network.
    """

    def __init__(
        self,
        channels: int,
        num_parts: int,
        bottleneck: int = 4,
        norm: str = "none",
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            RAB(channels, bottleneck, norm, residual=residual) for _ in range(num_parts - 1)
        )
        self.whole = Transform(channels, bottleneck, norm, residual=residual)

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        if parts is None:
            raise ValueError("RDAFusion: expected part features, but got None")
        level = list(parts.unbind(dim=1))
        blocks = iter(self.blocks)
        while len(level) > 1:
            level = [next(blocks)(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        # comb_3 is not negative where F ends in ReLU, so the max does the whole's ReLU too
        transform = self.whole if self.whole.residual else self.whole.unrectified
        return FusionOutput(level[0], strongest(level[0], transform(whole)))

    def contest(self, whole: Tensor, parts: Tensor, *, without: int | None = None) -> AssemblyContest:
        """Fuse as `forward` does, and tell who won; without gradient.

        A part's share is the product of the shares of the maxima won on its way up the tree.

        Args:
            whole: The whole feature. [R, C, S, S]
            parts: Those of the parts. [R, P, C, S, S]
            without: A part, or P for the whole, that is to win no maximum.
        """
        count = parts.shape[1]
        own = torch.eye(count + 1, dtype=whole.dtype, device=whole.device)
        level = [
            None if k == without else AssemblyContest(part, own[k].expand(len(whole), -1))
            for k, part in enumerate(parts.unbind(dim=1))
        ]
        blocks = iter(block for block in self.blocks if isinstance(block, RAB))
        while len(level) > 1:
            level = [next(blocks).contest(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        last = AssemblyContest(self.whole(whole), own[count].expand(len(whole), -1))
        result = meet(level[0], None if without == count else last)
        assert result is not None  # one of several is left out at most
        return result


class ConcatFusion(nn.Module):
    """1x1 convs C -> C/P of each part, concatenated; then the max with the whole (D1 and D3 of Table 2).

    Args:
        channels: C.
        num_parts: P.
        norm: Normalisation after each convolution.

    Source: "Detailed analysis of DPR and RDA networks".
    """

    def __init__(self, channels: int, num_parts: int, norm: str = "none") -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            conv_block(channels, channels // num_parts, 1, norm=norm) for _ in range(num_parts)
        )

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        if parts is None:
            raise ValueError("ConcatFusion: expected part features, but got None")
        comb_parts = torch.cat(self._reduced(parts), dim=1)
        return FusionOutput(comb_parts, strongest(comb_parts, whole))

    def _reduced(self, parts: Tensor) -> list[Tensor]:
        """Return the channels of each part. [R, P, C, S, S] -> P x [R, C/P, S, S]."""
        return [reduce(part) for reduce, part in zip(self.reduce, parts.unbind(dim=1), strict=True)]

    def contest(self, whole: Tensor, parts: Tensor, *, without: int | None = None) -> AssemblyContest:
        """Fuse as `forward` does, and tell who won; see `RDAFusion.contest`.

        A part's share is that of all elements in which its own channels win against the whole.
        """
        reduced = self._reduced(parts)
        if without is not None and without < len(reduced):
            reduced[without] = torch.full_like(reduced[without], -torch.inf)
        comb_parts = torch.cat(reduced, dim=1)
        feature = comb_parts if without == len(reduced) else torch.maximum(comb_parts, whole)
        won = (comb_parts >= whole) | (without == len(reduced))
        blocks = torch.arange(len(reduced), device=whole.device).repeat_interleave(reduced[0].shape[1])
        of_parts = [share_won(won & (blocks == k)[:, None, None], feature) for k in range(len(reduced))]
        return AssemblyContest(feature, torch.stack([*of_parts, share_won(~won, feature)], dim=1))


class WholeTransform(nn.Module):
    """F_w on the whole feature only: the second cascade stage ("several conv layers", Fig. 3).

    Args:
        channels: C.
        bottleneck: Channel divisor.
        norm: Normalisation after each convolution.
        residual: See `Transform`.
    """

    def __init__(
        self, channels: int, bottleneck: int = 4, norm: str = "none", *, residual: bool = False
    ) -> None:
        super().__init__()
        self.whole = Transform(channels, bottleneck, norm, residual=residual)

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Transform the whole feature [R, C, S, S]; parts [R, P, C, S, S] are not used."""
        del parts
        return FusionOutput(None, self.whole(whole))


class NoFusion(nn.Module):
    """The whole feature as it is: the baselines."""

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Return the whole feature [R, C, S, S]; parts [R, P, C, S, S] are not used."""
        del parts
        return FusionOutput(None, whole)
