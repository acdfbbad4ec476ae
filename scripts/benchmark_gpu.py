"""The GPU table of docs/performance.md: presets on R50 and X101, inference and training, and torchvision's.

    python scripts/benchmark_gpu.py [--out FILE.json] [--batches 1,8] [--seconds 240]

Networks only: detections stay on the device with masks of 28x28; torchvision always pastes its own.
Random weights that give 100 detections; medians of five after two to warm up. Prints Markdown; starts no new
network when the seconds are over.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dprd_cli.benchmark.machine import describe_machine
from dprd_cli.benchmark.networks import BenchmarkImages, Network, build_pair, lively_state
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.runtime.precision import autocast

PRESETS = ("mask-rcnn", "dprd", "cascade-mrcnn", "cascade-dprd")
SIZE = (800, 1216)
TRAIN_BATCH = 4
PRECISIONS = {"TF32": "fp32", "bf16": "bf16"}


def measure(call: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Return the median seconds of a call and its peak memory in MB."""
    times = []
    for turn in range(7):
        if turn == 1:
            torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(times[2:]),
        "peak_mb": torch.cuda.max_memory_allocated(device) / 2**20,
    }


def trainer(
    module: torch.nn.Module, losses: Callable[[], dict[str, Any]], device: torch.device, precision: str
) -> Any:
    """Return a training step: forward, backward, SGD at learning rate 0."""
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            total = torch.stack([v.float() for v in losses().values()]).sum()
        total.backward()
        optimizer.step()

    return step


def rows(name: str, make: Callable[[BenchmarkImages], Any], batches: list[int], device: torch.device) -> Any:
    """Yield the measurements of one network."""
    for title, precision in PRECISIONS.items():
        for batch in batches:
            network = make(BenchmarkImages(SIZE, batch, 1000, device))
            network.module.eval()

            def detect(network: Any = network, precision: str = precision) -> None:
                with torch.inference_mode(), autocast(device, precision):
                    network.detect()

            yield {"network": name, "what": "inference", "precision": title, "batch": batch} | measure(
                detect, device
            )
        network = make(BenchmarkImages(SIZE, TRAIN_BATCH, 1000, device))
        network.module.train()
        step = trainer(network.module, network.losses, device, precision)
        yield {"network": name, "what": "training", "precision": title, "batch": TRAIN_BATCH} | measure(
            step, device
        )


def ours(preset: str, backbone: str, device: torch.device) -> Callable[[BenchmarkImages], Network]:
    """Return a builder of a preset's network; the weights are made once."""
    flags = {
        "model.backbone.name": backbone,
        "model.backbone.norm": "frozen_bn",
        "model.backbone.frozen_stages": 2,
    }
    config = resolve(preset=preset, schedule="1x", flags=flags)
    detector = build_detector(config.model, num_classes=80)
    detector.load_state_dict(lively_state(detector))
    detector.to(device)

    def make(inputs: BenchmarkImages) -> Network:
        images, targets = inputs.images(), inputs.targets()
        return Network(
            detector,
            lambda: detector.detect(images),
            lambda found: found,
            lambda: detector(images, targets).losses,
        )

    return make


def theirs(inputs: BenchmarkImages) -> Network:
    """Return torchvision's Mask R-CNN R50-FPN."""
    return build_pair("torchvision", "", inputs).networks[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmark_gpu.json"))
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--seconds", type=float, default=240)
    options = parser.parse_args()
    device = torch.device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    batches = [int(batch) for batch in options.batches.split(",")]
    end = time.monotonic() + options.seconds
    names = [(f"{preset} {backbone}", preset, backbone) for backbone in ("r50", "x101") for preset in PRESETS]
    measured: list[dict[str, Any]] = []
    print(
        "| network | what | precision | images | s | images/s | peak MB |\n|---|---|---|--:|--:|--:|--:|",
        flush=True,
    )
    for name, preset, backbone in [("torchvision mask-rcnn r50", "", ""), *names]:
        if time.monotonic() > end:
            print(f"out of time before {name}")
            break
        make = ours(preset, backbone, device) if preset else theirs
        for row in rows(name, make, batches, device):
            measured.append(row)
            rate = row["batch"] / row["seconds"]
            print(
                f"| {name} | {row['what']} | {row['precision']} | {row['batch']} | {row['seconds']:.4f} "
                f"| {rate:.1f} | {row['peak_mb']:.0f} |",
                flush=True,
            )
            options.out.write_text(
                json.dumps({"machine": describe_machine(device).to_json(), "rows": measured}, indent=1)
            )
        del make
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
