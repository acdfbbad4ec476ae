"""What a file of weights is: its network, its classes, and which tensor becomes which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import read_checkpoint
from dprd_cli.weights.checksum import has_checksum
from dprd_cli.weights.load import load_model
from dprd_cli.weights.published import published_config, read_published, translate_state
from dprd_cli.weights.zoo import foreign_file, is_published


@dataclass(frozen=True, slots=True)
class WeightsDescription:
    """What a file of weights is.

    Args:
        file: The file.
        preset: The preset that its network belongs to.
        keys: Whose names its tensors have: `dprd`, `torchvision`, `detectron2` or `caffe2`.
        backbone: Name of the backbone.
        tensors: Number of tensors in the file.
        classes: Name of each class. [K]
        origin: Name of each tensor here -> the tensor of the file that it comes from.
        used: Number of the file's tensors that have a place here; None for a checkpoint of this project, as
            for the next two.
        unused: Names of the others.
        missing: Names of the tensors here that the file has nothing for.
        checksum: Whether the file's checksum `fits`, or it has none; None for others' weights.
        made_by: What the file says of its making, such as command, commit, AP and licence; not checked.
    """

    file: Path
    preset: str
    keys: str
    backbone: str
    tensors: int
    classes: tuple[str, ...]
    origin: dict[str, str]
    used: int | None = None
    unused: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    checksum: str | None = None
    made_by: dict[str, str | float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers, without what is None."""
        content = {
            "file": str(self.file),
            "preset": self.preset,
            "keys": self.keys,
            "backbone": self.backbone,
            "checksum": self.checksum,
            "made_by": self.made_by or None,
            "tensors": self.tensors,
            "used": self.used,
            "unused": None if self.unused is None else list(self.unused),
            "missing": None if self.missing is None else list(self.missing),
            "classes": list(self.classes),
            "origin": self.origin,
        }
        return {key: value for key, value in content.items() if value is not None}


def describe_weights(spec: str) -> WeightsDescription:
    """Return what weights are.

    Args:
        spec: As for `load_model`.

    Raises:
        UserError: If there are no such weights, or they are of no detector.
    """
    if is_published(spec) or foreign_file(spec):
        return _describe_published(spec)
    model = load_model(spec, "cpu")
    names = list(model.detector.state_dict())
    return WeightsDescription(
        file=model.source,
        preset=model.config.preset,
        keys="dprd",
        backbone=model.config.model.backbone.name,
        tensors=len(names),
        classes=model.class_names,
        origin={name: name for name in names},
        # one that does not fit is an error at loading
        checksum="fits" if has_checksum(model.source) else "none (of an older version)",
        made_by=_plain_values(read_checkpoint(model.source).get("provenance")),
    )


def _plain_values(told: object) -> dict[str, str | float]:
    """Return the texts and numbers among what a file tells, which may be anything."""
    items = told.items() if isinstance(told, dict) else ()
    return {str(key): value for key, value in items if isinstance(value, str | int | float)}


def _describe_published(spec: str) -> WeightsDescription:
    file, path, state = read_published(spec)
    config = published_config(file)
    masks = any(".mask_" in name for name in state)
    with torch.device("meta"):
        detector = build_detector(config.model, num_classes=len(file.classes), with_masks=masks)
    found = translate_state(file, state, detector)
    missing = (
        name
        for name in detector.state_dict()
        if name not in found.state and not name.endswith("num_batches_tracked")
    )
    return WeightsDescription(
        file=path,
        preset=file.preset,
        keys=file.keys,
        backbone=config.model.backbone.name,
        tensors=len(state),
        used=len(set(found.origin.values())),
        unused=tuple(found.unused),
        missing=tuple(missing),
        classes=tuple(file.classes.values()),
        origin=found.origin,
    )
