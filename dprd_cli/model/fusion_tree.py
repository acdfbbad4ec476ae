"""The feature aggregation tree: as region assembly, but nodes meet by attention in place of a maximum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dprd_cli.model.fusion import AssemblyContest, FusionOutput, Transform


class _Counted(NamedTuple):
    """A node's feature [R, C, S, S], and the share that each part and the whole have in it [R, P+1]."""

    feature: Tensor
    shares: Tensor


class NodeAttention(nn.Module):
    """How much two node features count against each other, by channel and by place.

    The weights of a and b are the softmax over the two of a channel term, from both features' means over all
    places, and a spatial term, from both features' mean and largest channel at each place and around it.
    Laws: the weights of a and b sum to 1 in every element, so the result lies between a and b; before any
    training both are near 1/2 (the last layers begin small).

    Args:
        channels: C.
        reduction: Channel divisor inside the channel term, at least 8 channels being left.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(channels // reduction, 8)
        last = nn.Linear(narrow, 2 * channels)
        self.channel = nn.Sequential(nn.Linear(2 * channels, narrow), nn.ReLU(inplace=True), last)
        self.spatial = nn.Conv2d(4, 2, 3, padding=1, bias=False)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        nn.init.normal_(self.spatial.weight, std=0.01)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the weight of `a` [R, C, S, S] against `b` [R, C, S, S], in 0 to 1, [R, C, S, S]."""
        means = torch.cat([a.mean(dim=(2, 3)), b.mean(dim=(2, 3))], dim=1)
        channel_a, channel_b = self.channel(means).chunk(2, dim=1)
        maps = [reduced for node in (a, b) for reduced in (node.mean(dim=1), node.amax(dim=1))]
        spatial_a, spatial_b = self.spatial(torch.stack(maps, dim=1)).unbind(dim=1)
        # of two, the softmax is the sigmoid of the difference
        return torch.sigmoid((channel_a - channel_b)[:, :, None, None] + (spatial_a - spatial_b)[:, None])


class Aggregation(nn.Module):
    """A node of the tree: its two children, each transformed, weighted by attention and added.

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
        self.attention = NodeAttention(channels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Aggregate two features [R, C, S, S] and [R, C, S, S] into one [R, C, S, S]."""
        return self.join(self.a(a), self.b(b))

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Aggregate two features that are transformed already. [R, C, S, S] each."""
        return torch.lerp(b, a, self.attention(a, b))

    def count(self, a: _Counted | None, b: _Counted | None) -> _Counted | None:
        """Aggregate as `forward` does, and pass on how much each side counts; None counts nothing."""
        left = None if a is None else _Counted(self.a(a.feature), a.shares)
        right = None if b is None else _Counted(self.b(b.feature), b.shares)
        if left is None or right is None:
            return right if left is None else left
        weight = self.attention(left.feature, right.feature)
        of_left = (weight * left.feature).abs().sum(dim=(1, 2, 3))
        of_right = ((1 - weight) * right.feature).abs().sum(dim=(1, 2, 3))
        share = (of_left / (of_left + of_right).clamp(min=torch.finfo(weight.dtype).tiny))[:, None]
        shares = share * left.shares + (1 - share) * right.shares
        return _Counted(torch.lerp(right.feature, left.feature, weight), shares)


class TreeFusion(nn.Module):
    """Feature aggregation tree: parts meet in pairs, bottom up, and the last node meets the whole.

    For P=4: (left, right) -> l/r, (upper, bottom) -> b/u, (l/r, b/u) -> comb_3, (comb_3, whole) -> comb_4,
    as in region assembly, each of its maxima replaced by spatial and channel attention between the two nodes.

    Args:
        channels: C.
        num_parts: P, a power of two; the tree has log2(P) stages below the whole.
        bottleneck: Channel divisor inside each transform.
        norm: Normalisation after each convolution.
        residual: See `Transform`.

    Source: the extension's abstract: a "feature aggregation tree", built bottom up, with "a spatial and
    channel attention mechanism for the aggregation between different node features" (Bae, TPAMI 2023).
    Reading: neither abstract nor figure gives the attention's form; this one is a selective-kernel softmax
    over the two nodes (Li et al. 2019) with a spatial term as in CBAM (Woo et al. 2018).
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
            Aggregation(channels, bottleneck, norm, residual=residual) for _ in range(num_parts - 1)
        )
        self.root = Aggregation(channels, bottleneck, norm, residual=residual)

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        if parts is None:
            raise ValueError("TreeFusion: expected part features, but got None")
        level = list(parts.unbind(dim=1))
        blocks = iter(self.blocks)
        while len(level) > 1:
            level = [next(blocks)(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        return FusionOutput(level[0], self.root(level[0], whole))

    def contest(self, whole: Tensor, parts: Tensor) -> AssemblyContest:
        """Fuse as `forward` does, with all parts and without each, and tell how much each counts.

        A part's share at a node is that of its weighted feature in the sum of both sides' absolute values;
        its share in all is the product on its way up the tree. Without gradient.

        Args:
            whole: The whole feature. [R, C, S, S]
            parts: Those of the parts. [R, P, C, S, S]
        """
        inputs = [*parts.unbind(dim=1), whole]
        own = torch.eye(len(inputs), dtype=whole.dtype, device=whole.device)
        leaves = [_Counted(feature, own[k].expand(len(whole), -1)) for k, feature in enumerate(inputs)]
        variants = [self._climb(leaves, without) for without in (None, *range(len(inputs)))]
        features, shares = zip(*variants, strict=True)
        return AssemblyContest(torch.stack(features), torch.stack(shares))

    def _climb(self, leaves: list[_Counted], without: int | None) -> _Counted:
        """Go up the tree from the parts and the whole, of which one may count nothing."""
        *level, last = (None if k == without else leaf for k, leaf in enumerate(leaves))
        blocks = iter(block for block in self.blocks if isinstance(block, Aggregation))
        while len(level) > 1:
            level = [next(blocks).count(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        result = self.root.count(level[0], last)
        assert result is not None  # one of several is left out at most
        return result
