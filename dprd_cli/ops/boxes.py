"""Pure functions on boxes: xyxy, pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dprd_cli.ops.constants import constant

#: Largest log-size change of a regressed box: exp never exceeds 1000/16 (Detectron2 and torchvision).
MAX_LOG_SCALE = math.log(1000.0 / 16)


def box_area(boxes: Tensor) -> Tensor:
    """Return the area of each box, in square pixels. [..., 4] -> [...]."""
    size = boxes[..., 2:] - boxes[..., :2]
    return size[..., 0] * size[..., 1]


def to_centers(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centre (x, y) and the size (w, h) of each box. [..., 4] -> 2 x [..., 2]."""
    low, high = boxes[..., :2], boxes[..., 2:]
    size = high - low
    return torch.add(low, size, alpha=0.5), size


def from_centers(center: Tensor, size: Tensor) -> Tensor:
    """Return xyxy boxes from centres (x, y) and sizes (w, h). [..., 2], [..., 2] -> [..., 4]."""
    return torch.cat((torch.sub(center, size, alpha=0.5), torch.add(center, size, alpha=0.5)), dim=-1)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU of boxes in pairs; 0 where both are empty. [..., 4], [..., 4] -> [...]."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    union = box_area(a) + box_area(b) - intersection
    return intersection / union.clamp(min=torch.finfo(a.dtype).tiny)


def clip_boxes(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Clip boxes to images.

    Args:
        boxes: [..., 4]
        image_sizes: (height, width) of the image of each box, broadcast against the boxes. [..., 2]

    Returns:
        Boxes with 0 <= x <= width, 0 <= y <= height; the gradient passes where nothing was clipped. [..., 4]
    """
    height, width = image_sizes[..., 0], image_sizes[..., 1]
    bounds = torch.stack((width, height, width, height), dim=-1)
    return torch.minimum(boxes.clamp(min=0), bounds)


def encode_deltas(boxes: Tensor, targets: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Return the deltas that turn `boxes` into `targets`: `apply_deltas(encode_deltas(b, t, w), b, w) == t`.

    Args:
        boxes: Where the regression starts. [..., 4]
        targets: Where it should end. [..., 4]
        weights: (wx, wy, ww, wh), factors on the four deltas.

    Returns:
        (dx, dy, dw, dh). [..., 4]

    Source: Girshick et al. 2014, appendix C; weights as in Fast R-CNN.
    """
    (center, size), (target_center, target_size) = to_centers(boxes), to_centers(targets)
    deltas = torch.cat(((target_center - center) / size, torch.log(target_size / size)), dim=-1)
    return deltas * constant(weights, boxes.device, boxes.dtype)


def apply_deltas(
    deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
) -> Tensor:
    """Move and scale boxes by regression deltas.

    Args:
        deltas: (dx, dy, dw, dh); dw and dh are clamped at log(1000/16). [..., 4]
        boxes: [..., 4]
        weights: Factors that the deltas were multiplied with.

    Returns:
        [..., 4]

    Source: Eq. 2 (with unit weights and part boxes); Girshick et al. 2014, appendix C.
    """
    center, size = to_centers(boxes)
    deltas = deltas / constant(weights, deltas.device, deltas.dtype)
    shift, growth = deltas[..., :2], deltas[..., 2:]
    return from_centers(center + shift * size, size * torch.exp(growth.clamp(max=MAX_LOG_SCALE)))
