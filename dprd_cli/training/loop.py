"""Training from a config to results: sets up, resumes, and leaves a checkpoint whatever stops it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.data.check import check_before_training
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.errors import DataError, UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.distributed import ALONE, Ranks
from dprd_cli.runtime.progress import progress, say
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.structures.sample import Dataset
from dprd_cli.training.best import check_metric
from dprd_cli.training.memory import memory_advice
from dprd_cli.training.metrics_log import RunLog, SilentLog
from dprd_cli.training.run_folder import RunLock, describe_run, read_resumable
from dprd_cli.training.trackers import check_trackers, start_trackers
from dprd_cli.training.trainer import Trainer
from dprd_cli.weights.checkpoint import load_state
from dprd_cli.weights.foreign import load_backbone_weights
from dprd_cli.weights.load import start_from


def train(config: Config, run_dir: Path, *, resume: bool = False, world: Ranks = ALONE) -> dict[str, Any]:
    """Train a detector, or continue a run.

    Args:
        config: The whole run.
        run_dir: Where everything is written; empty, or a run to continue.
        resume: Continue from `last.pt` (else `previous.pt`) in `run_dir`.
        world: The processes that train together, all of which call this. The main one alone reads and writes
            the run folder. Law: W of them are the same as one with W times `train.accumulate`.

    Returns:
        The final evaluation: what `results.json` in the run folder holds. Nothing but on the main rank.

    Raises:
        UserError: On data that cannot be used, a checkpoint that does not fit, a loss that is not finite
            (`DivergedError`), a full disk (`ResourceError`), another process that trains this run
            (`BusyError`), or a signal (`InterruptedRun`, all saved).
    """
    with RunLock(run_dir) if world.is_main else nullcontext():
        return train_locked(config, run_dir, resume=resume, world=world)


def train_locked(config: Config, run_dir: Path, *, resume: bool, world: Ranks = ALONE) -> dict[str, Any]:
    """Do what `train` does, in a run folder whose `RunLock` the main rank holds."""
    check_metric(config.train.best_metric)
    check_trackers(config.train.loggers)
    _check_share(config, world)
    saved = world.from_main(lambda: read_resumable(run_dir) if resume else None)
    with memory_advice(config, run_dir):
        parts = build_parts(config, saved, run_dir, world)
        check_metric(
            config.train.best_metric,
            masks=parts.with_masks and parts.val_set.has_masks,
            voc=parts.val_set.is_voc,
        )
        with _start_log(config, run_dir, saved, parts.device, world) as log, StopRequest() as stop:
            datasets = (parts.train_set, parts.val_set)
            trainer = Trainer(config, run_dir, parts.detector, datasets, parts.with_masks, log, stop, world)
            if saved is None:
                trainer.save()
            else:
                trainer.restore(saved)
            return trainer.run()


def _check_share(config: Config, world: Ranks) -> None:
    """Check that every pass of every rank has an image."""
    passes = world.size * config.train.accumulate
    if world.size > 1 and config.train.batch_size < passes:
        raise UsageError(
            f"train.batch_size={config.train.batch_size}: the images of a step over all processes; at "
            f"least {passes} for {world.size} processes with train.accumulate={config.train.accumulate}"
        )


def _start_log(
    config: Config, run_dir: Path, saved: Mapping[str, Any] | None, device: torch.device, world: Ranks
) -> RunLog:
    """Describe the run in its folder and open its log; not for ranks that the main one writes for."""
    if not world.is_main:
        return SilentLog()
    describe_run(run_dir, config, device)  # from here on there is something to continue
    step = saved["step"] if saved else 0
    return RunLog(run_dir, config.train.steps, step, start_trackers(config, run_dir, step))


class Parts(NamedTuple):
    """What a run is made of.

    Args:
        detector: On its device, with the weights that training starts from.
        train_set: Training split.
        val_set: Evaluation split.
        with_masks: Whether the detector has mask heads.
        device: Where the detector is.
    """

    detector: Detector
    train_set: Dataset
    val_set: Dataset
    with_masks: bool
    device: torch.device


def build_parts(
    config: Config,
    saved: Mapping[str, Any] | None = None,
    source: Path = Path("checkpoint"),
    world: Ranks = ALONE,
) -> Parts:
    """Find the data, say what is in it, and build the detector.

    Args:
        config: The whole run.
        saved: Checkpoint of a run that is resumed.
        source: Where it is from, for messages.
        world: The main rank checks the images and gets the weights, for all.

    Raises:
        UserError: On data or weights that cannot be used.
    """
    device = pick_device(config.train.device)
    train_set, val_set = _datasets(config, saved)
    for dataset in (train_set, val_set):
        for line in describe(dataset):
            say(line)
        if config.data.check_images and isinstance(dataset, CocoDataset):
            say(world.from_main(partial(_check_images, dataset, config)))
    with_masks = _with_masks(config, train_set)
    detector = _detector(config, train_set.class_names, with_masks, saved, source, world).to(device)
    return Parts(detector, train_set, val_set, with_masks, device)


def _check_images(dataset: CocoDataset, config: Config) -> str:
    with progress("checking images") as show:
        return check_before_training(dataset, config.data, show)


def _datasets(config: Config, saved: Mapping[str, Any] | None) -> tuple[Dataset, Dataset]:
    """Return the training and the evaluation split, which must have the classes of a resumed run."""
    names = tuple(saved["class_names"]) if saved else None
    category_ids = tuple(saved["category_ids"]) if saved else None
    train_set = build_dataset(config.data, "train", class_names=names, category_ids=category_ids)
    return train_set, build_dataset(config.data, "val", training=train_set)


def _detector(
    config: Config,
    class_names: tuple[str, ...],
    with_masks: bool,
    saved: Mapping[str, Any] | None,
    source: Path,
    world: Ranks,
) -> Detector:
    """Build the detector, with the weights of a resumed run or those that it starts from."""
    torch.manual_seed(config.train.seed)
    detector = build_detector(config.model, num_classes=len(class_names), with_masks=with_masks)
    weights = config.model.backbone.weights
    if saved is not None:
        # "model" is the average of the weights, where there is one
        load_state(detector, saved.get("trained", saved["model"]), source)
    elif world.is_main:
        lines: list[str] = []
        if weights != "none":
            lines += load_backbone_weights(detector, weights)
        if config.train.weights:
            lines += start_from(detector, config.train.weights, class_names)
        for line in lines:
            say(line)
    if world.size > 1 and saved is None:
        detector.load_state_dict(world.from_main(detector.state_dict))
    return detector.to(memory_format=torch.channels_last)


def _with_masks(config: Config, dataset: Dataset) -> bool:
    if config.model.heads.mask == "auto":
        return dataset.has_masks
    if config.model.heads.mask and not dataset.has_masks:
        raise DataError(
            f"{dataset.name}: no object has a mask; leave model.heads.mask at auto, or set it to false"
        )
    return config.model.heads.mask
