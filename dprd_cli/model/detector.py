"""The whole network: images in, losses or detections out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.backbone import Backbone
from dprd_cli.model.neck import FPN, BiFPN
from dprd_cli.model.parts import DeformableParts
from dprd_cli.model.regions import RoIFeatures
from dprd_cli.model.roi_heads import BoxDetails, RoIHeads
from dprd_cli.model.rpn import RPN, RPNOutput
from dprd_cli.ops.roi_align import FeatureTable
from dprd_cli.structures.detections import Detections, Target

_STRIDE = 32


class LossOutput(NamedTuple):
    """What a training step gives.

    Args:
        losses: Weighted losses; the total is their sum.
        diagnostics: Scalars without gradient, for the log.
    """

    losses: dict[str, Tensor]
    diagnostics: dict[str, Tensor]


class InferenceOutput(NamedTuple):
    """What inference gives, one entry per image, in the frame of the given tensors.

    Args:
        detections: Best score first.
        proposals: Boxes of the RPN, best first. [R, 4]
    """

    detections: list[Detections]
    proposals: list[Tensor]


class Detector(nn.Module):
    """Backbone, neck, RPN with DPR-Net, and the (cascade of) D-PRD stages.

    Args:
        backbone: Images -> C2..C5.
        neck: C2..C5 -> P2..P6.
        rpn: Proposals.
        roi_heads: RoIs -> losses or detections; owns DPR-Net.
        pixel_mean: Mean of R, G and B, in 0..255. [3]
        pixel_std: Standard deviation of R, G and B, in 0..255. [3]

    Source: Figs. 1 and 3.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: FPN | BiFPN,
        rpn: RPN,
        roi_heads: RoIHeads,
        pixel_mean: tuple[float, float, float],
        pixel_std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn, self.roi_heads = backbone, neck, rpn, roi_heads
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std)[:, None, None], persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.pixel_mean.device

    @property
    def part_layer(self) -> nn.Module | None:
        """The part box transformation layer, or None where parts do not move."""
        parts = self.roi_heads.parts
        return parts.layer if isinstance(parts, DeformableParts) else None

    @overload
    def forward(self, images: list[Tensor], targets: list[Target]) -> LossOutput: ...

    @overload
    def forward(self, images: list[Tensor], targets: None = None) -> list[Detections]: ...

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> LossOutput | list[Detections]:
        """Return losses where there are targets, detections where there are none.

        Args:
            images: RGB in 0..255, uint8 or float, sizes may differ. N x [3, H, W]
            targets: Objects of each image, in its frame.

        Returns:
            `LossOutput`, or one `Detections` per image in the image's frame.
        """
        if targets is None:
            return self.detect(images).detections
        rpn, features, _ = self._propose(images, targets)
        losses, diagnostics = self.roi_heads.losses(rpn.proposals, features, targets)
        return LossOutput(rpn.losses | losses, diagnostics)

    @torch.no_grad()
    def detect(
        self, images: list[Tensor], part_offsets: str = "learned", *, masks: bool = True
    ) -> InferenceOutput:
        """Detect objects, and return the proposals too.

        Args:
            images: RGB in 0..255. N x [3, H, W]
            part_offsets: `learned`, `mean` (one mean offset for all RoIs) or `reference` (parts do not move).
            masks: Predict masks, where there are mask heads.
        """
        rpn, features, sizes = self._propose(images, None)
        detections = self.roi_heads.detect(rpn.proposals, features, sizes, part_offsets, masks=masks)
        return InferenceOutput(detections, [p.boxes for p in rpn.proposals])

    @torch.no_grad()
    def forward_with_given_boxes(
        self,
        image: Tensor,
        boxes: Tensor,
        labels: Tensor,
        part_offsets: str = "learned",
        *,
        masks: bool = True,
        beside: Sequence[Tensor] = (),
    ) -> BoxDetails:
        """Return masks, mask IoUs and part boxes of given boxes.

        Law: of the boxes that `detect` finds in an image alone, it says what `detect` says of them (with
        `model.parts.refeed=lookup`).

        Args:
            image: RGB in 0..255. [3, H, W]
            boxes: xyxy, pixels of `image`. [D, 4]
            labels: Their classes, 0..K-1. [D]
            part_offsets: As in `detect`.
            masks: Predict masks, where there are mask heads.
            beside: Other images of the batch, whose sizes the padding depends on.
        """
        _, features, _ = self._propose([image, *beside], None)
        return self.roi_heads.forward_with_given_boxes(boxes, labels, features, part_offsets, masks=masks)

    def class_logits(self, image: Tensor, found: Detections) -> Tensor:
        """Return the class logits that each stage gives detections, with gradient down to the image.

        Law: the softmax over the classes, averaged over the stages, is at each label the detection's score.

        Args:
            image: RGB in 0..255. [3, H, W]
            found: What `detect` found in it, with learned offsets.

        Returns:
            [D, n, K+1]
        """
        assert found.stage_boxes is not None
        assert found.stage_anchor_index is not None
        _, features, _ = self._propose([image], None)
        return self.roi_heads.class_logits(found.stage_boxes, found.stage_anchor_index, features)

    def _propose(
        self, images: list[Tensor], targets: list[Target] | None
    ) -> tuple[RPNOutput, RoIFeatures, list[tuple[int, int]]]:
        batch, image_sizes, sizes = self._batch(images)
        pyramid = self.neck(self.backbone(batch))
        rpn = self.rpn(pyramid, sizes, targets)
        strides = self.roi_heads.pooler.strides
        table = FeatureTable.build(pyramid[: len(strides)], strides)
        return rpn, RoIFeatures(table, rpn.hidden, image_sizes, self.rpn.anchors.locate), sizes

    def _batch(self, images: list[Tensor]) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Normalise and pad to a common multiple of 32 with zeros (the mean colour), channels-last."""
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        height = -(-max(h for h, _ in sizes) // _STRIDE) * _STRIDE
        width = -(-max(w for _, w in sizes) // _STRIDE) * _STRIDE
        padded = []
        for image, (h, w) in zip(images, sizes, strict=True):
            normal = (image.to(self.device, non_blocking=True).float() - self.pixel_mean) / self.pixel_std
            padded.append(F.pad(normal, (0, width - w, 0, height - h)))
        batch = torch.stack(padded).contiguous(memory_format=torch.channels_last)
        image_sizes = torch.tensor(sizes, dtype=torch.float32).to(self.device)
        return batch, image_sizes, sizes
