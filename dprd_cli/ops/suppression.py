"""Non-maximum suppression of many groups at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, num_groups: int, iou: float) -> Tensor:
    """Suppress boxes that overlap a better one of their group by more than `iou`.

    On a CPU group after group, which costs least there. Elsewhere all in one call, for which the host waits
    once: each group's boxes are moved to a place of their own, side by side and one above the other, so that
    coordinates stay small.

    Args:
        boxes: Not negative. [B, 4]
        scores: [B]
        groups: 0 .. num_groups-1, int64. [B]
        num_groups: How many there are at most.
        iou: NMS threshold.

    Returns:
        Rows that stay, the best first, int64. [<= B]
    """
    if boxes.device.type == "cpu" or len(boxes) == 0:
        keep: Tensor = batched_nms(boxes, scores, groups, iou)
    else:
        keep = nms(apart(boxes, groups, num_groups), scores, iou)
    return keep


def apart(boxes: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Move each group of boxes [B, 4] to a place where no other's boxes are; see `suppress`. [B, 4]."""
    across = math.ceil(math.sqrt(num_groups))
    pitch = boxes.max() + 1
    x, y = groups % across * pitch, groups // across * pitch
    return boxes + torch.stack((x, y, x, y), dim=1)


__all__ = ["apart", "suppress"]
