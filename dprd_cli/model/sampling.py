"""Which RoIs the stages are trained on, and what each should say."""

from __future__ import annotations

import torch
from torch import Tensor

from dprd_cli.model.losses import crop_masks
from dprd_cli.model.matching import match_boxes, sample_labels
from dprd_cli.model.rois import LabeledRoIs, RoIFeatures, RoIs
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
        bg_from_empty: It is 0 in images without objects.
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
        bg_from_empty: bool = True,
        mask_rois_per_image: int = 0,
        aligned: bool = True,
        soft_masks: bool = False,
    ) -> None:
        self.num_classes = num_classes
        self.rois_per_image, self.positive_fraction = rois_per_image, positive_fraction
        self.bg_iou_low, self.bg_from_empty = bg_iou_low, bg_from_empty
        self.mask_rois_per_image = mask_rois_per_image
        self.aligned, self.soft_masks = aligned, soft_masks

    @torch.no_grad()
    def sample(
        self,
        proposals: list[Proposals],
        targets: list[Target],
        thresh: float,
        features: RoIFeatures,
    ) -> LabeledRoIs:
        """Append the objects to the proposals, match, and draw the RoIs of the first stage.

        Args:
            proposals: Proposals of each image.
            targets: Objects of each image.
            thresh: IoU from which a RoI is an object.
            features: Features of the batch.

        Reading: the paper's background has an IoU of at least 0.1 with an object, which says nothing of
        images without objects; all of theirs is background.
        """
        drawn = []
        first = 0
        for index, (proposal, target) in enumerate(zip(proposals, targets, strict=True)):
            image = torch.full((len(target),), index, dtype=torch.int64, device=proposal.boxes.device)
            gt_boxes = target.boxes.to(proposal.boxes.dtype)
            boxes = torch.cat((proposal.boxes, gt_boxes))
            anchor_index = torch.cat((proposal.anchor_index, features.find_anchors(gt_boxes, image)))
            iou, gt = match_boxes(boxes, gt_boxes)
            kind = torch.full_like(gt, -1)
            low = 0.0 if self.bg_from_empty and not len(target) else self.bg_iou_low
            kind[(iou >= low) & (iou < thresh)] = 0
            kind[iou >= thresh] = 1
            positive, negative = sample_labels(kind, self.rois_per_image, self.positive_fraction)
            keep = torch.cat((positive, negative))
            labels = torch.full_like(keep, self.num_classes)
            if len(target):
                labels[: len(positive)] = target.labels[gt[positive]]
            rois = RoIs(boxes[keep], torch.full_like(keep, index), anchor_index[keep])
            drawn.append((*rois, labels, gt[keep] + first))
            first += len(target)
        *places, labels, gt_index = (torch.cat(values) for values in zip(*drawn, strict=True))
        return LabeledRoIs(RoIs(*places), labels, gt_index)

    @torch.no_grad()
    def relabel(self, rois: RoIs, targets: list[Target], thresh: float) -> LabeledRoIs:
        """Match refined RoIs again, at the next stage's IoU threshold; none is dropped.

        Args:
            rois: Refined RoIs of all images.
            targets: Objects of each image.
            thresh: IoU from which a RoI is an object.

        Reading: the background range [0.1, 0.5) is a rule of sampling, and later stages do not sample.
        """
        labels, gt_index = torch.full_like(rois.image_index, self.num_classes), rois.image_index.clone()
        first = 0
        for index, target in enumerate(targets):
            mine = torch.nonzero(rois.image_index == index)[:, 0]
            iou, gt = match_boxes(rois.boxes[mine], target.boxes)
            if len(target):
                labels[mine] = torch.where(iou >= thresh, target.labels[gt], labels[mine])
            gt_index[mine] = gt + first
            first += len(target)
        return LabeledRoIs(rois, labels, gt_index)

    def target_boxes(self, labeled: LabeledRoIs, gt_boxes: Tensor) -> Tensor:
        """Return the object of each foreground RoI, and background RoIs as they are.

        Args:
            labeled: RoIs of all images.
            gt_boxes: Objects of all images. [G, 4]

        Returns:
            [R, 4]
        """
        boxes = labeled.rois.boxes
        if len(gt_boxes) == 0:
            return boxes
        foreground = (labeled.labels < self.num_classes)[:, None]
        # background may point past the end
        matched = gt_boxes[labeled.gt_index.clamp(max=len(gt_boxes) - 1)]
        return torch.where(foreground, matched.to(boxes.dtype), boxes)

    @torch.no_grad()
    def masked(self, labeled: LabeledRoIs, targets: list[Target]) -> Tensor:
        """Return which RoIs the mask branch is trained on: those on an object with a mask.

        Args:
            labeled: RoIs of all images.
            targets: Objects of each image.

        Returns:
            Row numbers, int64. [F]
        """
        index = torch.nonzero(labeled.labels < self.num_classes)[:, 0]
        has_mask = torch.cat([target.has_mask for target in targets])
        if len(has_mask):
            index = index[has_mask[labeled.gt_index[index]]]
        limit = self.mask_rois_per_image * len(targets)
        if 0 < limit < len(index):
            index = index[torch.randperm(len(index), device=index.device)[:limit].sort().values]
        return index

    @torch.no_grad()
    def mask_targets(self, labeled: LabeledRoIs, targets: list[Target], size: int) -> MaskTargets:
        """Return what the mask branch should say of foreground RoIs.

        Args:
            labeled: Foreground RoIs.
            targets: Objects of each image.
            size: M.
        """
        boxes, image_index = labeled.rois.boxes, labeled.rois.image_index
        kind = boxes.dtype if self.soft_masks else torch.bool
        masks = torch.zeros((len(boxes), size, size), dtype=kind, device=boxes.device)
        areas = boxes.new_zeros(len(boxes))
        first = 0
        for index, target in enumerate(targets):
            mine = torch.nonzero(image_index == index)[:, 0]
            if target.masks is not None and len(mine):
                gt = labeled.gt_index[mine] - first
                masks[mine] = crop_masks(
                    target.masks, gt, boxes[mine], size, aligned=self.aligned, soft=self.soft_masks
                )
                areas[mine] = target.masks.flatten(1).sum(1).to(areas.dtype)[gt]
            first += len(target)
        return MaskTargets(labeled.labels, masks, areas, boxes)
