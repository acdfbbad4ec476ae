"""Data folders that several tests write, and how they load them; on the import path of every test."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as rle_masks

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.data.convert import convert
from dprd_cli.errors import DataError

#: (height, width) of the images of a `YoloFolder`.
YOLO_SIZE = 20, 40
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


class YoloFolder:
    """A YOLO folder with one image in each split."""

    def __init__(self, root):
        self.root = root
        self.describe(train="images/train", val="images/val", names=["cat", "dog"])
        for split in ("train", "val"):
            self.image(f"images/{split}/a.png", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.6 0.1 0.6 0.7\n")

    def describe(self, **tree):
        (self.root / "data.yaml").write_text(yaml.safe_dump(tree))

    def image(self, name, labels=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", YOLO_SIZE[::-1]).save(path)
        if labels is not None:
            self.labels(name).parent.mkdir(parents=True, exist_ok=True)
            self.labels(name).write_text(labels)

    def labels(self, name):
        return (self.root / name.replace("images/", "labels/")).with_suffix(".txt")

    def load(self, path=None, **settings):
        return both_splits(DataConfig(path=str(path or self.root), workers=0, **settings))

    def refused(self, **settings):
        return refused(lambda: self.load(**settings))


#: (height, width) of the images of `write_rich_coco`.
RICH_SIZE = 48, 64


def ring_mask(x, y, side):
    """Return a square with a square hole."""
    mask = np.zeros(RICH_SIZE, dtype=bool)
    mask[y : y + side, x : x + side] = True
    mask[y + side // 3 : y + side // 2, x + side // 3 : x + side // 2] = False
    return mask


def write_rich_coco(root):
    """Write a COCO folder with polygons, holes, pieces, boxes, a crowd, an empty image, equal file names."""
    height, width = RICH_SIZE

    def rle(mask):
        counts = rle_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
        return {"size": [height, width], "counts": counts}

    def ann(ident, image, category, box, segmentation=None, crowd=0):
        base = {"id": ident, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}
        return base | ({"segmentation": segmentation} if segmentation else {})

    for split in ("train", "val"):
        images = []
        names = [f"a/x_{split}.png", f"b/x_{split}.png", f"b/empty_{split}.jpg"]
        for ident, name in enumerate(names, start=1):
            (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(ident).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "images" / name)
            images.append({"id": 10 * ident, "file_name": name, "width": width, "height": height})
        pieces = [[25, 5, 40, 5, 40, 25], [45, 5, 55, 5, 55, 25, 45, 25]]
        anns = [
            ann(1, 10, 3, [2, 3, 18, 18], rle(ring_mask(2, 3, 18))),
            ann(2, 10, 7, [25, 5, 30, 20], pieces),
            ann(3, 20, 3, [10.5, 8.25, 20, 30]),
            ann(4, 20, 7, [40, 8, 20, 20], rle(ring_mask(40, 8, 20)), crowd=1),
        ]
        categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "traffic light"}]
        tree = {"images": images, "annotations": anns, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(tree))
    return root


def load(folder, **changes):
    """Build both splits of a folder, read without other processes."""
    return both_splits(DataConfig(path=str(folder), workers=0, **changes))


def load_split(folder, split="train", *, class_names=None, category_ids=None, **changes):
    """Build one split of a folder, read without other processes."""
    config = DataConfig(path=str(folder), workers=0, **changes)
    return build_dataset(config, split, class_names=class_names, category_ids=category_ids)


def turn(folder, target, to, **options):
    """Convert a folder; return the summary."""
    return convert(DataConfig(path=str(folder)), target, to, **options)
