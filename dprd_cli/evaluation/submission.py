"""Results files for COCO's evaluation server, checked before they are written."""

from __future__ import annotations

import contextlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from dprd_cli.data.coco_results import Kind, to_coco_results
from dprd_cli.errors import UserError
from dprd_cli.files.atomic import write_atomically, write_bytes
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.ops.boxes import clip_boxes
from dprd_cli.structures.detections import Detections

#: Most detections of an image that COCO counts.
MOST = 100
#: Decimals of box coordinates in pixels, as is customary; scores are not rounded, which would make ties.
DECIMALS = 2


class Submission:
    """Collects detections image by image, and writes them as the evaluation server takes them.

    Boxes are clipped to the image and rounded to hundredths of a pixel. Detections whose box is empty then
    are left out, and those after the best hundred of an image.

    Args:
        images: Entries of the `image_info` file: `id`, `width`, `height`.
        categories: Entries of the file: `id`, `name`.
        category_ids: Category id of each class index; detections of classes without (below 0) are left
            out. [K]
        with_masks: Write masks too.

    Attributes:
        left_out: Number of detections left out.
    """

    def __init__(
        self,
        images: Sequence[Mapping[str, Any]],
        categories: Sequence[Mapping[str, Any]],
        category_ids: tuple[int, ...],
        *,
        with_masks: bool,
    ) -> None:
        self.images, self.categories, self.category_ids = images, categories, category_ids
        self.results: dict[Kind, list[dict[str, Any]]] = {"bbox": []}
        if with_masks:
            self.results["segm"] = []
        self.left_out = 0
        self._sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        self._known = {category["id"] for category in categories}

    def add(self, image_id: int, detections: Detections) -> None:
        """Add one image's detections, best first, in the frame of the original image.

        Raises:
            UserError: If the server would not take them.
        """
        self.add_rows(self.rows(image_id, detections))

    def rows(
        self, image_id: int, detections: Detections, segmentations: list[dict[str, Any]] | None = None
    ) -> tuple[dict[Kind, list[dict[str, Any]]], int]:
        """Return what `add_rows` takes: one image's results, and how many detections were left out.

        See `to_coco_results`.
        """
        boxes = rounded_boxes(detections)
        thin = (boxes[:, 2:] <= 0).any(axis=1)  # false for what is not a number: the check will name it
        ids = np.array(self.category_ids)[detections.labels.cpu().numpy()]
        index = np.flatnonzero(~thin & (ids >= 0))[:MOST]
        kept = detections[index.tolist()]
        runs = None if segmentations is None else [segmentations[number] for number in index]
        found: dict[Kind, list[dict[str, Any]]] = {}
        for kind in self.results:
            rows = to_coco_results(kept, image_id, self.category_ids, kind, runs)
            if kind == "bbox":
                for row, box in zip(rows, boxes[index].tolist(), strict=True):
                    row["bbox"] = box
            check_results(rows, kind, self._sizes, self._known)
            found[kind] = rows
        return found, len(detections) - len(index)

    def add_rows(self, image: tuple[dict[Kind, list[dict[str, Any]]], int]) -> None:
        """Do what `add` does, with what `rows` returned, perhaps in another process."""
        found, left_out = image
        self.left_out += left_out
        for kind, collected in self.results.items():
            collected += found[kind]

    def save(self, folder: OutputFolder, algorithm: str) -> list[Path]:
        """Write `bbox/` and `segm/`, each a json and a zip that holds it, and return the files.

        Args:
            folder: Where they go.
            algorithm: What the server knows the detector as.

        Raises:
            UserError: If there is nothing to write, or pycocotools cannot load it; nothing is written.
            ResourceError: If a folder or file cannot be written.
        """
        texts = {kind: json.dumps(rows, allow_nan=False) for kind, rows in self.results.items()}
        for kind, text in texts.items():
            self._load(kind, text)
        name = f"detections_test-dev2017_{algorithm}_results"
        files = []
        for kind, text in texts.items():
            files += [folder.claim(kind, f"{name}.json"), folder.claim(kind, f"{name}.zip")]
            write_bytes(files[-2], text.encode())
            _write_zip(files[-1], f"{name}.json", text)
        return files

    def _load(self, kind: Kind, text: str) -> None:
        """Load results as the server does."""
        rows = json.loads(text)
        if not rows:
            raise UserError(
                f"{kind} results: nothing was found in any image, and the server takes no empty file; "
                "train the detector further"
            )
        truth = COCO()
        truth.dataset = {"info": {}, "images": self.images, "categories": self.categories, "annotations": []}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                truth.createIndex()
                truth.loadRes(rows)
        except Exception as error:  # whatever pycocotools stumbles over
            raise UserError(f"{kind} results: pycocotools cannot load them ({error}); not written") from error


def rounded_boxes(detections: Detections) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return boxes as [x, y, w, h], clipped to the image and rounded to hundredths of a pixel. [D, 4].

    Law: x + w <= width and y + h <= height, in floating point too.
    """
    limits = np.array(detections.image_size[::-1], dtype=np.float64)
    corners = clip_boxes(
        detections.boxes.double(), detections.boxes.new_tensor(detections.image_size).double()
    )
    low, high = np.split(np.round(corners.numpy(), DECIMALS), 2, axis=1)
    size = np.round(high - low, DECIMALS)
    size = np.where(low + size > limits, np.round(size - 10.0**-DECIMALS, DECIMALS), size)
    return np.concatenate((low, size), axis=1)


def check_results(
    rows: Sequence[Mapping[str, Any]],
    kind: Kind,
    sizes: Mapping[int, tuple[int, int]],
    category_ids: set[int],
) -> None:
    """Check results as the evaluation server would.

    Args:
        rows: COCO results of any number of images.
        kind: What they are.
        sizes: (height, width) of each image, by its id.
        category_ids: Ids that there are.

    Raises:
        UserError: One line that names the first image that is wrong.
    """
    counts: dict[int, int] = {}
    for row in rows:
        image_id, score = row["image_id"], row["score"]
        fault = None
        if image_id not in sizes:
            fault = "no such image id in the test-dev file"
        elif row["category_id"] not in category_ids:
            fault = f"category id {row['category_id']} is not in the test-dev file"
        elif not 0 <= score <= 1:  # NaN is neither
            fault = f"score {score} is not in 0..1"
        else:
            height, width = sizes[image_id]
            fault = _box_fault(row["bbox"], height, width) if kind == "bbox" else None
            if kind == "segm":
                fault = _mask_fault(row["segmentation"], height, width)
        counts[image_id] = counts.get(image_id, 0) + 1
        if fault is None and counts[image_id] > MOST:
            fault = f"more than {MOST} detections"
        if fault is not None:
            raise UserError(f"{kind} results: image {image_id}: {fault}; nothing was written")


def _box_fault(box: Sequence[float], height: int, width: int) -> str | None:
    x, y, w, h = box
    if not all(map(math.isfinite, box)):
        return f"box {list(box)} is not finite"
    if w <= 0 or h <= 0:
        return f"box {list(box)} is empty"
    if x < 0 or y < 0 or x + w > width or y + h > height:
        return f"box {list(box)} reaches out of the image ({width}x{height})"
    return None


def _mask_fault(rle: Mapping[str, Any], height: int, width: int) -> str | None:
    if list(rle["size"]) != [height, width]:
        return f"mask of size {list(rle['size'])}, expected {[height, width]}"
    if not isinstance(rle["counts"], str) or not rle["counts"].isascii():
        return "mask whose run lengths are not ASCII text"
    return None


def _write_zip(path: Path, name: str, text: str) -> None:
    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, text)

    write_atomically(path, write)
