"""Feature pyramids: C2..C5 of a backbone -> P2..P6 of equal channels, strides 4 to 64.

The paper names three ("Preliminaries of D-PRD"): FPN, PANet and BiFPN; all its detectors have the first.
PANet is FPN and a path back up, so that an FPN's weights are a PANet's first half; BiFPN shares FPN's 1x1
convolutions only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import NORMS, Conv2d, conv_block, kaiming_init, xavier_init
from dprd_cli.ops.upsampling import add_upsampled


class NeckOptions(NamedTuple):
    """What a neck is made from.

    Args:
        in_channels: Channels of C2..C5.
        channels: C, channels of every output.
        norm: Normalisation after each convolution: `none`, `bn` or `gn`.
        repeats: Layers, where there are several.
    """

    in_channels: tuple[int, ...]
    channels: int
    norm: str
    repeats: int


class FPN(nn.Module):
    """Top-down pyramid P2..P6 with equal channels; P6 subsamples P5.

    Args:
        in_channels: Channels of C2..C5.
        channels: C, channels of every output.
        norm: Normalisation after each convolution: `none`, `bn` or `gn`.

    Source: Lin et al. 2017.
    """

    strides = (4, 8, 16, 32, 64)

    def __init__(self, in_channels: tuple[int, ...], channels: int, norm: str = "none") -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_conv(c, channels, 1, norm) for c in in_channels)
        self.output = nn.ModuleList(_conv(channels, channels, 3, norm) for _ in in_channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return [P2, P3, P4, P5, P6] of [C2, C3, C4, C5]."""
        laterals = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        merged = [laterals[-1]]
        for lateral in reversed(laterals[:-1]):
            merged.append(add_upsampled(lateral, merged[-1]))
        outputs = [output(m) for output, m in zip(self.output, reversed(merged), strict=True)]
        return [*outputs, _subsample(outputs[-1])]


class PANet(FPN):
    """FPN and a bottom-up path: N2 = P2, N_(i+1) = conv(conv_stride2(N_i) + P_(i+1)); N6 subsamples N5.

    Both convolutions are 3x3 and end in ReLU.

    Args:
        in_channels: Channels of C2..C5.
        channels: C, channels of every output.
        norm: Normalisation after each convolution: `none`, `bn` or `gn`.

    Source: Liu et al. 2018, "Bottom-up Path Augmentation". Reading: theirs ends at N5; N6 is made as
    FPN's P6.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, norm: str = "none") -> None:
        super().__init__(in_channels, channels, norm)
        steps = range(len(in_channels) - 1)
        self.down = nn.ModuleList(conv_block(channels, channels, stride=2, norm=norm) for _ in steps)
        self.merge = nn.ModuleList(conv_block(channels, channels, norm=norm) for _ in steps)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return [N2, N3, N4, N5, N6] of [C2, C3, C4, C5]."""
        lowest, *others = super().forward(features)[:-1]
        outputs = [lowest]
        for down, merge, pyramid in zip(self.down, self.merge, others, strict=True):
            outputs.append(merge(down(outputs[-1]) + pyramid))
        return [*outputs, _subsample(outputs[-1])]


