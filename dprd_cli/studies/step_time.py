"""How long a training step of a variant takes here, by doing a few."""

from __future__ import annotations

import contextlib
from time import perf_counter

import torch

from dprd_cli.config.schema import Config
from dprd_cli.data.loading import TrainLoader
from dprd_cli.errors import is_out_of_memory
from dprd_cli.model.build import build_detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.precision import choose_precision
from dprd_cli.structures.sample import Dataset
from dprd_cli.training.learner import Learner, NotFiniteError

_STEPS = 3  # the first one is not counted
_IMAGES = 2  # of a step; one of more images takes so much longer


def time_step(config: Config, dataset: Dataset) -> float | None:
    """Return the seconds of one of a run's first steps, from random weights; nothing is written.

    Args:
        config: The run's.
        dataset: Its training split.

    Returns:
        None where a step does not fit into memory.

    Raises:
        DataError: If an image cannot be read.
    """
    try:
        with torch.random.fork_rng():
            return min(_steps(config, dataset)[1:]) * config.train.batch_size / _images(config)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise


def _images(config: Config) -> int:
    return min(config.train.batch_size, _IMAGES)


def _steps(config: Config, dataset: Dataset) -> list[float]:
    place, train = pick_device(config.train.device), config.train
    with_masks = dataset.has_masks and config.model.heads.mask is not False
    torch.manual_seed(train.seed)
    detector = build_detector(config.model, num_classes=len(dataset.class_names), with_masks=with_masks)
    detector = detector.to(memory_format=torch.channels_last).to(place)
    few = {"batch_size": _images(config), "accumulate": 1}
    precision = choose_precision(train.precision, place).name
    learner = Learner(detector, train.model_copy(update=few), precision=precision)
    loader = TrainLoader(
        dataset,
        config.data.model_copy(update={"workers": 0}),
        batch_size=_images(config),
        seed=train.seed,
        steps=_STEPS,
    )
    seconds = []
    for step, (images, targets) in enumerate(loader):
        started = perf_counter()
        with contextlib.suppress(NotFiniteError):  # time is all that is asked for
            learner.step(step, 0.0, images, targets)
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        seconds.append(perf_counter() - started)
    return seconds
