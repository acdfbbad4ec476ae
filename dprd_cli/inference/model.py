"""A detector as programs have it: loaded by one call, and asked for what is in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike, fsdecode
from typing import Unpack, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dprd_cli.config.plugins import load_plugins
from dprd_cli.errors import DataError
from dprd_cli.inference.inputs import Channels, ImageLike
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadOptions
from dprd_cli.inference.sources import find_sources
from dprd_cli.inference.tiling import Tiling
from dprd_cli.weights.load import DetectionChoice, LoadedModel, load_model


def load(
    weights: str | PathLike[str] = "",
    *,
    device: str = "auto",
    precision: str = "auto",
    score_thresh: float | None = None,
    plugins: Sequence[str | PathLike[str]] = (),
    **choice: Unpack[DetectionChoice],
) -> Model:
    """Load a detector.

    Args:
        weights: What `--weights` takes: a run folder, a checkpoint, `demo`, published weights; empty for the
            newest run.
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.
        precision: `fp32`, `bf16` (bfloat16, with float32 where it matters) or `auto`: what is faster there.
        score_thresh: Predictions hold detections from this score; by default the checkpoint's own, else 0.5.
        plugins: Python files and modules that register what the detector is made of; they are run.
        choice: What is detected in all that follows: `classes`, `max_detections`, `nms_iou`,
            `class_agnostic_nms`, `image_size`; see `DetectionChoice`.

    Raises:
        UserError: One line, if there is no such checkpoint or it does not fit, or no such class.
    """
    load_plugins([fsdecode(one) for one in plugins])
    loaded = load_model(fsdecode(weights), device).with_precision(precision).with_choice(**choice)
    return Model(loaded, score_thresh=score_thresh)


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
        **choice: Unpack[DetectionChoice],
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
        **choice: Unpack[DetectionChoice],
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
        **choice: Unpack[DetectionChoice],
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
            choice: `classes`, `max_detections`, `nms_iou`, `class_agnostic_nms` and `image_size`, where they
                differ from the model's; see `DetectionChoice`.

        Returns:
            A `Prediction`, or a list of them in the order of the images.

        Raises:
            DataError: If a file or URL cannot be read.
            UsageError: If there is no such class, or a number is out of range.
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
        loaded = self.loaded.with_choice(**choice) if choice else self.loaded
        predictor = Predictor(loaded, min_score=least, masks=masks, tta=tta, tiling=tiling)
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
        **choice: Unpack[DetectionChoice],
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
            choice: As for `predict`.

        Raises:
            DataError: If an input is not there, or one cannot be read.
        """
        least = self._threshold(score_thresh)
        loaded = self.loaded.with_choice(**choice) if choice else self.loaded
        predictor = Predictor(loaded, min_score=least, masks=masks, tiling=tiling)
        sources = find_sources([fsdecode(text) for text in inputs], recursive=recursive)
        for _, item in predictor.predict_sources(sources, ReadOptions(batch_size, workers, frame_step)):
            if isinstance(item, Prediction):
                yield item
            elif not skip_unreadable:
                raise DataError(item.message)

    def _threshold(self, score_thresh: float | None) -> float:
        return self.score_thresh if score_thresh is None else score_thresh
