"""Detections as annotations: a data set in COCO's or YOLO's format, to be corrected and trained on."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import yaml

from dprd_cli.data.formats.polygons import one_ring
from dprd_cli.errors import ResourceError
from dprd_cli.files.atomic import write_atomically, write_bytes
from dprd_cli.files.images import encode_png, has_image_suffix
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import OutputEntry, counted
from dprd_cli.ops.masks import encode_rle, paste_crop
from dprd_cli.ops.outlines import border_paths, edge_outlines
from dprd_cli.structures.sample import CocoEntry

#: One image as an entry of COCO's `images`, its objects, and the categories.
CocoImage = tuple[CocoEntry, list[CocoEntry], list[CocoEntry]]


class CocoDatasetFiles:
    """`dataset/train.json` and `dataset/images/`: what is shown, as annotations in COCO's format."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder = folder
        self._tree: dict[str, list[CocoEntry]] = {"images": [], "annotations": [], "categories": []}

    def open(self) -> None:
        """Nothing yet: the file is written in the end, for it has two lists that grow."""

    def content(self, entry: OutputEntry) -> CocoImage:
        """Write the image, and return its annotations."""
        name = _save_image(entry, self.folder, "dataset")
        shown = entry.shown
        height, width = shown.image_size
        image = {"id": entry.image_id, "file_name": name, "width": width, "height": height}
        names = zip(shown.category_ids, shown.all_class_names, strict=True)
        return image, _annotations(entry), [{"id": ident, "name": name} for ident, name in names]

    def write(self, content: CocoImage) -> None:
        """Keep the annotations of one image."""
        image, annotations, self._tree["categories"] = content
        self._tree["images"].append(image)
        rows = self._tree["annotations"]
        rows += [{"id": len(rows) + number, **row} for number, row in enumerate(annotations, start=1)]

    def close(self) -> list[str]:
        """Write the file."""
        write_bytes(self.folder.claim("dataset", "train.json"), json.dumps(self._tree).encode())
        images, objects = (len(self._tree[key]) for key in ("images", "annotations"))
        return [f"dataset/ ({counted(images, 'image')[0]}, {objects} annotations)"]


class YoloDatasetFiles:
    """`yolo/data.yaml`, `yolo/images/` and `yolo/labels/`: what is shown, as labels in YOLO's format."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.count = folder, 0
        self._described = False

    def add(self, entry: OutputEntry) -> None:
        """Write one image with its labels, and with the first the description."""
        if not self._described:
            self._described = True
            names = dict(enumerate(entry.prediction.all_class_names))
            tree = {"train": "images", "names": names}
            text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
            write_bytes(self.folder.claim("yolo", "data.yaml"), text.encode())
        _save_image(entry, self.folder, "yolo")
        size = entry.prediction.image_size
        labels = entry.shown.labels.tolist()
        rows = zip(labels, _annotations(entry), strict=True)
        text = "".join(f"{label} {_yolo_values(row, size)}\n" for label, row in rows)
        write_bytes(self.folder.claim("yolo", "labels", f"{entry.place}.txt"), text.encode())
        self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "YOLO label file")


def _annotations(entry: OutputEntry) -> list[CocoEntry]:
    """Return what is shown as COCO's annotations without ids: polygons, run lengths where there are holes."""
    found, style = entry.shown.detections, entry.style
    height, width = found.image_size
    with_masks = found.masks is not None and style.masks
    rles = encode_rle(found.masks, found.boxes, found.image_size) if found.masks is not None else []
    rows: list[CocoEntry] = []
    for number, (label, score) in enumerate(zip(found.labels.tolist(), found.scores.tolist(), strict=True)):
        x1, y1, x2, y2 = found.boxes[number].double().tolist()
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        row: CocoEntry = {
            "image_id": entry.image_id,
            "category_id": entry.prediction.category_ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            "score": score,
        }
        if with_masks and found.masks is not None:
            crop, x, y = paste_crop(found.masks[number], found.boxes[number], found.image_size)
            if crop.any():
                row |= {"segmentation": _outlines(crop, x, y) or rles[number], "area": int(crop.sum())}
        rows.append(row)
    return rows


def _outlines(crop: np.ndarray[Any, np.dtype[np.bool_]], x: int, y: int) -> list[list[float]]:
    """Return the polygons of a mask [h, w] at (x, y), along its pixels' edges; none for one with holes."""
    rings = edge_outlines(crop)
    if len(rings) != len(border_paths(crop, holes=False)):
        return []
    return [np.add(ring, (x, y)).ravel().tolist() for ring in rings]


def _yolo_values(row: CocoEntry, size: tuple[int, int]) -> str:
    """Return an object's polygon, or its box, in shares of the image (height, width)."""
    height, width = size
    ring, _ = one_ring(row.get("segmentation"), size)
    x, y, w, h = row["bbox"]
    values = np.array([(x + w / 2) / width, (y + h / 2) / height, w / width, h / height])
    if ring is not None:
        values = np.clip(ring / [width, height], 0, 1).ravel()
    return " ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in values.tolist())


def _save_image(entry: OutputEntry, folder: OutputFolder, kind: str) -> str:
    """Copy the image, or write what is no image file as PNG, and return its name in `images/`."""
    copied = entry.is_file and has_image_suffix(entry.path.name)
    name = f"{entry.place}{entry.path.suffix if copied else '.png'}"
    path = folder.claim(kind, "images", name)
    if not copied:
        write_bytes(path, encode_png(entry.prediction.image))
        return name
    try:
        with entry.path.open("rb") as file:
            write_atomically(path, lambda target: shutil.copyfileobj(file, target))
    except OSError as error:
        raise ResourceError(f"{entry.path}: cannot copy the image ({error.strerror})") from error
    return name
