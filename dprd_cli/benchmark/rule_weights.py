"""Weights and images made by a rule, so that two programs can be compared without shipping a checkpoint.

A tensor is a function of its name (Detectron2's), its shape and a seed. The scales keep activations of order
one through a ResNet-FPN detector, and make its heads give confident and varied detections.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: Part of a name -> factor on 1/sqrt(fan in) of a normal weight, and whether the mean over inputs is taken
#: out (so that the image and not the biases decide); the first that fits.
_SCALES: tuple[tuple[str, float, bool], ...] = (
    ("objectness_logits", 0.8, False),
    ("anchor_deltas", 0.3, False),
    ("cls_score", 2.5, True),
    ("bbox_pred", 0.5, True),
    (".fc", math.sqrt(2.0), True),
    ("predictor", 4.0, False),
    ("fpn_", 1.0, False),
    ("", math.sqrt(2.0), False),
)


def reference_tensor(name: str, shape: Sequence[int], seed: int = 0, input_scale: float = 1.0) -> Tensor:
    """Return the tensor of one entry of a checkpoint.

    Args:
        name: Detectron2's name.
        shape: Its shape.
        seed: The whole checkpoint's seed.
        input_scale: Standard deviation of the normalised input: 60 where pixels are divided by 1.
    """
    shape = tuple(shape)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
    if name.endswith("running_var"):
        return _uniform(shape, 0.8, 1.2, generator)
    if name.endswith("running_mean") or (".norm." in name and name.endswith("bias")):
        return torch.randn(shape, generator=generator) * 0.05
    if ".norm." in name:
        low, high = (0.1, 0.25) if "conv3.norm" in name else (0.8, 1.2)
        return _uniform(shape, low, high, generator)
    if name.endswith("bias"):
        return torch.randn(shape, generator=generator) * 0.01
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
    if "stem.conv1" in name:
        return torch.randn(shape, generator=generator) * (math.sqrt(2.0 / fan_in) / input_scale)
    if "deconv" in name:
        return torch.randn(shape, generator=generator) * math.sqrt(2.0 / shape[0])
    factor, centred = next((factor, centred) for part, factor, centred in _SCALES if part in name)
    weight = torch.randn(shape, generator=generator) * (factor / math.sqrt(fan_in))
    return weight - weight.mean(dim=1, keepdim=True) if centred else weight


def reference_state(shapes: Mapping[str, Sequence[int]], seed: int, input_scale: float) -> dict[str, Tensor]:
    """Return a whole checkpoint."""
    return {name: reference_tensor(name, shape, seed, input_scale) for name, shape in shapes.items()}


def reference_image(height: int, width: int, seed: int = 0) -> Tensor:
    """Return an image: smooth colour noise with a dozen hard-edged rectangles, RGB in 0..255. [3, H, W]."""
    generator = torch.Generator().manual_seed(1000 + seed)
    noise = torch.rand((1, 3, 6, 8), generator=generator)
    image = F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)[0]
    corner, side = torch.tensor([width * 0.8, height * 0.8]), torch.tensor([width * 0.4, height * 0.4])
    for _ in range(12):
        x, y = (torch.rand(2, generator=generator) * corner).int().tolist()
        w, h = (torch.rand(2, generator=generator) * side).int().tolist()
        image[:, y : y + h + 8, x : x + w + 8] = torch.rand((3, 1, 1), generator=generator)
    return (image * 255).round()


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low
