"""Which RoIs the stages are trained on, and what each should say."""

from __future__ import annotations

import torch
from torch import Tensor

from dprd_cli.model.losses import crop_masks
from dprd_cli.model.matching import match_boxes, sample_labels
from dprd_cli.model.regions import RoIFeatures, RoIs
from dprd_cli.model.rpn import Proposals
from dprd_cli.model.stage import MaskTargets
from dprd_cli.structures.detections import Target


class RoISampler:
    """Samples the first stage's RoIs and labels those of every stage.

    Args:
        num_classes: K.
        rois_per_image: RoIs per image.
        positive_fraction: Largest share of objects among them.
        bg_iou_low: Least IoU of a sampled background RoI.
        mask_rois_per_image: Most RoIs of a stage's mask branch, per image; 0 for all.
        aligned: Frame of the mask targets, see `crop_masks`.
        soft_masks: Mask targets in 0..1, see `crop_masks`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        rois_per_image: int,
        positive_fraction: float,
        bg_iou_low: float,
        mask_rois_per_image: int = 0,
        aligned: bool = True,
        soft_masks: bool = False,
    ) -> None:
        self.num_classes = num_classes
        self.rois_per_image, self.positive_fraction = rois_per_image, positive_fraction
        self.bg_iou_low = bg_iou_low
        self.mask_rois_per_image = mask_rois_per_image
        self.aligned, self.soft_masks = aligned, soft_masks

    @torch.no_grad()
    def sample(
        self,
        proposals: list[Proposals],
        targets: list[Target],
        thresh: float,
        features: RoIFeatures,
    ) -> RoIs:
        """Append the objects to the proposals, match, and draw the RoIs of the first stage."""
        drawn = []
        first = 0
        for index, (proposal, target) in enumerate(zip(proposals, targets, strict=True)):
            image = torch.full((len(target),), index, dtype=torch.int64, device=proposal.boxes.device)
            gt_boxes = target.boxes.to(proposal.boxes.dtype)
            boxes = torch.cat((proposal.boxes, gt_boxes))
            anchor_index = torch.cat(
                (proposal.anchor_index, features.locate(gt_boxes, image, features.hidden))
            )
            iou, gt = match_boxes(boxes, gt_boxes)
            kind = torch.full_like(gt, -1)
            kind[(iou >= self.bg_iou_low) & (iou < thresh)] = 0
            kind[iou >= thresh] = 1
            positive, negative = sample_labels(kind, self.rois_per_image, self.positive_fraction)
            keep = torch.cat((positive, negative))
            labels = torch.full_like(keep, self.num_classes)
            if len(target):
                labels[: len(positive)] = target.labels[gt[positive]]
            drawn.append(
                RoIs(boxes[keep], torch.full_like(keep, index), anchor_index[keep], labels, gt[keep] + first)
            )
            first += len(target)
        return RoIs(*(torch.cat(values) for values in zip(*drawn, strict=True)))

    @torch.no_grad()
    def relabel(self, rois: RoIs, targets: list[Target], thresh: float) -> RoIs:
        """Match refined RoIs again, at the next stage's IoU threshold; none is dropped.

        Reading: the background range [0.1, 0.5) is a rule of sampling, and later stages do not sample.
        """
        labels, gt_index = rois.labels.clone(), rois.gt_index.clone()
        first = 0
        for index, target in enumerate(targets):
            mine = torch.nonzero(rois.image_index == index)[:, 0]
            iou, gt = match_boxes(rois.boxes[mine], target.boxes)
            background = torch.full_like(gt, self.num_classes)
            labels[mine] = (
                torch.where(iou >= thresh, target.labels[gt], background) if len(target) else background
            )
            gt_index[mine] = gt + first
            first += len(target)
        return rois._replace(labels=labels, gt_index=gt_index)

    def target_boxes(self, rois: RoIs, gt_boxes: Tensor) -> Tensor:
        """Return the object of each foreground RoI, and background RoIs as they are. [R, 4]."""
        if len(gt_boxes) == 0:
            return rois.boxes
        foreground = (rois.labels < self.num_classes)[:, None]
        matched = gt_boxes[rois.gt_index.clamp(max=len(gt_boxes) - 1)]  # background may point past the end
        return torch.where(foreground, matched.to(rois.boxes.dtype), rois.boxes)

    @torch.no_grad()
    def masked(self, rois: RoIs, targets: list[Target]) -> Tensor:
        """Return which RoIs the mask branch is trained on: those on an object with a mask. [F]."""
        index = torch.nonzero(rois.labels < self.num_classes)[:, 0]
        has_mask = torch.cat([target.has_mask for target in targets])
        if len(has_mask):
            index = index[has_mask[rois.gt_index[index]]]
        limit = self.mask_rois_per_image * len(targets)
        if 0 < limit < len(index):
            index = index[torch.randperm(len(index), device=index.device)[:limit].sort().values]
        return index

    @torch.no_grad()
    def mask_targets(self, rois: RoIs, targets: list[Target], size: int) -> MaskTargets:
        """Return what the mask branch should say of foreground RoIs.

        Args:
            rois: Foreground RoIs.
            targets: Objects of each image.
            size: M.
        """
        kind = rois.boxes.dtype if self.soft_masks else torch.bool
        masks = torch.zeros((len(rois.boxes), size, size), dtype=kind, device=rois.boxes.device)
        areas = rois.boxes.new_zeros(len(rois.boxes))
        first = 0
        for index, target in enumerate(targets):
            mine = torch.nonzero(rois.image_index == index)[:, 0]
            if target.masks is not None and len(mine):
                gt = rois.gt_index[mine] - first
                masks[mine] = crop_masks(
                    target.masks, gt, rois.boxes[mine], size, aligned=self.aligned, soft=self.soft_masks
                )
                areas[mine] = target.masks.flatten(1).sum(1).to(areas.dtype)[gt]
            first += len(target)
        return MaskTargets(rois.labels, masks, areas, rois.boxes)
