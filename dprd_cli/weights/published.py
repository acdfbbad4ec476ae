"""Published detectors: their tensors, their configuration, and what each tensor becomes here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge, validate
from dprd_cli.errors import UsageError
from dprd_cli.model.detector import Detector
from dprd_cli.weights.fetch import fetch_file
from dprd_cli.weights.foreign import describe_file, read_foreign
from dprd_cli.weights.names import Translation, translate
from dprd_cli.weights.zoo import PublishedWeights, foreign_file, published


def read_published(spec: str) -> tuple[PublishedWeights, Path, dict[str, Tensor]]:
    """Return what a published detector (or such a file) is, where it lies, and its tensors.

    Raises:
        UserError: If it cannot be had, or is no detector.
    """
    if path := foreign_file(spec):
        state = read_foreign(path)
        return describe_file(path, state), path, state
    file = published_detector(spec)
    path = fetch_file(file.url, file.file_name, file.sha256)
    return file, path, read_foreign(path)


def published_detector(spec: str) -> PublishedWeights:
    """Return the published detector of that name; backbones are an error."""
    file = published(spec)
    if not file.preset:
        raise UsageError(f"{spec}: the weights of a backbone; pass them to --backbone-weights")
    return file


def published_config(file: PublishedWeights, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of a published detector."""
    tree = resolve(preset=file.preset, schedule="1x").model_dump(mode="json")
    merge(tree["model"], file.model)
    merge(tree["model"], {"backbone": {"frozen_stages": 2, "weights": "none"}})
    merge(tree["model"], overrides or {})
    return validate(tree, file.url)


def translate_state(file: PublishedWeights, state: dict[str, Tensor], detector: Detector) -> Translation:
    """Return a published file's tensors under the names that they have here.

    Args:
        file: What it is.
        state: Its tensors, by the framework's names.
        detector: The network that they are for; on the `meta` device, too.
    """
    return translate(state, file.keys, detector.state_dict(), norm_eps=file.norm_eps)
