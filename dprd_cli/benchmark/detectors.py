"""Inference and training of whole detectors against another program's, or of two presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.ops import box_iou

from dprd_cli.benchmark.launches import DeviceWork, count_training_pass
from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, Convolution, Timing, held_by, interleave
from dprd_cli.benchmark.networks import BenchmarkImages, Network, NetworkDetections, NetworkPair, build_pair
from dprd_cli.errors import UserError
from dprd_cli.model.cost import count_macs
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.progress import Progress

_SAME = 0.98  # IoU from which boxes, or masks, are the same
_SHARE = 0.95  # of the detections that must be the same (those near a threshold may come or go)
_CONVOLUTION = "3x3 convolution"
_FASTER = {
    "inference": {"torchvision": 1.8, "detectron2": 1.6},
    "train": {"torchvision": 1.6, "detectron2": 1.3},
}
#: The same in bfloat16, on a CPU with AMX, against a program in bfloat16 by its own autocast, and in float32.
_FASTER_IN_BF16 = {"inference": (2.0, 8.0), "train": (1.5, 5.5)}
#: The same of a preset against itself in float32.
_OWN_IN_BF16 = {"inference": 4.0, "train": 2.5}
_SMALL_IN_BF16 = 1.6
_ROUNDED = (
    "answers are compared in float32: with random weights, each program's rounding to bfloat16 makes others"
)
_SHARE_OF_CONVOLUTION = {"fp32": 80, "bf16": 55}  # per cent
#: How much longer placed parts may take than the same preset without them.
_PLACED = {"inference": 1.05, "train": 1.25}


def inference(
    inputs: BenchmarkImages,
    against: str,
    preset: str,
    repetitions: int,
    progress: Progress,
    *,
    compiled: bool = False,
) -> BenchmarkReport:
    """Time inference, masks pasted to full size; check that the detections are the same.

    Args:
        inputs: The images.
        against: The peer.
        preset: What is compared with another preset.
        repetitions: Timed turns.
        progress: Called after every call.
        compiled: Compile this project's backbone and neck.
    """
    pair = build_pair(against, preset, inputs)
    for network in pair.networks:
        network.module.eval()
    for network in pair.networks if compiled else ():
        if network.ready is not None:
            compile_features(network.ready)
    with torch.inference_mode():
        theirs, ours = (network.read(network.detect()) for network in pair.networks)
    narrow = inputs.precision == "bf16"
    if pair.both_ours:
        same, answers = None, _count(pair, theirs, ours)
    else:
        same, answers = (None, _ROUNDED) if narrow else _compare(theirs, ours)
    dtype = torch.bfloat16 if narrow else torch.float32
    convolution = Convolution(256, inputs.image_size, inputs.device, dtype)
    programs = _programs(pair)
    runs: dict[str, Callable[[], object]] = {_CONVOLUTION: convolution}
    runs |= {name: _inferring(network) for name, network in programs.items()}
    timings = interleave(runs, repetitions, inputs.device, progress)
    macs = _macs(pair, inputs, (theirs, ours))
    counted = {name: macs.get(name, macs[pair.names[pair.both_ours]]) for name in programs}
    timings = _throughput(timings, {_CONVOLUTION: convolution.macs, **counted})
    rows = _rows("inference", pair, timings, inputs)
    if pair.both_ours:
        rows[0] = _against_macs(rows[0], pair, macs, inputs)
    else:
        share = 100 * (timings[pair.names[1]].share or 0.0)
        rows.append(
            BenchmarkRow(
                "Mask R-CNN R50-FPN inference",
                "the 3x3 convolution's throughput",
                share,
                _SHARE_OF_CONVOLUTION[inputs.precision],
                at_least=True,
                unit="%",
            )
        )
    return BenchmarkReport(
        "inference", _settings(inputs, pair, compiled=compiled), timings, rows, same, answers
    )


def train(
    inputs: BenchmarkImages,
    against: str,
    preset: str,
    repetitions: int,
    progress: Progress,
    *,
    compiled: bool = False,
) -> BenchmarkReport:
    """Time training steps: forward, backward and SGD with momentum; arguments as for `inference`.

    What this project's networks would ask of a GPU is counted too, except where they are compiled.
    The learning rate is 0, so that every step sees the same weights. RoIs are drawn at random as each program
    does; tests compare the losses without drawing.
    """
    pair = build_pair(against, preset, inputs)
    for network in pair.networks:
        network.module.train()
    for detector in pair.detectors if compiled else ():
        compile_features(detector)
    programs = _programs(pair)
    runs = {name: _Step(network) for name, network in programs.items()}
    timings = interleave(runs, repetitions, inputs.device, progress)
    totals = {name: sum(float(v.detach()) for v in run.losses.values()) for name, run in runs.items()}
    answers = "sums of the losses, RoIs drawn at random: " + ", ".join(
        f"{name} {total:.3f}" for name, total in totals.items()
    )
    timings = {
        name: replace(timing, memory=None if timing.memory is None else timing.memory + held_by(net.module))
        for (name, timing), net in zip(timings.items(), programs.values(), strict=True)
    }
    if not compiled:
        timings |= {name: replace(timings[name], work=work) for name, work in _work(pair, inputs).items()}
    rows = _rows("train", pair, timings, inputs)
    memory = [timings[name].memory for name in pair.names]
    if pair.both_ours and memory[0] and memory[1]:
        rows.append(
            BenchmarkRow(
                f"{pair.names[1]} training memory", pair.names[0], memory[1] / memory[0], 1.4, at_least=False
            )
        )
    return BenchmarkReport("train", _settings(inputs, pair, compiled=compiled), timings, rows, None, answers)


def _work(pair: NetworkPair, inputs: BenchmarkImages) -> dict[str, DeviceWork]:
    """Count what each of this project's networks would ask of a GPU in a training pass."""
    ours = list(zip(pair.names, pair.detectors, strict=True))
    images, targets = inputs.images(), inputs.targets()
    return {
        name: count_training_pass(detector, images, targets)
        for name, detector in (ours if pair.both_ours else ours[1:])
    }


