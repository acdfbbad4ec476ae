"""Which anchor or RoI stands for which object, and which of them the losses see."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou


def match_boxes(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Find each box's best object.

    Args:
        boxes: [B, 4]
        gt_boxes: [G, 4]

    Returns:
        IoU with the best object (0 where there is none) [B] and its index (0 where there is none) [B].
    """
    if len(gt_boxes) == 0 or len(boxes) == 0:
        return boxes.new_zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    iou, index = box_iou(gt_boxes, boxes).max(dim=0)
    return iou, index


def label_anchors(anchors: Tensor, gt_boxes: Tensor, fg_iou: float, bg_iou: float) -> tuple[Tensor, Tensor]:
    """Label anchors as object (1), background (0) or ignored (-1).

    An anchor is an object at IoU >= `fg_iou`, or where it is the best anchor (ties included) of some object;
    background below `bg_iou`.

    Args:
        anchors: [B, 4]
        gt_boxes: [G, 4]
        fg_iou: Least IoU of an object.
        bg_iou: IoU below which an anchor is background.

    Returns:
        Labels, int8 [B], and the index of each anchor's best object (0 where there is none) [B].

    Source: Faster R-CNN (Ren et al. 2015), section 3.1.2.
    """
    labels = torch.full((len(anchors),), -1, dtype=torch.int8, device=anchors.device)
    if len(gt_boxes) == 0:
        return labels.zero_(), torch.zeros_like(labels, dtype=torch.int64)
    quality = box_iou(gt_boxes, anchors)  # [G, B]
    iou, index = quality.max(dim=0)
    labels[iou < bg_iou] = 0
    labels[iou >= fg_iou] = 1
    best = quality.max(dim=1, keepdim=True).values
    labels[((quality == best) & (best > 0)).any(dim=0)] = 1
    return labels, index


def sample_labels(labels: Tensor, count: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Draw up to `count` entries at random, at most `positive_fraction` of them positive.

    Args:
        labels: 1 for positive, 0 for negative, anything else is never drawn. [B]
        count: Entries to draw.
        positive_fraction: Largest share of positives.

    Returns:
        Indices of the drawn positives and of the drawn negatives, int64. [positives], [negatives]
    """
    positive = torch.nonzero(labels == 1)[:, 0]
    negative = torch.nonzero(labels == 0)[:, 0]
    num_positive = min(len(positive), int(count * positive_fraction))
    num_negative = min(len(negative), count - num_positive)
    keep_positive = positive[torch.randperm(len(positive), device=labels.device)[:num_positive]]
    keep_negative = negative[torch.randperm(len(negative), device=labels.device)[:num_negative]]
    return keep_positive, keep_negative
