"""Images with objects for the tests of augmentation; on the import path of every test."""

import numpy as np

from dprd_cli.structures.sample import Sample


def sample(height=30, width=50, masks=True):
    boxes = np.array([[5, 4, 25, 24], [30, 10, 48, 20]], dtype=np.float32)
    drawn = np.zeros((2, height, width), dtype=bool)
    for row, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        drawn[row, y1:y2, x1:x2] = True
    return Sample(
        image=np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8),
        boxes=boxes,
        labels=np.array([1, 0]),
        masks=drawn if masks else None,
        has_mask=np.full(2, masks),
        image_id=7,
        file_name="a.png",
    )


def empty():
    full = sample()
    none = np.zeros(0, dtype=bool)
    return Sample(full.image, full.boxes[:0], full.labels[:0], full.masks[:0], none, 8, "b.png")


def same(first, second):
    for name in ("image", "boxes", "labels", "masks", "has_mask"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
