"""Region assembly (RDA) and its alternatives: how part features and the whole feature become one.

Every fusion maps (whole [R, C, S, S], parts [R, P, C, S, S]) to (comb_parts, comb): the feature of the parts
alone (x^comb_3 in the paper; None where there is none) and the feature with the whole (x^comb_4). All sizes
stay S x S.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.contest import (
    AssemblyContest,
    Meeting,
    enter,
    larger,
    share_won,
    through,
    variants_without,
)
from dprd_cli.model.layers import conv_block
from dprd_cli.ops.gradients import each_part, strongest

Feature = TypeVar("Feature")


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
        met: What of the parts met the whole in the last maximum, or None where there is none. [R, C, S, S]
    """

    parts: Tensor | None
    whole: Tensor
    met: Tensor | None = None


class Transform(nn.Sequential):
    """F of Eq. 1's blocks: 3x3 conv C -> C/b, ReLU, 3x3 conv C/b -> C, ReLU.

    Args:
        channels: C.
        bottleneck: b.
        norm: Normalisation after each convolution.
        residual: Add the input to the result: F(x) = x + relu(conv(relu(conv(x)))).

    Reading: the paper's parameter counts (Table 2: 44 M -> 46 M) fit b = 4; full width would add 8 M.
    Departs: with `residual`. Without it all that the heads see passes random convolutions of C/b channels,
    which a short training does not recover from (docs/evidence-not-reproduced.md).
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


class TreeNode(nn.Module, ABC):
    """Two features, each transformed, that meet in one; a variant says how, in `forward` and in `meet`.

    Args:
        channels: C.
        bottleneck: See `Transform`.
        norm: Normalisation after each convolution.
        residual: See `Transform`.
    """

    def __init__(self, channels: int, bottleneck: int, norm: str, *, residual: bool = False) -> None:
        super().__init__()
        self.a = Transform(channels, bottleneck, norm, residual=residual)
        self.b = Transform(channels, bottleneck, norm, residual=residual)

    @abstractmethod
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Join two features [R, C, S, S] and [R, C, S, S] into one [R, C, S, S]."""

    @abstractmethod
    def meet(self, a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
        """Join two features that are transformed already, in every variant, and pass on what counts."""

    def contest(self, a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
        """Join two features as `forward` does, in every variant, and pass on what counts."""
        return self.meet(through(self.a, a), through(self.b, b))


class RAB(TreeNode):
    """Region assembly block: RAB(a, b) = max(F_a(a), F_b(b)), elementwise.

    Where F ends in ReLU, one after the max does for both: max(relu(x), relu(y)) = relu(max(x, y)). So the
    gradient needs one map where it would need three.

    Source: Eq. 1, Fig. 1 ("four consecutive 3x3 conv filters, ReLU, and one element-wise max unit").
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Assemble two features [R, C, S, S] and [R, C, S, S] into one [R, C, S, S]."""
        if self.a.residual:
            return strongest(self.a(a), self.b(b))
        return F.relu(strongest(self.a.unrectified(a), self.b.unrectified(b)), inplace=True)

    def meet(self, a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
        """See `larger`."""
        return larger(a, b)


def climb(leaves: Iterable[Feature], nodes: Iterable[Callable[[Feature, Feature], Feature]]) -> Feature:
    """Join neighbours, level after level, until one is left of 2^n leaves; a pair, a node."""
    level, rest = list(leaves), iter(nodes)
    while len(level) > 1:
        level = [next(rest)(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


class PartTree(nn.Module, ABC):
    """A tree over the parts, whose last node then meets the whole; a variant says how in `forward` and `top`.

    For P=4: (left, right) -> l/r, (upper, bottom) -> b/u, (l/r, b/u) -> comb_3.

    Args:
        blocks: P-1 nodes, bottom up.
    """

    def __init__(self, blocks: Iterable[TreeNode]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def assemble(self, parts: Tensor | None) -> Tensor:
        """Return x^comb_3 [R, C, S, S] of the features of parts [R, P, C, S, S].

        Raises:
            ValueError: If there are none.
        """
        if parts is None:
            raise ValueError(f"{type(self).__name__}: expected part features, but got None")
        return climb(each_part(parts), self.blocks)

    @abstractmethod
    def top(self) -> tuple[nn.Module, nn.Module, Meeting]:
        """Return the transforms of x^comb_3 and of the whole, and how the two meet."""

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse as `forward` does, with all parts and without each, and tell how much each counts.

        A part's share is the product of its sides' shares on the way up the tree. Without gradient.

        Args:
            whole: The whole feature. [R, C, S, S]
            parts: Those of the parts. [R, P, C, S, S]
        """
        count = parts.shape[1]
        nodes = [node for node in self.blocks if isinstance(node, TreeNode)]
        lowest, upper = nodes[: count // 2], nodes[count // 2 :]
        sides = (side for node in lowest for side in (node.a, node.b))  # once, not in every variant
        leaves = zip(sides, parts.unbind(dim=1), strict=True)
        entries = [enter(side(part), number, count) for number, (side, part) in enumerate(leaves)]
        comb_parts = climb(entries, [*(node.meet for node in lowest), *(node.contest for node in upper)])
        below, beside, meet = self.top()
        return meet(through(below, comb_parts), enter(beside(whole), count, count))


class RDAFusion(PartTree):
    """Region decomposition and assembly: a tree of RABs over the parts, then the whole.

    comb_4 is max(comb_3, F_w(whole)), or RAB(comb_3, whole).

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
        super().__init__(RAB(channels, bottleneck, norm, residual=residual) for _ in range(num_parts - 1))
        self.whole = Transform(channels, bottleneck, norm, residual=residual)
        last = Transform(channels, bottleneck, norm, residual=residual) if last_rab else nn.Identity()
        self.last: nn.Module = last

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        comb_parts = self.assemble(parts)
        met = self.last(comb_parts)
        # it is not negative where F ends in ReLU, so the max does the whole's ReLU too
        transform = self.whole if self.whole.residual else self.whole.unrectified
        return FusionOutput(comb_parts, strongest(met, transform(whole)), met)

    def top(self) -> tuple[nn.Module, nn.Module, Meeting]:
        """Return the transforms of comb_3 and of the whole, and their maximum."""
        return self.last, self.whole, larger


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
        return FusionOutput(comb_parts, strongest(comb_parts, whole), comb_parts)

    def _reduced(self, parts: Tensor) -> list[Tensor]:
        """Return the channels of each part. [R, P, C, S, S] -> P x [R, C/P, S, S]."""
        return [reduce(part) for reduce, part in zip(self.reduce, each_part(parts), strict=True)]

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse as `forward` does, with all parts and without each, and tell who won; see `PartTree.contest`.

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
