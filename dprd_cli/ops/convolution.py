"""Convolution, where PyTorch's own choice of a kernel is not the best."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ONE = (1, 1)
_NONE = (0, 0)
_MANY = 16  # images from which PyTorch gives 1x1 convolutions to oneDNN on one thread too
#: Name -> the function in place, and oneDNN's name and numbers of it.
_ACTIVATIONS = {
    "none": (lambda x: x, "none", []),
    "relu": (F.relu_, "relu", []),
    "relu6": (lambda x: F.relu6(x, inplace=True), "hardtanh", [0.0, 6.0]),
}


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


def activated_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str,
    added: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Convolve, add another map, and activate: without gradient on a CPU in one pass over the result.

    What oneDNN calls post-ops: PyTorch's compiler uses them, plain calls do not. In bfloat16 the sum is
    rounded once, not twice.

    Args:
        x: [N, C, H, W]
        weight: [D, C/groups, kh, kw]
        bias: [D]
        activation: `none`, `relu` or `relu6`.
        added: [N, D, h, w]
        settings: `stride`, `padding`, `dilation` and `groups` of `conv2d`.

    Returns:
        [N, D, h, w]
    """
    function, name, numbers = _ACTIVATIONS[activation]
    if not _has_post_ops(x):
        out = conv2d(x, weight, bias, **settings)
        return function(out if added is None else out + added)
    order = ("padding", "stride", "dilation", "groups")
    usual = {"padding": _NONE, "stride": _ONE, "dilation": _ONE, "groups": 1}
    how = [({**usual, **settings})[key] for key in order]
    call = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 (what the compiler calls; nothing public does)
    x = x.to(weight.dtype)
    if added is None:
        return call(x, weight, bias, *how, name, numbers, "")
    unary = None if name == "none" else name
    return call.binary(x, added, weight, bias, *how, "add", None, unary, numbers, "")


def _has_post_ops(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() == 0:
        return False
    return torch.backends.mkldnn.enabled and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
