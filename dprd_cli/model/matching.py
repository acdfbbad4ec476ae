"""Which anchor or RoI stands for which object, and which of them the losses see."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.ops.constants import constant
from dprd_cli.structures.detections import Target


class Objects(NamedTuple):
    """The objects of all images of a batch together, image after image.

    Args:
        boxes: [G, 4]
        labels: Classes, 0..K-1, int64. [G]
        has_mask: Which carry a mask, bool. [G]
        image_index: Image of each, int64. [G]
        counts: How many each image has.
        masks: Masks of each image's, or None where it has none. N x [G of it, H, W]
    """

    boxes: Tensor
    labels: Tensor
    has_mask: Tensor
    image_index: Tensor
    counts: list[int]
    masks: list[Tensor | None]

    @classmethod
    def of(cls, targets: list[Target]) -> Objects:
        """Join the objects of each image."""
        counts = [len(target) for target in targets]
        boxes = torch.cat([target.boxes for target in targets])
        labels = torch.cat([target.labels for target in targets])
        has_mask = torch.cat([target.has_mask for target in targets])
        image_index, masks = numbered(counts, boxes.device), [target.masks for target in targets]
        return cls(boxes, labels, has_mask, image_index, counts, masks)


def numbered(counts: list[int], device: torch.device) -> Tensor:
    """Return 0 counts[0] times, 1 counts[1] times, ...: the image of what lies image after image. [R]."""
    return constant(
        [number for number, count in enumerate(counts) for _ in range(count)], device, torch.int64
    )


def match_boxes(boxes: Tensor, image_index: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
    """Find each box's best object in its image.

    Args:
        boxes: [B, 4]
        image_index: Image of each box, int64. [B]
        objects: What is in the images.

    Returns:
        IoU with the best object (0 where there is none) [B] and its row (0 where there is none) [B].
    """
    if len(objects.boxes) == 0 or len(boxes) == 0:
        return boxes.new_zeros(len(boxes)), torch.zeros_like(image_index)
    quality = box_iou(objects.boxes, boxes)  # [G, B]
    iou, row = quality.masked_fill(objects.image_index[:, None] != image_index, -1.0).max(dim=0)
    return iou.clamp(min=0), row


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


class DrawnSample(NamedTuple):
    """Entries that were drawn from each row, in a fixed number of places, of which some may be empty.

    Args:
        entries: Their numbers, int64: `positives` places of positives, then negatives. [N, places]
        drawn: Places that are not empty, bool. [N, places]
        positives: How many places positives have.
    """

    entries: Tensor
    drawn: Tensor
    positives: int


def sample_labels(labels: Tensor, count: int, positive_fraction: float) -> DrawnSample:
    """Draw up to `count` entries of each row at random, at most `positive_fraction` of them positive.

    Nothing waits for how many there are: the `count` entries of the smallest of random numbers are taken.

    Args:
        labels: 1 for positive, 0 for negative, anything else is never drawn. [N, B]
        count: Entries to draw.
        positive_fraction: Largest share of positives.
    """
    keys = torch.rand(labels.shape, device=labels.device)
    entries = labels.shape[1]
    most = min(int(count * positive_fraction), entries)
    positive = keys.masked_fill(labels != 1, 2.0).topk(most, dim=1, largest=False)
    negative = keys.masked_fill(labels != 0, 2.0).topk(min(count, entries), dim=1, largest=False)
    found = positive.values < 1
    place = torch.arange(negative.values.shape[1], device=labels.device)
    others = (negative.values < 1) & (place < count - found.sum(dim=1, keepdim=True))
    index = torch.cat((positive.indices, negative.indices), dim=1)
    return DrawnSample(index, torch.cat((found, others), dim=1), most)
