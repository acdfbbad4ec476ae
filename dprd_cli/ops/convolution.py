"""Convolution, where PyTorch's own choice of a kernel is not the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dprd_cli.ops.precision import autocast_dtype

_ONE = (1, 1)
_NONE = (0, 0)
_USUAL: dict[str, Any] = {"stride": _ONE, "padding": _NONE, "dilation": _ONE, "groups": 1}
_FAST = 3  # size of the largest depthwise kernel of which oneDNN has a fast gradient in bfloat16
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
    """Convolve as PyTorch does, where that is fast on a CPU, and else by another way to the same numbers.

    On one thread PyTorch keeps 1x1 convolutions of less than 16 images to itself, copying channels-last maps
    to and fro; of those each row can count as an image, without a copy, and oneDNN takes them. Depthwise
    ones in bfloat16 have their gradient computed in float32 (`_WideGradient`).

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
    if groups > 1 and not isinstance(padding, str) and _has_slow_gradient(x, weight, stride, groups):
        depthwise: Tensor = _WideGradient.apply(x, weight, bias, stride, padding, dilation, groups)
        return depthwise
    if (stride, padding, groups, tuple(weight.shape[2:])) != (_ONE, _NONE, 1, _ONE) or not _kept_to_itself(x):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    images, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(images * height, 1, width, channels).permute(0, 3, 1, 2)
    out = F.conv2d(rows, weight, bias).permute(0, 2, 3, 1)
    return out.reshape(images, height, width, len(weight)).permute(0, 3, 1, 2)


def _has_slow_gradient(x: Tensor, weight: Tensor, stride: tuple[int, ...], groups: int) -> bool:
    """Whether it is a convolution for `_WideGradient`."""
    graded = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if x.device.type != "cpu" or not graded or torch.compiler.is_compiling():
        return False
    depthwise = groups == x.shape[1] == len(weight) and (max(stride) > 1 or max(weight.shape[2:]) > _FAST)
    return depthwise and autocast_dtype(x) == torch.bfloat16 and x.numel() > 0


class _WideGradient(torch.autograd.Function):
    """A convolution in bfloat16 whose gradient is computed in float32.

    oneDNN has no kernel for the gradient of depthwise convolutions in bfloat16 that skip pixels, nor for that
    of the weights of larger ones than 3x3: it takes 4 to 80 times as long as in float32 (one core of an AMD
    EPYC: 4 maps of 144 x 88 x 144 by 3x3 at stride 2, 31 against 2 ms).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *steps: tuple[int, ...] | int
    ) -> Tensor:
        x = x.to(torch.bfloat16)
        ctx.save_for_backward(x, weight, bias)
        ctx.steps = steps
        own: Any = [value if value is None else value.to(torch.bfloat16) for value in (weight, bias)]
        return F.conv2d(x, *own, *steps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.steps
        values = [value.float() for value in (grads[0], x, weight)]
        sizes = None if bias is None else list(bias.shape)
        how = (sizes, stride, padding, dilation, False, _NONE, groups, list(ctx.needs_input_grad[:3]))
        gradients = torch.ops.aten.convolution_backward(*values, *how)
        return (*gradients, None, None, None, None)


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
        out = call.binary(x, added.to(weight.dtype), weight, bias, *steps, "add", None, unary, numbers, "")
    return out


def _has_post_ops(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() == 0:
        return False
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