def _programs(pair: NetworkPair) -> dict[str, Network]:
    """Return what is timed by name: both networks, and one in float32 where they are not."""
    programs = dict(zip(pair.names, pair.networks, strict=True))
    return programs if pair.wide is None else {pair.name_of_wide: pair.wide, **programs}


def _inferring(network: Network) -> Callable[[], object]:
    def run() -> None:
        with torch.inference_mode():
            network.detect()

    return run


class _Step:
    """A training step of a network; keeps the losses of the last one."""

    def __init__(self, network: Network) -> None:
        self.network = network
        trained = [p for p in network.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9)
        self.losses: dict[str, torch.Tensor] = {}

    def __call__(self) -> None:
        self.losses = dict(self.network.losses())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(self.losses.values())).sum())
        self.optimizer.step()
        self.losses = {name: loss.detach() for name, loss in self.losses.items()}


def compile_features(detector: Detector) -> None:
    """Compile a detector's backbone and neck in place, with static shapes: once for each image size."""
    module: nn.Module
    for module in (detector.backbone, detector.neck):
        module.compile(dynamic=False)


def _settings(inputs: BenchmarkImages, pair: NetworkPair, *, compiled: bool) -> dict[str, Any]:
    return {
        "image_size": list(inputs.image_size),
        "batch": inputs.batch,
        "proposals": inputs.proposals,
        "programs": list(pair.names),
        "precision": inputs.precision,
        "compile": compiled,
    }


def _macs(
    pair: NetworkPair, inputs: BenchmarkImages, found: tuple[list[NetworkDetections], list[NetworkDetections]]
) -> dict[str, float]:
    """Count each network's multiply-accumulates on the images, with the detections that it gave."""
    return {
        name: sum(
            count_macs(detector, inputs.image_size, inputs.proposals, len(f.scores)).total for f in detections
        )
        for name, detector, detections in zip(pair.names, pair.detectors, found, strict=True)
    }


def _throughput(timings: Mapping[str, Timing], macs: Mapping[str, float]) -> dict[str, Timing]:
    """Return the timings with what each program computes, over the plain convolution's throughput."""
    counted = {name: replace(timing, macs=macs[name]) for name, timing in timings.items()}
    peak = counted[_CONVOLUTION].rate
    return {
        name: timing
        if name == _CONVOLUTION or timing.rate is None or not peak
        else replace(timing, share=timing.rate / peak)
        for name, timing in counted.items()
    }


