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

from collections.abc import Iterator, Sequence
from os import PathLike, fsdecode
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dprd_cli.errors import DataError
from dprd_cli.evaluation.checkpoint import CheckpointEvaluation, CheckpointOptions, evaluate_model
from dprd_cli.inference.inputs import Channels, ImageLike
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadOptions
from dprd_cli.inference.sources import find_sources
from dprd_cli.inference.tiling import Tiling
from dprd_cli.runtime.progress import Progress
from dprd_cli.training.result import TrainResult
from dprd_cli.training.start import TrainOptions, find_run, new_config, resumed_config, run_training
from dprd_cli.weights.load import LoadedModel, load_model

__all__ = ["Model", "Prediction", "evaluate", "load", "train"]


def load(
    weights: str | PathLike[str] = "", *, device: str = "auto", score_thresh: float | None = None
) -> Model:
    """Load a detector.

    Args:
        weights: What `--weights` takes: a run folder, a checkpoint, `demo`, published weights; empty for the
            newest run.
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.
        score_thresh: Predictions hold detections from this score; by default the checkpoint's own, else 0.5.

    Raises:
        UserError: One line, if there is no such checkpoint or it does not fit.
    """
    return Model(load_model(fsdecode(weights), device), score_thresh=score_thresh)


class Model:
    """A detector that is ready to detect.

    Args:
        loaded: The detector, and what it was trained as.
        score_thresh: Predictions hold detections from this score; the detector's own by default.
    """

    def __init__(self, loaded: LoadedModel, *, score_thresh: float | None = None) -> None:
        self.loaded = loaded
        self.score_thresh = loaded.shown_from if score_thresh is None else score_thresh

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class index. [K]."""
        return self.loaded.class_names

    @property
    def device(self) -> torch.device:
        """Where the detector is."""
        return self.loaded.detector.device

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is a sequence too: the first wins
        self,
        images: ImageLike,
        *,
        batch_size: int = ...,
        score_thresh: float | None = ...,
        channels: Channels = ...,
        masks: bool = ...,
        tta: bool = ...,
        tiling: Tiling | None = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Sequence[ImageLike],
        *,
        batch_size: int = ...,
        score_thresh: float | None = ...,
        channels: Channels = ...,
        masks: bool = ...,
        tta: bool = ...,
        tiling: Tiling | None = ...,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        batch_size: int = 1,
        score_thresh: float | None = None,
        channels: Channels = "rgb",
        masks: bool = True,
        tta: bool = False,
        tiling: Tiling | None = None,
    ) -> Prediction | list[Prediction]:
        """Detect in one image, or in several.

        Args:
            images: One, or a list or tuple of them; a file, a URL, a Pillow image, an array (uint8
                [H, W, 3] or grey [H, W]) or a tensor ([3, H, W], uint8 or 0..1).
            batch_size: Images that go through the network together.
            score_thresh: Keep detections from this score; the model's by default.
            channels: Order of the channels in arrays and tensors: `bgr` is what OpenCV reads.
            masks: Predict masks, where the detector has mask heads.
            tta: Detect at several scales and mirrored, and merge.
            tiling: Detect in the tiles of large images too: `Tiling(640)`.

        Returns:
            A `Prediction`, or a list of them in the order of the images.

        Raises:
            DataError: If a file or URL cannot be read.
            ValueError: If an array or tensor has another shape, type or range.
            TypeError: If it is something else.
        """
        if isinstance(images, list | tuple):
            several = list(images)
        elif isinstance(images, str | PathLike | Image.Image | np.ndarray | Tensor):
            several = [images]
        else:
            raise TypeError(f"images: expected an image or a list of them, but got {type(images).__name__}")
        least = self._threshold(score_thresh)
        predictor = Predictor(self.loaded, min_score=least, masks=masks, tta=tta, tiling=tiling)
        inputs = (predictor.prepare_any(image, channels) for image in several)
        found = list(predictor.predict_inputs(inputs, batch_size))
        return found if isinstance(images, list | tuple) else found[0]

    def stream(
        self,
        *inputs: str | PathLike[str],
        recursive: bool = False,
        batch_size: int = 1,
        workers: int = 2,
        frame_step: int = 1,
        score_thresh: float | None = None,
        masks: bool = True,
        tiling: Tiling | None = None,
        skip_unreadable: bool = False,
    ) -> Iterator[Prediction]:
        """Detect in everything that `dprd predict` takes, one image or frame at a time.

        Args:
            inputs: Files, folders, globs, videos, URLs, `webcam:N`, `@LIST`.
            recursive: Folders give the images of the folders inside too.
            batch_size: Images that go through the network together.
            workers: Threads that read ahead of the network.
            frame_step: Take every so many frames of a video.
            score_thresh: Keep detections from this score; the model's by default.
            masks: Predict masks, where the detector has mask heads.
            tiling: As for `predict`.
            skip_unreadable: Leave out what cannot be read, instead of raising.

        Raises:
            DataError: If an input is not there, or one cannot be read.
        """
        least = self._threshold(score_thresh)
        predictor = Predictor(self.loaded, min_score=least, masks=masks, tiling=tiling)
        sources = find_sources([fsdecode(text) for text in inputs], recursive=recursive)
        for _, item in predictor.predict_sources(sources, ReadOptions(batch_size, workers, frame_step)):
            if isinstance(item, Prediction):
                yield item
            elif not skip_unreadable:
                raise DataError(item.message)

    def _threshold(self, score_thresh: float | None) -> float:
        return self.score_thresh if score_thresh is None else score_thresh


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
        progress: Called with (images done, images in all); on a terminal there is a bar by default.

    Returns:
        `metrics` are all numbers, flat; `evaluation` has them by class, and all detections.

    Raises:
        UserError: One line, if the checkpoint or the data cannot be used.
    """
    loaded = model.loaded if isinstance(model, Model) else load_model(fsdecode(model), device)
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
    on_bad_image: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
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
        on_bad_image: `error` or `skip`.
        out: The run folder; `runs/<preset>-<backbone>-<data>-<n>` by default.
        resume: A run folder to continue, with its own configuration; then only `steps` or `epochs`,
            `batch_size`, `lr`, `workers`, `device`, `on_bad_image`, `data` (moved) and `overrides`.
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
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        image_size=image_size,
        seed=seed,
        workers=workers,
        device=device,
        on_bad_image=on_bad_image,
    )
    folder = None if resume is None else find_run(_path(resume), options)
    settled = new_config(options) if folder is None else resumed_config(folder, options)
    return run_training(settled, folder, _path(out), progress)


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)
