"""The whole network: images in, losses or detections out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.config.presets import pick
from dprd_cli.errors import UsageError
from dprd_cli.model.backbone import Backbone
from dprd_cli.model.evidence import part_evidence, parts_meet, place_evidence
from dprd_cli.model.layers import share
from dprd_cli.model.losses import LossOutput
from dprd_cli.model.parts import PART_OFFSETS, FixedParts, PartSource
from dprd_cli.model.places import ChoosesPlaces
from dprd_cli.model.roi_heads import RoIHeads
from dprd_cli.model.rois import RoIFeatures
from dprd_cli.model.rpn import RPN, RPNOutput
from dprd_cli.model.selection import BoxDetails, DetectionSelector
from dprd_cli.ops.constants import constant
from dprd_cli.ops.roi_align import FeatureTable
from dprd_cli.structures.detections import CascadeTrace, Detections, Target

#: Images are padded to multiples of it: the cells of the coarsest level that the backbone gives.
STRIDE = 32


class InferenceOutput(NamedTuple):
    """What inference gives, one entry per image, in the frame of the given tensors.

    Args:
        detections: Best score first.
        traces: Way of the detections through the cascade, row by row.
        proposals: Boxes of the RPN, best first. [R, 4]
    """

    detections: list[Detections]
    traces: list[CascadeTrace]
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
        neck: nn.Module,
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
        """Where the network is, and where images go."""
        return self.pixel_mean.device

    @property
    def precision(self) -> str:
        """What it computes in: `bf16` where it was made so by `for_inference`, else `fp32`."""
        return "bf16" if any(p.dtype == torch.bfloat16 for p in self.parameters()) else "fp32"

    @property
    def has_parts(self) -> bool:
        """Whether there are part boxes."""
        return self.roi_heads.parts is not None

    @property
    def parts_meet(self) -> bool:
        """Whether it can be told which part decided: parts meet in the maxima of an assembly."""
        return self.has_parts and any(map(parts_meet, self.roi_heads.cascade))

    @property
    def part_layer(self) -> nn.Module | None:
        """What is learned to move parts (the part box transformation layer); None where nothing is."""
        return None if self.roi_heads.parts is None else self.roi_heads.parts.layer

    @property
    def place_parameters(self) -> list[nn.Parameter]:
        """What is learned to choose the places of parts; see `PartSource`."""
        return [] if self.roi_heads.parts is None else self.roi_heads.parts.place_parameters

    @property
    def place_shifts(self) -> Tensor | None:
        """(x, y, scale) of each place that parts can be at [Q, 3]; None where they choose none."""
        parts = self.roi_heads.parts
        return parts.place_shifts if isinstance(parts, ChoosesPlaces) else None

    @property
    def needs_targets(self) -> bool:
        """Whether `detect` has to be given the objects; see `PartSource`."""
        return self.roi_heads.parts is not None and self.roi_heads.parts.needs_targets

    @property
    def running_means(self) -> list[tuple[Tensor, float]]:
        """Buffers [...] of the parts that training moves toward a batch's mean, and their momentum."""
        return [] if self.roi_heads.parts is None else self.roi_heads.parts.running_means

    def with_parts(self, parts: PartSource) -> Detector:
        """Return this network, on its device, with other parts; both share all weights but the parts'."""
        return share(self, roi_heads=share(self.roi_heads, parts=parts))

    def with_part_offsets(self, part_offsets: str) -> Detector:
        """Return this network with parts that are placed in another way; both share all weights.

        Args:
            part_offsets: `learned` (as they are), `mean` (by one mean offset for all RoIs) or `reference`
                (parts do not move).

        Raises:
            UsageError: If there is no such word, or nothing that could be placed so.
        """
        parts, kind = self.roi_heads.parts, pick("kind of part offsets", part_offsets, PART_OFFSETS)
        if kind == "learned":
            return self
        if self.roi_heads.bins_shift:
            raise UsageError("no part boxes, the pooling bins shift (model.parts.mode=pooling)")
        if kind == "mean":
            if parts is None:
                raise UsageError("no parts that move, and so no mean part offsets (model.parts.mode)")
            return self.with_parts(parts.by_mean())
        return self if parts is None else self.with_parts(FixedParts(parts.count))

    def with_selector(self, selector: DetectionSelector) -> Detector:
        """Return this network with another choice of detections; both share all weights."""
        return share(self, roi_heads=share(self.roi_heads, selector=selector))

    @overload
    def forward(self, images: list[Tensor], targets: list[Target], progress: float = 0.0) -> LossOutput: ...

    @overload
    def forward(self, images: list[Tensor], targets: None = None) -> list[Detections]: ...

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None, progress: float = 0.0
    ) -> LossOutput | list[Detections]:
        """Return losses where there are targets, detections where there are none.

        Args:
            images: RGB in 0..255, uint8 or float, sizes may differ. N x [3, H, W]
            targets: Objects of each image, in its frame.
            progress: Share of the training that is done, 0..1; see `RoIFeatures`.

        Returns:
            `LossOutput`, or one `Detections` per image in the image's frame.
        """
        if targets is None:
            return self.detect(images).detections
        rpn, features, sizes = self._propose(images, targets)
        features = features._replace(progress=progress)
        output: LossOutput = self.roi_heads(features, rpn.proposals, sizes, targets)
        return LossOutput(rpn.losses | output.losses, output.diagnostics)

    @torch.no_grad()
    def detect(
        self,
        images: list[Tensor],
        *,
        masks: bool = True,
        targets: list[Target] | None = None,
        evidence_from: float | None = None,
    ) -> InferenceOutput:
        """Detect objects, and return the proposals too.

        Args:
            images: RGB in 0..255. N x [3, H, W]
            masks: Predict masks, where there are mask heads.
            targets: Objects of each image, for parts that need them (`needs_targets`: an oracle's); nothing
                else sees them.
            evidence_from: Fill `part_shares` and `part_falls`, where parts meet in maxima, and `part_places`
                and `part_steadiness`, where parts choose places, of detections of at least this score, NaN
                for the others; see `PartEvidence` and `PlaceEvidence`. None leaves them out.
        """
        rpn, features, sizes = self._propose(images, None)
        if targets is not None:
            features = features._replace(targets=[target.to(self.device) for target in targets])
        detections, traces = self.roi_heads(features, rpn.proposals, sizes, masks=masks)
        if evidence_from is not None:
            detections = self._with_evidence(features, detections, traces, evidence_from)
        return InferenceOutput(detections, traces, [p.boxes for p in rpn.proposals])

    def _with_evidence(
        self,
        features: RoIFeatures,
        detections: Sequence[Detections],
        traces: Sequence[CascadeTrace],
        least: float,
    ) -> list[Detections]:
        asked = [found.scores >= least for found in detections]
        ways = [trace[rows] for trace, rows in zip(traces, asked, strict=True)]
        labels = [found.labels[rows] for found, rows in zip(detections, asked, strict=True)]
        if told := part_evidence(self.roi_heads, features, ways, labels):
            detections = [
                replace(found, part_shares=_scatter(one.shares, rows), part_falls=_scatter(one.falls, rows))
                for found, rows, one in zip(detections, asked, told, strict=True)
            ]
        boxes = [found.boxes[rows] for found, rows in zip(detections, asked, strict=True)]
        if places := place_evidence(self.roi_heads, features, boxes):
            detections = [
                replace(
                    found,
                    part_places=_scatter(one.probs, rows),
                    part_steadiness=_scatter(one.steadiness, rows),
                )
                for found, rows, one in zip(detections, asked, places, strict=True)
            ]
        return [*detections]

    @torch.no_grad()
    def forward_with_given_boxes(
        self,
        image: Tensor,
        boxes: Tensor,
        labels: Tensor,
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
            labels: Classes of the boxes, 0..K-1. [D]
            masks: Predict masks, where there are mask heads.
            beside: Other images of the batch, whose sizes the padding depends on. N x [3, H, W]
        """
        _, features, _ = self._propose([image, *beside], None)
        return self.roi_heads.forward_with_given_boxes(features, boxes, labels, masks=masks)

    def class_logits(self, image: Tensor, trace: CascadeTrace) -> Tensor:
        """Return the class logits that each stage gives detections, with gradient down to the image.

        Law: the softmax over the classes, averaged over the stages, is at each label the detection's score.

        Args:
            image: RGB in 0..255. [3, H, W]
            trace: Way of detections that `detect` found in this image alone.

        Returns:
            [D, n, K+1]
        """
        _, features, _ = self._propose([image], None)
        return self.roi_heads.class_logits(features, trace)

    def _propose(
        self, images: list[Tensor], targets: list[Target] | None
    ) -> tuple[RPNOutput, RoIFeatures, list[tuple[int, int]]]:
        batch, image_sizes, sizes = self._batch(images)
        pyramid = self.neck(self.backbone(batch))
        rpn: RPNOutput = self.rpn(pyramid, sizes, targets)
        strides = self.roi_heads.pooler.strides
        table = FeatureTable.build(pyramid[: len(strides)], strides).for_pooling()
        features = RoIFeatures(table, rpn.hidden, image_sizes, self.rpn.anchors.locate, targets)
        return rpn, features, sizes

    def _batch(self, images: list[Tensor]) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Normalise and pad to a common multiple of 32 with zeros (the mean colour), channels-last."""
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        height = -(-max(h for h, _ in sizes) // STRIDE) * STRIDE
        width = -(-max(w for _, w in sizes) // STRIDE) * STRIDE
        padded = []
        for image, (h, w) in zip(images, sizes, strict=True):
            normal = (image.to(self.device, non_blocking=True).float() - self.pixel_mean) / self.pixel_std
            padded.append(F.pad(normal, (0, width - w, 0, height - h)))
        batch = torch.stack(padded).contiguous(memory_format=torch.channels_last)
        image_sizes = constant(sizes, self.device, torch.float32)
        return batch, image_sizes, sizes


def _scatter(rows: Tensor, chosen: Tensor) -> Tensor:
    """Put rows [n, ...] where `chosen` [D] is true, and NaN elsewhere. [D, ...]."""
    values = rows.new_full((len(chosen), *rows.shape[1:]), torch.nan)
    values[chosen] = rows
    return values
