"""The detector as one function of tensors of fixed shapes, for `torch.export` and ONNX.

The same stages as in `detector.py`; what differs is bookkeeping. `Detector.detect` holds as many proposals
and detections as there are. Here both are padded to the most that there can be, so that the shapes depend on
the batch and image size alone, and NMS looks at all images at once: boxes that do not compete are shifted
out of each other's reach. RoIAlign is torchvision's, which ONNX knows; its values are those of
`ops.roi_align` (tested), and nothing is trained here.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torchvision import ops

from dprd_cli.model.detector import Detector
from dprd_cli.model.folded_norms import merge_folded_norms
from dprd_cli.model.rois import RegionPooler, RoIFeatures, RoIs
from dprd_cli.model.selection import StageOutputs
from dprd_cli.ops.boxes import apply_deltas, clip_boxes
from dprd_cli.ops.roi_align import FeatureTable

#: Score of what is only padding.
_NEVER = float("-inf")


class Pyramid(FeatureTable):
    """A feature table that keeps the maps it was made of, and whose sizes may be symbols.

    Args:
        maps: L x [N, C, H, W]
        strides: Pixels per cell of each level.
    """

    maps: list[Tensor]

    @classmethod
    def of(cls, maps: list[Tensor], strides: tuple[int, ...]) -> Pyramid:
        """Lay out maps L x [N, C, H, W]; see `FeatureTable.build`."""
        rows = [m.permute(0, 2, 3, 1).flatten(0, 2) for m in maps]
        sizes = [torch.stack([_scalar(side, m) for side in m.shape[-2:]]) for m in maps]
        counts = torch.stack([_scalar(r.shape[0], r) for r in rows])
        table = cls(torch.cat(rows), torch.stack(sizes), counts.cumsum(0) - counts, strides)
        table.maps = maps
        return table


def _scalar(value: int, like: Tensor) -> Tensor:
    return torch.full((), value, dtype=torch.int64, device=like.device)


class ExportPooler(RegionPooler):
    """Pools with torchvision's RoIAlign, level by level."""

    @staticmethod
    def like(pooler: RegionPooler) -> ExportPooler:
        """Return one of the same settings."""
        return ExportPooler(
            pooler.strides,
            pooler.sampling_ratio,
            pooler.part_level,
            pooler.canonical_size,
            aligned=pooler.aligned,
            level_eps=pooler.level_eps,
            positions=pooler.positions,
        )

    def pool(
        self,
        features: RoIFeatures,
        boxes: Tensor,
        image_index: Tensor,
        levels: Tensor,
        size: int,
        *,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """Pool from boxes [R, 4] of images [R] and levels [R], without shifts [R, S, S, 2]. [R, C, S, S]."""
        if shifts is not None:
            raise ValueError("ExportPooler: bins that shift have no counterpart in ONNX")
        maps = cast(Pyramid, features.pyramid).maps
        regions = torch.cat((image_index[:, None].to(boxes.dtype), boxes), dim=1)
        pooled = boxes.new_zeros((boxes.shape[0], maps[0].shape[1], size, size))
        for level, (feature, stride) in enumerate(zip(maps, self.strides, strict=True)):
            index = torch.nonzero(levels == level)[:, 0]
            part = ops.roi_align(feature, regions[index], size, 1 / stride, self.sampling_ratio, self.aligned)
            pooled = pooled.index_copy(0, index, part)
        return pooled


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, reach: Tensor, iou: float) -> Tensor:
    """Suppress within each group, and return the rows that stay.

    Args:
        boxes: Inside 0..reach. [R, 4]
        scores: [R]
        groups: Only boxes of one group suppress each other; int64. [R]
        reach: A number that no coordinate exceeds. []
        iou: Threshold.

    Returns:
        Row numbers, best first, int64. [kept]
    """
    keep: Tensor = ops.nms(boxes + (groups.to(boxes.dtype) * (reach + 1))[:, None], scores, iou)
    return keep


