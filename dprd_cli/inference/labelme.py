"""Detections as files of the annotation program labelme, to be corrected by hand."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dprd_cli.files.atomic import write_json
from dprd_cli.files.images import encode_png
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import OutputEntry, counted
from dprd_cli.inference.prediction import Prediction
from dprd_cli.ops.masks import paste_crop
from dprd_cli.ops.outlines import border_paths, corners

_VERSION = "5.5.0"  # of the format


def to_labelme(
    prediction: Prediction, image_path: str, image: bytes | None = None, *, masks: bool = True
) -> dict[str, Any]:
    """Return labelme's document for an image.

    Args:
        prediction: The detections.
        image_path: The image, seen from the document's folder.
        image: An encoded image, for one that is no file.
        masks: Polygons where there are masks; else rectangles.
    """
    height, width = prediction.image_size
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": list(_shapes(prediction, masks=masks)),
        "imagePath": image_path,
        "imageData": base64.b64encode(image).decode() if image else None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(prediction: Prediction, *, masks: bool) -> Iterator[dict[str, Any]]:
    """Yield the outlines of each object, which share a group, or its box."""
    found = prediction.detections
    rows = zip(prediction.class_names, found.boxes, prediction.boxes.tolist(), strict=True)
    for number, (name, box, (x1, y1, x2, y2)) in enumerate(rows):
        shape = {"label": name, "group_id": number, "description": "", "flags": {}}
        if found.masks is None or not masks:
            yield {**shape, "shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}
            continue
        crop, x, y = paste_crop(found.masks[number], box, found.image_size)
        for points in polygons(crop, x, y):
            yield {**shape, "shape_type": "polygon", "points": points}


def polygons(crop: NDArray[np.bool_], x: int, y: int) -> list[list[list[int]]]:
    """Return the outer outlines of a mask: [x, y] corners, through the centres of its outermost pixels.

    Law: filled and outlined, as labelme does it, they give the mask back, with its holes filled.

    Args:
        crop: The mask. [h, w]
        x: Left of the crop in the image.
        y: Top of the crop in the image.
    """
    found = [(corners(path) + np.array((x, y))).tolist() for path in border_paths(crop, holes=False)]
    return [(points * 3)[:3] if len(points) < 3 else points for points in found]  # labelme wants three


class LabelmeFiles:
    """`labelme/NAME.json`: what is shown, as polygons (boxes where there are no masks) to be corrected."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.count = folder, 0

    def add(self, entry: OutputEntry) -> None:
        """Write one file. An image that is no file of its own (a frame, a download) goes into it."""
        path = self.folder.claim("labelme", f"{entry.place}.json")
        image = None if entry.is_file else encode_png(entry.prediction.image)
        name = _relative(entry.path, path.parent) if entry.is_file else f"{path.stem}.png"
        content = to_labelme(entry.shown, name, image, masks=entry.style.masks)
        write_json(path, content)
        self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "labelme file")


def _relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder; whole where there is no such way."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return str(path.resolve())
