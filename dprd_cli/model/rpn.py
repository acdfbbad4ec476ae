"""Region proposal network: anchors, proposals, losses, and the cell each box takes its part offsets from.

Source: Faster R-CNN (Ren et al. 2015) as in FPN (Lin et al. 2017); settings from Detectron2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from dprd_cli.model.layers import Conv2d, conv_block, normal_init
from dprd_cli.model.matching import label_anchors, sample_labels
from dprd_cli.ops.boxes import apply_deltas, clip_boxes, encode_deltas, paired_iou
from dprd_cli.ops.precision import full_precision
from dprd_cli.ops.roi_align import FeatureTable, cells_of
from dprd_cli.structures.detections import Target

_UNIT = (1.0, 1.0, 1.0, 1.0)


class Proposals(NamedTuple):
    """Proposals of one image, best first, without gradient.

    Args:
        boxes: Clipped to the image. [R, 4]
        logits: Objectness. [R]
        anchor_index: (row of the hidden-feature table, anchor) that each proposal came from, int64. [R, 2]
    """

    boxes: Tensor
    logits: Tensor
    anchor_index: Tensor


class RPNOutput(NamedTuple):
    """What the RPN hands to the heads.

    Args:
        proposals: One entry per image.
        hidden: What the part box transformation layer reads; see `RPN.read_by_parts`.
        losses: `loss_rpn_cls` and `loss_rpn_reg`, scalars [], empty at test.
    """

    proposals: list[Proposals]
    hidden: FeatureTable
    losses: dict[str, Tensor]


class Anchors(nn.Module):
    """Anchor boxes of a pyramid: one size per level, the same aspect ratios everywhere.

    Args:
        sizes: Square root of the anchor area on each level, pixels. [L]
        ratios: Height over width. [A]
        strides: Pixels per cell of each level. [L]
        rounded: Round the anchors' corners around the origin to whole pixels.
        fitted: Step by the padded image's size over the map's (floor) instead of the stride.
        lookup_cell: See `locate`.

    Attributes:
        base: Anchors around the origin, xyxy, pixels. [L, A, 4]
        log_sizes: Base-2 logarithms of the sizes. [L]
    """

    base: Tensor
    log_sizes: Tensor

    def __init__(
        self,
        sizes: tuple[float, ...],
        ratios: tuple[float, ...],
        strides: tuple[int, ...],
        *,
        rounded: bool = False,
        fitted: bool = False,
        lookup_cell: str = "nearest",
    ) -> None:
        super().__init__()
        self.strides, self.fitted = strides, fitted
        self.nearest = lookup_cell == "nearest"
        size = torch.tensor(sizes)[:, None]
        ratio = torch.tensor(ratios)[None]
        width = size / ratio.sqrt()
        height = width * ratio
        #: Anchors around the origin. [L, A, 4]
        base = 0.5 * torch.stack((-width, -height, width, height), dim=-1)
        self.register_buffer("base", base.round() if rounded else base, persistent=False)
        self.register_buffer("log_sizes", torch.tensor(sizes).log2(), persistent=False)

    def on(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of every level, row by row.

        Args:
            maps: One map a level; their sizes are used. L x [N, C, H, W]

        Returns:
            L x [H*W*A, 4]
        """
        padded = [side * self.strides[0] for side in maps[0].shape[-2:]]
        anchors = []
        for level, (height, width) in enumerate(m.shape[-2:] for m in maps):
            fit = (padded[0] // height, padded[1] // width)
            anchors.append(self.at(level, height, width, fit if self.fitted else None))
        return anchors

    def at(self, level: int, height: int, width: int, steps: tuple[int, int] | None = None) -> Tensor:
        """Return the anchors of a level, row by row, `steps` (the stride) apart in y and x. [H*W*A, 4]."""
        step_y, step_x = steps or (self.strides[level],) * 2
        y = torch.arange(height, device=self.base.device) * step_y
        x = torch.arange(width, device=self.base.device) * step_x
        shift = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).repeat(1, 1, 2)  # [H, W, 4]
        return (shift[:, :, None] + self.base[level]).view(-1, 4)

    def locate(self, boxes: Tensor, image_index: Tensor, table: FeatureTable) -> Tensor:
        """Find the anchor that stands for each box that came from none (objects, refined boxes).

        Args:
            boxes: [R, 4]
            image_index: Image of each box. [R]
            table: Hidden-feature table of the same batch.

        Returns:
            (row of the table, anchor) of each, int64. [R, 2]

        Reading: level by the anchor size nearest to sqrt(area) in log2, the cell whose anchors stand nearest
        to the centre (`lookup_cell=floor`: the one up and left of it), the anchor of highest IoU with the box
        there. An anchor stands at its cell's number times the stride, not in the middle of the cell.
        """
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
        log_side = 0.5 * sides.log2().sum(dim=1)
        level = (log_side[:, None] - self.log_sizes).abs().argmin(dim=1)
        stride = boxes.new_tensor(self.strides)[level, None]
        size = table.sizes[level]
        cell = cells_of(boxes, stride, nearest=self.nearest)  # [R, 2] row, column
        cell = torch.minimum(cell.clamp(min=0), size - 1)
        center = (cell.flip(-1) * stride).repeat(1, 2)
        anchor = paired_iou(center[:, None] + self.base[level], boxes[:, None]).argmax(dim=1)
        row = table.starts[level] + (image_index * size[:, 0] + cell[:, 0]) * size[:, 1] + cell[:, 1]
        return torch.stack((row, anchor), dim=1)


