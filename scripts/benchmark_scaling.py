"""Seconds and memory as the work grows: image size, proposals, parts, images at a time, objects.

    python scripts/benchmark_scaling.py [--out FOLDER] [--device cpu] [--repetitions 3] [--small]

One thing grows at a time, from 512x640, 1,000 proposals, 4 parts, one image and 8 objects on. Inference
without pasting, with 100 detections; objects are of a training step. Mask R-CNN and D-PRD (R50, random
weights) take turns; medians are shown. Writes scaling.json and scaling.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dprd_cli.benchmark.machine import describe_machine
from dprd_cli.benchmark.measure import interleave
from dprd_cli.benchmark.networks import BenchmarkImages, lively_state
from dprd_cli.config.presets import resolve
from dprd_cli.drawing.style import BLUE, ORANGE, save_figure
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector


class Work(NamedTuple):
    """How much there is to do.

    Args:
        size: (height, width) of the images.
        proposals: RoIs of the box branch of each image.
        parts: Parts of a RoI.
        batch: Images at a time.
        objects: Objects of each image in training; 0 for inference.
    """

    size: tuple[int, int] = (512, 640)
    proposals: int = 1000
    parts: int = 4
    batch: int = 1
    objects: int = 0


BASE = Work()
#: What grows -> its label and the points; the label of an image's size is its megapixels.
AXES: dict[str, tuple[str, list[Work]]] = {
    "size": (
        "image, megapixels",
        [BASE._replace(size=s) for s in ((256, 320), (512, 640), (800, 1216))],
    ),
    "proposals": ("proposals", [BASE._replace(proposals=n) for n in (100, 500, 1000, 2000)]),
    "parts": ("parts", [BASE._replace(parts=n) for n in (2, 4, 8, 16)]),
    "batch": ("images at a time", [BASE._replace(batch=n) for n in (1, 2, 4)]),
    "objects": ("objects (training step)", [BASE._replace(objects=n) for n in (1, 8, 32, 64)]),
}
COLOURS = {"mask-rcnn": BLUE, "dprd": ORANGE}
NAMES = {"mask-rcnn": "Mask R-CNN", "dprd": "D-PRD"}
STYLES = {"mask-rcnn": "s--", "dprd": "o-"}


def amount(axis: str, work: Work) -> float:
    """Return where a point lies on its axis."""
    if axis == "size":
        return work.size[0] * work.size[1] / 1e6
    return float(getattr(work, axis))


def build(preset: str, work: Work, backbone: str, device: torch.device) -> Detector:
    """Build a preset's network with random weights that give 100 detections."""
    flags: dict[str, Any] = {
        "model.backbone.name": backbone,
        "model.backbone.norm": "frozen_bn",
        "model.backbone.frozen_stages": 2,
        "model.parts.count": work.parts,
        "model.rpn.pre_nms_test": max(1000, work.proposals),
        "model.rpn.post_nms_test": work.proposals,
    }
    detector = build_detector(resolve(preset=preset, schedule="1x", flags=flags).model, num_classes=80)
    detector.load_state_dict(lively_state(detector))
    return detector.to(device)


def caller(detector: Detector, work: Work, device: torch.device) -> Callable[[], object]:
    """Return a call that does the work once."""
    inputs = BenchmarkImages(work.size, work.batch, work.proposals, device)
    images = inputs.images()
    if not work.objects:
        return partial(torch.inference_mode()(detector.eval().detect), images)
    targets = inputs.targets(work.objects)
    detector.train()

    def step() -> None:
        detector.zero_grad(set_to_none=True)
        torch.stack(list(detector(images, targets).losses.values())).sum().backward()

    return step


def measure(work: Work, backbone: str, device: torch.device, repetitions: int) -> dict[str, Any]:
    """Return the median seconds and peak MB of each network."""
    runs = {preset: caller(build(preset, work, backbone, device), work, device) for preset in COLOURS}
    timings = interleave(runs, repetitions, device, lambda _done, _total: None)
    return {
        preset: {
            "seconds": timing.median,
            "peak_mb": None if timing.memory is None else timing.memory / 1e6,
        }
        for preset, timing in timings.items()
    }


def draw(points: Mapping[str, list[dict[str, Any]]], title: str) -> Figure:
    """Draw seconds above memory, one column for everything that grows."""
    figure = Figure(figsize=(13, 5), dpi=130, layout="constrained")
    grid = figure.subplots(2, len(points), sharex="col", squeeze=False)
    for column, (axis, rows) in enumerate(points.items()):
        for line, key in enumerate(("seconds", "peak_mb")):
            axes: Axes = grid[line, column]
            for preset, colour in COLOURS.items():
                values = [row[preset][key] for row in rows]
                if None not in values:
                    places = [row["amount"] for row in rows]
                    axes.plot(places, values, STYLES[preset], color=colour, label=NAMES[preset], markersize=4)
            axes.margins(0.1)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        grid[1, column].set_xlabel(AXES[axis][0])
    grid[0, 0].set_ylabel("seconds")
    grid[1, 0].set_ylabel("memory beyond the weights, MB")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="R18 and images of half the side: a quick look")
    options = parser.parse_args()
    device = torch.device(options.device)
    backbone = "r18" if options.small else "r50"
    points: dict[str, list[dict[str, Any]]] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    about = describe_machine(device).to_json()
    place = about["processor"] if device.type == "cpu" else about["device"]
    title = (
        f"{backbone.upper()}, {place}, threads: {about['threads']}, PyTorch {about['versions']['torch']}, "
        f"{about['date']}"
    )
    print("| grows | to | program | s | MB |\n|---|--:|---|--:|--:|", flush=True)
    for axis, (_, works) in AXES.items():
        points[axis] = []
        for work in works:
            if options.small:
                work = work._replace(size=(work.size[0] // 2, work.size[1] // 2))
            row = {"amount": amount(axis, work)} | measure(work, backbone, device, options.repetitions)
            points[axis].append(row)
            for preset in COLOURS:
                memory = "" if row[preset]["peak_mb"] is None else f"{row[preset]['peak_mb']:.0f}"
                print(
                    f"| {axis} | {row['amount']:g} | {preset} | {row[preset]['seconds']:.3f} | {memory} |",
                    flush=True,
                )
            (options.out / "scaling.json").write_text(
                json.dumps({"machine": about, "points": points}, indent=1)
            )
    save_figure(draw(points, title), options.out / "scaling.png")


if __name__ == "__main__":
    main()
