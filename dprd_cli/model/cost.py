"""Parameters and multiply-accumulates, by module (paper: the cost columns of Table 2)."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dprd_cli.model.detector import Detector
from dprd_cli.model.placed_parts import LatentParts
from dprd_cli.model.roi_heads import RoIHeads
from dprd_cli.model.rois import DeformablePooler

_MODULES = ("backbone", "neck", "rpn", "dpr", "fusion", "box_head", "mask_head", "mask_iou_head")


def _modules(detector: Detector) -> dict[str, list[nn.Module]]:
    heads = detector.roi_heads
    found: dict[str, list[nn.Module]] = {
        "backbone": [detector.backbone],
        "neck": [detector.neck],
        "rpn": [detector.rpn],
        "dpr": [
            *(module for module in (detector.part_layer, heads.positions) if module is not None),
            *_bin_layers(heads),
        ],
    }
    for name in _MODULES[4:]:
        found[name] = [module for stage in heads.cascade if (module := getattr(stage, name)) is not None]
    return found


def _bin_layers(heads: RoIHeads) -> list[nn.Linear]:
    poolers = [stage.box_pooler for stage in heads.cascade]
    return [pooler.layer for pooler in poolers if isinstance(pooler, DeformablePooler)]


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a network (batch-norm statistics are none).

    Args:
        total: All of them.
        trainable: Those that training changes.
        modules: Parameters by module: backbone, neck, rpn, dpr (what moves parts and tells where they
            are, or what shifts bins), fusion, box_head, mask_head and mask_iou_head.
    """

    total: int
    trainable: int
    modules: dict[str, int]


@dataclass(frozen=True, slots=True)
class MacCount:
    """Multiply-accumulates of one image's inference.

    Args:
        proposals: RoIs of the box branch.
        detections: RoIs of the mask branch.
        modules: Multiply-accumulates by module, as in `ParameterCount`, with `roi_align` beside them: 4 cells
            per sample, S*S bins, C channels (two samples per bin and axis where the ratio adapts).
    """

    proposals: int
    detections: int
    modules: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.modules.values())

    def to_json(self) -> dict[str, Any]:
        """Return what `dprd info --json` prints."""
        return {"total": self.total, **asdict(self)}


def count_parameters(detector: Detector) -> ParameterCount:
    """Count parameters, by module."""
    parameters = list(detector.parameters())
    return ParameterCount(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        modules={
            name: sum(p.numel() for module in found for p in module.parameters())
            for name, found in _modules(detector).items()
        },
    )


def count_macs(
    detector: Detector, image_size: tuple[int, int], proposals: int = 1000, detections: int = 100
) -> MacCount:
    """Count the multiply-accumulates of one image's inference, without running it.

    Args:
        detector: The network; it is not changed.
        image_size: (height, width), padded to multiples of 32.
        proposals: RoIs of the box branch.
        detections: RoIs of the mask branch.
    """
    detector = copy.deepcopy(detector).to("meta").eval()
    macs = dict.fromkeys((*_MODULES, "roi_align"), 0)
    height, width = (-(-side // 32) * 32 for side in image_size)
    image = torch.empty((1, 3, height, width), device="meta")
    features, macs["backbone"] = _count(detector.backbone, image)
    pyramid, macs["neck"] = _count(detector.neck, features)
    for level in pyramid:
        hidden, count = _count(detector.rpn.convs, level)
        counts = [_count(layer, hidden)[1] for layer in (detector.rpn.objectness, detector.rpn.deltas)]
        macs["rpn"] += count + sum(counts)
    _count_heads(detector.roi_heads, pyramid[0].shape[1], proposals, detections, macs)
    return MacCount(proposals, detections, macs)


def _count_heads(
    heads: RoIHeads, channels: int, proposals: int, detections: int, macs: dict[str, int]
) -> None:
    num_parts = 0 if heads.parts is None else heads.parts.count
    samples = heads.pooler.sampling_ratio or 2

    def pooled(rois: int, side: int, *, parts: bool) -> tuple[Tensor, Tensor | None]:
        regions = 1 + (num_parts if parts else 0)
        macs["roi_align"] += rois * regions * side * side * 4 * samples * samples * channels
        whole = torch.empty((rois, channels, side, side), device="meta")
        return whole, torch.empty((rois, num_parts, channels, side, side), device="meta") if parts else None

    decomposed = 0
    for stage in heads.cascade:
        whole, parts = pooled(proposals, heads.box_pool, parts=stage.uses_parts)
        decomposed += proposals if stage.uses_parts else 0
        fused, count = _count(stage.fusion, whole, parts)
        macs["fusion"] += count
        macs["box_head"] += _count(stage.box_head, fused.whole)[1]
    for layer in _bin_layers(heads):
        pooled(proposals, heads.box_pool, parts=False)  # to see where the bins go
        macs["dpr"] += proposals * layer.weight.numel()
    masked = [stage for stage in heads.cascade if stage.mask_head is not None]
    if masked:  # the final boxes are pooled once for all stages
        whole, parts = pooled(detections, heads.mask_pool, parts=num_parts > 0)
        decomposed += detections if num_parts else 0
    labels = torch.zeros(detections, dtype=torch.int64, device="meta")
    for stage in masked if heads.average_masks else masked[-1:]:
        fused, count = _count(stage.fusion, whole, parts)
        macs["fusion"] += count
        logits, count = _count(stage.mask_head, fused.whole, labels)
        macs["mask_head"] += count
        if stage.mask_iou_head is not None:
            macs["mask_iou_head"] += _count(stage.mask_iou_head, fused.whole, logits, labels)[1]
    if isinstance(heads.parts, LatentParts):
        side = heads.parts.pool
        macs["roi_align"] += decomposed * side * side * 4 * samples * samples * channels
    if heads.parts is not None and heads.parts.layer is not None:
        macs["dpr"] = decomposed * sum(_weights_of(layer) for layer in heads.parts.layer.modules())
    if heads.positions is not None:
        told = sum(_weights_of(layer) for layer in heads.positions.modules())
        macs["dpr"] += decomposed * num_parts * told


def _weights_of(layer: nn.Module) -> int:
    return layer.weight.numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0


def _count(module: nn.Module | Any, *inputs: Any) -> tuple[Any, int]:
    """Run a module on meta tensors; return its output and its multiply-accumulates."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(*inputs)
    return output, counter.get_total_flops() // 2
