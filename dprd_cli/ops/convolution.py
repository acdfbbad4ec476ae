"""Convolution, where PyTorch's own choice of a kernel is not the best."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ONE = (1, 1)
_NONE = (0, 0)
_MANY = 16  # images from which PyTorch gives 1x1 convolutions to oneDNN on one thread too


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: tuple[int, ...] = _ONE,
    padding: str | tuple[int, ...] = _NONE,
    dilation: tuple[int, ...] = _ONE,
    groups: int = 1,
) -> Tensor:
    """Convolve as PyTorch does, but give 1x1 convolutions to oneDNN on one thread too.

    PyTorch keeps those of less than 16 images to itself there, copying channels-last maps to and fro. Of
    channels-last maps each row can count as an image, without a copy.

    Args:
        x: [N, C, H, W]
        weight: [D, C/groups, kh, kw]
        bias: [D]
        stride: In y and x.
        padding: In y and x.
        dilation: In y and x.
        groups: Groups of channels.

    Returns:
        [N, D, h, w]
    """
    if (stride, padding, groups, tuple(weight.shape[2:])) != (_ONE, _NONE, 1, _ONE) or not _kept_to_itself(x):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    images, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(images * height, 1, width, channels).permute(0, 3, 1, 2)
    out = F.conv2d(rows, weight, bias).permute(0, 2, 3, 1)
    return out.reshape(images, height, width, len(weight)).permute(0, 3, 1, 2)


def _kept_to_itself(x: Tensor) -> bool:
    on_one = x.device.type == "cpu" and x.dtype == torch.float32 and torch.get_num_threads() == 1
    if torch.compiler.is_compiling() or not on_one or x.numel() == 0 or len(x) >= _MANY:
        return False
    return x.is_contiguous(memory_format=torch.channels_last)
