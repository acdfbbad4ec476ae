"""Comparison with Detectron2 itself, on the numbers that it gave for weights and images made by a rule.

A fixture is a JSON file: the checkpoint's key list, the seeds, and what Detectron2 computed from them
(features, proposals, detections with masks, training losses). docs/parity.md describes the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as rle_masks
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.benchmark.rule_weights import reference_image, reference_state
from dprd_cli.errors import DataError, UsageError
from dprd_cli.files.atomic import read_json
from dprd_cli.model.detector import Detector
from dprd_cli.model.rpn import RPNOutput
from dprd_cli.ops.masks import encode_rle
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.weights.foreign import describe_file
from dprd_cli.weights.load import build_published

_NEEDED = (
    "keys", "seed", "image", "pixel_mean", "pixel_std", "format", "features", "proposals", "detections"
)  # fmt: skip
#: What values that fit no network make the libraries stumble over.
_BROKEN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError, UsageError)
_SHOWN = 200  # characters of a library's message
_SAME_IOU = 0.98  # boxes and masks from here on are the same
_LOSS_NAMES = {"cls": "cls", "reg": "box_reg", "mask": "mask", "rpn_cls": "rpn_cls", "rpn_reg": "rpn_loc"}


@dataclass(frozen=True, slots=True)
class ParityDifference:
    """One comparison.

    Args:
        kind: What was compared.
        value: The largest difference, or the share that differs.
        tolerance: The most that is accepted.
    """

    kind: str
    value: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance (a NaN is not)."""
        return self.value <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "ok": self.ok}


class _ParityOutputs(NamedTuple):
    """What this implementation gives for a fixture."""

    features: list[Tensor]
    proposals: Tensor
    logits: Tensor
    detections: Detections
    losses: dict[str, Tensor]


def read_fixture(path: Path) -> dict[str, Any]:
    """Read a fixture.

    Raises:
        DataError: If it is none.
    """
    content = read_json(path, "fixture")
    lacking = [key for key in _NEEDED if not isinstance(content, dict) or key not in content]
    if lacking:
        raise DataError(f"{path}: not a parity fixture (no {', '.join(lacking)}); see docs/parity.md")
    return dict(content)


def compare(path: Path) -> list[ParityDifference]:
    """Run a fixture and return its differences, each with its tolerance.

    Raises:
        DataError: If the file is no fixture.
        UserError: If the tensors that it names are no network that is known here.
    """
    fixture = read_fixture(path)
    try:
        seen = _run(fixture, path)
        return _differences(fixture, seen)
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
        UsageError,
    ) as error:
        text = " ".join(str(error).split())[:_SHOWN]
        raise DataError(f"{path}: a broken fixture ({type(error).__name__}: {text})") from error


# ---- this implementation's side -------------------------------------------------------------------------


def _run(fixture: Mapping[str, Any], path: Path) -> _ParityOutputs:
    detector = _build(fixture, path)
    image = reference_image(**fixture["image"])
    features: list[Tensor] = []
    proposed: list[RPNOutput] = []
    hooks = (
        detector.neck.register_forward_hook(lambda _, __, output: features.extend(output)),
        detector.rpn.register_forward_hook(lambda _, __, output: proposed.append(output)),
    )
    detections = detector.detect([image]).detections[0]
    for hook in hooks:
        hook.remove()
    losses: dict[str, Tensor] = {}
    if gt := fixture.get("training", {}).get("gt"):
        with torch.no_grad():
            losses = detector([image], [_target(gt, (image.shape[-2], image.shape[-1]))]).losses
    best = proposed[0].proposals[0]
    return _ParityOutputs(features, best.boxes, best.logits, detections, losses)


def _build(fixture: Mapping[str, Any], path: Path) -> Detector:
    """Build the network of a fixture; every anchor and RoI enters the training losses (no random draw)."""
    std = [float(value) for value in fixture["pixel_std"]]
    unscaled = max(std) == 1.0
    state = reference_state(dict(fixture["keys"]), fixture["seed"], 60.0 if unscaled else 1.0)
    reverse = fixture["format"] == "BGR"
    if not reverse:  # the translation takes it that Detectron2's first convolution reads BGR
        stem = "backbone.bottom_up.stem.conv1.weight"
        state[stem] = state[stem].flip(1)
    overrides = {
        "backbone": {"stride_in_1x1": unscaled},
        "pixel_mean": fixture["pixel_mean"][:: -1 if reverse else 1],
        "pixel_std": std[:: -1 if reverse else 1],
        "rpn": {"anchors_per_image": 1_000_000},
        "sampling": {"rois_per_image": 1_000_000, "positive_fraction": 1.0},
        "test": {"score_thresh": fixture.get("score_threshold", 0.05)},
    }
    model = build_published(describe_file(path, state), state, path, overrides)
    return model.detector.to(memory_format=torch.channels_last).eval()


def _target(gt: list[dict[str, Any]], size: tuple[int, int]) -> Target:
    """Return the fixture's objects; each mask is the ellipse inside its box."""
    boxes = torch.tensor([item["box"] for item in gt], dtype=torch.float32)
    y, x = (torch.arange(n, dtype=torch.float32) + 0.5 for n in size)
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    across = ((x - center[:, :1]) / half[:, :1]).square()[:, None]
    down = ((y - center[:, 1:]) / half[:, 1:]).square()[:, :, None]
    labels = torch.tensor([item["class"] for item in gt])
    return Target(boxes=boxes, labels=labels, image_size=size, masks=across + down <= 1)


