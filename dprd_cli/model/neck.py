"""Feature pyramid network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import NORMS, xavier_init


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
            merged.append(lateral + F.interpolate(merged[-1], size=lateral.shape[-2:], mode="nearest"))
        outputs = [output(m) for output, m in zip(self.output, reversed(merged), strict=True)]
        return [*outputs, F.max_pool2d(outputs[-1], kernel_size=1, stride=2)]


def _conv(in_channels: int, out_channels: int, kernel: int, norm: str) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=norm == "none")
    xavier_init(conv)
    return conv if norm == "none" else nn.Sequential(conv, NORMS[norm](out_channels))
