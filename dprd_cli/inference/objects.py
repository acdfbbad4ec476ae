"""A file for each object: its mask, or the image inside its box."""

from __future__ import annotations

import re

import numpy as np

from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.images import encode_png, write_image
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import OutputEntry, counted
from dprd_cli.ops.masks import paste_crop


class MaskFiles:
    """`masks/NAME/00-CLASS.png`: each object that is shown, white on black, in the image's size."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.count = folder, 0

    def add(self, entry: OutputEntry) -> None:
        """Write the masks of one image."""
        found = entry.shown.detections
        if found.masks is None or not entry.style.masks:
            return
        for name, mask, box in zip(_object_names(entry), found.masks, found.boxes, strict=True):
            image = np.zeros(entry.prediction.image_size, dtype=np.uint8)
            crop, x, y = paste_crop(mask, box, found.image_size)
            image[y : y + crop.shape[0], x : x + crop.shape[1]] = crop * np.uint8(255)
            path = self.folder.claim("masks", entry.place, f"{name}.png")
            write_bytes(path, encode_png(image))
            self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "mask")


class CropFiles:
    """`crops/NAME/00-CLASS.jpg`: the image inside the box of each object that is shown."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.count = folder, 0

    def add(self, entry: OutputEntry) -> None:
        """Write the crops of one image."""
        height, width = entry.prediction.image_size
        for name, (x1, y1, x2, y2) in zip(_object_names(entry), entry.shown.boxes.tolist(), strict=True):
            left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
            right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
            crop = entry.prediction.image[top:bottom, left:right]
            if crop.size:
                path = self.folder.claim("crops", entry.place, f"{name}{entry.suffix}")
                write_image(path, np.ascontiguousarray(crop))
                self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "crop")


def _object_names(entry: OutputEntry) -> list[str]:
    """Return `00-dog`, `01-traffic-light`, ...: numbers by score, as in the COCO results."""
    names = (re.sub(r"[^\w.-]+", "-", name)[:80] for name in entry.shown.class_names)
    return [f"{number:02d}-{name}" for number, name in enumerate(names)]
