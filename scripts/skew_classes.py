"""skew_classes.py TRAIN.json SKEWED.json [RAREST]: a COCO file whose classes are of very different frequency.

Images are left out at random. One of class k of K (in the order of the category ids, from 0) stays with
probability RAREST ** (k / (K - 1)), 0.01 by default for the last class; one of several classes with the
least of theirs. Objects stay with their images, so that nothing is unlabelled. The choice is the same each
time.

    dprd data synth skewed
    python scripts/skew_classes.py skewed/train.json skewed/train-skewed.json
    dprd ablate docs/studies/skewed-classes.toml --data skewed --schedule small --size small \
        --backbone-weights none --set data.train_json=skewed/train-skewed.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def skew(tree: dict[str, Any], rarest: float) -> dict[str, Any]:
    """Return a COCO dict without the images that are left out, and their annotations."""
    classes = sorted(category["id"] for category in tree["categories"])
    shares = dict(zip(classes, np.geomspace(1, rarest, len(classes)), strict=True))
    stays = {image["id"]: 1.0 for image in tree["images"]}
    for note in tree["annotations"]:
        stays[note["image_id"]] = min(stays[note["image_id"]], shares[note["category_id"]])
    draws = np.random.default_rng(0).random(len(stays))
    kept = {image for (image, share), draw in zip(stays.items(), draws, strict=True) if draw < share}
    return {
        **tree,
        "images": [image for image in tree["images"] if image["id"] in kept],
        "annotations": [note for note in tree["annotations"] if note["image_id"] in kept],
    }


if __name__ == "__main__":
    source, target, *rest = sys.argv[1:]
    skewed = skew(json.loads(Path(source).read_text(encoding="utf-8")), float(rest[0]) if rest else 0.01)
    Path(target).write_text(json.dumps(skewed), encoding="utf-8")
    print(f"{target}: {len(skewed['images'])} images")
    for category in skewed["categories"]:
        images = {note["image_id"] for note in skewed["annotations"] if note["category_id"] == category["id"]}
        print(f"  {category['name']}: in {len(images)}")
