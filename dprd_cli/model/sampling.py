"""Which RoIs the stages are trained on, and what each should say."""

from __future__ import annotations

import torch
from torch import Tensor

from dprd_cli.model.losses import crop_masks
from dprd_cli.model.matching import Objects, match_boxes, numbered, sample_labels
from dprd_cli.model.rois import LabeledRoIs, RoIFeatures, RoIs
from dprd_cli.model.rpn import Proposals
from dprd_cli.model.stage import MaskTargets
from dprd_cli.ops.constants import constant


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
        objects: Objects,
        thresh: float,
        features: RoIFeatures,
    ) -> LabeledRoIs:
        """Append the objects to the proposals, match, and draw the RoIs of the first stage.

        Args:
            proposals: Proposals of each image.
            objects: Objects of all images.
            thresh: IoU from which a RoI is an object.
            features: Features of the batch.

        Reading: the paper's background has an IoU of at least 0.1 with an object, which says nothing of
        images without objects; all of theirs is background.
        """
        device = objects.boxes.device
        counts = [len(p.boxes) + count for p, count in zip(proposals, objects.counts, strict=True)]
        gt_boxes = objects.boxes.to(proposals[0].boxes.dtype)
        gt_anchors = features.find_anchors(gt_boxes, objects.image_index)
        boxes = _interleave([p.boxes for p in proposals], gt_boxes, objects.counts)
        anchor_index = _interleave([p.anchor_index for p in proposals], gt_anchors, objects.counts)
        image = numbered(counts, device)
        iou, gt_index = match_boxes(boxes, image, objects)
        empty = [self.bg_from_empty and not count for count in objects.counts]
        low = constant([0.0 if one else self.bg_iou_low for one in empty], device, iou.dtype)[image]
        kind = (iou >= thresh).long().masked_fill(iou < low, -1)
        rows, held = _rows_by_image(counts, device)
        draw = sample_labels(kind[rows].where(held, -1), self.rois_per_image, self.positive_fraction)
        keep = rows.gather(1, draw.entries)[draw.drawn]  # the one wait: how many there are
        labels = self._labels(kind[keep] == 1, gt_index[keep], objects)
        return LabeledRoIs(RoIs(boxes[keep], image[keep], anchor_index[keep]), labels, gt_index[keep])

    @torch.no_grad()
    def relabel(self, rois: RoIs, objects: Objects, thresh: float) -> LabeledRoIs:
        """Match refined RoIs again, at the next stage's IoU threshold; none is dropped.

        Args:
            rois: Refined RoIs of all images.
            objects: Objects of all images.
            thresh: IoU from which a RoI is an object.

        Reading: the background range [0.1, 0.5) is a rule of sampling, and later stages do not sample.
        """
        iou, gt_index = match_boxes(rois.boxes, rois.image_index, objects)
        return LabeledRoIs(rois, self._labels(iou >= thresh, gt_index, objects), gt_index)

    def _labels(self, foreground: Tensor, gt_index: Tensor, objects: Objects) -> Tensor:
        """Return the classes [R] of the matched objects, and K where RoIs are not foreground."""
        if len(objects.labels) == 0:
            return torch.full_like(gt_index, self.num_classes)
        return objects.labels[gt_index].where(foreground, self.num_classes)

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
    def masked(self, labeled: LabeledRoIs, objects: Objects) -> tuple[Tensor, list[int]]:
        """Return which RoIs the mask branch is trained on: those on an object with a mask.

        Args:
            labeled: RoIs of all images, image after image.
            objects: Objects of all images.

        Returns:
            Row numbers, int64 [F], and how many of them each image has.
        """
        images = len(objects.counts)
        if len(objects.labels) == 0:
            return labeled.gt_index[:0], [0] * images
        chosen = (labeled.labels < self.num_classes) & objects.has_mask[labeled.gt_index]
        limit = self.mask_rois_per_image * images
        if 0 < limit < len(chosen):
            keys = torch.rand(len(chosen), device=chosen.device).masked_fill(~chosen, 2.0)
            drawn = keys.topk(limit, largest=False)
            chosen = torch.zeros_like(chosen).scatter(0, drawn.indices, drawn.values < 1)
        per_image = (labeled.rois.image_index == torch.arange(images, device=chosen.device)[:, None]) & chosen
        counts: list[int] = per_image.sum(dim=1).tolist()  # the one wait
        first = torch.sort(chosen.to(torch.uint8), descending=True, stable=True).indices
        return first[: sum(counts)], counts

    @torch.no_grad()
    def mask_targets(
        self, labeled: LabeledRoIs, objects: Objects, counts: list[int], size: int
    ) -> MaskTargets:
        """Return what the mask branch should say of foreground RoIs.

        Args:
            labeled: Foreground RoIs, image after image.
            objects: Objects of all images.
            counts: RoIs of each image.
            size: M.
        """
        boxes = labeled.rois.boxes
        kind = boxes.dtype if self.soft_masks else torch.bool
        masks, areas = [boxes.new_zeros((0, size, size), dtype=kind)], [boxes[:0, 0]]
        mine = zip(
            objects.masks,
            objects.counts,
            torch.split(boxes, counts),
            torch.split(labeled.gt_index, counts),
            strict=True,
        )
        first = 0
        for planes, num, rois, gt_index in mine:
            if planes is not None and len(rois):
                gt = gt_index - first
                masks.append(crop_masks(planes, gt, rois, size, aligned=self.aligned, soft=self.soft_masks))
                areas.append(planes.flatten(1).sum(1).to(boxes.dtype)[gt])
            first += num
        return MaskTargets(labeled.labels, torch.cat(masks), torch.cat(areas), boxes)


def _interleave(proposed: list[Tensor], objects: Tensor, counts: list[int]) -> Tensor:
    """Return what is proposed and the objects [G, ...] of each image, image after image. [B, ...]."""
    pairs = zip(proposed, torch.split(objects, counts), strict=True)
    return torch.cat([piece for pair in pairs for piece in pair])


def _rows_by_image(counts: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the rows of each image [N, most], and which places hold one [N, most]."""
    place = torch.arange(max(counts), device=device)
    held = place < constant(counts, device)[:, None]
    firsts = constant([sum(counts[:number]) for number in range(len(counts))], device)
    return (firsts[:, None] + place).where(held, 0), held
