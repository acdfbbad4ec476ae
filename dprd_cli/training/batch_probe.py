"""The largest batch that fits into memory: by trying on CUDA, by measuring and extrapolating on a CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dprd_cli.config.schema import Config, DataConfig
from dprd_cli.errors import ResourceError, is_out_of_memory
from dprd_cli.runtime.memory import GIB, available_memory, peak_resident
from dprd_cli.structures.detections import Target
from dprd_cli.training.learner import Learner, NotFiniteError
from dprd_cli.training.memory import advice
from dprd_cli.training.setup import set_up

_MOST = 1024
_OBJECTS = 20  # in each image that is tried
_MEASURED = (1, 3)  # batch sizes that a CPU is measured with
_KEPT_FREE = 0.1  # share of a CPU's memory

Attempt = Callable[[int], None]


class BatchProbe(NamedTuple):
    """What was found.

    Args:
        batch_size: The largest that fits; 0 if one image does not.
        reason: How it was found.
    """

    batch_size: int
    reason: str


def probe_batch(config: Config) -> BatchProbe:
    """Find the largest batch whose training step fits into memory, with the largest images that can come.

    The step is a whole one, optimizer included, on images of noise with 20 objects each; nothing is
    written.

    Args:
        config: The run; `train.batch_size` and `train.accumulate` are not used.

    Raises:
        ResourceError: If not even one image fits.
    """
    setup = set_up(config)
    train = config.train.model_copy(update={"accumulate": 1})
    learner = Learner(setup.detector, train, precision=setup.precision)

    def attempt(size: int) -> None:
        batch = worst_batch(config.data, size, len(setup.train_set.class_names), masks=setup.with_masks)
        try:
            learner.step(0, 0.0, *batch)
        except NotFiniteError:
            pass  # memory is all that is asked for
        finally:
            learner.optimizer.zero_grad(set_to_none=True)

    found = _try(attempt, setup.device) if setup.device.type == "cuda" else _extrapolate(attempt)
    if not found.batch_size:
        raise ResourceError(f"not even one image fits ({found.reason}); {advice(config)}")
    return found


def worst_batch(
    config: DataConfig, size: int, num_classes: int, *, masks: bool
) -> tuple[list[Tensor], list[Target]]:
    """Return images of noise of the largest size that training draws, with objects all over."""
    short = min(int(max(config.train_min_sizes) * config.scale_jitter[1]), config.max_size)
    height, width = (config.lsj_size, config.lsj_size) if config.lsj_size else (short, config.max_size)
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    for number in range(size):
        images.append(torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator))
        corner = torch.rand(_OBJECTS, 2, generator=generator) * 0.5
        side = 0.05 + torch.rand(_OBJECTS, 2, generator=generator) * 0.4
        boxes = torch.cat((corner, corner + side), dim=1) * torch.tensor([width, height] * 2)
        target = Target(
            boxes=boxes,
            labels=torch.arange(_OBJECTS) % num_classes,
            image_size=(height, width),
            masks=torch.ones(_OBJECTS, height, width, dtype=torch.bool) if masks else None,
            has_mask=torch.full((_OBJECTS,), masks),
            image_id=number,
        )
        targets.append(target)
    return images, targets


def largest(fits: Callable[[int], bool], most: int = _MOST) -> int:
    """Return the largest number up to `most` that fits, 0 if none does: doubling, then halving the gap."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _try(attempt: Attempt, device: torch.device) -> BatchProbe:
    def fits(size: int) -> bool:
        try:
            attempt(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            fitted = False
        else:
            fitted = True
        gc.collect()
        torch.cuda.empty_cache()
        return fitted

    size = largest(fits)
    total = torch.cuda.get_device_properties(device).total_memory
    return BatchProbe(size, f"tried on {torch.cuda.get_device_name(device)}, {total / GIB:.1f} GiB")


def _extrapolate(attempt: Attempt) -> BatchProbe:
    attempt(1)  # what is allocated once
    few, more = _MEASURED
    first, second = peak_resident(lambda: attempt(few)), peak_resident(lambda: attempt(more))
    return extrapolated(first, second, available_memory())


def extrapolated(first: int, second: int, available: int) -> BatchProbe:
    """Return what fits, by the peaks (bytes) of steps with the two batch sizes of `_MEASURED`.

    Args:
        first: Peak of the process with the smaller batch.
        second: With the larger batch.
        available: What the process may take, including what it has.
    """
    few, more = _MEASURED
    each = max((second - first) / (more - few), 1.0)
    size = max(0, min(_MOST, int((available * (1 - _KEPT_FREE) - first) / each) + few))
    reason = (
        f"a step of {few} took {first / GIB:.2f} GiB and each further image {each / GIB:.2f}, of "
        f"{available / GIB:.1f} GiB; a tenth is kept free"
    )
    return BatchProbe(size if first <= available * (1 - _KEPT_FREE) else 0, reason)
