"""What a network costs: parameters and multiply-accumulates counted, memory and speed measured (Table 2)."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch

from dprd_cli.config.schema import Config
from dprd_cli.model.build import build_detector
from dprd_cli.model.cost import count_macs, count_parameters
from dprd_cli.model.inference import for_inference
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.memory import peak_beyond
from dprd_cli.runtime.precision import autocast, choose_precision

_WARM_UPS, _REPEATS = 1, 3
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class NetworkCounts:
    """What can be counted of a network without running it.

    Args:
        parameters: Parameters, in millions.
        macs: Multiply-accumulates of one image's inference, in billions.
    """

    parameters: float
    macs: float


@dataclass(frozen=True, slots=True)
class InferenceSpeed:
    """What one image's inference takes.

    Args:
        memory: Peak memory, MiB.
        fps: Images a second.
    """

    memory: float
    fps: float


def count_costs(config: Config, num_classes: int, image_size: tuple[int, int]) -> NetworkCounts:
    """Count a network's parameters and the multiply-accumulates of one image's inference, by shapes alone.

    Args:
        config: Settled.
        num_classes: K.
        image_size: (height, width).
    """
    with torch.device("meta"):
        detector = build_detector(
            config.model, num_classes=num_classes, with_masks=config.model.heads.mask is not False
        )
    test = config.model.rpn.post_nms_test, config.model.test.detections_per_image
    return NetworkCounts(
        parameters=count_parameters(detector).total / 1e6,
        macs=count_macs(detector, image_size, *test).total / 1e9,
    )


def measure_inference(
    config: Config, num_classes: int, image_size: tuple[int, int], device: str = "auto"
) -> InferenceSpeed:
    """Measure one image's inference in a process of its own.

    On CUDA, memory is what torch had allocated at most; on a CPU, how far the process grew. The weights are
    random and every score counts, so that there are as many detections as there may be.

    Args:
        config: Settled.
        num_classes: K.
        image_size: (height, width).
        device: `auto`, `cpu` or `cuda`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        threads = torch.get_num_threads()
        return pool.submit(
            _measure, config.model_dump(mode="json"), num_classes, image_size, device, threads
        ).result()


def _measure(
    tree: dict[str, object], num_classes: int, image_size: tuple[int, int], device: str, threads: int
) -> InferenceSpeed:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config, place = Config.model_validate(tree), pick_device(device)
    seconds: list[float] = []
    peak = peak_beyond(lambda: seconds.extend(_time_turns(config, num_classes, image_size, place)), place)
    return InferenceSpeed(memory=peak / _MIB, fps=1 / statistics.median(seconds[_WARM_UPS:]))


def _time_turns(
    config: Config, num_classes: int, image_size: tuple[int, int], place: torch.device
) -> list[float]:
    """Build the network and return the seconds of each turn of its inference."""
    test = config.model.test.model_copy(update={"score_thresh": 0.0})
    detector = build_detector(
        config.model.model_copy(update={"test": test}),
        num_classes=num_classes,
        with_masks=config.model.heads.mask is not False,
    )
    detector.to(place).to(memory_format=torch.channels_last).eval()
    detector = for_inference(detector, choose_precision(config.train.precision, place).name)
    image = torch.randint(0, 256, (3, *image_size), dtype=torch.uint8).to(place)
    wait: Callable[[], object] = torch.cuda.synchronize if place.type == "cuda" else lambda: None
    seconds = []
    for _ in range(_WARM_UPS + _REPEATS):
        wait()
        started = time.perf_counter()
        with autocast(place, detector.precision):
            detector.detect([image])
        wait()
        seconds.append(time.perf_counter() - started)
    return seconds
