"""Non-maximum suppression of many groups at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from dprd_cli.ops.threads import at_once

_MANY = 1000  # boxes from which each group is suppressed alone, as torchvision does too


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, num_groups: int, iou: float) -> Tensor:
    """Suppress boxes that overlap a better one of their group by more than `iou`.

    On a CPU each group alone, several at once, which costs least there. Elsewhere all in one call, for which
    the host waits once: each group's boxes are moved to a place of their own, side by side and one above the
    other, so that coordinates stay small.

    Args:
        boxes: Not negative. [B, 4]
        scores: [B]
        groups: 0 .. num_groups-1, int64. [B]
        num_groups: How many there are at most.
        iou: NMS threshold.

    Returns:
        Rows that stay, the best first, int64. [<= B]
    """
    keep: Tensor
    if boxes.device.type != "cpu" and len(boxes):
        keep = nms(apart(boxes, groups, num_groups), scores, iou)
    elif len(boxes) < _MANY:
        keep = batched_nms(boxes, scores, groups, iou)
    else:
        rows = [of_group for number in range(num_groups) if len(of_group := _where(groups == number))]
        of_groups = at_once(nms, ((boxes[of_group], scores[of_group], iou) for of_group in rows))
        keep = torch.cat([of_group[kept] for of_group, kept in zip(rows, of_groups, strict=True)])
        keep = keep[scores[keep].argsort(descending=True, stable=True)]
    return keep


def _where(mask: Tensor) -> Tensor:
    return torch.nonzero(mask)[:, 0]


def apart(boxes: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Move each group of boxes [B, 4] to a place where no other's boxes are; see `suppress`. [B, 4]."""
    across = math.ceil(math.sqrt(num_groups))
    pitch = boxes.max() + 1
    x, y = groups % across * pitch, groups // across * pitch
    return boxes + torch.stack((x, y, x, y), dim=1)


__all__ = ["apart", "suppress"]
