"""The feature aggregation tree: as region assembly, but nodes meet by attention in place of a maximum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dprd_cli.model.contest import AssemblyContest, Meeting
from dprd_cli.model.fusion import FusionOutput, PartTree, TreeNode


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


class Aggregation(TreeNode):
    """A node of the tree: its two children, each transformed, weighted by attention and added."""

    def __init__(self, channels: int, bottleneck: int, norm: str, *, residual: bool = False) -> None:
        super().__init__(channels, bottleneck, norm, residual=residual)
        self.attention = NodeAttention(channels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Aggregate two features [R, C, S, S] and [R, C, S, S] into one [R, C, S, S]."""
        return self.join(self.a(a), self.b(b))

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Aggregate two features that are transformed already. [R, C, S, S] each."""
        return torch.lerp(b, a, self.attention(a, b))

    def meet(self, a: AssemblyContest, b: AssemblyContest) -> AssemblyContest:
        """Join two features as `join` does, in every variant; where one is out, the other stays as it is.

        A side's share is that of its weighted feature in the sum of both sides' absolute values.
        """
        a_out, b_out = a.feature.isneginf(), b.feature.isneginf()
        left, right = a.feature.masked_fill(a_out, 0), b.feature.masked_fill(b_out, 0)
        weight = self.attention(left.flatten(0, 1), right.flatten(0, 1)).view_as(left)
        weight = weight.masked_fill(a_out, 0).masked_fill(b_out, 1)
        of_left = (weight * left).abs().sum(dim=(2, 3, 4))
        of_right = ((1 - weight) * right).abs().sum(dim=(2, 3, 4))
        share = (of_left / (of_left + of_right).clamp(min=torch.finfo(weight.dtype).tiny))[..., None]
        shares = share * a.shares + (1 - share) * b.shares
        return AssemblyContest(torch.lerp(right, left, weight), shares)


class TreeFusion(PartTree):
    """Feature aggregation tree: parts meet in pairs, bottom up, and the last node meets the whole.

    As in region assembly, each of its maxima replaced by spatial and channel attention between the two nodes;
    (comb_3, whole) -> comb_4 is a node too.

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
        super().__init__(
            Aggregation(channels, bottleneck, norm, residual=residual) for _ in range(num_parts - 1)
        )
        self.root = Aggregation(channels, bottleneck, norm, residual=residual)

    def forward(self, whole: Tensor, parts: Tensor | None) -> FusionOutput:
        """Fuse the whole feature [R, C, S, S] and those of its parts [R, P, C, S, S]."""
        comb_parts = self.assemble(parts)
        return FusionOutput(comb_parts, self.root(comb_parts, whole))

    def top(self) -> tuple[nn.Module, nn.Module, Meeting]:
        """Return the root's transforms, and how it joins."""
        return self.root.a, self.root.b, self.root.meet
