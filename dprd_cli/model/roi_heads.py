"""The cascade: RoIs in, losses or detections out (Fig. 3, "Cascade Deformable Part Region Detector")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from dprd_cli.model.fusion import Fused
from dprd_cli.model.heads import BoxPrediction
from dprd_cli.model.layers import scale_gradient
from dprd_cli.model.losses import box_loss, class_loss
from dprd_cli.model.parts import DeformableParts, FixedParts, Parts
from dprd_cli.model.regions import RegionPooler, RoIFeatures, RoIs
from dprd_cli.model.rpn import Proposals
from dprd_cli.model.sampling import RoISampler
from dprd_cli.model.stage import Stage, comb_parts_win
from dprd_cli.ops.boxes import apply_deltas, clip_boxes, encode_deltas
from dprd_cli.structures.detections import Detections, Target


class StageOutputs(NamedTuple):
    """What the stages say of RoIs.

    Args:
        boxes: The last stage's, clipped, class-agnostic or per class. [R, 1 or K, 4]
        probs: Class probabilities, averaged over the stages, the background last. [R, K+1]
        rois: What went into the last stage.
        trails: `stage_boxes`, `stage_part_boxes` and `stage_anchor_index` of `Detections`, of every RoI.
    """

    boxes: Tensor
    probs: Tensor
    rois: RoIs
    trails: dict[str, Tensor | None]


class KeptDetections(NamedTuple):
    """Detections after NMS: scores, the RoI row each came from, and how many each image has."""

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
        """Return the score of each mask: class score times mask IoU; None without masks. [D]."""
        if self.masks is None or self.mask_ious is None:
            return None if self.masks is None else scores
        return scores * self.mask_ious


class RoIHeads(nn.Module):
    """Sampling, part decomposition, pooling, and the stages one after the other.

    Args:
        stages: One (D-PRD, Mask R-CNN) or several (the cascades).
        parts: What decomposes RoIs, or None for the baselines.
        pooler: Pools whole and part features of the mask branch.
        sampler: Draws and labels the RoIs in training.
        num_classes: K.
        box_pool: S of the box branch.
        mask_pool: S of the mask branch.
        refeed: `lookup` or `carry`, see `PartsConfig`.
        average_masks: Average masks over the stages at test, or take the last one's.
        feature_grad_scale: Factor on each stage's gradient into its box RoI features.
        smooth_l1_beta: Transition of the box loss.
        score_thresh: Least score of a detection.
        nms_iou: NMS threshold of detections.
        detections_per_image: Most detections of an image.
        min_size: Least side of a detection, pixels.
    """

    def __init__(
        self,
        stages: list[Stage],
        parts: FixedParts | DeformableParts | None,
        *,
        pooler: RegionPooler,
        sampler: RoISampler,
        num_classes: int,
        box_pool: int,
        mask_pool: int,
        refeed: str,
        average_masks: bool,
        feature_grad_scale: float,
        smooth_l1_beta: float,
        score_thresh: float,
        nms_iou: float,
        detections_per_image: int,
        min_size: float = 0.0,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.parts = parts
        self.pooler, self.sampler = pooler, sampler
        self.num_classes, self.box_pool, self.mask_pool = num_classes, box_pool, mask_pool
        self.refeed, self.average_masks = refeed, average_masks
        self.feature_grad_scale, self.smooth_l1_beta = feature_grad_scale, smooth_l1_beta
        self.score_thresh, self.nms_iou = score_thresh, nms_iou
        self.detections_per_image = detections_per_image
        self.min_size = min_size

    @property
    def cascade(self) -> list[Stage]:
        """The stages in order."""
        return list(self.stages)  # type: ignore[arg-type]

    # ---- training -------------------------------------------------------------------------------------

    def losses(
        self, proposals: list[Proposals], features: RoIFeatures, targets: list[Target]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of all stages, and diagnostics.

        Args:
            proposals: Proposals of each image.
            features: The features of the batch.
            targets: Objects of each image.

        Returns:
            Losses `loss_<kind>_stage<n>`, always the same keys for one network; diagnostics `part_iou`,
            `part_fallback`, `comb_parts_win`, `num_fg`.

        Source: Eq. 3, summed over the stages.
        """
        gt_boxes = torch.cat([target.boxes for target in targets])
        cascade = self.cascade
        rois = self.sampler.sample(proposals, targets, cascade[0].iou_thresh, features)
        losses: dict[str, Tensor] = {}
        diagnostics: dict[str, Tensor] = {"num_fg": (rois.labels < self.num_classes).sum().float()}
        for number, stage in enumerate(cascade, start=1):
            parts = self.decompose(stage, rois, features, "learned")
            fused, prediction = self._box_branch(stage, rois, parts, features)
            matched = self.sampler.target_boxes(rois, gt_boxes)
            target_deltas = encode_deltas(rois.boxes, matched, stage.box_weights)
            kinds = {
                "loss_cls": class_loss(prediction.logits, rois.labels),
                "loss_reg": box_loss(
                    prediction.deltas, target_deltas, rois.labels, self.num_classes, self.smooth_l1_beta
                ),
                **stage.part_class_loss(fused, rois.labels),
                **self._mask_branch_losses(stage, rois, parts, features, targets),
            }
            losses |= {f"{kind}_stage{number}": value for kind, value in kinds.items()}
            if number == 1:
                diagnostics |= self._diagnose(rois, parts, features)
            if (win := comb_parts_win(fused)) is not None:
                diagnostics.setdefault("comb_parts_win", win)
            if number < len(cascade):
                rois = self.refine(rois, prediction.deltas, stage, features)
                rois = self.sampler.relabel(rois, targets, cascade[number].iou_thresh)
        return losses, diagnostics

    def _mask_branch_losses(
        self, stage: Stage, rois: RoIs, parts: Parts | None, features: RoIFeatures, targets: list[Target]
    ) -> dict[str, Tensor]:
        if stage.mask_head is None:
            return {}
        index = self.sampler.masked(rois, targets)
        chosen = rois.select(index)
        boxes = None if parts is None else parts.boxes[index]
        whole, part_features = self.pooler(chosen, boxes, features, self.mask_pool)
        return stage.mask_losses(
            whole, part_features, self.sampler.mask_targets(chosen, targets, 2 * self.mask_pool)
        )

    @torch.no_grad()
    def _diagnose(self, rois: RoIs, parts: Parts | None, features: RoIFeatures) -> dict[str, Tensor]:
        if parts is None or len(rois.boxes) == 0:
            return {}
        if isinstance(self.parts, DeformableParts):
            self.parts.track_mean(rois.anchor_index[rois.labels < self.num_classes], features.hidden.rows)
        return {"part_iou": parts.iou.mean(), "part_fallback": parts.fallback.float().mean()}

    # ---- shared ---------------------------------------------------------------------------------------

    def decompose(self, stage: Stage, rois: RoIs, features: RoIFeatures, mode: str) -> Parts | None:
        """Return the part boxes that a stage pools, or None where it uses none."""
        if self.parts is None or not stage.uses_parts:
            return None
        return self._parts_of(rois, features, mode)

    def _parts_of(self, rois: RoIs, features: RoIFeatures, mode: str) -> Parts:
        assert self.parts is not None
        image_sizes = features.image_sizes[rois.image_index]
        parts: Parts = self.parts(rois.boxes, rois.anchor_index, features.hidden.rows, image_sizes, mode)
        return parts

    def _box_branch(
        self, stage: Stage, rois: RoIs, parts: Parts | None, features: RoIFeatures
    ) -> tuple[Fused, BoxPrediction]:
        part_boxes = None if parts is None else parts.boxes
        whole, part_features = stage.box_pooler(rois, part_boxes, features, self.box_pool)
        whole = scale_gradient(whole, self.feature_grad_scale)
        if part_features is not None:
            part_features = scale_gradient(part_features, self.feature_grad_scale)
        return stage.predict_boxes(whole, part_features)

    @torch.no_grad()
    def refine(self, rois: RoIs, deltas: Tensor, stage: Stage, features: RoIFeatures) -> RoIs:
        """Move RoIs by a stage's (class-agnostic) deltas, clip, and feed them to DPR-Net again."""
        moved = apply_deltas(deltas, rois.boxes, stage.box_weights)
        boxes = clip_boxes(moved, features.image_sizes[rois.image_index])
        alive = ((boxes[:, 2:] > boxes[:, :2]).all(dim=1) & boxes.isfinite().all(dim=1))[:, None]
        boxes = torch.where(alive, boxes, rois.boxes)  # an emptied box stays where it was
        return self.feed_again(rois._replace(boxes=boxes), features)

    def feed_again(self, rois: RoIs, features: RoIFeatures) -> RoIs:
        """Return RoIs at the anchors of the boxes that they have now, by `refeed`."""
        if self.refeed == "carry":
            return rois
        return rois._replace(anchor_index=features.locate(rois.boxes, rois.image_index, features.hidden))

    # ---- test -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def detect(
        self,
        proposals: list[Proposals],
        features: RoIFeatures,
        image_sizes: list[tuple[int, int]],
        part_offsets: str = "learned",
        *,
        masks: bool = True,
    ) -> list[Detections]:
        """Return the detections of each image.

        Class probabilities are averaged over the stages, boxes come from the last one, masks and mask IoUs
        of the final boxes are averaged over the stages that have mask heads (Reading: docs/reading.md).

        Args:
            proposals: Proposals of each image.
            features: The features of the batch.
            image_sizes: (height, width) of each image.
            part_offsets: `learned`, `mean` or `reference`.
            masks: Predict masks, where there are mask heads.
        """
        ran = self.run_stages(self._proposed(proposals), features, part_offsets)
        kept, picked = self._select(ran.boxes, ran.probs, ran.rois, len(image_sizes))
        kept = self.feed_again(kept, features)
        details = self.details(kept, features, part_offsets, masks=masks)
        return self._finish(kept, picked, details, ran.trails, image_sizes)

    def run_stages(self, rois: RoIs, features: RoIFeatures, part_offsets: str) -> StageOutputs:
        """Send RoIs through all stages.

        Args:
            rois: Proposals.
            features: The features of the batch.
            part_offsets: `learned`, `mean` or `reference`.
        """
        probs: list[Tensor] = []
        trail: list[RoIs] = []
        part_trail: list[Tensor] = []
        cascade = self.cascade
        for number, stage in enumerate(cascade, start=1):
            parts = self.decompose(stage, rois, features, part_offsets)
            trail.append(rois)
            if self.parts is not None:
                part_trail.append((parts or self._parts_of(rois, features, "reference")).boxes)
            _, prediction = self._box_branch(stage, rois, parts, features)
            probs.append(prediction.logits.softmax(dim=1))
            if number < len(cascade):
                rois = self.refine(rois, prediction.deltas, stage, features)
        deltas = prediction.deltas.view(rois.boxes.shape[0], prediction.deltas.shape[1] // 4, 4)
        final = apply_deltas(deltas, rois.boxes[:, None], cascade[-1].box_weights)
        final = clip_boxes(final, features.image_sizes[rois.image_index][:, None])  # [R, 1 or K, 4]
        trails = {
            "stage_boxes": torch.stack([rois.boxes for rois in trail], 1),
            "stage_part_boxes": torch.stack(part_trail, 1) if part_trail else None,
            "stage_anchor_index": torch.stack([rois.anchor_index for rois in trail], 1),
        }
        return StageOutputs(final, torch.stack(probs).mean(dim=0), rois, trails)

    @torch.no_grad()
    def forward_with_given_boxes(
        self,
        boxes: Tensor,
        labels: Tensor,
        features: RoIFeatures,
        part_offsets: str = "learned",
        *,
        masks: bool = True,
    ) -> BoxDetails:
        """Return masks, mask IoUs and part boxes of given boxes, as `detect` does of its final boxes.

        The part offsets are always looked up, because the boxes may come from no proposal of this image.

        Args:
            boxes: In the first image of the batch. [D, 4]
            labels: Their classes. [D]
            features: The features of the batch.
            part_offsets: `learned`, `mean` or `reference`.
            masks: Predict masks, where there are mask heads.
        """
        image = torch.zeros_like(labels)
        rois = RoIs(boxes, image, features.locate(boxes, image, features.hidden), labels, image)
        return self.details(rois, features, part_offsets, masks=masks)

    def class_logits(self, stage_boxes: Tensor, stage_anchor_index: Tensor, features: RoIFeatures) -> Tensor:
        """Return the class logits that each stage gives RoIs whose way through the cascade is known.

        The gradient reaches the features (and through the part boxes their layer), not the RoIs.
        Law: the softmax over the classes, averaged over the stages, is the probability that `detect` gave.

        Args:
            stage_boxes: In the only image of the batch, from `Detections`. [D, n, 4]
            stage_anchor_index: From `Detections`. [D, n, 2]
            features: The features of one image.

        Returns:
            [D, n, K+1]
        """
        image = torch.zeros_like(stage_anchor_index[:, 0, 0])
        ways = zip(self.cascade, stage_boxes.unbind(1), stage_anchor_index.unbind(1), strict=True)
        logits = []
        for stage, boxes, anchor_index in ways:
            rois = RoIs(boxes, image, anchor_index, image, image)
            parts = self.decompose(stage, rois, features, "learned")
            logits.append(self._box_branch(stage, rois, parts, features)[1].logits)
        return torch.stack(logits, dim=1)

    def _proposed(self, proposals: list[Proposals]) -> RoIs:
        counts = torch.tensor([len(p.boxes) for p in proposals], device=proposals[0].boxes.device)
        image = torch.repeat_interleave(torch.arange(len(proposals), device=counts.device), counts)
        boxes = torch.cat([p.boxes for p in proposals])
        return RoIs(boxes, image, torch.cat([p.anchor_index for p in proposals]), image, image)

    def _select(
        self, boxes: Tensor, probs: Tensor, rois: RoIs, num_images: int
    ) -> tuple[RoIs, KeptDetections]:
        """Threshold, NMS per class and image, and keep the best."""
        valid = boxes.isfinite().all(dim=2).all(dim=1) & probs.isfinite().all(dim=1)
        hits = torch.nonzero((probs[:, : self.num_classes] > self.score_thresh) & valid[:, None])
        row, label = hits.unbind(dim=1)
        score = probs[row, label]
        chosen = boxes[row, label if boxes.shape[1] > 1 else torch.zeros_like(label)]
        image = rois.image_index[row]
        if self.min_size > 0:
            large = torch.nonzero((chosen[:, 2:] - chosen[:, :2] >= self.min_size).all(dim=1))[:, 0]
            row, label, score, chosen, image = (v[large] for v in (row, label, score, chosen, image))
        keep = batched_nms(chosen, score, image * self.num_classes + label, self.nms_iou)  # best first
        best = [keep[image[keep] == i][: self.detections_per_image] for i in range(num_images)]
        keep = torch.cat(best)
        row, label, image = row[keep], label[keep], image[keep]
        kept = RoIs(chosen[keep], image, rois.anchor_index[row], label, row)
        return kept, KeptDetections(score[keep], row, [len(b) for b in best])

    def _finish(
        self,
        rois: RoIs,
        picked: KeptDetections,
        details: BoxDetails,
        trails: dict[str, Tensor | None],
        image_sizes: list[tuple[int, int]],
    ) -> list[Detections]:
        """Cut everything into one `Detections` per image."""
        values = {
            "boxes": rois.boxes,
            "scores": picked.scores,
            "labels": rois.labels,
            "masks": details.masks,
            "mask_scores": details.mask_scores(picked.scores),
            "part_boxes": details.part_boxes,
            **{name: None if trail is None else trail[picked.rows] for name, trail in trails.items()},
        }
        pieces = {
            k: [None] * len(image_sizes) if v is None else torch.split(v, picked.counts)
            for k, v in values.items()
        }
        return [
            Detections(image_size=size, **{name: piece[i] for name, piece in pieces.items()})  # type: ignore[arg-type]
            for i, size in enumerate(image_sizes)
        ]

    def details(self, rois: RoIs, features: RoIFeatures, part_offsets: str, *, masks: bool) -> BoxDetails:
        """Decompose the final boxes and predict their masks."""
        parts = None if self.parts is None else self._parts_of(rois, features, part_offsets).boxes
        stages = [stage for stage in self.cascade if stage.mask_head is not None]
        if not stages or not masks:
            return BoxDetails(None, None, parts)
        if not self.average_masks:
            stages = stages[-1:]
        whole, part_features = self.pooler(rois, parts, features, self.mask_pool)
        predictions = [stage.predict_masks(whole, part_features, rois.labels) for stage in stages]
        averaged = torch.stack([mask for mask, _ in predictions]).mean(dim=0)
        ious = [iou for _, iou in predictions if iou is not None]
        return BoxDetails(averaged, torch.stack(ious).mean(dim=0) if ious else None, parts)
