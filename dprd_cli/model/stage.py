"""A detection stage: fusion, heads and its own Eq. 3. One is D-PRD, three are Cascade D-PRD."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dprd_cli.model.fusion import FusionOutput
from dprd_cli.model.heads import BoxHead, BoxPrediction, MaskHead, MaskIoUHead
from dprd_cli.model.losses import MASK_IOU_LOSSES, class_loss, mask_iou_targets, mask_loss
from dprd_cli.model.rois import DeformablePooler, RegionPooler


class MaskTargets(NamedTuple):
    """What the mask branch should say of foreground RoIs.

    Args:
        labels: Class of each RoI's object. [F]
        masks: True masks inside the RoIs, bool or 0..1. [F, M, M]
        areas: Area of each object's whole mask, square pixels. [F]
        boxes: The RoIs. [F, 4]
    """

    labels: Tensor
    masks: Tensor
    areas: Tensor
    boxes: Tensor


class Stage(nn.Module):
    """Fusion and heads that share nothing with other stages.

    Args:
        box_pooler: Pools the box branch's RoI features.
        fusion: Maps (whole, parts) to `FusionOutput`.
        box_head: Class logits and box deltas.
        mask_head: Masks, or None.
        mask_iou_head: Mask IoUs, or None.
        mask_iou_loss: A key of `MASK_IOU_LOSSES`.
        uses_parts: The fusion wants part features.
        part_losses: Feed x^comb_3 to the same heads in training.
        iou_thresh: IoU from which a RoI is an object here.
        box_weights: (wx, wy, ww, wh) of the box targets here.
    """

    def __init__(
        self,
        *,
        box_pooler: RegionPooler | DeformablePooler,
        fusion: nn.Module,
        box_head: BoxHead,
        mask_head: MaskHead | None,
        mask_iou_head: MaskIoUHead | None,
        mask_iou_loss: str,
        uses_parts: bool,
        part_losses: bool,
        iou_thresh: float,
        box_weights: tuple[float, float, float, float],
    ) -> None:
        super().__init__()
        self.box_pooler = box_pooler
        self.fusion = fusion
        self.box_head = box_head
        self.mask_head = mask_head
        self.mask_iou_head = mask_iou_head
        self.mask_iou_loss = MASK_IOU_LOSSES[mask_iou_loss]
        self.uses_parts = uses_parts
        self.part_losses = part_losses
        self.iou_thresh = iou_thresh
        self.box_weights = box_weights

    def predict_boxes(self, whole: Tensor, parts: Tensor | None) -> tuple[FusionOutput, BoxPrediction]:
        """Fuse whole and part features [R, C, S, S], [R, P, C, S, S], and run the box head."""
        fused: FusionOutput = self.fusion(whole, parts)
        return fused, self.box_head(fused.whole)

    def part_class_loss(self, fused: FusionOutput, labels: Tensor) -> dict[str, Tensor]:
        """Return L_cls^prt, a scalar: x^comb_3 of RoIs of labels [R] in the same head; or nothing."""
        if not self.part_losses or fused.parts is None:
            return {}
        return {"loss_part_cls": class_loss(self.box_head.classify(fused.parts), labels)}

    def mask_losses(self, whole: Tensor, parts: Tensor | None, targets: MaskTargets) -> dict[str, Tensor]:
        """Return the mask and MaskIoU losses of foreground RoIs, part losses included.

        Args:
            whole: RoI features of the mask branch. [F, C, S, S]
            parts: Part features. [F, P, C, S, S]
            targets: What they should say.

        Returns:
            `loss_mask`, `loss_miou`, `loss_part_mask`, `loss_part_miou`, as far as there are any; scalars. []
        """
        fused: FusionOutput = self.fusion(whole, parts)
        features = {"": fused.whole}
        if self.part_losses and fused.parts is not None:
            features["part_"] = fused.parts
        logits, ious = self._mask_outputs([*features.values()], targets.labels)
        losses = {f"loss_{k}mask": mask_loss(x, targets.masks) for k, x in zip(features, logits, strict=True)}
        if ious is not None:
            wanted = mask_iou_targets(logits, targets.masks, targets.areas, targets.boxes)
            errors = self.mask_iou_loss(ious, wanted).unbind()
            losses |= {f"loss_{k}miou": error for k, error in zip(features, errors, strict=True)}
        return losses

    def _mask_outputs(self, features: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mask logits [n, F, M, M] and mask IoUs [n, F], if any, of n features [F, C, S, S]."""
        assert self.mask_head is not None
        at_once = [torch.cat(features)] if self.takes_at_once(features[0]) else features
        logits, ious = [], []
        for feature in at_once:
            kinds = labels.repeat(len(features) // len(at_once))
            logits.append(self.mask_head(feature, kinds))
            if self.mask_iou_head is not None:
                ious.append(self.mask_iou_head(feature, logits[-1], kinds))
        shape = (len(features), len(labels))
        masks = torch.cat(logits)
        return masks.view(*shape, *masks.shape[1:]), torch.cat(ious).view(shape) if ious else None

    def takes_at_once(self, feature: Tensor) -> bool:
        """Whether the mask heads take several features [F, C, S, S] of the same RoIs in one call.

        It is half the kernels, which small steps on a GPU wait for; on a CPU it would be a copy for nothing,
        and BatchNorm's statistics would be those of both.
        """
        heads = [head for head in (self.mask_head, self.mask_iou_head) if head is not None]
        joined = any(isinstance(module, nn.BatchNorm2d) for head in heads for module in head.modules())
        return feature.device.type != "cpu" and not joined

    def predict_masks(
        self, whole: Tensor, parts: Tensor | None, labels: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return mask probabilities and mask IoUs of foreground RoIs.

        Args:
            whole: RoI features of the mask branch. [F, C, S, S]
            parts: Part features. [F, P, C, S, S]
            labels: Classes, 0..K-1. [F]

        Returns:
            Probabilities [F, M, M], and IoUs in 0..1 [F] or None without a MaskIoU head.
        """
        assert self.mask_head is not None
        feature = self.fusion(whole, parts).whole
        logits = self.mask_head(feature, labels)
        if self.mask_iou_head is None:
            return logits.sigmoid(), None
        return logits.sigmoid(), self.mask_iou_head(feature, logits, labels).clamp(0, 1)


@torch.no_grad()
def comb_parts_win(fused: FusionOutput, limit: int = 128) -> Tensor | None:
    """Return the share of elements where the parts win the last max (both zero counts for nobody).

    Args:
        fused: Features of one stage.
        limit: Look at the first so many RoIs only.

    Returns:
        A scalar in 0..1, or None where there is nothing to look at. []
    """
    if fused.met is None or len(fused.whole) == 0:
        return None
    parts, whole = fused.met[:limit], fused.whole[:limit]
    return ((parts >= whole) & (whole > 0)).float().mean()
