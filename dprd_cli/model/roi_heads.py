"""The cascade: RoIs in, losses or detections out (paper: Fig. 3, "Cascade Deformable Part Region Detector")."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from dprd_cli.boxes import apply_deltas, clip_boxes, encode_deltas
from dprd_cli.model.layers import scale_gradient
from dprd_cli.model.losses import box_loss, class_loss, crop_masks
from dprd_cli.model.matching import match_boxes, sample_labels
from dprd_cli.model.parts import DeformableParts, Parts
from dprd_cli.model.pooling import FeatureTable, assign_levels, roi_align
from dprd_cli.model.rpn import Proposals, RPNOutput
from dprd_cli.model.stage import MaskGoals, Stage, comb_parts_win
from dprd_cli.structures import Detections, Target


class RoIs(NamedTuple):
    """Regions of all pictures of a batch together.

    Args:
        boxes: No gradient. [R, 4]
        image_index: Picture of each RoI, int64. [R]
        sources: Where the part offsets come from, see `DeformableParts.forward`. [R, 2]
        labels: Class of the matched object, K for background (training only). [R]
        gt_index: The matched object, counted through all pictures of the batch (training only). [R]
    """

    boxes: Tensor
    image_index: Tensor
    sources: Tensor
    labels: Tensor
    gt_index: Tensor

    def select(self, index: Tensor) -> RoIs:
        """Return the RoIs that a mask or index tensor selects."""
        return RoIs(*(value[index] for value in self))


class Scene(NamedTuple):
    """What all stages look at.

    Args:
        table: P2..P5 of the batch.
        hidden: The RPN's hidden features.
        limits: (height, width) of each picture. [N, 2]
    """

    table: FeatureTable
    hidden: FeatureTable
    limits: Tensor


class Picked(NamedTuple):
    """Detections after NMS: scores, the RoI row each came from, and how many each picture has."""

    scores: Tensor
    rows: Tensor
    counts: list[int]


class Locate(Protocol):
    """Signature of `Anchors.locate`."""

    def __call__(self, boxes: Tensor, image_index: Tensor, table: FeatureTable) -> Tensor:
        """Map boxes [R, 4] and their pictures [R] to sources [R, 2]."""
        ...


class RoIHeads(nn.Module):
    """Sampling, part decomposition, pooling, and the stages one after the other.

    Args:
        stages: One (D-PRD, Mask R-CNN) or several (the cascades).
        parts: What decomposes RoIs, or None for the baselines.
        num_classes: K.
        strides: Strides of the levels that are pooled from, P2..P5.
        box_pool: S of the box branch.
        mask_pool: S of the mask branch.
        sampling_ratio: RoIAlign samples per bin and axis.
        rois_per_image: RoIs sampled in training.
        positive_fraction: Largest share of objects among them.
        bg_iou_low: Least IoU of a sampled background RoI.
        part_level: `own` or `whole`, see `PartsConfig`.
        refeed: `lookup` or `carry`, see `PartsConfig`.
        average_masks: Average masks over the stages at test, or take the last one's.
        feature_grad_scale: Factor on each stage's gradient into its box RoI features.
        smooth_l1_beta: Transition of the box loss.
        score_thresh: Least score of a detection.
        nms_iou: NMS threshold of detections.
        detections_per_image: Most detections of a picture.
    """

    def __init__(
        self,
        stages: list[Stage],
        parts: nn.Module | None,
        *,
        num_classes: int,
        strides: tuple[int, ...],
        box_pool: int,
        mask_pool: int,
        sampling_ratio: int,
        rois_per_image: int,
        positive_fraction: float,
        bg_iou_low: float,
        part_level: str,
        refeed: str,
        average_masks: bool,
        feature_grad_scale: float,
        smooth_l1_beta: float,
        score_thresh: float,
        nms_iou: float,
        detections_per_image: int,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.parts = parts
        self.num_classes, self.strides = num_classes, strides
        self.box_pool, self.mask_pool, self.sampling_ratio = box_pool, mask_pool, sampling_ratio
        self.rois_per_image, self.positive_fraction = rois_per_image, positive_fraction
        self.bg_iou_low = bg_iou_low
        self.part_level, self.refeed, self.average_masks = part_level, refeed, average_masks
        self.feature_grad_scale, self.smooth_l1_beta = feature_grad_scale, smooth_l1_beta
        self.score_thresh, self.nms_iou = score_thresh, nms_iou
        self.detections_per_image = detections_per_image

    # ---- training -------------------------------------------------------------------------------------

    def losses(
        self, features: list[Tensor], rpn: RPNOutput, limits: Tensor, targets: list[Target], locate: Locate
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of all stages, and diagnostics.

        Args:
            features: P2..P5.
            rpn: Proposals and hidden features.
            limits: (height, width) of each picture. [N, 2]
            targets: Objects of each picture.
            locate: Finds sources of boxes, `Anchors.locate`.

        Returns:
            Losses `loss_<kind>_stage<n>`, always the same keys for one network; diagnostics `part_iou`,
            `part_fallback`, `comb_parts_win`, `num_fg`.

        Source: Eq. 3, summed over the stages.
        """
        scene = Scene(FeatureTable.build(features, self.strides), rpn.hidden, limits)
        gt_boxes = torch.cat([target.boxes for target in targets])
        rois = self.sample(rpn.proposals, targets, scene, locate)
        losses: dict[str, Tensor] = {}
        diagnostics: dict[str, Tensor] = {"num_fg": (rois.labels < self.num_classes).sum().float()}
        for number, stage in enumerate(self.stages, start=1):
            parts = self.decompose(stage, rois, scene, "learned")
            fused, prediction = self._box_branch(stage, rois, parts, scene)
            goals = encode_deltas(rois.boxes, self._goal_boxes(rois, gt_boxes), stage.box_weights)
            kinds = {
                "loss_cls": class_loss(prediction.logits, rois.labels),
                "loss_reg": box_loss(
                    prediction.deltas, goals, rois.labels, self.num_classes, self.smooth_l1_beta
                ),
                **stage.part_class_loss(fused, rois.labels),
                **self._mask_branch_losses(stage, rois, parts, scene, targets),
            }
            losses |= {f"{kind}_stage{number}": value for kind, value in kinds.items()}
            if number == 1:
                diagnostics |= self._diagnose(rois, parts, scene)
            if (win := comb_parts_win(fused)) is not None:
                diagnostics.setdefault("comb_parts_win", win)
            if number < len(self.stages):
                rois = self.refine(rois, prediction.deltas, stage, scene, locate)
                rois = self.relabel(rois, targets, self.stages[number].iou_thresh)
        return losses, diagnostics

    @torch.no_grad()
    def sample(self, proposals: list[Proposals], targets: list[Target], scene: Scene, locate: Locate) -> RoIs:
        """Append the objects to the proposals, match, and draw the RoIs of the first stage."""
        drawn = []
        thresh, first = self.stages[0].iou_thresh, 0
        for index, (proposal, target) in enumerate(zip(proposals, targets, strict=True)):
            image = torch.full((len(target),), index, dtype=torch.int64, device=proposal.boxes.device)
            gt_boxes = target.boxes.to(proposal.boxes.dtype)
            boxes = torch.cat((proposal.boxes, gt_boxes))
            sources = torch.cat((proposal.sources, locate(gt_boxes, image, scene.hidden)))
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
                RoIs(boxes[keep], torch.full_like(keep, index), sources[keep], labels, gt[keep] + first)
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

    def _goal_boxes(self, rois: RoIs, gt_boxes: Tensor) -> Tensor:
        if len(gt_boxes) == 0:
            return rois.boxes
        foreground = (rois.labels < self.num_classes)[:, None]
        matched = gt_boxes[rois.gt_index.clamp(max=len(gt_boxes) - 1)]  # background may point past the end
        return torch.where(foreground, matched.to(rois.boxes.dtype), rois.boxes)

    def _mask_branch_losses(
        self, stage: Stage, rois: RoIs, parts: Parts | None, scene: Scene, targets: list[Target]
    ) -> dict[str, Tensor]:
        if stage.mask_head is None:
            return {}
        has_mask = torch.cat([target.has_mask for target in targets])
        index = torch.nonzero(rois.labels < self.num_classes)[:, 0]
        if len(has_mask):
            index = index[has_mask[rois.gt_index[index]]]
        chosen = rois.select(index)
        boxes = None if parts is None else parts.boxes[index]
        whole, part_features = self.pool(chosen, boxes, scene, self.mask_pool)
        return stage.mask_losses(whole, part_features, self._mask_goals(chosen, targets))

    @torch.no_grad()
    def _mask_goals(self, rois: RoIs, targets: list[Target]) -> MaskGoals:
        size = 2 * self.mask_pool
        masks = torch.zeros((len(rois.boxes), size, size), dtype=torch.bool, device=rois.boxes.device)
        areas = rois.boxes.new_zeros(len(rois.boxes))
        first = 0
        for index, target in enumerate(targets):
            mine = torch.nonzero(rois.image_index == index)[:, 0]
            if target.masks is not None and len(mine):
                gt = rois.gt_index[mine] - first
                masks[mine] = crop_masks(target.masks, gt, rois.boxes[mine], size)
                areas[mine] = target.masks.flatten(1).sum(1).to(areas.dtype)[gt]
            first += len(target)
        return MaskGoals(rois.labels, masks, areas, rois.boxes)

    @torch.no_grad()
    def _diagnose(self, rois: RoIs, parts: Parts | None, scene: Scene) -> dict[str, Tensor]:
        if parts is None or len(rois.boxes) == 0:
            return {}
        if isinstance(self.parts, DeformableParts):
            self.parts.track_mean(rois.sources[rois.labels < self.num_classes], scene.hidden.rows)
        return {"part_iou": parts.iou.mean(), "part_fallback": parts.fallback.float().mean()}

    # ---- shared ---------------------------------------------------------------------------------------

    def decompose(self, stage: Stage, rois: RoIs, scene: Scene, mode: str) -> Parts | None:
        """Return the part boxes that a stage pools, or None where it uses none."""
        if self.parts is None or not stage.uses_parts:
            return None
        return self.parts(rois.boxes, rois.sources, scene.hidden.rows, scene.limits[rois.image_index], mode)

    def pool(
        self, rois: RoIs, part_boxes: Tensor | None, scene: Scene, size: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pool whole and part features in one call. Returns [R, C, S, S] and [R, P, C, S, S] (or None)."""
        boxes, image_index = rois.boxes, rois.image_index
        levels = assign_levels(boxes, len(self.strides))
        if part_boxes is None:
            return roi_align(scene.table, boxes, image_index, levels, size, self.sampling_ratio), None
        count = part_boxes.shape[1]
        by_part = part_boxes.transpose(0, 1)  # [P, R, 4]: each part's features lie together in memory
        if self.part_level == "own":
            part_levels = assign_levels(by_part.detach(), len(self.strides))
        else:
            part_levels = levels.expand(count, -1)
        pooled = roi_align(
            scene.table,
            torch.cat((boxes, by_part.reshape(-1, 4))),
            image_index.repeat(count + 1),
            torch.cat((levels, part_levels.reshape(-1))),
            size,
            self.sampling_ratio,
        )
        whole, parts = pooled.split((len(boxes), count * len(boxes)))
        return whole, parts.unflatten(0, (count, len(boxes))).transpose(0, 1)

    def _box_branch(self, stage: Stage, rois: RoIs, parts: Parts | None, scene: Scene):  # noqa: ANN202
        whole, part_features = self.pool(rois, None if parts is None else parts.boxes, scene, self.box_pool)
        whole = scale_gradient(whole, self.feature_grad_scale)
        if part_features is not None:
            part_features = scale_gradient(part_features, self.feature_grad_scale)
        return stage.predict_boxes(whole, part_features)

    @torch.no_grad()
    def refine(self, rois: RoIs, deltas: Tensor, stage: Stage, scene: Scene, locate: Locate) -> RoIs:
        """Move RoIs by a stage's (class-agnostic) deltas, clip, and feed them to DPR-Net again."""
        boxes = clip_boxes(
            apply_deltas(deltas, rois.boxes, stage.box_weights), scene.limits[rois.image_index]
        )
        alive = ((boxes[:, 2:] > boxes[:, :2]).all(dim=1) & boxes.isfinite().all(dim=1))[:, None]
        boxes = torch.where(alive, boxes, rois.boxes)  # an emptied box stays where it was
        sources = rois.sources if self.refeed == "carry" else locate(boxes, rois.image_index, scene.hidden)
        return rois._replace(boxes=boxes, sources=sources)

    # ---- test -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def detect(
        self,
        features: list[Tensor],
        rpn: RPNOutput,
        limits: Tensor,
        image_sizes: list[tuple[int, int]],
        locate: Locate,
        part_offsets: str,
    ) -> list[Detections]:
        """Return the detections of each picture.

        Class probabilities are averaged over the stages, boxes come from the last one, masks and mask IoUs
        of the final boxes are averaged over the stages that have mask heads (Reading: SPEC 7).

        Args:
            features: P2..P5.
            rpn: Proposals and hidden features.
            limits: (height, width) of each picture. [N, 2]
            image_sizes: The same as integers.
            locate: Finds sources of boxes, `Anchors.locate`.
            part_offsets: `learned`, `mean` or `reference`.
        """
        scene = Scene(FeatureTable.build(features, self.strides), rpn.hidden, limits)
        rois = self._proposed(rpn.proposals)
        probs: Tensor | None = None
        trail: list[Tensor] = []
        part_trail: list[Tensor] = []
        for number, stage in enumerate(self.stages, start=1):
            parts = self.decompose(stage, rois, scene, part_offsets)
            trail.append(rois.boxes)
            if self.parts is not None:
                shown = parts or self.parts(
                    rois.boxes, rois.sources, scene.hidden.rows, limits[rois.image_index], "reference"
                )
                part_trail.append(shown.boxes)
            _, prediction = self._box_branch(stage, rois, parts, scene)
            softmax = prediction.logits.softmax(dim=1)
            probs = softmax if probs is None else probs + softmax
            if number < len(self.stages):
                rois = self.refine(rois, prediction.deltas, stage, scene, locate)
        assert probs is not None
        final = apply_deltas(prediction.deltas.unflatten(1, (-1, 4)), rois.boxes[:, None], stage.box_weights)
        final = clip_boxes(final, limits[rois.image_index][:, None])  # [R, 1 or K, 4]
        trails = (torch.stack(trail, 1), torch.stack(part_trail, 1) if part_trail else None)
        kept, picked = self._select(final, probs / len(self.stages), rois, len(image_sizes))
        sources = kept.sources
        if self.refeed == "lookup":
            sources = locate(kept.boxes, kept.image_index, scene.hidden)
        return self._finish(kept._replace(sources=sources), picked, trails, scene, image_sizes, part_offsets)

    def _proposed(self, proposals: list[Proposals]) -> RoIs:
        counts = torch.tensor([len(p.boxes) for p in proposals], device=proposals[0].boxes.device)
        image = torch.repeat_interleave(torch.arange(len(proposals), device=counts.device), counts)
        boxes = torch.cat([p.boxes for p in proposals])
        return RoIs(boxes, image, torch.cat([p.sources for p in proposals]), image, image)

    def _select(self, boxes: Tensor, probs: Tensor, rois: RoIs, num_images: int) -> tuple[RoIs, Picked]:
        """Threshold, NMS per class and picture, and keep the best."""
        valid = boxes.isfinite().all(dim=2).all(dim=1) & probs.isfinite().all(dim=1)
        hits = torch.nonzero((probs[:, : self.num_classes] > self.score_thresh) & valid[:, None])
        row, label = hits.unbind(dim=1)
        score = probs[row, label]
        chosen = boxes[row, label if boxes.shape[1] > 1 else torch.zeros_like(label)]
        image = rois.image_index[row]
        keep = batched_nms(chosen, score, image * self.num_classes + label, self.nms_iou)  # best first
        best = [keep[image[keep] == i][: self.detections_per_image] for i in range(num_images)]
        keep = torch.cat(best)
        row, label, image = row[keep], label[keep], image[keep]
        kept = RoIs(chosen[keep], image, rois.sources[row], label, row)
        return kept, Picked(score[keep], row, [len(b) for b in best])

    def _finish(
        self,
        rois: RoIs,
        picked: Picked,
        trails: tuple[Tensor, Tensor | None],
        scene: Scene,
        image_sizes: list[tuple[int, int]],
        part_offsets: str,
    ) -> list[Detections]:
        """Predict masks of the final boxes and cut everything into one `Detections` per picture."""
        parts = None
        if self.parts is not None:
            limits = scene.limits[rois.image_index]
            parts = self.parts(rois.boxes, rois.sources, scene.hidden.rows, limits, part_offsets).boxes
        masks, mask_scores = self._masks(rois, parts, picked.scores, scene)
        values = {
            "boxes": rois.boxes,
            "scores": picked.scores,
            "labels": rois.labels,
            "masks": masks,
            "mask_scores": mask_scores,
            "part_boxes": parts,
            "stage_boxes": trails[0][picked.rows],
            "stage_part_boxes": None if trails[1] is None else trails[1][picked.rows],
        }
        pieces = {
            k: [None] * len(image_sizes) if v is None else v.split(picked.counts) for k, v in values.items()
        }
        return [
            Detections(image_size=size, **{name: piece[i] for name, piece in pieces.items()})  # type: ignore[arg-type]
            for i, size in enumerate(image_sizes)
        ]

    def _masks(
        self, rois: RoIs, parts: Tensor | None, scores: Tensor, scene: Scene
    ) -> tuple[Tensor | None, Tensor | None]:
        stages = [stage for stage in self.stages if stage.mask_head is not None]
        if not stages:
            return None, None
        if not self.average_masks:
            stages = stages[-1:]
        whole, part_features = self.pool(rois, parts, scene, self.mask_pool)
        predictions = [stage.predict_masks(whole, part_features, rois.labels) for stage in stages]
        masks = torch.stack([mask for mask, _ in predictions]).mean(dim=0)
        ious = [iou for _, iou in predictions if iou is not None]
        return masks, scores * torch.stack(ious).mean(dim=0) if ious else scores