class ExportDetector(nn.Module):
    """A detector whose `forward` can be exported.

    Args:
        detector: The trained one; it is copied, and frozen norms are folded into the copy's weights.
        limit: Most detections of an image; the detector's own setting by default.

    Raises:
        ValueError: If its pooling bins shift (`model.parts.mode=pooling`).
    """

    def __init__(self, detector: Detector, limit: int | None = None) -> None:
        super().__init__()
        detector = copy.deepcopy(detector).eval().requires_grad_(requires_grad=False)
        heads = detector.roi_heads
        if heads.bins_shift:
            raise ValueError("ExportDetector: bins that shift have no counterpart in ONNX")
        _replace_poolers(detector)
        merge_folded_norms(detector)
        self.detector = detector
        self.limit = limit or heads.selector.detections_per_image
        #: Names of what `forward` returns, in order.
        self.outputs = ["boxes", "scores", "labels"]
        if heads.has_masks:
            self.outputs += ["masks", "mask_scores"]
        if detector.has_parts:
            self.outputs += ["part_boxes"]
        self.outputs += ["count"]

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        """Detect objects.

        Args:
            images: RGB in 0..255, uint8, H and W multiples of 32; what lies outside an image is ignored.
                [N, 3, H, W]
            image_sizes: (height, width) of each image, which starts at the top left, int64. [N, 2]

        Returns:
            `boxes` [N, D, 4], `scores` [N, D], `labels` [N, D], `masks` [N, D, M, M], `mask_scores` [N, D],
            `part_boxes` [N, D, P, 4], `count` [N], as in `Detections`: best first, and zeros (labels: -1)
            from row `count` on.
        """
        detector = self.detector
        sizes = image_sizes.to(torch.float32)
        maps = detector.neck(detector.backbone(self._normalise(images, image_sizes)))
        hidden, logits, deltas = detector.rpn.predict(maps)
        read = detector.rpn.read_by_parts(maps, hidden)
        table = Pyramid.of(read, detector.rpn.anchors.strides)
        boxes, anchor_index, real = self._propose(logits, deltas, hidden, table, sizes)
        strides = detector.roi_heads.pooler.strides
        pyramid = Pyramid.of(maps[: len(strides)], strides)
        features = RoIFeatures(pyramid, table, sizes, detector.rpn.anchors.locate)
        image = (
            torch.arange(boxes.shape[0], device=boxes.device)[:, None].expand(-1, boxes.shape[1]).reshape(-1)
        )
        rois = RoIs(boxes.flatten(0, 1), image, anchor_index.flatten(0, 1))
        outputs = detector.roi_heads.run_stages(rois, features)
        return self._finish(outputs, real.flatten(), features)

    def _normalise(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Return what `Detector` makes of images: normalised, zero outside. [N, 3, H, W]."""
        down = torch.arange(images.shape[2], device=images.device) < image_sizes[:, :1]  # [N, H]
        across = torch.arange(images.shape[3], device=images.device) < image_sizes[:, 1:]  # [N, W]
        inside = (down[:, :, None] & across[:, None])[:, None]
        normal = (images.to(torch.float32) - self.detector.pixel_mean) / self.detector.pixel_std
        return normal * inside

    def _propose(
        self,
        logits: list[Tensor],
        deltas: list[Tensor],
        hidden: list[Tensor],
        table: Pyramid,
        image_sizes: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return as many proposals of each image: boxes, anchors, and which are real (see `RPN.propose`).

        [N, R, 4], [N, R, 2] and bool [N, R].
        """
        rpn = self.detector.rpn
        num_anchors, wanted = rpn.anchors.base.shape[1], rpn.pre_nms[1]
        image = torch.arange(logits[0].shape[0], device=image_sizes.device)[:, None]
        found_boxes, found_logits, found_anchor_index, groups = [], [], [], []
        for level, (logit, delta, anchor) in enumerate(
            zip(logits, deltas, rpn.anchors.on(hidden), strict=True)
        ):
            total = logit.shape[1]
            # A level may have fewer anchors than wanted, and how many may be a symbol: padded, then cut
            short = logit.new_full((logit.shape[0], wanted), _NEVER)
            top, index = torch.cat((logit, short), dim=1).topk(wanted, dim=1)
            index = index.clamp(max=total - 1)
            chosen = delta.gather(1, index[..., None].expand(-1, -1, 4))
            found_boxes.append(apply_deltas(chosen, anchor[index]))
            found_logits.append(top)
            row = table.starts[level] + image * (total // num_anchors) + index // num_anchors
            found_anchor_index.append(torch.stack((row, index % num_anchors), dim=-1))
            groups.append((image * len(logits) + level).expand_as(index))
        boxes = clip_boxes(torch.cat(found_boxes, dim=1), image_sizes[:, None])
        scores, anchor_index = torch.cat(found_logits, dim=1), torch.cat(found_anchor_index, dim=1)
        size = boxes[..., 2:] - boxes[..., :2]
        valid = ((size > 0) & (size >= rpn.min_size) & boxes[..., 2:].isfinite()).all(dim=-1)
        boxes = torch.where(valid[..., None], boxes, torch.zeros_like(boxes))  # empty: suppresses nothing
        scores = torch.where(valid, scores, torch.full_like(scores, _NEVER))
        flat = scores.flatten()
        keep = nms_by_group(
            boxes.flatten(0, 1), flat, torch.cat(groups, dim=1).flatten(), image_sizes.max(), rpn.nms_iou
        )
        kept = _only(flat, keep).view_as(scores)
        best, order = kept.topk(min(rpn.post_nms[1], wanted * len(logits)), dim=1)
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return boxes, anchor_index.gather(1, order[..., None].expand(-1, -1, 2)), best > _NEVER

    def _finish(self, outputs: StageOutputs, real: Tensor, features: RoIFeatures) -> tuple[Tensor, ...]:
        """Select detections (see `DetectionSelector`) and describe them."""
        heads, rois = self.detector.roi_heads, outputs.stage_rois[-1]
        settings = heads.selector
        num_images, num_classes = features.image_sizes.shape[0], heads.num_classes
        probs = outputs.probs[:, :num_classes]  # [N*R, K]
        valid = outputs.boxes.isfinite().flatten(1).all(dim=1) & outputs.probs.isfinite().all(dim=1) & real
        hit = (probs > settings.score_thresh) & valid[:, None]
        if settings.min_size > 0:
            hit = hit & (outputs.boxes[..., 2:] - outputs.boxes[..., :2] >= settings.min_size).all(dim=-1)
        row, label = torch.nonzero(hit).unbind(dim=1)
        boxes = outputs.boxes[row, label if outputs.boxes.shape[1] > 1 else torch.zeros_like(label)]
        group = rois.image_index[row] * num_classes + label
        keep = nms_by_group(boxes, probs[row, label], group, features.image_sizes.max(), settings.nms_iou)
        kept = _only(probs.flatten(), (row * num_classes + label)[keep]).view(num_images, -1)
        scores, order = kept.topk(min(self.limit, kept.shape[1]), dim=1)  # [N, D]
        found = scores > _NEVER
        per_image = kept.shape[1] // num_classes
        image = torch.arange(num_images, device=order.device)[:, None].expand_as(order)
        row, label = (image * per_image + order // num_classes).flatten(), (order % num_classes).flatten()
        boxes = outputs.boxes[row, label if outputs.boxes.shape[1] > 1 else torch.zeros_like(label)]
        final = heads.feed_again(RoIs(boxes, image.flatten(), rois.anchor_index[row]), features)
        details = heads.predict_details(final, label, features, masks=True)
        scores = torch.where(found, scores, torch.zeros_like(scores))
        described = {
            "boxes": boxes,
            "masks": details.masks,
            "mask_scores": details.mask_scores(scores.flatten()),
            "part_boxes": details.part_boxes,
        }
        values = {
            name: (value * found.flatten().view(-1, *[1] * (value.ndim - 1))).view(
                *found.shape, *value.shape[1:]
            )
            for name, value in described.items()
            if value is not None
        }
        values["scores"] = scores
        values["labels"] = torch.where(found, order % num_classes, torch.full_like(order, -1))
        values["count"] = found.sum(dim=1)
        return tuple(values[name] for name in self.outputs)


def _replace_poolers(module: nn.Module) -> None:
    """Let everything that pools do so by torchvision's RoIAlign."""
    exported: dict[RegionPooler, ExportPooler] = {}  # one is shared by many
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RegionPooler):
                setattr(parent, name, exported.setdefault(child, ExportPooler.like(child)))


def _only(scores: Tensor, rows: Tensor) -> Tensor:
    """Return scores [R] where those of all rows but the given ones are padding's."""
    kept = torch.full_like(scores, _NEVER)
    return kept.index_copy(0, rows, scores[rows])


__all__ = ["ExportDetector", "ExportPooler", "Pyramid", "nms_by_group"]
