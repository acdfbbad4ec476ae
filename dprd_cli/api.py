"""The Python interface: train, load, predict, evaluate: what the commands call, with keywords, typed results.

>>> from dprd_cli import load
>>> model = load("demo", device="cpu")
>>> model.class_names
('tadpole', 'dumbbell', 'flower', 'fan', 'lizard', 'squid')
>>> import numpy as np
>>> grey = np.full((120, 160, 3), 128, dtype=np.uint8)
>>> model.predict(grey)
Prediction('image', 160x120: nothing found)
>>> [len(prediction) for prediction in model.predict([grey, grey], batch_size=2)]
[0, 0]
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fsdecode
from pathlib import Path

from dprd_cli.config.plugins import load_plugins
from dprd_cli.evaluation.checkpoint import CheckpointEvaluation, CheckpointOptions, evaluate_model
from dprd_cli.inference.model import Model, load
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.tiling import Tiling
from dprd_cli.runtime.progress import Progress
from dprd_cli.training.result import TrainResult
from dprd_cli.training.start import TrainOptions, find_run, new_config, resumed_config, run_training
from dprd_cli.weights.load import load_model

__all__ = ["Model", "Prediction", "evaluate", "load", "train"]


def evaluate(
    model: Model | str | PathLike[str] = "",
    *,
    data: str | PathLike[str] | None = None,
    split: str = "val",
    limit: int = 0,
    part_offsets: str = "learned",
    tta: bool = False,
    tiling: Tiling | None = None,
    out: str | PathLike[str] | None = None,
    save_results: str | PathLike[str] | None = None,
    plots: str | PathLike[str] | None = None,
    overwrite: bool = False,
    on_bad_image: str | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    plugins: Sequence[str | PathLike[str]] = (),
    progress: Progress | None = None,
) -> CheckpointEvaluation:
    """Measure a detector with COCO's metrics (and VOC's, on its data), as `dprd eval` does.

    >>> evaluation = evaluate("demo", device="cpu", limit=2)
    >>> evaluation.evaluation.coco.images
    2
    >>> sorted(evaluation.metrics)[:3]
    ['bbox_AP', 'bbox_AP50', 'bbox_AP75']
    >>> evaluation.evaluation.coco.classes[0].name
    'tadpole'

    Args:
        model: A loaded one, or what `load` takes.
        data: Folder with annotations, or `synthetic`; by default what it was trained on.
        split: `val` or `train`.
        limit: Number of images, the split's first ones; 0 takes all.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (parts do not move).
        tta: Detect at several scales and mirrored.
        tiling: Detect in the tiles of large images too.
        out: File for the results as JSON; none by default, as for the next two.
        save_results: Folder for the detections, in COCO's results format.
        plots: Folder for curves, the confusion matrix, best and worst images.
        overwrite: Replace that file, and what was written into those folders before.
        on_bad_image: `error` or `skip`.
        overrides: `data.KEY=VALUE` pairs.
        device: `auto`, `cpu` or `cuda`, where the model is not loaded yet.
        precision: `auto`, `fp32` or `bf16`, likewise.
        plugins: As for `load`.
        progress: Called with (images done, images in all); on a terminal there is a bar by default.

    Returns:
        `metrics` are all numbers, flat; `evaluation` has them by class, and all detections.

    Raises:
        UserError: One line, if the checkpoint or the data cannot be used.
    """
    _load_plugins(plugins)
    if isinstance(model, Model):
        loaded = model.loaded
    else:
        loaded = load_model(fsdecode(model), device).with_precision(precision)
    options = CheckpointOptions(
        split=split,
        part_offsets=part_offsets,
        tta=tta,
        tiling=tiling,
        limit=limit,
        out=_path(out),
        save_results=_path(save_results),
        plots=_path(plots),
        overwrite=overwrite,
    )
    loaded = loaded.with_part_offsets(part_offsets)
    loaded = loaded.with_data(None if data is None else fsdecode(data), on_bad_image, overrides)
    result = evaluate_model(loaded, options, on_progress=progress)
    assert result is not None  # a process alone is the main one
    return result


def train(
    *,
    data: str | PathLike[str] | None = None,
    preset: str | None = None,
    backbone: str | None = None,
    weights: str | PathLike[str] | None = None,
    backbone_weights: str | None = None,
    schedule: str | None = None,
    config: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    image_size: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    on_bad_image: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    plugins: Sequence[str | PathLike[str]] = (),
    progress: Progress | None = None,
) -> TrainResult | None:
    """Train a detector, or continue a run, as `dprd train` does.

    Ctrl-C (or a notebook's stop button) saves and raises `InterruptedRun`; `resume` continues to the same
    weights::

        result = train(data="pennfudan", backbone="mobilenet_v2")
        model = load(result.best)

    Args:
        data: Folder with annotations, or `synthetic` (default).
        preset: `mask-rcnn`, `cascade-mrcnn`, `dprd` or `cascade-dprd`; also `-small`, `-medium`.
        backbone: `r50`, `r101`, `x101`, `r10`, `r18`, `r34` or `mobilenet_v2`.
        weights: Detector to start from: what `load` takes.
        backbone_weights: Weights that the backbone starts from.
        schedule: Named schedule, such as `1x`; `auto`, the default on your own data, is fitted to it.
        config: TOML file with any of the configuration's keys.
        overrides: `KEY=VALUE` pairs of the configuration; they win.
        steps: Optimiser steps.
        epochs: Passes through the training images, in place of `steps`.
        batch_size: Images a step; the learning rate follows.
        lr: Learning rate.
        image_size: Short side at test, pixels; the sizes of training follow.
        seed: Seed of weights, order and augmentation.
        workers: Processes that load images.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16` (mixed precision) or `auto`: what the device is faster in.
        on_bad_image: `error` or `skip`.
        out: The run folder; `runs/<preset>-<backbone>-<data>-<n>` by default.
        resume: A run folder to continue, with its own configuration; then only `steps` or `epochs`,
            `batch_size`, `lr`, `workers`, `device`, `precision`, `on_bad_image`, `data` (moved), `overrides`,
            `plugins`.
        plugins: Python files and modules that register parts of your own (docs/extend.md); they are run.
        progress: Called with (steps done, steps in all); on a terminal there is a bar by default.

    Returns:
        The run folder, its checkpoints and the final evaluation; None in torchrun's processes but the main.

    Raises:
        UserError: One line: a wrong option, data that cannot be used, a loss that is not finite, a full disk.
    """
    options = TrainOptions(
        data=None if data is None else fsdecode(data),
        preset=preset,
        backbone=backbone,
        weights=None if weights is None else fsdecode(weights),
        backbone_weights=backbone_weights,
        schedule=schedule,
        config_file=_path(config),
        overrides=overrides,
        plugins=_load_plugins(plugins),
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        image_size=image_size,
        seed=seed,
        workers=workers,
        device=device,
        precision=precision,
        on_bad_image=on_bad_image,
    )
    folder = None if resume is None else find_run(_path(resume), options)
    settled = new_config(options) if folder is None else resumed_config(folder, options)
    return run_training(settled, folder, _path(out), progress)


def _load_plugins(plugins: Sequence[str | PathLike[str]]) -> tuple[str, ...]:
    return load_plugins([fsdecode(one) for one in plugins])


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)
