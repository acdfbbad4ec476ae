"""Eq. 3 of the paper: its terms, and what a training pass gives.

`Stage` takes the terms of one stage's branches and parts, `RoIHeads` those of all stages; the total is their
sum.
Every function returns a scalar that stays connected to the graph, or one for each feature of the same RoIs,
and zero where there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from dprd_cli.ops.boxes import box_area


class LossOutput(NamedTuple):
    """What a training pass gives.

    Args:
        losses: Weighted losses, scalars []; the total is their sum.
        diagnostics: Scalars [] without gradient, for the log.
    """

    losses: dict[str, Tensor]
    diagnostics: dict[str, Tensor]


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over RoIs, L_cls and L_cls^prt. [R, K+1], [R] -> scalar."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def box_loss(deltas: Tensor, targets: Tensor, labels: Tensor, num_classes: int, beta: float) -> Tensor:
    """Smooth L1 over the foreground RoIs, divided by the number of all RoIs, L_reg.

    Args:
        deltas: [R, 4], or [R, 4K] of which the ground-truth class's are taken.
        targets: Regression targets. [R, 4]
        labels: 0..K, K being the background. [R]
        num_classes: K.
        beta: Transition to L1; 0 is plain L1.

    Returns:
        A scalar. []
    """
    chosen = deltas
    if deltas.shape[1] > 4:
        kind = labels.clamp(max=num_classes - 1)[:, None, None].expand(-1, 1, 4)
        chosen = deltas.view(len(deltas), deltas.shape[1] // 4, 4).gather(1, kind)[:, 0]
    # what background should say is what it says: no loss, and no gradient
    wanted = torch.where((labels < num_classes)[:, None], targets, chosen.detach())
    return F.smooth_l1_loss(chosen, wanted, beta=beta, reduction="sum") / max(len(labels), 1)


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Average binary cross entropy, L_mask and L_mask^prt. [F, M, M] and 0..1 or bool [F, M, M] -> scalar."""
    loss = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="sum")
    return loss / max(targets.numel(), 1)


def mask_iou_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, averaged over targets above 0, L_miou and L_miou^prt. 2 x [..., F] -> [...].

    Source: Mask Scoring R-CNN's code (zjhuang22/maskscoring_rcnn), which the paper follows.
    """
    counted = (targets > 0).to(predicted.dtype)
    return 0.5 * ((predicted - targets) ** 2 * counted).sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)


def mean_mask_iou_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error, another L_miou and L_miou^prt. 2 x [..., F] -> [...]."""
    return F.mse_loss(predicted, targets, reduction="none").sum(dim=-1) / max(targets.shape[-1], 1)


#: `model.heads.mask_iou_loss` -> the loss.
MASK_IOU_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "half": mask_iou_loss,
    "mean": mean_mask_iou_loss,
}


def crop_masks(
    masks: Tensor, gt_index: Tensor, boxes: Tensor, size: int, *, aligned: bool = True, soft: bool = False
) -> Tensor:
    """Return each RoI's view of its object's mask.

    Args:
        masks: Masks of one image, bool. [G, H, W]
        gt_index: The object of each RoI. [F]
        boxes: RoIs. [F, 4]
        size: M.
        aligned: Half-pixel shift, as in `roi_align`.
        soft: Return how much of each cell is covered.

    Returns:
        Cells that are at least half covered, bool; or the share that is covered, 0..1. [F, M, M]
    """
    if len(boxes) == 0:
        return torch.zeros((0, size, size), dtype=torch.bool, device=boxes.device)
    rois = torch.cat((gt_index[:, None].to(boxes.dtype), boxes), dim=1)
    planes = masks[:, None].to(boxes.dtype)
    covered: Tensor = roi_align(planes, rois, size, spatial_scale=1.0, sampling_ratio=-1, aligned=aligned)
    return covered[:, 0] if soft else covered[:, 0] >= 0.5


def mask_iou_targets(logits: Tensor, targets: Tensor, gt_areas: Tensor, boxes: Tensor) -> Tensor:
    """Return the IoU of predicted masks, binarised at 0.5, with the objects' whole masks.

    Args:
        logits: Predicted masks. [..., F, M, M]
        targets: True masks inside the RoIs, bool or 0..1. [F, M, M]
        gt_areas: Area of each object's whole mask, square pixels (what lies outside the RoI counts). [F]
        boxes: RoIs. [F, 4]

    Returns:
        0..1, no gradient. [..., F]

    Source: Mask Scoring R-CNN, section 3.2.
    """
    predicted, targets = logits.detach() > 0, targets >= 0.5
    intersection = (predicted & targets).sum(dim=(-2, -1))
    cells = targets[0].numel() if len(targets) else 1
    roi_area = box_area(boxes).clamp(min=1e-6)
    inside = targets.sum(dim=(-2, -1))
    whole = torch.maximum(gt_areas * cells / roi_area, inside.to(boxes.dtype))
    union = predicted.sum(dim=(-2, -1)) + whole - intersection
    return intersection / union.clamp(min=1e-6)