def _rows(
    kind: str, pair: NetworkPair, timings: dict[str, Timing], inputs: BenchmarkImages
) -> list[BenchmarkRow]:
    first, second = pair.names
    ratio = timings[first].median / timings[second].median
    height, width = inputs.image_size
    what = "inference" if kind == "inference" else "training step"
    size = f"{inputs.batch} of {height}x{width}"
    faster = partial(BenchmarkRow, at_least=True)
    if pair.wide is not None and not pair.both_ours:
        return [
            faster(f"Mask R-CNN R50-FPN {what} in bfloat16, {size}", peer, value, target)
            for peer, target in zip((first, pair.name_of_wide), _FASTER_IN_BF16[kind], strict=True)
            for value in [timings[peer].median / timings[second].median]
        ]
    if first in _FASTER[kind]:
        target = _FASTER[kind][first]
        return [faster(f"Mask R-CNN R50-FPN {what}, {size}", first, ratio, target)]
    target = _PLACED[kind] if _adds_places(pair) else 1.45
    rows = [BenchmarkRow(f"{second} {what}, {size}, time over", first, 1 / ratio, target, at_least=False)]
    if pair.wide is not None:
        of_wide = timings[pair.name_of_wide].median / timings[second].median
        target = _SMALL_IN_BF16 if second.endswith("-small") else _OWN_IN_BF16[kind]
        rows.append(faster(f"{second} {what} in bfloat16, {size}", pair.name_of_wide, of_wide, target))
    return rows


def _adds_places(pair: NetworkPair) -> bool:
    """Whether the second network is the first one with placed parts."""
    first, second = pair.names
    return second == first.replace("dprd", "dprd-placed")


def _against_macs(
    row: BenchmarkRow, pair: NetworkPair, macs: dict[str, float], inputs: BenchmarkImages
) -> BenchmarkRow:
    """On a CPU time should grow as the multiply-accumulates; on a GPU the paper's frame rates bound it."""
    base, more = macs.values()
    growth = more / base
    if _adds_places(pair):
        return replace(row, what=f"{row.what} (MACs x{growth:.2f})")
    if inputs.device.type == "cuda":
        return replace(row, target=1.19)
    return replace(row, what=f"{row.what} (MACs x{growth:.2f})", target=1.1 * growth)


def _count(pair: NetworkPair, theirs: list[NetworkDetections], ours: list[NetworkDetections]) -> str:
    counts = zip(pair.names, (theirs, ours), strict=True)
    return "detections: " + ", ".join(f"{n} {sum(len(f.scores) for f in found)}" for n, found in counts)


def _compare(theirs: list[NetworkDetections], ours: list[NetworkDetections]) -> tuple[bool, str]:
    """Say whether two programs found the same: as many objects, and the same boxes, classes and masks.

    Raises:
        UserError: If they found nothing, so that there is nothing to time.
    """
    total = sum(len(found.scores) for found in theirs)
    if total == 0:
        raise UserError("no detections at this size; take a larger --image-size")
    matched, scores, masks = 0, 0.0, 0
    for a, b in zip(theirs, ours, strict=True):
        pairs = _match(a, b)
        matched += len(pairs)
        for i, j in pairs:
            scores = max(scores, float((a.scores[i] - b.scores[j]).abs()))
            union = (a.masks[i] | b.masks[j]).sum()
            masks += not union or (a.masks[i] & b.masks[j]).sum() / union > 0.9
    same = matched >= _SHARE * total and sum(len(found.scores) for found in ours) == total
    text = (
        f"{matched} of {total} detections have a partner of the same class and IoU > {_SAME}; largest "
        f"difference of their scores {scores:.1e}; {masks} masks of IoU > 0.9"
    )
    return same, text


def _match(a: NetworkDetections, b: NetworkDetections) -> list[tuple[int, int]]:
    """Pair detections of one class and nearly the same box, each at most once."""
    iou = box_iou(a.boxes, b.boxes) * (a.labels[:, None] == b.labels)
    pairs = []
    for row in range(len(iou)):
        if iou.shape[1] and iou[row].max() > _SAME:
            column = int(iou[row].argmax())
            pairs.append((row, column))
            iou[:, column] = 0
    return pairs
