"""At test: which of the boxes that the stages say become detections, and their assembly, image by image."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from dprd_cli.model.rois import RoIs
from dprd_cli.structures.detections import CascadeTrace, Detections


class StageOutputs(NamedTuple):
    """What the stages say of RoIs, one after the other.

    Args:
        boxes: Boxes of the last stage, clipped, class-agnostic or per class. [R, 1 or K, 4]
        probs: Class probabilities, averaged over the stages, the background last. [R, K+1]
        stage_rois: What went into each stage. n x [R]
        stage_part_boxes: Parts that each stage pooled; its reference parts where it pools none. Empty
            without parts. n x [R, P, 4]
    """

    boxes: Tensor
    probs: Tensor
    stage_rois: list[RoIs]
    stage_part_boxes: list[Tensor]


class KeptDetections(NamedTuple):
    """Detections after NMS, image after image, the best of each first.

    Args:
        rois: Their boxes, as RoIs of the mask branch. [D]
        labels: Classes, 0..K-1, int64. [D]
        scores: Class probabilities. [D]
        rows: The RoI that each came from, int64. [D]
        counts: How many each image has.
    """

    rois: RoIs
    labels: Tensor
    scores: Tensor
    rows: Tensor
    counts: list[int]


class BoxDetails(NamedTuple):
    """What the network says of boxes beyond their class.

    Args:
        masks: Mask probabilities inside each box, or None without mask heads. [D, M, M]
        mask_ious: Predicted mask IoUs in 0..1, or None without MaskIoU heads. [D]
        part_boxes: Part boxes, or None without parts. [D, P, 4]
    """

    masks: Tensor | None
    mask_ious: Tensor | None
    part_boxes: Tensor | None

    def mask_scores(self, scores: Tensor) -> Tensor | None:
        """Return the score of each mask: class score [D] times mask IoU; None without masks. [D]."""
        if self.masks is None or self.mask_ious is None:
            return None if self.masks is None else scores
        return scores * self.mask_ious


class DetectionSelector:
    """Thresholds boxes, suppresses per class and image, and keeps the best of each image.

    Args:
        num_classes: K.
        score_thresh: Least score of a detection.
        nms_iou: NMS threshold.
        detections_per_image: Most detections of an image.
        min_size: Least side of a detection, pixels.
        classes: The classes that detections may have, 0..K-1; None for all.
        class_agnostic: Suppress over all classes: of boxes in one place only the best stays, whatever it is.
        most_in_tiles: Most detections of an image that is looked at in tiles; None for any number.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        score_thresh: float,
        nms_iou: float,
        detections_per_image: int,
        min_size: float = 0.0,
        classes: tuple[int, ...] | None = None,
        class_agnostic: bool = False,
        most_in_tiles: int | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.score_thresh, self.nms_iou = score_thresh, nms_iou
        self.detections_per_image = detections_per_image
        self.min_size = min_size
        self.classes, self.class_agnostic = classes, class_agnostic
        self.most_in_tiles = most_in_tiles

    def chosen(
        self,
        *,
        classes: tuple[int, ...] | None = None,
        max_detections: int | None = None,
        nms_iou: float | None = None,
        class_agnostic: bool = False,
    ) -> DetectionSelector:
        """Return a selector that differs in what is given; see the class."""
        twin = copy.copy(self)
        if classes is not None:
            twin.classes = classes
        if max_detections is not None:
            twin.detections_per_image = twin.most_in_tiles = max_detections
        if nms_iou is not None:
            twin.nms_iou = nms_iou
        twin.class_agnostic = class_agnostic or self.class_agnostic
        return twin

    def rivals(self, labels: Tensor) -> Tensor:
        """Return the group in which each detection is suppressed by better ones: its class, or one for all.

        Args:
            labels: Classes, 0..K-1. [D]

        Returns:
            Numbers in 0..K-1. [D]
        """
        return torch.zeros_like(labels) if self.class_agnostic else labels

    def select(self, outputs: StageOutputs, num_images: int) -> KeptDetections:
        """Return the detections among what the stages say of the RoIs of `num_images` images."""
        boxes, probs, rois = outputs.boxes, outputs.probs, outputs.stage_rois[-1]
        valid = boxes.isfinite().all(dim=2).all(dim=1) & probs.isfinite().all(dim=1)
        wanted = (probs[:, : self.num_classes] > self.score_thresh) & valid[:, None]
        if self.classes is not None:
            wanted &= torch.isin(torch.arange(self.num_classes), torch.tensor(self.classes)).to(probs.device)
        hits = torch.nonzero(wanted)
        row, label = hits.unbind(dim=1)
        score = probs[row, label]
        chosen = boxes[row, label if boxes.shape[1] > 1 else torch.zeros_like(label)]
        image = rois.image_index[row]
        if self.min_size > 0:
            large = torch.nonzero((chosen[:, 2:] - chosen[:, :2] >= self.min_size).all(dim=1))[:, 0]
            row, label, score, chosen, image = (v[large] for v in (row, label, score, chosen, image))
        group = image * self.num_classes + self.rivals(label)
        keep = batched_nms(chosen, score, group, self.nms_iou)  # best first
        best = [keep[image[keep] == i][: self.detections_per_image] for i in range(num_images)]
        keep = torch.cat(best)
        row = row[keep]
        kept = RoIs(chosen[keep], image[keep], rois.anchor_index[row])
        return KeptDetections(kept, label[keep], score[keep], row, [len(b) for b in best])


def split_detections(
    kept: KeptDetections, details: BoxDetails, image_sizes: list[tuple[int, int]]
) -> list[Detections]:
    """Return the detections of each image, of that (height, width)."""
    values = {
        "boxes": kept.rois.boxes,
        "scores": kept.scores,
        "labels": kept.labels,
        "masks": details.masks,
        "mask_scores": details.mask_scores(kept.scores),
        "part_boxes": details.part_boxes,
    }
    pieces = {name: _split(value, kept.counts) for name, value in values.items()}
    return [
        Detections(image_size=size, **{name: piece[i] for name, piece in pieces.items()})  # type: ignore[arg-type]
        for i, size in enumerate(image_sizes)
    ]


def split_traces(
    kept: KeptDetections, outputs: StageOutputs, image_sizes: list[tuple[int, int]]
) -> list[CascadeTrace]:
    """Return the way of each image's detections through the cascade; images of that (height, width)."""
    parts = outputs.stage_part_boxes
    boxes = torch.stack([rois.boxes for rois in outputs.stage_rois], dim=1)[kept.rows]
    anchor_index = torch.stack([rois.anchor_index for rois in outputs.stage_rois], dim=1)[kept.rows]
    part_boxes = torch.stack(parts, dim=1)[kept.rows] if parts else None
    pieces = (_split(value, kept.counts) for value in (boxes, anchor_index, part_boxes))
    return [CascadeTrace(*values) for values in zip(*pieces, image_sizes, strict=True)]


def _split(value: Tensor | None, counts: list[int]) -> list[Tensor] | list[None]:
    return [None] * len(counts) if value is None else list(torch.split(value, counts))


__all__ = [
    "BoxDetails",
    "DetectionSelector",
    "KeptDetections",
    "StageOutputs",
    "split_detections",
    "split_traces",
]
