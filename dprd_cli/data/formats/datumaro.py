"""Datumaro's own json, which CVAT exports too: items with boxes, polygons and masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_masks

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco_checks import read_json
from dprd_cli.data.formats.drawn import DrawnAnnotations, DrawnImage
from dprd_cli.data.formats.json_kinds import find_json
from dprd_cli.data.formats.names import ImageNames
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.formats.segmentation import are_numbers, segmentation_fault
from dprd_cli.data.formats.shapes import (
    DrawnShape,
    Ring,
    ShapeCollector,
    ShapeError,
    ellipse,
)
from dprd_cli.data.formats.source import DataSource, by_part
from dprd_cli.errors import DataError, short_repr
from dprd_cli.structures.sample import Rle

_OPEN = frozenset(("label", "caption", "points", "polyline", "cuboid", "cuboid_3d", "skeleton"))


def find(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return Datumaro's json files, one for each subset."""
    files = by_part(find_json(root, "datumaro"), root) if root is not None else {}
    if root is None or not files:
        return None
    base = root if root.is_dir() else root.parent
    parts = {
        part: partial(DrawnAnnotations, base, DatumaroReader(paths[0]), links=config.follow_links)
        for part, paths in files.items()
    }
    return DataSource("Datumaro", root, dict(parts))


@dataclass(frozen=True, slots=True)
class DatumaroReader:
    """A subset's file.

    Args:
        path: The file.
    """

    path: Path

    @property
    def label(self) -> str:
        """The file."""
        return str(self.path)

    def class_names(self) -> tuple[str, ...]:
        """Return the labels in the file's order."""
        return self._labels(read_json(self.path))

    def _labels(self, tree: dict[str, Any]) -> tuple[str, ...]:
        try:
            return tuple(str(one["name"]).strip() for one in tree["categories"]["label"]["labels"])
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.path}: not Datumaro's json: it has no categories.label.labels") from error

    def read(self, names: ImageNames, problems: Problems) -> list[DrawnImage]:
        """Read all items."""
        tree = read_json(self.path)
        labels, items = self._labels(tree), tree.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise DataError(f"{self.path}: not Datumaro's json: 'items' must be a list of objects")
        shapes, images = ShapeCollector(problems), []
        for item in items:
            size = _size(item)
            parse = partial(_shape, labels=labels, size=size)
            found = shapes.take(self.path, item.get("annotations", []), parse)
            images.append(DrawnImage(self._image(item, names), self.path, size, found))
        shapes.summarise()
        return images

    def _image(self, item: dict[str, Any], names: ImageNames) -> str:
        """Return the image of an item: below `images/SUBSET`, `images`, or wherever its name is."""
        said = next((path for key in ("image", "media") if (path := _path(item.get(key)))), "")
        said = said or f"{item.get('id')}.jpg"
        for start in (f"images/{self.path.stem}/", "images/", ""):
            found = names.find(start + said)
            if found is not None:
                return found
        near = names.near(said) if not _path(item.get("image")) else None  # the id has no suffix
        return near or f"images/{self.path.stem}/{said}"


def _path(media: Any) -> str:
    path = media.get("path") if isinstance(media, dict) else None
    return path if isinstance(path, str) else ""


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    """Return (height, width), if the item says it."""
    for key in ("image", "media"):
        media = item.get(key)
        size = media.get("size") if isinstance(media, dict) else None
        if isinstance(size, list) and len(size) == 2 and set(map(type, size)) == {int} and min(size) > 0:
            return size[0], size[1]
    return None


def _shape(
    entry: dict[str, Any], where: str, labels: tuple[str, ...], size: tuple[int, int] | None
) -> DrawnShape | str:
    """Read an annotation.

    Raises:
        ShapeError: If it is none.
    """
    kind, label = entry.get("type"), entry.get("label_id")
    if kind in _OPEN:
        return str(kind)
    if type(label) is not int or not 0 <= label < len(labels):
        raise ShapeError(f"label_id is {short_repr(label)}, expected 0 to {len(labels) - 1}")
    shape = partial(DrawnShape, labels[label], where, group=entry.get("group") or None)
    if kind == "bbox":
        x, y, w, h = _numbers(entry.get("bbox"), 4)
        return shape((x, y, x + w, y + h))
    if kind == "polygon":
        return shape(rings=(_numbers(entry.get("points"), 6),))
    if kind == "ellipse":
        x1, y1, x2, y2 = _numbers(entry.get("points"), 4)
        return shape(rings=(ellipse((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2),))
    if kind == "mask":
        return shape(mask=_mask(entry.get("rle"), size))
    raise ShapeError(f"a shape of type {short_repr(kind)}")


def _numbers(values: Any, least: int) -> Ring:
    if not isinstance(values, list) or len(values) < least or len(values) % 2 or not are_numbers(values):
        raise ShapeError(f"{short_repr(values)}, expected {least} numbers")
    return values


def _mask(rle: Any, size: tuple[int, int] | None) -> Rle:
    if not isinstance(rle, dict) or size is None:
        raise ShapeError("a mask needs an rle, and its image a size")
    fault = segmentation_fault(rle, size)
    if fault:
        raise ShapeError(fault)
    if isinstance(rle["counts"], list):
        rle = rle_masks.frPyObjects(rle, *size)
        return {"size": list(size), "counts": rle["counts"].decode()}
    return {"size": list(size), "counts": rle["counts"]}