class RPN(nn.Module):
    """Proposals from a pyramid.

    Args:
        channels: C.
        anchors: Anchor generator.
        fg_iou: Least IoU of an object anchor.
        bg_iou: IoU below which an anchor is background.
        anchors_per_image: Anchors in the loss, per image.
        positive_fraction: Largest share of objects among them.
        pre_nms: Proposals per level before NMS, (training, test).
        post_nms: Proposals per image after NMS, (training, test).
        nms_iou: NMS threshold.
        smooth_l1_beta: Transition of the box loss.
        num_convs: 3x3 convolutions before the objectness and box layers.
        min_size: Least side of a proposal, pixels; empty ones always go.
        loss_by_sampled: Divide the losses by the number of anchors drawn, not by `anchors_per_image`.
        part_source: `hidden` or `pyramid`, see `read_by_parts`.
    """

    def __init__(
        self,
        channels: int,
        anchors: Anchors,
        *,
        fg_iou: float,
        bg_iou: float,
        anchors_per_image: int,
        positive_fraction: float,
        pre_nms: tuple[int, int],
        post_nms: tuple[int, int],
        nms_iou: float,
        smooth_l1_beta: float,
        num_convs: int = 1,
        min_size: float = 0.0,
        loss_by_sampled: bool = False,
        part_source: str = "hidden",
    ) -> None:
        super().__init__()
        self.anchors = anchors
        num_anchors = anchors.base.shape[1]
        self.convs = nn.Sequential(*(conv_block(channels, channels) for _ in range(num_convs)))
        self.objectness = Conv2d(channels, num_anchors, 1)
        self.deltas = Conv2d(channels, num_anchors * 4, 1)
        for layer in (*self.convs.modules(), self.objectness, self.deltas):
            if isinstance(layer, nn.Conv2d):
                normal_init(layer, 0.01)
        self.fg_iou, self.bg_iou = fg_iou, bg_iou
        self.anchors_per_image, self.positive_fraction = anchors_per_image, positive_fraction
        self.pre_nms, self.post_nms, self.nms_iou = pre_nms, post_nms, nms_iou
        self.smooth_l1_beta = smooth_l1_beta
        self.min_size, self.loss_by_sampled = min_size, loss_by_sampled
        self.part_source = part_source

    def forward(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[Target] | None
    ) -> RPNOutput:
        """Propose boxes, and compute the RPN's losses where there are targets.

        Args:
            features: P2..P6. L x [N, C, H, W]
            image_sizes: (height, width) of each image, without padding.
            targets: Objects of each image in training, None at test.
        """
        hidden, logits, deltas = self.predict(features)
        anchors = self.anchors.on(hidden)
        table = FeatureTable.build(self.read_by_parts(features, hidden), self.anchors.strides)
        proposals = self.propose(logits, deltas, anchors, table, image_sizes, training=targets is not None)
        losses = {} if targets is None else self.losses(logits, deltas, anchors, targets)
        return RPNOutput(proposals, table, losses)

    def read_by_parts(self, features: list[Tensor], hidden: list[Tensor]) -> list[Tensor]:
        """Return what part offsets are told from: the pyramid, or the hidden features of it, of one shape.

        Args:
            features: P2..P6. L x [N, C, H, W]
            hidden: What `predict` makes of them. L x [N, C, H, W]

        Returns:
            L x [N, C, H, W]

        Source: the hidden features by the text (a layer beside objectness and box deltas), the pyramid by the
        author's figure.
        """
        return features if self.part_source == "pyramid" else hidden

    def predict(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return hidden features L x [N, C, H, W], objectness L x [N, HWA] and box deltas L x [N, HWA, 4]."""
        hidden = [self.convs(feature) for feature in features]
        logits = [full_precision(_by_anchor(self.objectness(h), 1))[..., 0] for h in hidden]
        deltas = [full_precision(_by_anchor(self.deltas(h), 4)) for h in hidden]
        return hidden, logits, deltas

    @torch.no_grad()
    def propose(
        self,
        logits: list[Tensor],
        deltas: list[Tensor],
        anchors: list[Tensor],
        table: FeatureTable,
        image_sizes: list[tuple[int, int]],
        *,
        training: bool,
    ) -> list[Proposals]:
        """Decode, clip and suppress the best anchors of each level and image.

        Args:
            logits: Objectness. L x [N, HWA]
            deltas: Box deltas. L x [N, HWA, 4]
            anchors: Anchors of each level. L x [HWA, 4]
            table: Hidden features of the batch.
            image_sizes: (height, width) of each image.
            training: Keep as many as training wants.
        """
        pre_nms, post_nms = (setting[0 if training else 1] for setting in (self.pre_nms, self.post_nms))
        num_anchors = self.anchors.base.shape[1]
        scores, boxes, rows, kinds, levels = [], [], [], [], []
        for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            top, index = logit.topk(min(pre_nms, logit.shape[1]), dim=1)  # [N, k]
            chosen = delta.gather(1, index[..., None].expand(-1, -1, 4))
            boxes.append(apply_deltas(chosen, anchor[index]))
            scores.append(top)
            cells = logit.shape[1] // num_anchors
            image = torch.arange(len(logit), device=logit.device)[:, None]
            rows.append(table.starts[level] + image * cells + index // num_anchors)
            kinds.append(index % num_anchors)
            levels.append(torch.full_like(index, level))
        anchor_index = torch.stack((torch.cat(rows, 1), torch.cat(kinds, 1)), dim=-1)
        merged = (torch.cat(boxes, 1), torch.cat(scores, 1), anchor_index, torch.cat(levels, 1))
        return [
            self._suppress(Proposals(*candidates), level, size, post_nms)
            for *candidates, level, size in zip(*merged, image_sizes, strict=True)
        ]

    def _suppress(
        self,
        candidates: Proposals,
        levels: Tensor,
        image_size: tuple[int, int],
        limit: int,
    ) -> Proposals:
        boxes, logits, anchor_index = candidates
        boxes = clip_boxes(boxes, boxes.new_tensor(image_size))
        size = boxes[:, 2:] - boxes[:, :2]
        valid = ((size > 0) & (size >= self.min_size) & boxes[:, 2:].isfinite()).all(dim=1).nonzero()[:, 0]
        keep = valid[batched_nms(boxes[valid], logits[valid], levels[valid], self.nms_iou)[:limit]]
        return Proposals(boxes[keep], logits[keep], anchor_index[keep])

    def losses(
        self, logits: list[Tensor], deltas: list[Tensor], anchors: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor]:
        """Return objectness and box losses over sampled anchors, normalised by their number.

        Args:
            logits: Objectness. L x [N, HWA]
            deltas: Box deltas. L x [N, HWA, 4]
            anchors: Anchors of each level. L x [HWA, 4]
            targets: Objects of each image.

        Returns:
            `loss_rpn_cls` and `loss_rpn_reg`, scalars. []

        Source: Faster R-CNN, Eq. 1; the nominal number as in Detectron2, or that of anchors drawn.
        """
        all_anchors = torch.cat(anchors)
        all_logits, all_deltas = torch.cat(logits, 1), torch.cat(deltas, 1)
        loss_cls, loss_reg = all_logits.sum() * 0, all_deltas.sum() * 0
        drawn = 0
        for logit, delta, target in zip(all_logits, all_deltas, targets, strict=True):
            labels, index = label_anchors(all_anchors, target.boxes, self.fg_iou, self.bg_iou)
            positive, negative = sample_labels(labels, self.anchors_per_image, self.positive_fraction)
            sampled = torch.cat((positive, negative))
            drawn += len(sampled)
            loss_cls = loss_cls + F.binary_cross_entropy_with_logits(
                logit[sampled], (labels[sampled] == 1).to(logit.dtype), reduction="sum"
            )
            if len(positive):
                target_deltas = encode_deltas(all_anchors[positive], target.boxes[index[positive]], _UNIT)
                loss_reg = loss_reg + F.smooth_l1_loss(
                    delta[positive], target_deltas, beta=self.smooth_l1_beta, reduction="sum"
                )
        scale = 1.0 / max(drawn if self.loss_by_sampled else self.anchors_per_image * len(targets), 1)
        return {"loss_rpn_cls": loss_cls * scale, "loss_rpn_reg": loss_reg * scale}


def _by_anchor(output: Tensor, values: int) -> Tensor:
    """Reorder [N, A*values, H, W] to [N, H*W*A, values]."""
    n, _, height, width = output.shape
    return output.permute(0, 2, 3, 1).reshape(n, height * width * (output.shape[1] // values), values)


__all__ = ["RPN", "Anchors", "Proposals", "RPNOutput"]
