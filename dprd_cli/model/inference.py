"""A network for inference alone: BatchNorm folded away, weights in the type that it computes in."""

from __future__ import annotations

import copy

import torch
from torch import nn

from dprd_cli.model.detector import Detector
from dprd_cli.model.folded_norms import merge_folded_norms
from dprd_cli.model.layers import FullConv2d, FullLinear
from dprd_cli.model.post_ops import use_post_ops

_CAST = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_WIDE = (FullLinear, FullConv2d)


@torch.no_grad()
def for_inference(detector: Detector, precision: str) -> Detector:
    """Return a network that detects as this one does, and is not trained; both share what stays as it is.

    Frozen BatchNorm is folded into the convolutions before it for good, and convolutions do the sums and
    ReLUs behind them (`post_ops.py`). In bfloat16 the weights of convolutions and fully connected layers are
    cast here, once, not at every call; what places parts, `FullLinear` layers, which give coordinates and
    scores, and `FullConv2d` (`folded_norms.py`) stay in float32.

    Law: in float32 it gives the same numbers, to rounding.

    Args:
        detector: On its device.
        precision: `fp32` or `bf16`; run it inside `autocast` of its `precision`.
    """
    kept = (*detector.parameters(), *detector.buffers())
    twin = copy.deepcopy(detector, {id(one): one for one in kept})
    merge_folded_norms(twin)
    use_post_ops(twin)
    if precision == "bf16":
        exact = set() if twin.part_layer is None else set(twin.part_layer.modules())
        for module in twin.modules():
            if isinstance(module, _CAST) and not isinstance(module, _WIDE) and module not in exact:
                for name, weight in module.named_parameters(recurse=False):
                    setattr(module, name, nn.Parameter(weight.to(torch.bfloat16), requires_grad=False))
    return twin