# ---- differences ----------------------------------------------------------------------------------------


def _differences(fixture: Mapping[str, Any], seen: _ParityOutputs) -> list[ParityDifference]:
    return [
        *_feature_differences(fixture["features"], seen.features),
        *_proposal_differences(fixture["proposals"], seen),
        *_detection_differences(fixture["detections"], seen.detections),
        *_loss_differences(fixture.get("training", {}).get("losses", {}), seen.losses),
    ]


def _feature_differences(expected: Mapping[str, Any], features: list[Tensor]) -> list[ParityDifference]:
    """Of each level, the largest of mean, deviation and sampled values, in units of the level's deviation."""
    found = []
    for level, feature in zip(sorted(expected), features, strict=True):
        want = expected[level]
        if list(feature.shape) != want["shape"]:
            raise ValueError(f"{level} is {list(feature.shape)}, the fixture's {want['shape']}")
        flat = feature.contiguous().flatten().double()
        index = torch.linspace(0, flat.numel() - 1, len(want["samples"])).long()
        got = torch.cat((flat[index], flat.mean()[None], flat.std()[None]))
        wanted = torch.tensor([*want["samples"], want["mean"], want["std"]], dtype=torch.float64)
        largest = (got - wanted).abs().max() / want["std"]
        found.append(ParityDifference(f"features {level}", largest.item(), 1e-3))
    return found


def _proposal_differences(expected: Mapping[str, Any], seen: _ParityOutputs) -> list[ParityDifference]:
    boxes = torch.tensor(expected["top100_boxes"], dtype=torch.float32).view(-1, 4)
    logits = torch.tensor(expected["top100_logits"])
    partner = _match(boxes, seen.proposals, torch.zeros(len(boxes)), torch.zeros(len(seen.proposals)))
    same = partner >= 0
    apart = (seen.logits[partner[same]] - logits[same]).abs()
    count = max(expected["count"], 1)
    return [
        ParityDifference("proposals, number", abs(len(seen.proposals) - expected["count"]) / count, 0.02),
        ParityDifference("proposals, share without a partner", 1 - _mean(same), 0.02),
        ParityDifference("proposals, logit", apart.max().item() if len(apart) else 0.0, 2e-3),
    ]


def _detection_differences(expected: list[dict[str, Any]], seen: Detections) -> list[ParityDifference]:
    boxes = torch.tensor([d["box"] for d in expected], dtype=torch.float32).view(-1, 4)
    labels = torch.tensor([d["class"] for d in expected], dtype=torch.float32)
    partner = _match(boxes, seen.boxes, labels, seen.labels.float())
    same = partner >= 0
    chosen = partner[same]
    apart = (seen.scores[chosen] - torch.tensor([d["score"] for d in expected])[same]).abs()
    surplus = max(0, len(seen) - len(expected)) / max(len(expected), 1)
    found = [
        ParityDifference("detections, share without a partner", max(1 - _mean(same), surplus), 0.02),
        ParityDifference("detections, score", apart.max().item() if len(apart) else 0.0, 2e-3),
    ]
    matched = [d for d, kept in zip(expected, same.tolist(), strict=True) if kept]
    if matched and seen.masks is not None and all("mask_rle" in d for d in matched):
        ours = encode_rle(seen.masks[chosen], seen.boxes[chosen], seen.image_size)
        iou = [
            1.0 if not (rle_masks.area(a) or rle_masks.area(b)) else float(rle_masks.iou([a], [b], [0])[0, 0])
            for a, b in zip(ours, (d["mask_rle"] for d in matched), strict=True)
        ]
        worse = float(np.mean(np.array(iou) <= _SAME_IOU))
        found.append(ParityDifference("masks, share of IoU 0.98 or less", worse, 0.05))
    return found


def _loss_differences(expected: Mapping[str, float], losses: Mapping[str, Tensor]) -> list[ParityDifference]:
    """Relative differences of the losses, by Detectron2's names (its stages count from 0)."""
    found = []
    cascade = any("stage" in name for name in expected)
    ours: dict[str, float] = {}
    for name, value in losses.items():
        kind, _, stage = name.removeprefix("loss_").partition("_stage")
        suffix = f"_stage{int(stage) - 1}" if cascade and stage and kind != "mask" else ""
        ours[f"loss_{_LOSS_NAMES[kind]}{suffix}"] = value.item()
    for name, wanted in expected.items():
        if name not in ours:
            raise ValueError(f"the fixture has {name}, this network {', '.join(ours)}")
        found.append(ParityDifference(name, abs(ours[name] - wanted) / max(abs(wanted), 1e-12), 1e-3))
    return found


def _match(boxes: Tensor, others: Tensor, labels: Tensor, other_labels: Tensor) -> Tensor:
    """Return each box's partner among the others (same label, IoU above 0.98, each taken once), or -1."""
    partner = torch.full((len(boxes),), -1)
    if len(boxes) == 0 or len(others) == 0:
        return partner
    iou = box_iou(boxes, others) * (labels[:, None] == other_labels)
    for row in range(len(boxes)):
        value, column = iou[row].max(dim=0)
        if value > _SAME_IOU:
            partner[row] = column
            iou[:, column] = 0
    return partner


def _mean(values: Tensor) -> float:
    """Return the share that is true; 1 of nothing."""
    return values.float().mean().item() if len(values) else 1.0
