"""What a run is made of: its data, found and checked, and its detector with the weights it starts from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from dprd_cli.config.aliases import rename_keys
from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.data.check import check_before_training
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.errors import DataError
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.precision import choose_precision
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import progress, say
from dprd_cli.structures.sample import Dataset
from dprd_cli.weights.backbone_weights import load_backbone_weights
from dprd_cli.weights.checkpoint import CheckpointData, load_state
from dprd_cli.weights.start import start_from


class TrainingSetup(NamedTuple):
    """What a run is made of.

    Args:
        detector: On its device, with the weights that training starts from.
        train_set: Training split.
        val_set: Evaluation split.
        with_masks: Whether the detector has mask heads.
        device: Where the detector is.
        precision: What it is trained in, `fp32` or `bf16`.
    """

    detector: Detector
    train_set: Dataset
    val_set: Dataset
    with_masks: bool
    device: torch.device
    precision: str


def set_up(
    config: Config,
    saved: CheckpointData | None = None,
    source: Path = Path("checkpoint"),
    group: ProcessGroup = SINGLE_PROCESS,
) -> TrainingSetup:
    """Find the data, say what is in it, and build the detector.

    Args:
        config: The whole run.
        saved: Checkpoint of a run that is resumed.
        source: Where it is from, for messages.
        group: The main rank checks the images and gets the weights, for all.

    Raises:
        UserError: On data or weights that cannot be used.
    """
    device = pick_device(config.train.device)
    train_set, val_set = _datasets(config, saved)
    for dataset in (train_set, val_set):
        for line in describe(dataset):
            say(line)
        if config.data.check_images and isinstance(dataset, CocoDataset):
            say(group.broadcast(partial(_check_images, dataset, config)))
    with_masks = _with_masks(config, train_set)
    torch.manual_seed(config.train.seed)
    detector = build_detector(config.model, num_classes=len(train_set.class_names), with_masks=with_masks)
    if saved is not None:
        # "model" is the average of the weights, where there is one
        load_state(detector, saved.get("trained", saved["model"]), source)
    else:
        _load_first_weights(detector, config, train_set.class_names, group)
    detector = detector.to(memory_format=torch.channels_last).to(device)
    precision = group.broadcast(lambda: _precision(config, saved, device))
    return TrainingSetup(detector, train_set, val_set, with_masks, device, precision)


def _precision(config: Config, saved: CheckpointData | None, device: torch.device) -> str:
    """Return what to train in, and say it: on a kind of device where a run was, what it was in there."""
    asked = config.train.precision
    kept = None if saved is None else _kept_precision(saved, device.type)
    if asked == "auto" and kept:
        say(f"on {device}, in {kept} as before")
        return kept
    choice = choose_precision(asked, device)
    say(f"on {device}, in {choice.line()}")
    return choice.name


def _kept_precision(saved: CheckpointData, kind: str) -> str | None:
    """Return what a run's `auto` stood for on a kind of device; None where it was not there, or not `auto`.

    Checkpoints of older versions do not say: it was bfloat16 on CUDA and float32 elsewhere.
    """
    train = rename_keys(saved["config"]).get("train")
    if not isinstance(train, dict) or train.get("precision", "auto") != "auto":
        return None
    return saved.get("precision", {kind: "bf16" if kind == "cuda" else "fp32"}).get(kind)


def _check_images(dataset: CocoDataset, config: Config) -> str:
    with progress("checking images") as show:
        return check_before_training(dataset, config.data, show)


def _datasets(config: Config, saved: CheckpointData | None) -> tuple[Dataset, Dataset]:
    """Return the training and the evaluation split, which must have the classes of a resumed run."""
    names = tuple(saved["class_names"]) if saved else None
    category_ids = tuple(saved["category_ids"]) if saved else None
    train_set = build_dataset(config.data, "train", class_names=names, category_ids=category_ids)
    return train_set, build_dataset(config.data, "val", training=train_set)


def _load_first_weights(
    detector: Detector, config: Config, class_names: tuple[str, ...], group: ProcessGroup
) -> None:
    """Load what training starts from, on the main rank, and give it to the others."""
    if group.is_main:
        lines: list[str] = []
        if config.model.backbone.weights != "none":
            lines += load_backbone_weights(detector, config.model.backbone.weights)
        if config.train.weights:
            lines += start_from(detector, config.train.weights, class_names)
        for line in lines:
            say(line)
    if group.size > 1:
        detector.load_state_dict(group.broadcast(detector.state_dict))


def _with_masks(config: Config, dataset: Dataset) -> bool:
    if config.model.heads.mask == "auto":
        return dataset.has_masks
    if config.model.heads.mask and not dataset.has_masks:
        raise DataError(
            f"{dataset.name}: no object has a mask; leave model.heads.mask at auto, or set it to false"
        )
    return config.model.heads.mask
