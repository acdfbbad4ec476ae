"""The built-in data set: articulated objects on cluttered backgrounds, generated on the fly.

Image `index` is a pure function of (seed, split, index, size). It is laid out front to back on a canvas
three times as fine, so that the visible area of an object is final once it is placed; it is painted back to
front.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dprd_cli.data.synthetic.painting import (
    Bytes,
    Color,
    Sprite,
    draw_sprite,
    finish,
    paint_background,
    paint_sprite,
)
from dprd_cli.data.synthetic.shapes import CLASSES, Rng, draw_pose, transform
from dprd_cli.structures.sample import SPLITS, CocoTree, Sample, Split

FINE = 3  # canvas pixels an image pixel, each way
MIN_VISIBLE = 0.6  # share of an object that must be visible
MIN_PIXELS = 12  # visible image pixels
LENGTHS = (0.15, 0.92)  # length of a stretched object over the image's side
MIN_LENGTH = 14.0  # pixels, however small the image
MAX_TILT = np.deg2rad(35)  # objects stand upright, as they mostly do in photographs
MAX_OBJECTS = 4
TRIES = 8


@dataclass(frozen=True, slots=True)
class _SceneObject:
    """An object: the rows and columns of the canvas it covers, and which of its own these show.

    `visible` is its mask in the image. [size, size]
    """

    label: int
    sprite: Sprite
    canvas: tuple[slice, slice]
    crop: tuple[slice, slice]
    visible: NDArray[np.bool_]


class SyntheticDataset:
    """A split of the built-in data set.

    Args:
        split: `train` or `val`; they share no image.
        length: Number of images.
        size: Side of the square images in pixels.
        seed: Another seed gives other images.

    Attributes:
        name: What to call it in messages.
        split: As given.
        class_names: Name of each class index.
        category_ids: 1..K.
        has_masks: True.
        is_voc: False.
    """

    class_names = tuple(CLASSES)
    category_ids = tuple(range(1, len(CLASSES) + 1))
    has_masks = True
    is_voc = False

    def __init__(self, split: Split, length: int, size: int = 128, seed: int = 0) -> None:
        if split not in SPLITS:
            raise ValueError(f"split: expected train or val, but got {split!r}")
        self.split = split
        self.size = size
        self.seed = seed
        self.name = f"synthetic {split}"
        self._length = length
        self._coco: CocoTree | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Generate one image.

        Raises:
            IndexError: If `index` is not in 0..length-1.
        """
        rng = self._rng(index)
        placed = _lay_out(rng, self.size)
        image = _paint(rng, self.size, placed)
        masks = np.array([p.visible for p in placed], dtype=np.bool_).reshape(-1, self.size, self.size)
        return Sample(
            image=image,
            boxes=_tight_boxes(masks),
            labels=np.array([p.label for p in placed], dtype=np.int64),
            masks=masks,
            has_mask=np.ones(len(placed), dtype=np.bool_),
            image_id=index + 1,
            file_name=f"{self.split}_{index:06d}.png",
        )

    def labels_of(self, index: int) -> NDArray[np.int64]:
        """Return the class indices of an image's objects, which takes most of the time of drawing it. [G].

        Raises:
            IndexError: If `index` is not in 0..length-1.
        """
        return np.array([placed.label for placed in _lay_out(self._rng(index), self.size)], dtype=np.int64)

    def _rng(self, index: int) -> Rng:
        if not 0 <= index < self._length:
            raise IndexError(f"index: expected 0..{self._length - 1}, but got {index}")
        return np.random.default_rng([self.seed, SPLITS.index(self.split), index, self.size])

    def coco(self) -> CocoTree:
        """Return the ground truth as a COCO `instances` dict, made once from all images."""
        if self._coco is None:
            tree = self.coco_header()
            for index in range(len(self)):
                add_sample(tree, self[index])
            self._coco = tree
        return self._coco

    def coco_header(self) -> CocoTree:
        """Return a COCO `instances` dict of the split without any image."""
        categories = [
            {"id": i, "name": name, "supercategory": "articulated"}
            for i, name in zip(self.category_ids, self.class_names, strict=True)
        ]
        return {
            "info": {"description": f"dprd-cli built-in data, {self.split} split, seed {self.seed}"},
            "images": [],
            "annotations": [],
            "categories": categories,
        }


