"""Weights in eight bits: half the size of float16, for the small detectors that come along.

A matrix or filter is stored as int8 in its own shape, and beside it, under its name with `.scale`, one number
for every 64 consecutive values: the largest magnitude of these, divided by 127. Vectors stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

#: What is appended to a tensor's name to name its scales.
SCALE = ".scale"
_GROUP = 64
_MOST = 127


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round the matrices and filters of a state dict to eight bits.

    Law: `unpack(pack(state))` differs from `state` by at most 1/250 of the largest among 64 magnitudes.

    Args:
        state: Finite tensors, of which none is named as another's scales would be.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.ndim < 2 or not tensor.is_floating_point():
            packed[name] = tensor
            continue
        flat = tensor.detach().float().reshape(-1)
        groups = torch.nn.functional.pad(flat, (0, -len(flat) % _GROUP)).view(-1, _GROUP)
        scale = groups.abs().amax(dim=1) / _MOST
        steps = groups / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
        whole = steps.round().clamp(-_MOST, _MOST).to(torch.int8)
        packed[name] = whole.reshape(-1)[: len(flat)].view(tensor.shape)
        packed[name + SCALE] = scale
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `pack` was given, as float32; a state dict that it did not make is returned as it is.

    Raises:
        ValueError: If the number of scales does not fit a tensor.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(SCALE) and _is_packed(packed.get(name.removesuffix(SCALE))):
            continue
        scale = packed.get(name + SCALE)
        if scale is None or not _is_packed(tensor):
            state[name] = tensor
            continue
        if scale.shape != (-(-tensor.numel() // _GROUP),):
            raise ValueError(f"{name}: {list(scale.shape)} scales do not fit {list(tensor.shape)}")
        each = scale.float().repeat_interleave(_GROUP)[: tensor.numel()]
        state[name] = tensor.float() * each.view(tensor.shape)
    return state


def _is_packed(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype == torch.int8
