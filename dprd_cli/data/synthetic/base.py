"""What data sets that are drawn on the fly share: samples by their index alone, and their COCO form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dprd_cli.structures.sample import SPLITS, CocoTree, ImageArray, Sample, Split

Rng = np.random.Generator


class Scene(NamedTuple):
    """A drawn image and what is in it.

    Args:
        image: RGB, uint8. [size, size, 3]
        labels: Class of each object. [G]
        masks: Visible pixels of each object, none of them empty. [G, size, size]
        cues: Where each object's class can be read, or None; see `Sample`. [G, 2]
    """

    image: ImageArray
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]
    cues: NDArray[np.float32] | None = None


class BuiltInDataset(ABC):
    """A split of a built-in data set.

    Args:
        split: `train` or `val`; they share no image.
        length: Number of images.
        size: Side of the square images in pixels.
        seed: Another seed gives other images.

    Attributes:
        kind: The name of the data, as `data.path` has it.
        supercategory: COCO's word for what the classes are.
        name: What to call it in messages.
        split: As given.
        class_names: Name of each class index.
        category_ids: 1..K.
        has_masks: True.
        is_voc: False.
    """

    kind: str
    supercategory: str
    class_names: tuple[str, ...]
    has_masks = True
    is_voc = False

    def __init__(self, split: Split, length: int, size: int = 128, seed: int = 0) -> None:
        if split not in SPLITS:
            raise ValueError(f"split: expected train or val, but got {split!r}")
        self.category_ids = tuple(range(1, len(self.class_names) + 1))
        self.split = split
        self.size = size
        self.seed = seed
        self.name = f"{self.kind} {split}"
        self._length = length
        self._coco: CocoTree | None = None

    @abstractmethod
    def draw(self, rng: Rng) -> Scene:
        """Draw an image; all randomness is the generator's."""

    @abstractmethod
    def draw_labels(self, rng: Rng) -> NDArray[np.int64]:
        """Return the labels that `draw` gives with the same generator, without painting. [G]."""

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Generate one image.

        Raises:
            IndexError: If `index` is not in 0..length-1.
        """
        image, labels, masks, cues = self.draw(self._rng(index))
        return Sample(
            image=image,
            boxes=tight_boxes(masks),
            labels=labels,
            masks=masks,
            has_mask=np.ones(len(labels), dtype=np.bool_),
            image_id=index + 1,
            file_name=f"{self.split}_{index:06d}.png",
            cues=cues,
        )

    def labels_of(self, index: int) -> NDArray[np.int64]:
        """Return the class indices of an image's objects. [G].

        Raises:
            IndexError: If `index` is not in 0..length-1.
        """
        return self.draw_labels(self._rng(index))

    def _rng(self, index: int) -> Rng:
        if not 0 <= index < self._length:
            raise IndexError(f"index: expected 0..{self._length - 1}, but got {index}")
        return np.random.default_rng([self.seed, SPLITS.index(self.split), index, self.size])

    def coco(self) -> CocoTree:
        """Return the ground truth as a COCO `instances` dict, made once from all images."""
        if self._coco is None:
            tree = self.coco_header()
            for index in range(len(self)):
                self.add_sample(tree, self[index])
            self._coco = tree
        return self._coco

    def coco_header(self) -> CocoTree:
        """Return a COCO `instances` dict of the split without any image."""
        categories = [
            {"id": i, "name": name, "supercategory": self.supercategory}
            for i, name in zip(self.category_ids, self.class_names, strict=True)
        ]
        return {
            "info": {"description": f"dprd-cli built-in data, {self.split} split, seed {self.seed}"},
            "images": [],
            "annotations": [],
            "categories": categories,
        }

    def add_sample(self, tree: CocoTree, sample: Sample) -> None:
        """Append the image and the annotations of one of its samples to a COCO dict."""
        assert sample.masks is not None
        height, width = sample.image.shape[:2]
        tree["images"].append(
            {"id": sample.image_id, "file_name": sample.file_name, "width": width, "height": height}
        )
        for row, (box, label) in enumerate(zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)):
            rle = coco_mask.encode(np.asfortranarray(sample.masks[row], dtype=np.uint8))
            x0, y0, x1, y1 = box
            cue = {} if sample.cues is None else {"cue": sample.cues[row].tolist()}
            tree["annotations"].append(
                {
                    "id": len(tree["annotations"]) + 1,
                    "image_id": sample.image_id,
                    "category_id": self.category_ids[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(np.count_nonzero(sample.masks[row])),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
                    **cue,
                }
            )


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the tight xyxy boxes of non-empty masks [G, H, W], right and bottom exclusive. [G, 4]."""
    columns, rows = np.asarray(masks.any(axis=1)), np.asarray(masks.any(axis=2))
    width, height = columns.shape[1], rows.shape[1]
    edges = [
        columns.argmax(axis=1),
        rows.argmax(axis=1),
        width - columns[:, ::-1].argmax(axis=1),
        height - rows[:, ::-1].argmax(axis=1),
    ]
    return np.stack(edges, axis=1).astype(np.float32)
