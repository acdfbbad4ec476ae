"""Where the processor's time of a training step, or of inference, goes: seconds by groups of operators.

Each turn does the same work twice: plainly, which says how long it takes, and watched, which says how long
each operator takes. The clock is this process's, so what else runs on the machine hardly counts.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from operator import attrgetter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dprd_cli.benchmark.networks import BenchmarkImages, build_network
from dprd_cli.config.presets import PRESETS, pick, resolve
from dprd_cli.config.schema import Config
from dprd_cli.data.loading import TrainLoader
from dprd_cli.errors import UsageError
from dprd_cli.ops.gradients import backward_pass
from dprd_cli.runtime.progress import Progress
from dprd_cli.training.learner import Learner
from dprd_cli.training.optimizer import learning_rate
from dprd_cli.training.setup import set_up

#: Steps of a training before the first that is measured: early ones have few RoIs on objects.
WARM_UP = 10
REST = "the rest: Python, autograd, NumPy"
_OPTIMISER = "clipping, optimiser"
_ELEMENTWISE = "sums, products of elements, copies, activations"
_VIEWS = "views"
_ACTIVATED = "_convolution_pointwise"  # of `ops.convolution.activated_conv2d`
_PRODUCTS = ("convolution", _ACTIVATED, "mm", "addmm", "bmm", "baddbmm", "convolution_backward")
_WEIGHTS_GRADIENT = ("_embedding_bag_per_sample_weights_backward",)
#: Group -> patterns of the operators in it; the first that fits.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "gradient of the pooled features' weights": _WEIGHTS_GRADIENT,
    "convolutions and matrix products": _PRODUCTS,
    "pooled features": ("_embedding_bag*", "*sparse_*", "addmm_"),
    "normalisation": ("*_norm", "*_norm_backward", "*batch_norm*"),
    "choosing and sorting": (
        "topk",
        "sort",
        "nms",
        "max",
        "argm*",
        "nonzero",
        "gather",
        "scatter*",
        "index*",
    ),
}


@dataclass(frozen=True, slots=True)
class OperatorShare:
    """A group of operators in a call.

    Args:
        name: The group.
        seconds: Processor seconds of a call.
        calls: Operators of a call; 0 of the rest.
        macs: Multiply-accumulates of a call, where they are counted: of convolutions and matrix products.
    """

    name: str
    seconds: float
    calls: float
    macs: float


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """Where the time of a call goes.

    Law: the groups' seconds sum to `seconds`.

    Args:
        name: `inference` or `train`.
        settings: What it ran on.
        seconds: Processor seconds of a call that was not watched, on average.
        turns: Calls that were measured.
        shares: The dearest group first, and last what no operator took.
    """

    name: str
    settings: Mapping[str, Any]
    seconds: float
    turns: int
    shares: tuple[OperatorShare, ...]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return group, seconds, per cent, operators and GMAC/s of each, as they are shown."""
        return [
            (
                one.name,
                f"{one.seconds:.3f}",
                f"{100 * one.seconds / self.seconds:.1f}",
                f"{one.calls:.0f}" if one.calls else "",
                f"{one.macs / one.seconds / 1e9:.0f}" if one.macs else "",
            )
            for one in self.shares
        ]

    def total(self) -> tuple[str, str, str, str, str]:
        """Return a last row, of all groups."""
        calls = sum(one.calls for one in self.shares)
        return f"a call, mean of {self.turns}", f"{self.seconds:.3f}", "100", f"{calls:.0f}", ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        groups = [
            {"group": one.name, "s": one.seconds, "share": one.seconds / self.seconds, "operators": one.calls}
            | ({"gmac": one.macs / 1e9} if one.macs else {})
            for one in self.shares
        ]
        return {
            "profile": self.name,
            "settings": dict(self.settings),
            "turns": self.turns,
            "processor_s": self.seconds,
            "groups": groups,
        }


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the processor's time of every operator, by group.

    Attributes:
        seconds: Measured seconds of all calls, by group.
        calls: Calls, by group.
        macs: Multiply-accumulates, by group.
        differentiated: Whether a gradient was taken since this was set to false.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.macs: Counter[str] = Counter()
        self.differentiated = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        started = time.process_time()
        found = func(*args, **kwargs)
        seconds = time.process_time() - started
        name = _VIEWS if func.is_view else func.overloadpacket.__name__
        group = _group(name, self._phase())
        self.seconds[group] += seconds
        self.calls[group] += 1
        if name == _ACTIVATED:
            # of (x, weight, bias), or (x, what is added, weight)
            weight = next(one for one in reversed(args[:3]) if one is not None and one.ndim == 4)
            self.macs[group] += found.numel() * weight[0].numel()
        elif (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.macs[group] += formula(*args, **kwargs, out_val=found) // 2
        return found

    def shares(self, turns: int) -> list[OperatorShare]:
        """Return the groups of a turn, the dearest first.

        A view computes nothing: what its call takes on average is Python's and the clock's, and is taken off
        every call.
        """
        call = self.seconds[_VIEWS] / max(self.calls[_VIEWS], 1)
        of_groups = [
            OperatorShare(
                group,
                (self.seconds[group] - call * calls) / turns,
                calls / turns,
                self.macs[group] / turns,
            )
            for group, calls in self.calls.items()
            if group != _VIEWS
        ]
        return sorted(of_groups, key=attrgetter("seconds"), reverse=True)

    def _phase(self) -> str:
        """Return where in a step the calling operator is: what follows the gradient is the optimiser's."""
        if backward_pass() != -1:
            self.differentiated = True
            return "backward"
        return _OPTIMISER if self.differentiated else "forward"


@cache
def _group(operator: str, phase: str) -> str:
    """Return the group of an operator that is called in a phase of a step: forward, backward or optimiser."""
    if operator == _VIEWS or phase == _OPTIMISER:
        return _VIEWS if operator == _VIEWS else _OPTIMISER
    group = next((name for name, known in _GROUPS.items() if _is_among(operator, known)), _ELEMENTWISE)
    return group if operator in _WEIGHTS_GRADIENT else f"{group}, {phase}"


def _is_among(operator: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(operator, pattern) for pattern in patterns)


def measure(
    name: str, settings: Mapping[str, Any], turns: Iterable[tuple[Callable[[], object], Callable[[], object]]]
) -> ProfileReport:
    """Profile calls.

    Args:
        name: What they are.
        settings: What they run on.
        turns: A call that is timed, and one of the same work that is watched after it, of each turn.
    """
    operators, plain, count = _Operators(), 0.0, 0
    for timed, watched in turns:
        started = time.process_time()
        timed()
        plain += time.process_time() - started
        operators.differentiated = False
        with operators:
            watched()
        count += 1
    shares = operators.shares(count)
    rest = OperatorShare(REST, plain / count - sum(one.seconds for one in shares), 0, 0)
    return ProfileReport(name, settings, plain / count, count, (*shares, rest))


def profile_inference(
    inputs: BenchmarkImages, preset: str, repetitions: int, progress: Progress
) -> ProfileReport:
    """Profile a preset's inference as `detectors.inference` does it, masks pasted.

    Args:
        inputs: The images.
        preset: Whose network.
        repetitions: Turns, after two calls to warm up.
        progress: Called after each turn.
    """
    network = build_network(pick("preset", preset, PRESETS), inputs)
    network.module.eval()

    def turns() -> Any:
        for turn in range(repetitions):
            yield network.detect, network.detect
            progress(turn + 1, repetitions)

    settings = {
        "preset": preset,
        "image_size": list(inputs.image_size),
        "batch": inputs.batch,
        "proposals": inputs.proposals,
        "precision": inputs.precision,
    }
    with torch.no_grad():  # under inference mode convolutions would arrive as what they are composed of
        network.detect()
        network.detect()
        return measure("inference", settings, turns())


def training_config(preset: str, side: int | None, batch: int | None, precision: str) -> Config:
    """Return the training that is profiled: a preset's on the built-in data.

    Args:
        preset: Architecture name.
        side: Side of the square images, or None for the preset's.
        batch: Images a step, or None for the preset's.
        precision: `fp32` or `bf16`.
    """
    flags = {
        "data.synthetic_size": side,
        "data.train_min_sizes": None if side is None else [side],
        "data.max_size": side,
        "data.workers": 0,
        "train.batch_size": batch,
        "train.accumulate": 1,
        "train.device": "cpu",
        "train.precision": precision,
    }
    return resolve(preset=pick("preset", preset, PRESETS), flags=flags)


def profile_training(config: Config, repetitions: int, progress: Progress) -> ProfileReport:
    """Profile steps of a training, from the one after `WARM_UP` on, as `dprd train` does them.

    What loads their images is not measured.

    Args:
        config: The whole run; nothing of it is written.
        repetitions: Steps that are measured.
        progress: Called after each step.
    """
    train = config.train
    setup = set_up(config)
    learner = Learner(setup.detector, train, precision=setup.precision)
    steps = WARM_UP + repetitions
    loader = TrainLoader(
        setup.train_set, config.data, batch_size=train.batch_size, seed=train.seed, steps=steps
    )
    batches = enumerate(loader)

    def turns() -> Any:
        for number, batch in batches:
            rate = learning_rate(train, number)
            # at a rate of 0 the weights stay, so that the watched step does the same
            yield tuple(partial(learner.step, number, one, *batch) for one in (0.0, rate))
            progress(number + 1, steps)

    for number, batch in batches:
        learner.step(number, learning_rate(train, number), *batch)
        progress(number + 1, steps)
        if number + 1 == WARM_UP:
            break
    settings = {
        "preset": config.preset,
        "data": config.data.path,
        "image_size": [config.data.synthetic_size] * 2,
        "batch": train.batch_size,
        "precision": setup.precision,
        "first_step": WARM_UP + 1,
    }
    return measure("train", settings, turns())


def side_of(image_size: tuple[int, int] | None) -> int | None:
    """Return the side of the built-in data's images.

    Raises:
        UsageError: If they are not to be square.
    """
    if image_size is not None and image_size[0] != image_size[1]:
        height, width = image_size
        raise UsageError(
            f"--image-size {height}x{width}: with --profile training runs on the built-in data, whose images "
            f"are square, such as {height}x{height}"
        )
    return None if image_size is None else image_size[0]