class BiFPN(nn.Module):
    """Repeated layers of weighted fusion, down and up again, over P2..P6.

    Args:
        in_channels: Channels of C2..C5.
        channels: C, channels of every output.
        norm: Normalisation after each convolution: `none`, `bn` or `gn`.
        repeats: Layers.

    Source: Tan et al. 2020, "BiFPN". Reading: EfficientDet's levels are P3..P7; here the first layer sees a
    1x1 convolution of each of C2..C5, and the max-pooled last of them as P6. `norm` is the neck's; theirs is
    always batch normalisation.
    """

    def __init__(
        self, in_channels: tuple[int, ...], channels: int, norm: str = "none", repeats: int = 3
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_conv(c, channels, 1, norm) for c in in_channels)
        num_levels = len(in_channels) + 1
        self.layers = nn.ModuleList(BiFPNLayer(num_levels, channels, norm) for _ in range(repeats))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return [P2, P3, P4, P5, P6] of [C2, C3, C4, C5]."""
        pyramid = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        pyramid.append(_pool(pyramid[-1]))
        for layer in self.layers:
            pyramid = layer(pyramid)
        return pyramid


class BiFPNLayer(nn.Module):
    """One bidirectional layer.

    With n levels, from the coarsest down: M_n = P_n, M_i = node(P_i, up(M_(i+1))); then from the finest up:
    out_1 = M_1, out_i = node(P_i, M_i, down(out_(i-1))), and out_n = node(P_n, down(out_(n-1))).

    Args:
        num_levels: n.
        channels: C.
        norm: Normalisation after each convolution.

    Source: Tan et al. 2020, Fig. 3 (d) and "Weighted Feature Fusion".
    """

    def __init__(self, num_levels: int, channels: int, norm: str) -> None:
        super().__init__()
        inputs_up = [3] * (num_levels - 2) + [2]  # nothing lies between the coarsest input and its output
        self.down = nn.ModuleList(FusionNode(2, channels, norm) for _ in range(num_levels - 1))
        self.up = nn.ModuleList(FusionNode(count, channels, norm) for count in inputs_up)

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Map a pyramid L x [N, C, H, W], finest level first, to one of the same shapes."""
        between = [pyramid[-1]]
        for node, level in zip(reversed(self.down), reversed(pyramid[:-1]), strict=True):
            between.insert(0, node(level, _upsample(between[0], level)))
        outputs = [between[0]]
        for node, level, middle in zip(self.up, pyramid[1:], between[1:], strict=True):
            inputs = (level,) if middle is level else (level, middle)
            outputs.append(node(*inputs, _pool(outputs[-1])))
        return outputs


class FusionNode(nn.Module):
    """Weighted mean of features, swish, and a depthwise-separable 3x3 convolution.

    The weights are fast normalised: w_i = relu(v_i) / (eps + sum_j relu(v_j)), v starting at 1.

    Args:
        num_inputs: Features that meet here.
        channels: C.
        norm: Normalisation after the convolution.

    Source: Tan et al. 2020, "Weighted Feature Fusion"; eps = 1e-4. Reading: without normalisation, which
    theirs always has, the 1x1 convolution starts 1.5 times as large as Kaiming's, because mean and swish
    shrink: the RMS of three layers' outputs is then 0.2, not 0.03 (twice as large, it would be 4).
    """

    eps = 1e-4

    def __init__(self, num_inputs: int, channels: int, norm: str) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        pointwise = nn.Conv2d(channels, channels, 1, bias=norm == "none")
        xavier_init(depthwise)
        kaiming_init(pointwise)
        if norm == "none":
            with torch.no_grad():
                pointwise.weight.mul_(1.5)
        self.conv = nn.Sequential(depthwise, pointwise)
        if norm != "none":
            self.conv.append(NORMS[norm](channels))

    def fuse(self, *features: Tensor) -> Tensor:
        """Return the weighted mean of features of one shape [N, C, H, W]."""
        positive = self.weights.relu()
        shares = positive / (positive.sum() + self.eps)
        mean = shares[0] * features[0]
        for share, feature in zip(shares[1:], features[1:], strict=True):
            mean = mean + share * feature
        return mean

    def forward(self, *features: Tensor) -> Tensor:
        """Fuse features of one shape [N, C, H, W] into one."""
        fused: Tensor = self.conv(F.silu(self.fuse(*features)))
        return fused


def _conv(in_channels: int, out_channels: int, kernel: int, norm: str) -> nn.Module:
    conv = Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=norm == "none")
    xavier_init(conv)
    return conv if norm == "none" else nn.Sequential(conv, NORMS[norm](out_channels))


def _upsample(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return `coarse` at the size of `fine`."""
    return F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")


def _subsample(x: Tensor) -> Tensor:
    """Return every second row and column."""
    return F.max_pool2d(x, kernel_size=1, stride=2)


def _pool(x: Tensor) -> Tensor:
    """Halve by 3x3 max pooling, an odd side rounded up (as `_subsample`)."""
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
