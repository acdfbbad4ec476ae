"""Convolution, where PyTorch's own choice of a kernel is not the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ONE = (1, 1)
_NONE = (0, 0)
_USUAL: dict[str, Any] = {"stride": _ONE, "padding": _NONE, "dilation": _ONE, "groups": 1}
_MANY = 16  # images from which PyTorch gives 1x1 convolutions to oneDNN on one thread too
#: Name -> the function in place, and oneDNN's name and numbers of it.
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], str, list[float]]] = {
    "none": (lambda x: x, "none", []),
    "relu": (lambda x: F.relu(x, inplace=True), "relu", []),
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
    return _is_channels_last(x)


def _is_channels_last(x: Tensor) -> bool:
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
    rounded once, not twice. Sums are left to PyTorch in grouped convolutions, before a ReLU6, and where `x`
    is not channels-last.

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
    function, post_op, numbers = _ACTIVATIONS[activation]
    how = {**_USUAL, **settings}
    out: Tensor
    summed = added is None or (how["groups"] == 1 and activation != "relu6" and _is_channels_last(x))
    if not summed or not _has_post_ops(x):
        out = conv2d(x, weight, bias, **settings)
        out = function(out if added is None else out + added)
        return out
    x, steps = x.to(weight.dtype), [how[name] for name in ("padding", "stride", "dilation", "groups")]
    # what PyTorch's compiler calls; nothing public does
    call: Any = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
    if added is None:
        out = call(x, weight, bias, *steps, post_op, numbers, "")
    else:
        unary = None if post_op == "none" else post_op
        out = call.binary(x, added, weight, bias, *steps, "add", None, unary, numbers, "")
    return out


def _has_post_ops(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() == 0:
        return False
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
