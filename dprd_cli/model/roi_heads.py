"""The cascade: RoIs in, losses or detections out (Fig. 3, "Cascade Deformable Part Region Detector")."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor, nn

from dprd_cli.model.fusion import FusionOutput
from dprd_cli.model.heads import BoxPrediction
from dprd_cli.model.layers import scale_gradients
from dprd_cli.model.losses import LossOutput, box_loss, class_loss
from dprd_cli.model.matching import Objects
from dprd_cli.model.parts import Parts, PartSource, reference_parts
from dprd_cli.model.rois import LabeledRoIs, RegionPooler, RoIFeatures, RoIs
from dprd_cli.model.rpn import Proposals
from dprd_cli.model.sampling import RoISampler
from dprd_cli.model.selection import (
    BoxDetails,
    DetectionSelector,
    StageOutputs,
    split_detections,
    split_traces,
)
from dprd_cli.model.stage import Stage, comb_parts_win
from dprd_cli.ops.boxes import apply_deltas, clip_boxes, encode_deltas
from dprd_cli.structures.detections import CascadeTrace, Detections, Target


class RoIHeads(nn.Module):
    """Sampling, part decomposition, pooling, and the stages one after the other.

    Args:
        stages: One (D-PRD, Mask R-CNN) or several (the cascades).
        parts: What decomposes RoIs, or None for the baselines.
        pooler: Pools whole and part features of the mask branch.
        sampler: Draws and labels the RoIs in training.
        selector: Chooses the detections at test.
        num_classes: K.
        box_pool: S of the box branch.
        mask_pool: S of the mask branch.
        refeed: `lookup` or `carry`, see `PartsConfig`.
        mask_lookup: Feed the first stage's RoIs again for its mask branch, in training.
        average_masks: Average masks over the stages at test, or take the last one's.
        feature_grad_scale: Factor on each stage's gradient into its box RoI features.
        mask_grad_scale: Factor on each stage's gradient into its mask RoI features.
        smooth_l1_beta: Transition of the box loss.
    """

    def __init__(
        self,
        stages: list[Stage],
        parts: PartSource | None,
        *,
        pooler: RegionPooler,
        sampler: RoISampler,
        selector: DetectionSelector,
        num_classes: int,
        box_pool: int,
        mask_pool: int,
        refeed: str,
        mask_lookup: bool,
        average_masks: bool,
        feature_grad_scale: float,
        mask_grad_scale: float,
        smooth_l1_beta: float,
    ) -> None:
        super().__init__()
        self.stages, self.parts = nn.ModuleList(stages), parts
        self.pooler, self.positions = pooler, pooler.positions
        self.sampler, self.selector = sampler, selector
        self.num_classes, self.box_pool, self.mask_pool = num_classes, box_pool, mask_pool
        self.refeed, self.mask_lookup, self.average_masks = refeed, mask_lookup, average_masks
        self.feature_grad_scale, self.mask_grad_scale = feature_grad_scale, mask_grad_scale
        self.smooth_l1_beta = smooth_l1_beta

    @property
    def cascade(self) -> list[Stage]:
        """The stages in order."""
        return list(self.stages)  # type: ignore[arg-type]

    @property
    def has_masks(self) -> bool:
        """Whether any stage predicts masks."""
        return any(stage.mask_head is not None for stage in self.cascade)

    @property
    def bins_shift(self) -> bool:
        """Whether a stage's box branch pools in a way of its own: deformable RoI pooling."""
        return any(stage.box_pooler is not self.pooler for stage in self.cascade)

    @overload
    def forward(
        self,
        features: RoIFeatures,
        proposals: list[Proposals],
        image_sizes: list[tuple[int, int]],
        targets: list[Target],
    ) -> LossOutput: ...

    @overload
    def forward(
        self,
        features: RoIFeatures,
        proposals: list[Proposals],
        image_sizes: list[tuple[int, int]],
        targets: None = None,
        *,
        masks: bool = True,
    ) -> tuple[list[Detections], list[CascadeTrace]]: ...

    def forward(
        self,
        features: RoIFeatures,
        proposals: list[Proposals],
        image_sizes: list[tuple[int, int]],
        targets: list[Target] | None = None,
        *,
        masks: bool = True,
    ) -> LossOutput | tuple[list[Detections], list[CascadeTrace]]:
        """Return losses where there are targets, detections where there are none.

        Args:
            features: Features of the batch.
            proposals: Proposals of each image.
            image_sizes: (height, width) of each image.
            targets: Objects of each image in training, None at test.
            masks: Predict masks at test, where there are mask heads.

        Returns:
            In training losses `loss_<kind>_stage<n>`, always the same keys for one network, and diagnostics
            `part_iou`, `part_fallback`, `comb_parts_win`, `num_fg`; at test the detections of each image and
            their way through the cascade.

        Source: Eq. 3, summed over the stages. At test class probabilities are averaged over the stages, boxes
        come from the last one, masks and mask IoUs of the final boxes are averaged over the stages that have
        mask heads (Reading: docs/reading.md).
        """
        if targets is not None:
            return self._losses(features, proposals, targets)
        with torch.no_grad():
            return self._detect(features, proposals, image_sizes, masks=masks)

    # ---- training -------------------------------------------------------------------------------------

    def _losses(self, features: RoIFeatures, proposals: list[Proposals], targets: list[Target]) -> LossOutput:
        objects = Objects.of(targets)
        cascade = self.cascade
        labeled = self.sampler.sample(proposals, objects, cascade[0].iou_thresh, features)
        losses: dict[str, Tensor] = {}
        diagnostics: dict[str, Tensor] = {"num_fg": (labeled.labels < self.num_classes).sum().float()}
        for number, stage in enumerate(cascade, start=1):
            rois, labels = labeled.rois, labeled.labels
            parts = self.decompose(stage, rois, features, labels)
            fused, prediction = self._box_branch(stage, rois, parts, features)
            matched = self.sampler.target_boxes(labeled, objects.boxes)
            target_deltas = encode_deltas(rois.boxes, matched, stage.box_weights)
            kinds = {
                "loss_cls": class_loss(prediction.logits, labels),
                "loss_reg": box_loss(
                    prediction.deltas, target_deltas, labels, self.num_classes, self.smooth_l1_beta
                ),
                **stage.part_class_loss(fused, labels),
                **self._mask_branch_losses(stage, labeled, parts, features, objects),
                **({} if parts is None else parts.losses),
            }
            losses |= {f"{kind}_stage{number}": value for kind, value in kinds.items()}
            if number == 1:
                diagnostics |= self._diagnose(labeled, parts, features)
            if (win := comb_parts_win(fused)) is not None:
                diagnostics.setdefault("comb_parts_win", win)
            if number < len(cascade):
                rois = self.refine(rois, prediction.deltas, stage, features)
                labeled = self.sampler.relabel(rois, objects, cascade[number].iou_thresh)
        return LossOutput(losses, diagnostics)

    def _mask_branch_losses(
        self,
        stage: Stage,
        labeled: LabeledRoIs,
        parts: Parts | None,
        features: RoIFeatures,
        objects: Objects,
    ) -> dict[str, Tensor]:
        # boxes of masks are looked up at test and in later stages, so with `mask_lookup` in the first one too
        if stage.mask_head is None:
            return {}
        index, counts = self.sampler.masked(labeled, objects)
        chosen = labeled.select(index)
        boxes = None if parts is None else parts.boxes[index]
        if self.mask_lookup and stage is self.cascade[0]:
            # as at test, without labels: what placing the parts costs is in the box branch's losses
            again = self.decompose(stage, self.feed_again(chosen.rois, features), features)
            boxes = None if again is None else again.boxes
        pooled = self.pooler(chosen.rois, boxes, features, self.mask_pool)
        whole, part_features = scale_gradients(pooled, self.mask_grad_scale)
        wanted = self.sampler.mask_targets(chosen, objects, counts, 2 * self.mask_pool)
        return stage.mask_losses(whole, part_features, wanted)

    @torch.no_grad()
    def _diagnose(
        self, labeled: LabeledRoIs, parts: Parts | None, features: RoIFeatures
    ) -> dict[str, Tensor]:
        """Return what the log gets of the first stage's parts, and let them track their running means."""
        if self.parts is None or parts is None or len(labeled.labels) == 0:
            return {}
        foreground = torch.nonzero(labeled.labels < self.num_classes)[:, 0]
        self.parts.track(labeled.rois.select(foreground), features)
        moved = {"part_iou": parts.iou.mean(), "part_fallback": parts.fallback.float().mean()}
        return moved | dict(parts.diagnostics)

    # ---- shared ---------------------------------------------------------------------------------------

    def decompose(
        self, stage: Stage, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None
    ) -> Parts | None:
        """Return the parts that a stage pools of RoIs, or None where it uses none.

        Args:
            stage: A stage of this cascade.
            rois: RoIs of all images.
            features: Features of the batch.
            labels: Class of each RoI's object, K for background; in training only. [R]
        """
        if self.parts is None or not stage.uses_parts:
            return None
        return self.parts(rois, features, labels)

    def _box_branch(
        self, stage: Stage, rois: RoIs, parts: Parts | None, features: RoIFeatures
    ) -> tuple[FusionOutput, BoxPrediction]:
        part_boxes = None if parts is None else parts.boxes
        pooled = stage.box_pooler(rois, part_boxes, features, self.box_pool)
        return stage.predict_boxes(*scale_gradients(pooled, self.feature_grad_scale))

    @torch.no_grad()
    def refine(self, rois: RoIs, deltas: Tensor, stage: Stage, features: RoIFeatures) -> RoIs:
        """Move RoIs by a stage's class-agnostic deltas [R, 4], clip, and feed them to DPR-Net again."""
        boxes = clip_boxes(apply_deltas(deltas, rois.boxes, stage.box_weights), features.sizes_of(rois))
        alive = ((boxes[:, 2:] > boxes[:, :2]).all(dim=1) & boxes.isfinite().all(dim=1))[:, None]
        boxes = torch.where(alive, boxes, rois.boxes)  # an emptied box stays where it was
        return self.feed_again(rois._replace(boxes=boxes), features)

    def feed_again(self, rois: RoIs, features: RoIFeatures) -> RoIs:
        """Return RoIs at the anchors that their boxes have now, by `refeed`; without parts nothing asks."""
        if self.refeed == "carry" or self.parts is None:
            return rois
        return rois._replace(anchor_index=features.find_anchors(rois.boxes, rois.image_index))

    # ---- test -----------------------------------------------------------------------------------------

    def _detect(
        self,
        features: RoIFeatures,
        proposals: list[Proposals],
        image_sizes: list[tuple[int, int]],
        *,
        masks: bool,
    ) -> tuple[list[Detections], list[CascadeTrace]]:
        rois = RoIs.of_images([p.boxes for p in proposals], [p.anchor_index for p in proposals])
        outputs = self.run_stages(rois, features)
        kept = self.selector.select(outputs, len(image_sizes))
        kept = kept._replace(rois=self.feed_again(kept.rois, features))
        details = self.predict_details(kept.rois, kept.labels, features, masks=masks)
        return split_detections(kept, details, image_sizes), split_traces(kept, outputs, image_sizes)

    def run_stages(self, rois: RoIs, features: RoIFeatures) -> StageOutputs:
        """Send RoIs through all stages; see `StageOutputs`."""
        probs: list[Tensor] = []
        stage_rois: list[RoIs] = []
        stage_part_boxes: list[Tensor] = []
        cascade = self.cascade
        for number, stage in enumerate(cascade, start=1):
            parts = self.decompose(stage, rois, features)
            stage_rois.append(rois)
            if self.parts is not None:
                pooled = parts or reference_parts(rois, features, self.parts.count)
                stage_part_boxes.append(pooled.boxes)
            _, prediction = self._box_branch(stage, rois, parts, features)
            probs.append(prediction.logits.softmax(dim=1))
            if number < len(cascade):
                rois = self.refine(rois, prediction.deltas, stage, features)
        deltas = prediction.deltas.view(rois.boxes.shape[0], prediction.deltas.shape[1] // 4, 4)
        final = apply_deltas(deltas, rois.boxes[:, None], cascade[-1].box_weights)
        final = clip_boxes(final, features.sizes_of(rois)[:, None])  # [R, 1 or K, 4]
        return StageOutputs(final, torch.stack(probs).mean(dim=0), stage_rois, stage_part_boxes)

    @torch.no_grad()
    def forward_with_given_boxes(
        self, features: RoIFeatures, boxes: Tensor, labels: Tensor, *, masks: bool = True
    ) -> BoxDetails:
        """Return masks, mask IoUs and part boxes of given boxes, as `forward` does of its final boxes.

        Where part offsets are read is always looked up: the boxes may come from no proposal of this image.

        Args:
            features: Features of the batch.
            boxes: Boxes in the first image of the batch. [D, 4]
            labels: Classes, 0..K-1. [D]
            masks: Predict masks, where there are mask heads.
        """
        image = torch.zeros_like(labels)
        rois = RoIs(boxes, image, features.find_anchors(boxes, image))
        return self.predict_details(rois, labels, features, masks=masks)

    def class_logits(self, features: RoIFeatures, trace: CascadeTrace) -> Tensor:
        """Return the class logits that each stage gives RoIs whose way through the cascade is known.

        The gradient reaches the features (and through the part boxes their layer), not the RoIs.
        Law: the softmax over the classes, averaged over the stages, is the probability that `forward` gave.

        Args:
            features: Features of one image alone.
            trace: Way of detections that were made from the same features.

        Returns:
            [D, n, K+1]
        """
        image = torch.zeros_like(trace.anchor_index[:, 0, 0])
        ways = zip(self.cascade, trace.boxes.unbind(1), trace.anchor_index.unbind(1), strict=True)
        logits = []
        for stage, boxes, anchor_index in ways:
            rois = RoIs(boxes, image, anchor_index)
            parts = self.decompose(stage, rois, features)
            logits.append(self._box_branch(stage, rois, parts, features)[1].logits)
        return torch.stack(logits, dim=1)

    def predict_details(
        self, rois: RoIs, labels: Tensor, features: RoIFeatures, *, masks: bool
    ) -> BoxDetails:
        """Decompose final boxes and predict their masks.

        Args:
            rois: Final boxes.
            labels: Classes, 0..K-1. [D]
            features: Features of the batch.
            masks: Predict masks, where there are mask heads.
        """
        parts = None if self.parts is None else self.parts(rois, features).boxes
        stages = [stage for stage in self.cascade if stage.mask_head is not None]
        if not stages or not masks:
            return BoxDetails(None, None, parts)
        if not self.average_masks:
            stages = stages[-1:]
        whole, part_features = self.pooler(rois, parts, features, self.mask_pool)
        predictions = [stage.predict_masks(whole, part_features, labels) for stage in stages]
        averaged = torch.stack([mask for mask, _ in predictions]).mean(dim=0)
        ious = [iou for _, iou in predictions if iou is not None]
        return BoxDetails(averaged, torch.stack(ious).mean(dim=0) if ious else None, parts)
