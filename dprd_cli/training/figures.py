"""What a run draws: the first training batches, the parts at each evaluation, the curves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli.config.schema import Config
from dprd_cli.data.loading import iterate_eval
from dprd_cli.runtime.precision import autocast
from dprd_cli.runtime.progress import say
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import Dataset

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector

_IMAGES = 6
_SURE = 0.5
_FEWEST = 3
_SHARE = 0.05  # of the time, at most, goes into curves while a run goes on


def draw_batch(images: list[Tensor], targets: list[Target], class_names: tuple[str, ...], path: Path) -> None:
    """Draw what the network is trained on: images after augmentation, with their boxes and masks."""
    from dprd_cli.drawing.detections import draw_targets

    pairs = list(zip(images, targets, strict=True))[:16]
    drawn = [draw_targets(_to_array(image), target, class_names) for image, target in pairs]
    _save(drawn, 4, [f"id {target.image_id}" for target in targets[: len(drawn)]], path)


@torch.no_grad()
def draw_parts(
    detector: Detector, dataset: Dataset, config: Config, device: torch.device, path: Path
) -> None:
    """Draw a few held-out images with their sure detections (or the best few), parts in orange."""
    from dprd_cli.drawing.detections import draw_detections

    images, _, samples = next(iterate_eval(dataset, config.data, batch_size=_IMAGES, limit=_IMAGES))
    was_training = detector.training
    detector.eval()
    with autocast(device, detector.precision), _any_score(detector):
        found = detector.detect([image.to(device) for image in images]).detections
    detector.train(was_training)
    drawn = [
        draw_detections(
            _to_array(image), _best(rows), dataset.class_names, score_thresh=0.0, masks=False, parts=True
        )
        for image, rows in zip(images, found, strict=True)
    ]
    _save(drawn, 3, [Path(sample.file_name).name for sample in samples], path)


def draw_curves(rows: list[dict[str, Any]], folder: Path) -> None:
    """Draw the curves of a run from its metrics."""
    from dprd_cli.drawing.curves import plot_training

    plot_training(rows, folder)


class CurveDrawer:
    """Draws a run's curves while it goes on: cheaply, and whatever becomes of that, the run is not harmed.

    Args:
        folder: The run folder.
        clock: Returns the time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._folder, self._clock = folder, clock
        self._next = clock()

    def now(self, rows: list[dict[str, Any]]) -> None:
        """Draw them; where that fails it is said."""
        started = self._clock()
        try:
            draw_curves(rows, self._folder)
        except Exception as error:  # a figure is never worth a run
            say(f"the curves could not be drawn: {error}")
        ended = self._clock()
        self._next = ended + (ended - started) / _SHARE

    def if_cheap(self, rows: list[dict[str, Any]]) -> None:
        """Draw them, unless that would take more than a small share of the time."""
        if self._clock() >= self._next:
            self.now(rows)


def _best(found: Detections) -> Detections:
    """Return the detections that are sure, and early in training the first few anyway."""
    return found[: max(int((found.scores >= _SURE).sum()), _FEWEST)].to("cpu")


@contextlib.contextmanager
def _any_score(detector: Detector) -> Iterator[None]:
    """Let every score through: early in training none passes the usual threshold."""
    selector = detector.roi_heads.selector
    usual, selector.score_thresh = selector.score_thresh, 0.0
    try:
        yield
    finally:
        selector.score_thresh = usual


def _to_array(image: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())  # [H, W, 3]


def _save(images: list[NDArray[np.uint8]], columns: int, titles: list[str], path: Path) -> None:
    from dprd_cli.drawing.sheet import grid
    from dprd_cli.files.images import write_image

    write_image(path, grid(images, columns, titles, width=1280))