def add_sample(tree: CocoTree, sample: Sample) -> None:
    """Append the image and the annotations of a sample of the built-in data to a COCO dict."""
    assert sample.masks is not None
    height, width = sample.image.shape[:2]
    tree["images"].append(
        {"id": sample.image_id, "file_name": sample.file_name, "width": width, "height": height}
    )
    for box, label, mask in zip(sample.boxes.tolist(), sample.labels.tolist(), sample.masks, strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        x0, y0, x1, y1 = box
        tree["annotations"].append(
            {
                "id": len(tree["annotations"]) + 1,
                "image_id": sample.image_id,
                "category_id": SyntheticDataset.category_ids[label],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(np.count_nonzero(mask)),
                "iscrowd": 0,
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
            }
        )


def _tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
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


def _lay_out(rng: Rng, size: int) -> list[_SceneObject]:
    """Place up to `MAX_OBJECTS` objects front to back, leaving out those that show too little."""
    free = np.full((FINE * size, FINE * size), 255, np.uint8)
    placed: list[_SceneObject] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        label = int(rng.integers(len(CLASSES)))
        sprite = _draw_object(rng, SyntheticDataset.class_names[label], size)
        for _ in range(TRIES):
            found = _try(_position(rng, sprite, placed, len(free)), label, sprite, free)
            if found is not None:
                region = free[found.canvas]
                region[sprite.mask[found.crop] > 0] = 0
                placed.append(found)
                break
    return placed


def _draw_object(rng: Rng, name: str, size: int) -> Sprite:
    """Draw an object in random pose, direction and scale, in canvas pixels."""
    low, high = np.log(max(MIN_LENGTH, LENGTHS[0] * size)), np.log(LENGTHS[1] * size)
    length = FINE * float(np.exp(rng.uniform(low, high)))
    parts = transform(draw_pose(name, rng), rng.uniform(-MAX_TILT, MAX_TILT), length)
    return draw_sprite(rng, parts, outline=max(1, round(0.016 * length)))


def _position(rng: Rng, sprite: Sprite, placed: list[_SceneObject], side: int) -> tuple[int, int]:
    """Draw the (y, x) of a sprite's upper left corner: half of them near another object."""
    extent = np.array(sprite.mask.shape)
    if placed and rng.uniform() < 0.5:
        other = placed[int(rng.integers(len(placed)))]
        middle = np.array([(s.start + s.stop) / 2 for s in other.canvas])
        reach = (extent + np.array(other.sprite.mask.shape)) / 2
        corner = middle + rng.uniform(-0.75, 0.75, 2) * reach - extent / 2
    else:
        corner = np.sort([-0.15 * extent, side - 0.85 * extent], axis=0)
        corner = rng.uniform(corner[0], corner[1])
    return int(corner[0]), int(corner[1])


def _try(corner: tuple[int, int], label: int, sprite: Sprite, free: Bytes) -> _SceneObject | None:
    """Return the object with its upper left corner at `corner`, or None where too little of it is visible."""
    spans = [
        (max(0, at), min(side, at + n), at)
        for at, n, side in zip(corner, sprite.mask.shape, free.shape, strict=True)
    ]
    if any(stop <= start for start, stop, _ in spans):
        return None
    canvas = (slice(*spans[0][:2]), slice(*spans[1][:2]))
    rows, columns = (slice(start - at, stop - at) for start, stop, at in spans)
    crop = (rows, columns)
    shown = np.zeros_like(free)
    shown[canvas] = cv2.bitwise_and(sprite.mask[crop], free[canvas])
    if cv2.countNonZero(shown) < MIN_VISIBLE * sprite.area:
        return None
    size = len(free) // FINE
    visible = cv2.resize(shown, (size, size), interpolation=cv2.INTER_AREA) >= 128
    if np.count_nonzero(visible) < MIN_PIXELS:
        return None
    return _SceneObject(label, sprite, canvas, crop, visible)


def _paint(rng: Rng, size: int, placed: list[_SceneObject]) -> Bytes:
    """Paint the background and, back to front, the objects. [size, size, 3]."""
    canvas = paint_background(rng, size, FINE)
    painted: list[tuple[_SceneObject, Color]] = []
    for item in reversed(placed):
        region = canvas[item.canvas]
        behind = [region[::4, ::4].reshape(-1, 3).mean(axis=0)]
        behind += [color for other, color in painted if _meet(item, other)]
        painted.append((item, paint_sprite(rng, region, item.sprite, item.crop, np.array(behind))))
    return finish(rng, canvas, size)


def _meet(one: _SceneObject, other: _SceneObject) -> bool:
    """Return whether the extents of two objects overlap."""
    spans = zip(one.canvas, other.canvas, strict=True)
    return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in spans)
