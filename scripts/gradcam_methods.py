"""Compare methods and layers of `dprd gradcam`: do their maps stay on the object, and are they faithful?

Usage: python scripts/gradcam_methods.py --weights demo --objects 24
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from functools import cache
from itertools import product

import numpy as np

from dprd_cli.data.build import build_dataset
from dprd_cli.gradcam.explainer import Explainer
from dprd_cli.gradcam.faithfulness import measure_faithfulness
from dprd_cli.gradcam.localization import find_annotated
from dprd_cli.gradcam.measures import box_region, measure_region
from dprd_cli.weights.load import load_model


def main() -> None:
    """Print a Markdown table over the first annotated objects that are found with a score of at least 0.5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="demo")
    parser.add_argument("--data")
    parser.add_argument("--objects", type=int, default=24)
    parser.add_argument("--methods", default="gradcam,layercam,hirescam")
    parser.add_argument("--layers", default=",own,layer4", help="empty: the default; own: the box's")
    options = parser.parse_args()
    model = load_model(options.weights, "cpu")
    dataset = build_dataset(model.with_data(options.data).config.data, "val")
    finder = Explainer(model, min_score=0.5)

    @cache
    def explainer(layer: str, method: str) -> Explainer:
        return Explainer(model, method=method, layer=layer)

    pairs = list(product(options.layers.split(","), options.methods.split(",")))
    pairs.append(("uniform map", ""))
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {pair: [] for pair in pairs}
    with contextlib.suppress(KeyboardInterrupt):  # what was measured so far is printed
        for number in range(len(dataset)):
            sample = dataset[number]
            view = finder.look(sample.image)
            names = [dataset.class_names[label] for label in sample.labels.tolist()]
            shape = sample.image.shape[:2]
            for row, index in enumerate(find_annotated(sample, names, view, finder.class_names(view))):
                if index is None or len(found["uniform map", ""]) == options.objects:
                    continue
                region = box_region(sample.boxes[row].tolist(), (shape[0], shape[1]))
                own = finder.pooled_from(view.trace[index : index + 1])
                for (layer, method), rows in found.items():
                    values = np.ones(shape, np.float32)
                    if method:
                        name = own if layer == "own" else layer
                        values = explainer(name, method).explain(view, index).values
                    lies = measure_region(values, region)
                    faith = measure_faithfulness(finder, view, index, values)
                    share = float("nan") if lies.share is None else lies.share
                    rows.append((share, float(lies.hit or False), faith.hidden, faith.shown))
                print(f"object {len(found['uniform map', ''])} of {options.objects}", file=sys.stderr)
            if len(found["uniform map", ""]) == options.objects:
                break
    objects = len(found["uniform map", ""])
    print(f"{objects} objects of {options.weights}\n")
    print("| layer | method | energy in box | maximum in box | score, marked hidden | marked alone |")
    print("|---|---|--:|--:|--:|--:|")
    for (layer, method), rows in found.items():
        share, hit, hidden, shown = np.nanmean(np.array(rows[:objects]), axis=0)
        print(f"| {layer or 'default'} | {method} | {share:.1%} | {hit:.0%} | {hidden:.2f} | {shown:.2f} |")


if __name__ == "__main__":
    main()
