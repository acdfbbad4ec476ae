"""JPEG files that cost as much to decode as photographs, for the benchmarks of whole commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.files.images import encode_jpeg
from dprd_cli.structures.sample import ImageArray

_SCENES = 24  # drawn; every image is one of them, shifted, perhaps mirrored, with other grain
_LARGEST = 640  # pixels of a scene's side: larger ones are made larger
_GRAIN = 7.0  # standard deviation of the noise, which makes the files as long as a camera's


def write_photographs(folder: Path, count: int, image_size: tuple[int, int]) -> list[Path]:
    """Write JPEG files with the built-in data's objects and with grain, some 120 kB each at 480x640.

    Args:
        folder: Folder of the files; must exist.
        count: Number of files.
        image_size: (height, width)
    """
    paths = []
    for number, image in enumerate(_images(count, image_size)):
        paths.append(folder / f"{number:06d}.jpg")
        paths[-1].write_bytes(encode_jpeg(image))
    return paths


def _images(count: int, image_size: tuple[int, int]) -> Iterator[ImageArray]:
    """Yield images, no two alike. Each [H, W, 3]."""
    height, width = image_size
    side = max(image_size)
    scenes = SyntheticDataset("val", min(_SCENES, count), min(side, _LARGEST))
    drawn = [cv2.resize(scenes[number].image, (side, side)) for number in range(len(scenes))]
    random = np.random.default_rng(0)
    grain = random.normal(0, _GRAIN, (2 * height, 2 * width, 3)).astype(np.int16)
    for number in range(count):
        top, left = random.integers(0, (height, width))
        scene = np.roll(drawn[number % len(drawn)], random.integers(0, side // 4), axis=1)
        scene = scene[(side - height) // 2 :, (side - width) // 2 :][:height, :width]
        noisy = scene[:, :: random.choice((-1, 1))] + grain[top : top + height, left : left + width]
        yield np.clip(noisy, 0, 255).astype(np.uint8)
