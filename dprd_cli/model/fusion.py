"""Region assembly (RDA) and its alternatives: how part features and the whole feature become one.

Every fusion maps (whole [R, C, S, S], parts [R, P, C, S, S]) to (comb_parts, comb): the feature of the parts
alone (x^comb_3 in the paper; None where there is none) and the feature with the whole (x^comb_4). All sizes
stay S x S.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import conv_block


class FusionOptions(NamedTuple):
    """What a fusion is made from.

    Args:
        channels: C.
        num_parts: P.
        bottleneck: Channel divisor inside each transform.
        norm: Normalisation after each convolution: `none`, `bn` or `gn`.
        residual: See `Transform`.
        last_rab: See `RDAFusion`.
        concat_relu: Whether each part's channels in `ConcatFusion` end in ReLU.
    """

    channels: int
    num_parts: int
    bottleneck: int
    norm: str
    residual: bool
    last_rab: bool
    concat_relu: bool


class FusionOutput(NamedTuple):
    """Assembled RoI features.

    Args:
        parts: From the parts only, x^comb_3, or None. [R, C, S, S]
        whole: From parts and whole, x^comb_4. [R, C, S, S]
        met: What of the parts met the whole in the last max, where it is not `parts`. [R, C, S, S]
    """

    parts: Tensor | None
    whole: Tensor
    met: Tensor | None = None


class AssemblyContest(NamedTuple):
    """Who won the maxima of an assembly: with all (0), without each part (1 to P), without the whole (P+1).

    Args:
        feature: x^comb_4 of each variant. [P+2, R, C, S, S]
        shares: Share of the maxima that each part wins, the whole last; their sum is 1, or 0 where nothing
            passes the ReLU. [P+2, R, P+1]
    """

    feature: Tensor
    shares: Tensor


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

    def contest(self, a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
        """Assemble two features as `forward` does, in every variant, and pass on who won."""
        return meet(through(self.a, a), through(self.b, b))


def through(transform: nn.Module, one: AssemblyContest) -> AssemblyContest:
    """Return a transformed feature, in every variant, with the shares of the feature that it was."""
    transformed = transform(one.feature.flatten(0, 1)).unflatten(0, one.feature.shape[:2])
    return one._replace(feature=transformed)


def meet(a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
    """Return the larger of two features, to which each side's shares count as far as it won."""
    feature, won = torch.maximum(a.feature, b.feature), a.feature >= b.feature
    shares = share_won(won, feature)[..., None] * a.shares + share_won(~won, feature)[..., None] * b.shares
    return AssemblyContest(feature, shares)


class RDAFusion(nn.Module):
    """Region decomposition and assembly: a tree of RABs over the parts, then the whole.

    For P=4: (left, right) -> l/r, (upper, bottom) -> b/u, (l/r, b/u) -> comb_3, and comb_4 is
    max(comb_3, F_w(whole)), or RAB(comb_3, whole).

    Args:
        channels: C.
        num_parts: P, a power of two; the tree has log2(P) stages.
        bottleneck: Channel divisor inside each transform.
        norm: Normalisation after each convolution.
        residual: See `Transform`.
        last_rab: comb_3 passes a transform too before it meets the whole.

    Source: "Preliminaries of D-PRD", Eq. 1, Fig. 1; with `last_rab`, the author's figure. RABs do not share
    weights; the detection and the segmentation branch share the network.
    """

    def __init__(
        self,
        channels: int,
        num_parts: int,
        bottleneck: int = 4,
        norm: str = "none",
        *,
        residual: bool = False,
        last_rab: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            RAB(channels, bottleneck, norm, residual=residual) for _ in range(num_parts - 1)
        )
        self.whole = Transform(channels, bottleneck, norm, residual=residual)
        last = Transform(channels, bottleneck, norm, residual=residual) if last_rab else nn.Identity()
        self.last: nn.Module = last

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        if parts is None:
            raise ValueError("RDAFusion: expected part features, but got None")
        level = list(parts.unbind(dim=1))
        blocks = iter(self.blocks)
        while len(level) > 1:
            level = [next(blocks)(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        met = self.last(level[0])
        # it is not negative where F ends in ReLU, so the max does the whole's ReLU too
        transform = self.whole if self.whole.residual else self.whole.unrectified
        return FusionOutput(level[0], strongest(met, transform(whole)), met)

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse as `forward` does, with all parts and without each, and tell who won; without gradient.

        A part's share is the product of the shares of the maxima won on its way up the tree.

        Args:
            whole: The whole feature. [R, C, S, S]
            parts: Those of the parts. [R, P, C, S, S]
        """
        count = parts.shape[1]
        own = torch.eye(count + 1, dtype=whole.dtype, device=whole.device)

        def enter(feature: Tensor, number: int) -> AssemblyContest:
            shares = own[number].expand(count + 2, len(whole), -1)
            return AssemblyContest(variants_without(feature, number, count), shares)

        blocks = iter(block for block in self.blocks if isinstance(block, RAB))
        sides = (side for block in islice(blocks, count // 2) for side in (block.a, block.b))
        leaves = zip(sides, parts.unbind(dim=1), strict=True)
        entries = [enter(side(part), number) for number, (side, part) in enumerate(leaves)]
        level = [meet(a, b) for a, b in zip(entries[::2], entries[1::2], strict=True)]
        while len(level) > 1:
            level = [next(blocks).contest(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        return meet(through(self.last, level[0]), enter(self.whole(whole), count))


class ConcatFusion(nn.Module):
    """1x1 convs C -> C/P of each part, concatenated; then the max with the whole (D1 and D3 of Table 2).

    Args:
        channels: C.
        num_parts: P.
        norm: Normalisation after each convolution.
        rectified: A ReLU after each.

    Source: "Detailed analysis of DPR and RDA networks", which names no ReLU.
    """

    def __init__(self, channels: int, num_parts: int, norm: str = "none", *, rectified: bool = False) -> None:
        super().__init__()
        blocks = [conv_block(channels, channels // num_parts, 1, norm=norm) for _ in range(num_parts)]
        self.reduce = nn.ModuleList(block if rectified else block[:-1] for block in blocks)

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        if parts is None:
            raise ValueError("ConcatFusion: expected part features, but got None")
        comb_parts = torch.cat(self._reduced(parts), dim=1)
        return FusionOutput(comb_parts, strongest(comb_parts, whole))

    def _reduced(self, parts: Tensor) -> list[Tensor]:
        """Return the channels of each part. [R, P, C, S, S] -> P x [R, C/P, S, S]."""
        return [reduce(part) for reduce, part in zip(self.reduce, parts.unbind(dim=1), strict=True)]

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse as `forward` does, with all parts and without each, and tell who won; see `RDAFusion.contest`.

        A part's share is that of all elements in which its own channels win against the whole.
        """
        count = parts.shape[1]
        reduced = [variants_without(part, k, count) for k, part in enumerate(self._reduced(parts))]
        comb_parts, wholes = torch.cat(reduced, dim=2), variants_without(whole, count, count)
        feature, won = torch.maximum(comb_parts, wholes), comb_parts >= wholes
        blocks = torch.arange(count, device=whole.device).repeat_interleave(reduced[0].shape[2])
        of_parts = [share_won(won & (blocks == k)[:, None, None], feature) for k in range(count)]
        return AssemblyContest(feature, torch.stack([*of_parts, share_won(~won, feature)], dim=2))


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
