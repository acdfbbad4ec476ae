"""Region proposal network: proposals, losses, and the features that parts read.

Source: Faster R-CNN (Ren et al. 2015) as in FPN (Lin et al. 2017); settings from Detectron2.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.anchors import Anchors
from dprd_cli.model.layers import Conv2d, conv_block, normal_init
from dprd_cli.model.matching import label_anchors, numbered, sample_labels
from dprd_cli.ops.boxes import apply_deltas, clip_boxes, encode_deltas
from dprd_cli.ops.constants import constant
from dprd_cli.ops.precision import full_precision
from dprd_cli.ops.roi_align import FeatureTable
from dprd_cli.ops.suppression import suppress
from dprd_cli.structures.detections import Target

_UNIT = (1.0, 1.0, 1.0, 1.0)
#: Boxes of one NMS call: what it needs of a GPU's memory grows with their square.
_AT_ONCE = 40_000


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
        part_source: `hidden`, `pyramid` or `none`, see `read_by_parts`.
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
        """Return what part offsets are told from: the pyramid, the hidden features of it, or maps of nothing.

        Args:
            features: P2..P6. L x [N, C, H, W]
            hidden: What `predict` makes of them. L x [N, C, H, W]

        Returns:
            L x [N, C, H, W], or L x [N, 0, H, W] where no parts read them

        Source: the hidden features by the text (a layer beside objectness and box deltas), the pyramid by the
        author's figure.
        """
        if self.part_source == "none":
            return [one[:, :0] for one in hidden]
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
        scores, moves, starts, rows, kinds, counts = [], [], [], [], [], []
        for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            top, index = logit.topk(min(pre_nms, logit.shape[1]), dim=1)  # [N, k]
            moves.append(delta.gather(1, index[..., None].expand(-1, -1, 4)))
            starts.append(anchor[index])
            scores.append(top)
            cells = logit.shape[1] // num_anchors
            image = torch.arange(len(logit), device=logit.device)[:, None]
            rows.append(table.starts[level] + image * cells + index // num_anchors)
            kinds.append(index % num_anchors)
            counts.append(index.shape[1])
        anchor_index = torch.stack((torch.cat(rows, 1), torch.cat(kinds, 1)), dim=-1)
        boxes = apply_deltas(torch.cat(moves, 1), torch.cat(starts, 1))
        candidates = Proposals(boxes, torch.cat(scores, 1), anchor_index)
        return self._suppress(candidates, numbered(counts, logits[0].device), image_sizes, post_nms)

    def _suppress(
        self, candidates: Proposals, levels: Tensor, image_sizes: list[tuple[int, int]], limit: int
    ) -> list[Proposals]:
        """Return the best `limit` of each image's candidates [N, k, ...], which are of `levels` [k]."""
        num_images, per_image = candidates.logits.shape
        boxes, device = candidates.boxes, levels.device
        boxes = clip_boxes(boxes, constant(image_sizes, device, boxes.dtype)[:, None])
        size = boxes[..., 2:] - boxes[..., :2]
        valid = ((size > 0) & (size >= self.min_size) & boxes[..., 2:].isfinite()).all(dim=-1)
        boxes = boxes.where(valid[..., None], 0.0)  # empty ones suppress nothing
        num_levels = len(self.anchors.strides)
        groups = torch.arange(num_images, device=device)[:, None] * num_levels + levels
        flat = (boxes.view(-1, 4), candidates.logits.reshape(-1), groups.view(-1))
        step = max(_AT_ONCE // per_image, 1) * per_image
        rows = torch.cat(
            [
                suppress(*_slices(flat, first, step), num_images * num_levels, self.nms_iou) + first
                for first in range(0, num_images * per_image, step)
            ]
        )
        image = (rows // per_image).where(valid.view(-1)[rows], num_images)
        image, order = image.sort(stable=True)  # of each image the best first; invalid ones at the end
        counts = (image == torch.arange(num_images, device=device)[:, None]).sum(dim=1).tolist()
        of_images = torch.split(rows[order][: sum(counts)], counts)
        rows = torch.cat([found[:limit] for found in of_images])
        kept = (value.view(-1, *value.shape[2:])[rows] for value in (boxes, *candidates[1:]))
        pieces = (torch.split(value, [min(count, limit) for count in counts]) for value in kept)
        return [Proposals(*values) for values in zip(*pieces, strict=True)]

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
        labeled = [label_anchors(all_anchors, t.boxes, self.fg_iou, self.bg_iou) for t in targets]
        labels, matched = (torch.stack(values) for values in zip(*labeled, strict=True))
        draw = sample_labels(labels, self.anchors_per_image, self.positive_fraction)
        place = torch.arange(draw.entries.shape[1], device=labels.device)
        chosen = all_logits.gather(1, draw.entries)
        loss_cls = F.binary_cross_entropy_with_logits(
            chosen,
            (place < draw.positives).to(chosen.dtype).expand_as(chosen),
            weight=draw.drawn.to(chosen.dtype),
            reduction="sum",
        )
        index, drawn = draw.entries[:, : draw.positives], draw.drawn[:, : draw.positives]
        deltas_there = all_deltas.gather(1, index[..., None].expand(-1, -1, 4))
        wanted = self._wanted_deltas(all_anchors[index], matched.gather(1, index), targets)
        wanted = torch.where(drawn[..., None], wanted, deltas_there.detach())  # elsewhere nothing is wanted
        loss_reg = F.smooth_l1_loss(deltas_there, wanted, beta=self.smooth_l1_beta, reduction="sum")
        if self.loss_by_sampled:
            number = draw.drawn.sum().clamp(min=1)
            return {"loss_rpn_cls": loss_cls / number, "loss_rpn_reg": loss_reg / number}
        scale = 1.0 / (self.anchors_per_image * len(targets))
        return {"loss_rpn_cls": loss_cls * scale, "loss_rpn_reg": loss_reg * scale}

    @staticmethod
    def _wanted_deltas(anchors: Tensor, matched: Tensor, targets: list[Target]) -> Tensor:
        """Return what turns anchors [N, k, 4] into objects of their image [N, k]; anything without any."""
        gt_boxes = torch.cat([target.boxes for target in targets])
        if len(gt_boxes) == 0:
            return torch.zeros_like(anchors)
        firsts = list(accumulate(map(len, targets), initial=0))[:-1]
        rows = (matched + constant(firsts, anchors.device)[:, None]).clamp(max=len(gt_boxes) - 1)
        return encode_deltas(anchors, gt_boxes[rows], _UNIT)


def _slices(values: tuple[Tensor, Tensor, Tensor], first: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return `step` rows of each tensor [B, ...] from `first` on. 3 x [<= step, ...]."""
    boxes, logits, groups = (value[first : first + step] for value in values)
    return boxes, logits, groups


def _by_anchor(output: Tensor, values: int) -> Tensor:
    """Reorder [N, A*values, H, W] to [N, H*W*A, values]."""
    n, _, height, width = output.shape
    return output.permute(0, 2, 3, 1).reshape(n, height * width * (output.shape[1] // values), values)


__all__ = ["RPN", "Proposals", "RPNOutput"]
