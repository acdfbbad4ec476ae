"""How many objects are found in a large image of many small ones: whole, in tiles, and image by image.

    python scripts/tiling_mosaic.py [--weights demo] [--grid 4] [--images 16] [--tile 200] [--overlap 0.4]

Held-out built-in images are pasted into mosaics of GRID x GRID. An object counts as found if a detection of
its class from score 0.5 on has an IoU of at least 0.5 with it, each detection for one object; the rest are
false.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torchvision.ops import box_iou

from dprd_cli.data.build import built_in_dataset
from dprd_cli.inference.predictor import Predictor
from dprd_cli.inference.tiling import Tiling
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import Sample
from dprd_cli.weights.load import load_model


def mosaic(samples: list[Sample], side: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Paste side x side images into one; return it with the boxes and labels in it."""
    height, width = samples[0].image.shape[:2]
    rows = [
        np.concatenate([s.image for s in samples[r * side : (r + 1) * side]], axis=1) for r in range(side)
    ]
    shifts = [np.array([n % side * width, n // side * height] * 2, np.float32) for n in range(side * side)]
    boxes = np.concatenate([s.boxes + shift for s, shift in zip(samples, shifts, strict=True)])
    labels = np.concatenate([s.labels for s in samples])
    return np.concatenate(rows), torch.from_numpy(boxes), torch.from_numpy(labels)


def count(found: Detections, boxes: torch.Tensor, labels: torch.Tensor) -> tuple[int, int]:
    """Return how many objects were found, and how many detections are of none, or of one found before."""
    found = found[found.scores >= 0.5]
    free, hits = torch.ones(len(boxes), dtype=torch.bool), 0
    for box, label in zip(found.boxes, found.labels, strict=True):
        ious = box_iou(box[None], boxes)[0] * ((labels == label) & free)
        if len(ious) and ious.max() >= 0.5:
            free[ious.argmax()] = False
            hits += 1
    return hits, len(found) - hits


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="demo")
    parser.add_argument("--grid", type=int, default=4)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--tile", type=int, default=200)
    parser.add_argument("--overlap", type=float, default=0.4)
    options = parser.parse_args()
    model = load_model(options.weights, "cpu")
    dataset = built_in_dataset(model.config.data, "val")
    cells = options.grid**2
    samples = [dataset[number] for number in range(options.images // cells * cells)]
    whole = Predictor(model)
    tiles = Predictor(model, tiling=Tiling(options.tile, options.overlap))
    sums = {name: np.zeros(2, int) for name in ("image by image", "whole", "tiles")}
    total = 0
    for start in range(0, len(samples), cells):
        part = samples[start : start + cells]
        image, boxes, labels = mosaic(part, options.grid)
        total += len(boxes)
        for one in part:
            alone = torch.from_numpy(one.boxes), torch.from_numpy(one.labels)
            sums["image by image"] += count(whole.predict(one.image), *alone)
        sums["whole"] += count(whole.predict(image), boxes, labels)
        sums["tiles"] += count(tiles.predict(image), boxes, labels)
    print(f"| {total} objects | found | false or double |\n|---|---|---|")
    for name, (hits, wrong) in sums.items():
        print(f"| {name} | {hits} ({100 * hits / total:.0f} %) | {wrong} |")


if __name__ == "__main__":
    main()
