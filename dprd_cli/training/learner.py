"""One optimiser step: forward, backward, clip, update. The only place where a loss is backpropagated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dprd_cli.config.schema import TrainConfig
from dprd_cli.errors import is_out_of_memory
from dprd_cli.model.detector import Detector
from dprd_cli.model.losses import LossOutput
from dprd_cli.runtime.precision import autocast
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup, raising_rank_lost
from dprd_cli.runtime.ranks import rank_slice
from dprd_cli.structures.detections import Target
from dprd_cli.training.optimizer import GradientClipper, build_optimizer, set_learning_rate
from dprd_cli.training.rank_sums import RunningStatistics, ScalarSums

#: Weights of this size are no detector's any more: it has diverged, though all is finite still.
EXPLODED = 1e6
_STATE = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}


class NotFiniteError(Exception):
    """A loss or its gradient is not finite; the weights are as before the step.

    Args:
        values: Losses and gradient norms of the step.
        shared: Whether all processes of the job have come to it together.
    """

    def __init__(self, values: dict[str, float], *, shared: bool = True) -> None:
        super().__init__("the loss or its gradient is not finite")
        self.values, self.shared = values, shared


class _Pass(NamedTuple):
    """What is done at once in a step.

    Args:
        number: Counted over all ranks.
        last: Whether it is this rank's last of the step.
        share: Share of the step's images over all ranks, 0..1.
        images: uint8 RGB. N x [3, h, w]
        targets: Objects of each image.
        progress: Share of the training's steps that are done, 0..1.
    """

    number: int
    last: bool
    share: float
    images: list[Tensor]
    targets: list[Target]
    progress: float


class Learner:
    """A detector and its optimizer.

    Args:
        detector: On its device.
        config: How to optimise.
        group: The processes that share a step's images; all have the same weights.
        precision: `fp32` or `bf16`, whatever the configuration says.
    """

    def __init__(
        self,
        detector: Detector,
        config: TrainConfig,
        group: ProcessGroup = SINGLE_PROCESS,
        *,
        precision: str = "fp32",
    ) -> None:
        self.detector, self.precision = detector, precision
        self.device = next(detector.parameters()).device
        self.optimizer = build_optimizer(detector, config)
        self._clip = GradientClipper(detector, config)
        self._config = config
        self._group = group
        self._parallel = _data_parallel(detector) if group.size > 1 else None
        self._sums = ScalarSums(self.device, group)
        self._statistics = RunningStatistics(detector, config.accumulate, group)

    def step(
        self, number: int, rate: float, images: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor | float]:
        """Do one optimiser step on a batch, in `accumulate` passes.

        Law: the gradient is the mean of the passes' gradients, weighted by their images. W ranks are the
        same as one with W times the passes, but for the order in which more than two gradients are added.

        Args:
            number: Number of the step; with the config's seed it decides all randomness.
            rate: Learning rate.
            images: uint8 RGB, this rank's. N x [3, h, w]
            targets: Objects of each image.

        Returns:
            What the log gets: the loss, its parts, diagnostics, gradient norms, the learning rate.

        Raises:
            NotFiniteError: The optimizer was not stepped.
        """
        self.detector.train()
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        self._statistics.begin()
        losses: dict[str, Tensor] = {}
        diagnostics: dict[str, Tensor] = {}
        progress = number / self._config.steps
        for one in self._passes(images, targets, progress):
            torch.manual_seed(draw_seed(self._config.seed, number, one.number))
            output = self._try(one)
            _add(losses, output.losses, one.share)
            _add(diagnostics, output.diagnostics, one.share)
        sums = self._sums({**losses, **diagnostics})
        diagnostics = {key: value for key, value in sums.items() if key not in losses}
        losses = {key: sums[key] for key in losses}
        self._statistics.end()
        total = torch.stack(list(losses.values())).sum()
        norms = self._clip()
        # sums carry what is not finite to all ranks, which thus come to the same end;
        # the network's sampling waits for the device many times a step: one more wait costs nothing
        if not torch.isfinite(torch.stack([total, *norms.values()])).all():
            raise NotFiniteError({key: value.item() for key, value in {**losses, **norms}.items()})
        self.optimizer.step()
        return {"loss": total, **losses, **diagnostics, **norms, "lr": rate}

    def _passes(self, images: list[Tensor], targets: list[Target], progress: float) -> Iterator[_Pass]:
        """Split this rank's images into its passes."""
        group = self._group
        total = len(images) if group.size == 1 else self._config.batch_size
        passes = min(group.size * self._config.accumulate, total)
        first = rank_slice(total, group.rank, group.size).start
        each = passes // group.size
        last = (group.rank + 1) * each - 1
        for number in range(group.rank * each, last + 1):
            part = rank_slice(total, number, passes)
            own = slice(part.start - first, part.stop - first)
            yield _Pass(number, number == last, len(part) / total, images[own], targets[own], progress)

    def _try(self, one: _Pass) -> LossOutput:
        """Do a pass; whatever the network stumbles over where its weights are not finite is divergence."""
        try:
            return self._backward(one)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            largest = self.largest_weight()
            if is_out_of_memory(error) or largest < EXPLODED:
                raise
            raise NotFiniteError({"largest weight": largest}, shared=self._group.size == 1) from error

    def largest_weight(self) -> float:
        """Return the largest absolute value of a weight; nan where one is."""
        sizes = [p.detach().abs().amax().float() for p in self.detector.parameters() if p.numel()]
        return float(torch.stack(sizes).max())

    def _backward(self, one: _Pass) -> LossOutput:
        """Add a pass's share of the gradient; in the last one, the ranks' gradients are summed meanwhile."""
        if self._parallel is None:
            output, total = self._losses(self.detector, one)
            total.backward()  # type: ignore[no-untyped-call]
            return output
        with raising_rank_lost(), nullcontext() if one.last else self._parallel.no_sync():
            output, total = self._losses(self._parallel, one)
            if one.last and total.is_cuda:
                self._group.barrier()  # NCCL would wait for a process that ended
            # DistributedDataParallel divides by the number of ranks; times two and by two is exact
            (total * self._group.size).backward()  # type: ignore[no-untyped-call]
        return output

    def _losses(self, network: nn.Module, one: _Pass) -> tuple[LossOutput, Tensor]:
        """Return a pass's losses, and its share of the loss."""
        with autocast(self.device, self.precision):
            output: LossOutput = network(
                [image.to(self.device, non_blocking=True) for image in one.images],
                [target.to(self.device) for target in one.targets],
                one.progress,
            )
        return output, torch.stack(list(output.losses.values())).sum() * one.share

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up an optimizer's state, with the rate of its last step; decays are the config's.

        Raises:
            ValueError: If it is of another network or optimizer. (Or whatever a malformed one leads to.)
        """
        own = self.optimizer.state_dict()["param_groups"]
        if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in own]:
            raise ValueError("parameters are grouped in another way")
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = {}
        for index, values in saved["state"].items():
            if set(values) != _STATE[self._config.optimizer]:
                raise ValueError("state of another optimizer")
            state[index] = {key: _like(value, parameters[index]) for key, value in values.items()}
        for group, theirs in zip(own, saved["param_groups"], strict=True):
            group["lr"] = theirs["lr"]  # what is saved before another step is what was saved
        self.optimizer.load_state_dict({"state": state, "param_groups": own})


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return an optimizer's value of a parameter, as that one lies.

    Raises:
        ValueError: If it is of another parameter.
    """
    if value.shape in ((), parameter.shape):
        return value
    # the weight of a `MapLinear` was a matrix in older runs
    if (value.ndim, parameter.ndim) != (2, 4) or value.numel() != parameter.numel():
        raise ValueError("state of other parameters")
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value.view(parameter.shape))


def _data_parallel(detector: Detector) -> DistributedDataParallel:
    """Wrap a detector so that backward passes sum gradients over the ranks, which start from the main one's.

    Every loss is connected to all parameters that it trains, objects or not, so none waits for a gradient.
    """
    with raising_rank_lost():
        parallel = DistributedDataParallel(detector, gradient_as_bucket_view=True)
    parallel.broadcast_buffers = False  # `RunningStatistics` merges what the ranks have seen
    return parallel


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor], share: float) -> None:
    for key, value in values.items():
        part = share * value.detach()
        sums[key] = sums[key] + part if key in sums else part


def draw_seed(seed: int, step: int, part: int) -> int:
    """Return the seed of the network's sampling in one pass of a step, below 2^32.

    A CPU's generator takes the low 32 bits only; the factors spread seeds and passes over them.

    Args:
        seed: The run's seed.
        step: From 0.
        part: Which of the step's passes; with several processes, counted over all of them.
    """
    return (step + 0x9E3779B1 * seed + 0x85EBCA77 * part) % (1 << 32)
