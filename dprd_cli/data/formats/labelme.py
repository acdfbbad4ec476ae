"""labelme's files: a json of shapes for each image, beside it or in a folder of its own."""

from __future__ import annotations

import base64
import binascii
import io
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_masks

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco_checks import read_json
from dprd_cli.data.formats.drawn import DrawnAnnotations, DrawnImage, image_beside
from dprd_cli.data.formats.json_kinds import find_json, json_kind
from dprd_cli.data.formats.names import ImageNames
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.shapes import (
    DrawnShape,
    ShapeCollector,
    ShapeError,
    box_of,
    ellipse,
    numbers_of,
    ring_of,
)
from dprd_cli.data.formats.source import DataSource, split_folders
from dprd_cli.errors import DataError
from dprd_cli.structures.sample import Rle

#: Shapes that have no area.
_OPEN = frozenset(("point", "points", "line", "linestrip"))


def find(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return the labelme files in a folder, or in its folders of splits."""
    if root is None or not root.is_dir() or not find_json(root, "labelme"):
        return None
    parts = {
        part: partial(DrawnAnnotations, root, LabelmeReader(folder), links=config.follow_links)
        for part, folder in split_folders(root).items()
        if find_json(folder, "labelme")
    }
    if not parts:
        parts = {"all": partial(DrawnAnnotations, root, LabelmeReader(root), links=config.follow_links)}
    return DataSource("labelme", root, dict(parts))


@dataclass(frozen=True, slots=True)
class LabelmeReader:
    """Every labelme file below a folder.

    Args:
        folder: The folder.
    """

    folder: Path

    @property
    def label(self) -> str:
        """The folder."""
        return f"{self.folder} labelme"

    def class_names(self) -> tuple[str, ...]:
        """Return nothing: labelme keeps no list of classes."""
        return ()

    def read(self, names: ImageNames, problems: Problems) -> list[DrawnImage]:
        """Read all files."""
        shapes, images = ShapeCollector(problems), []
        others: list[str] = []
        for path in sorted(self.folder.rglob("*.json")):
            if json_kind(path) != "labelme":
                others.append(path.name)
                continue
            try:
                tree = read_json(path)
            except DataError as error:
                problems.add("json", str(error), path.name)
                continue
            image = image_beside(path, tree.get("imagePath"), names)
            size = _size(tree)
            parse = partial(_shape, size=size)
            images.append(DrawnImage(image, path, size, shapes.take(path, tree.get("shapes"), parse)))
        shapes.summarise()
        if others:
            text = (
                f"{plural(len(others), 'json file')} that is not labelme's, left out ({first_five(others)})"
            )
            problems.count("other json", text, others, "note")
        return images


def _size(tree: dict[str, Any]) -> tuple[int, int] | None:
    height, width = tree.get("imageHeight"), tree.get("imageWidth")
    return (height, width) if type(height) is int is type(width) and height > 0 < width else None


def _shape(entry: dict[str, Any], where: str, size: tuple[int, int] | None) -> DrawnShape | str:
    """Read a shape.

    Raises:
        ShapeError: If it is none.
    """
    kind, points = entry.get("shape_type") or "polygon", entry.get("points")
    group = entry.get("group_id")
    name = entry.get("label")
    shape = partial(DrawnShape, name.strip() if isinstance(name, str) else "", where)
    group = group if isinstance(group, (int, str)) else None
    if kind in _OPEN:
        return str(kind)
    if kind == "mask":
        return shape(mask=_mask(entry, size), group=group)
    if kind == "rectangle":
        return shape(box_of(points), group=group)
    if kind == "circle":
        x, y, *edge = numbers_of(points)
        if len(edge) != 2:
            raise ShapeError("a circle needs its centre and a point of its edge")
        radius = math.dist((x, y), edge)
        return shape(rings=(ellipse(x, y, radius, radius),), group=group)
    return shape(rings=(ring_of(points),), group=group)


def _mask(entry: dict[str, Any], size: tuple[int, int] | None) -> Rle:
    """Return the mask that a shape holds as a PNG, over the rectangle of its two points.

    Raises:
        ShapeError: If there is none, or it is not of that size.
    """
    x1, y1, x2, y2 = (round(value) for value in box_of(entry.get("points")))
    if size is None or not (0 <= x1 <= x2 < size[1] and 0 <= y1 <= y2 < size[0]):
        raise ShapeError("a mask that is not inside the image")
    try:
        data = io.BytesIO(base64.b64decode(entry["mask"], validate=True))
        with Image.open(data, formats=["PNG"]) as image:
            if image.size != (x2 - x1 + 1, y2 - y1 + 1):
                raise ShapeError(f"a mask of {image.size} pixels for a rectangle of another size")
            pixels = np.asarray(image.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError, binascii.Error) as error:
        raise ShapeError("a mask that is no PNG") from error
    whole = np.zeros(size, dtype=np.uint8, order="F")
    whole[y1 : y2 + 1, x1 : x2 + 1] = pixels
    rle = rle_masks.encode(whole)
    return {"size": list(size), "counts": rle["counts"].decode()}
