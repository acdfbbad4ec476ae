"""What `predict` leaves behind: COCO results, a table for spreadsheets, and the pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from dprd_cli.canvas import Picture
from dprd_cli.checkpoint import write_atomically
from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.evaluation.coco import to_coco_results
from dprd_cli.structures import Detections

_JPEG = frozenset({".jpg", ".jpeg"})


def output_folder(folder: Path, inputs: Sequence[Path]) -> Path:
    """Create the folder for results, and refuse one that would overwrite the pictures given.

    Raises:
        UsageError: If it is a file, or holds one of the inputs.
        ResourceError: If it cannot be created.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: a file; choose a folder")
    place = folder.resolve()
    if any(path.resolve().parent == place for path in inputs):
        raise UsageError(f"--out {folder}: holds pictures that are read; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot create the folder ({error.strerror})") from error
    return folder


def picture_names(paths: Sequence[Path], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Return a file name for each picture's drawing, no two alike even where case does not count.

    Args:
        paths: The pictures; equal names from different folders get `-2`, `-3`, ...
        suffix: Of all names; by default `.jpg` for JPEGs and `.png` for the rest.
        reserved: Names (without suffix) that other files of the folder have.
    """
    taken = {name.lower() for name in reserved}
    names = []
    for path in paths:
        ending = suffix or (".jpg" if path.suffix.lower() in _JPEG else ".png")
        number, stem = 1, path.stem
        while stem.lower() in taken:
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem.lower())
        names.append(stem + ending)
    return names


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Return COCO image ids: the file names' numbers if all are different numbers, else 1..N."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(paths) + 1))


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture as its suffix says.

    Raises:
        ResourceError: If it cannot be written.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, 93] if path.suffix == ".jpg" else []
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    write_atomically(path, lambda file: file.write(encoded))


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV; numbers get at most six significant digits.

    Raises:
        ResourceError: If it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


class Results:
    """Collects detections for `results.json`, `images.json` and `results.csv`.

    Args:
        class_names: Name of each class index. [K]
        category_ids: Original category id of each class index. [K]
        with_parts: Add part boxes.
        with_masks: Add masks, where the detector gives any.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: tuple[int, ...],
        *,
        with_parts: bool,
        with_masks: bool = True,
    ) -> None:
        self.class_names, self.category_ids = class_names, category_ids
        self.with_parts, self.with_masks = with_parts, with_masks
        self.records: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self._parts = 0

    def add(self, path: Path, image_id: int, detections: Detections, picture: str) -> None:
        """Add one picture.

        Args:
            path: The file.
            image_id: Its id in the results.
            detections: In its own frame.
            picture: Name of the file it was drawn to.
        """
        height, width = detections.image_size
        size = {"width": width, "height": height}
        self.images.append({"id": image_id, "file_name": str(path), **size, "picture": picture})
        records = to_coco_results(detections, image_id, self.category_ids, "bbox")
        if self.with_masks and detections.masks is not None:
            masks = to_coco_results(detections, image_id, self.category_ids, "segm")
            for record, mask in zip(records, masks, strict=True):
                record |= {"segmentation": mask["segmentation"], "mask_score": mask["score"]}
        if self.with_parts and detections.part_boxes is not None:
            self._parts = max(self._parts, detections.part_boxes.shape[1])
            for record, parts in zip(records, detections.part_boxes.double().tolist(), strict=True):
                record["part_boxes"] = [_xywh(part) for part in parts]
        self.records += records
        self.rows += [
            self._row(path, label, record)
            for label, record in zip(detections.labels.tolist(), records, strict=True)
        ]

    def save(self, folder: Path) -> list[Path]:
        """Write the three files and return their paths.

        Raises:
            ResourceError: If one cannot be written.
        """
        columns = ["file", "image_id", "class", "score", "mask_score", "x1", "y1", "x2", "y2"]
        columns += [f"part{n}_{name}" for n in range(1, self._parts + 1) for name in ("x1", "y1", "x2", "y2")]
        texts = {"results.json": json.dumps(self.records), "images.json": json.dumps(self.images, indent=2)}
        for name, text in texts.items():
            data = (text + "\n").encode()
            write_atomically(folder / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
        write_rows(folder / "results.csv", columns, self.rows)
        return [folder / name for name in (*texts, "results.csv")]

    def _row(self, path: Path, label: int, record: dict[str, Any]) -> dict[str, Any]:
        row = {"file": str(path), "image_id": record["image_id"], "class": self.class_names[label]}
        row |= {"score": record["score"], "mask_score": record.get("mask_score", "")}
        row |= dict(zip(("x1", "y1", "x2", "y2"), _xyxy(record["bbox"]), strict=True))
        for number, part in enumerate(record.get("part_boxes", []), start=1):
            names = (f"part{number}_{name}" for name in ("x1", "y1", "x2", "y2"))
            row |= dict(zip(names, _xyxy(part), strict=True))
        return row


def _xywh(box: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _xyxy(box: Sequence[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]
