"""Pure functions on boxes: xyxy, pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Largest log-size change of a regressed box: exp never exceeds 1000/16 (Detectron2 and torchvision).
MAX_LOG_SCALE = math.log(1000.0 / 16)


def box_area(boxes: Tensor) -> Tensor:
    """Return the area of each box, in square pixels. [..., 4] -> [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def to_centers(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (x, y, w, h), centre and size, of each box. [..., 4] -> 4 x [...]."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + 0.5 * width, boxes[..., 1] + 0.5 * height, width, height


def from_centers(x: Tensor, y: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Return xyxy boxes from centres x [...], y [...] and sizes [...], [...]. 4 x [...] -> [..., 4]."""
    half_w, half_h = 0.5 * width, 0.5 * height
    return torch.stack((x - half_w, y - half_h, x + half_w, y + half_h), dim=-1)


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
    x, y, width, height = to_centers(boxes)
    tx, ty, target_w, target_h = to_centers(targets)
    wx, wy, ww, wh = weights
    return torch.stack(
        (
            wx * (tx - x) / width,
            wy * (ty - y) / height,
            ww * torch.log(target_w / width),
            wh * torch.log(target_h / height),
        ),
        dim=-1,
    )


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
    x, y, width, height = to_centers(boxes)
    dx, dy, dw, dh = (delta / weight for delta, weight in zip(deltas.unbind(dim=-1), weights, strict=True))
    return from_centers(
        x + dx * width,
        y + dy * height,
        width * torch.exp(dw.clamp(max=MAX_LOG_SCALE)),
        height * torch.exp(dh.clamp(max=MAX_LOG_SCALE)),
    )
