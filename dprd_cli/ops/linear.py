"""Fully connected layers on whole maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dprd_cli.ops.precision import autocast_dtype
from dprd_cli.ops.processor import has_slow_products


def map_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the sum of each map's products with each weight map, plus a bias.

    As a matrix product of maps and weights read as they lie, if both are channels-last; on a CPU as the
    convolution that it is, with a kernel as large as the map, at test (1,000 maps of 256 x 7 x 7 to 1,024, an
    AMD EPYC core: 0.16 s, the product 0.27 s) and where the processor's float32 products are slow.

    Args:
        x: [R, C, S, S]
        weight: [D, C, S, S]
        bias: [D]

    Returns:
        [R, D]
    """
    if x.device.type == "cpu" and x.shape[0] != 0:
        is_slow = autocast_dtype(x) == torch.float32 and has_slow_products()
        if is_slow or not torch.is_grad_enabled():
            return F.conv2d(x, weight, bias).flatten(1)
    maps, weights = (value.permute(0, 2, 3, 1).flatten(1) for value in (x, weight))
    return F.linear(maps, weights, bias)


__all__ = ["map_linear"]
