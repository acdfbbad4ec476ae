"""Data folders that several tests write, and how they load them; on the import path of every test."""

import json

import numpy as np
import pytest
from PIL import Image

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.errors import DataError

CATEGORIES = [{"id": 2, "name": "cup"}, {"id": 5, "name": "jug"}]


def write_split(json_path, images_dir, count, categories=CATEGORIES, prefix="p"):
    """Write `count` images of 24 x 32, one object each but in the last, and their annotations."""
    images_dir.mkdir(parents=True, exist_ok=True)
    json_path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    tree = {"images": [], "annotations": [], "categories": categories}
    for ident in range(1, count + 1):
        name = f"{prefix}{ident}.png"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(images_dir / name)
        tree["images"].append({"id": ident, "file_name": name, "width": 32, "height": 24})
        if ident < count:
            note = {
                "id": ident,
                "image_id": ident,
                "category_id": 2,
                "bbox": [4, 4, 10, 12],
                "area": 120,
                "iscrowd": 0,
            }
            tree["annotations"].append({**note, "segmentation": [[4, 4, 14, 4, 14, 16, 4, 16]]})
    json_path.write_text(json.dumps(tree))


def write_cups(folder):
    """Write seven training images and five for evaluation; return the folder."""
    write_split(folder / "train.json", folder / "images", 7)
    write_split(folder / "val.json", folder / "images", 5, prefix="v")
    return folder


def small_config(folder, **changes):
    """Return a data section for images of a few pixels, read without other processes."""
    base = {
        "train_min_sizes": (16, 24),
        "test_min_size": 24,
        "max_size": 64,
        "color_jitter": 0.2,
        "crop": 0.3,
    }
    return DataConfig(**{"path": str(folder), "workers": 0, **base, **changes})


def both_splits(config, **names):
    """Build the training split, and the evaluation split beside it."""
    train = build_dataset(config, "train", **names)
    return train, build_dataset(config, "val", training=train)


def refused(call):
    """Return the one line that a call refuses the data with."""
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
