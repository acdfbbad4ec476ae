"""The VGG Image Annotator's files: one json of regions for all images of a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco_checks import read_json
from dprd_cli.data.formats.drawn import DrawnAnnotations, DrawnImage, image_beside
from dprd_cli.data.formats.json_kinds import find_json
from dprd_cli.data.formats.names import ImageNames
from dprd_cli.data.formats.problems import Problems, first_five
from dprd_cli.data.formats.segmentation import are_numbers
from dprd_cli.data.formats.shapes import (
    DrawnShape,
    ShapeCollector,
    ShapeError,
    ellipse,
    ring_of,
)
from dprd_cli.data.formats.source import DataSource, by_part
from dprd_cli.errors import DataError, short_repr

#: The class of regions that have no attribute.
NO_CLASS = "object"
_OPEN = frozenset(("point", "polyline"))
_USUAL = ("class", "label", "name", "type", "category", "object")


def find(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return VIA's json of regions or project, one for all images or one for each split."""
    files = by_part(find_json(root, "via"), root) if root is not None else {}
    if root is None or not files:
        return None
    for paths in files.values():
        if len(paths) > 1:
            names = first_five(path.relative_to(root) for path in paths)
            raise DataError(f"{root}: {len(paths)} files of VIA's ({names}); keep one for each split")
    base = root if root.is_dir() else root.parent
    parts = {
        part: partial(DrawnAnnotations, base, ViaReader(paths[0]), links=config.follow_links)
        for part, paths in files.items()
    }
    return DataSource("VIA", root, dict(parts))


@dataclass(frozen=True, slots=True)
class ViaReader:
    """A file of VIA's.

    Args:
        path: The file: exported annotations, or a whole project.
    """

    path: Path

    @property
    def label(self) -> str:
        """The file."""
        return str(self.path)

    def class_names(self) -> tuple[str, ...]:
        """Return nothing: the classes are what the regions say."""
        return ()

    def read(self, names: ImageNames, problems: Problems) -> list[DrawnImage]:
        """Read all images that were looked at."""
        tree = read_json(self.path)
        entries = tree.get("_via_img_metadata", tree)
        if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
            raise DataError(f"{self.path}: not VIA's json: expected an object of images")
        regions = {key: _regions(entry) for key, entry in entries.items()}
        attribute = class_attribute(
            [one for some in regions.values() if isinstance(some, list) for one in some]
        )
        shapes, images = ShapeCollector(problems), []
        for key, entry in entries.items():
            image = image_beside(self.path, entry.get("filename"), names)
            parse = partial(_shape, attribute=attribute)
            found = shapes.take(self.path, regions[key], parse)
            images.append(DrawnImage(image, self.path, None, found))
        shapes.summarise()
        if attribute:
            problems.count("attribute", f"the class is the region attribute '{attribute}'", [], "note")
        else:
            problems.count("attribute", f"regions have no attribute: all are '{NO_CLASS}'", [], "note")
        return images


def _regions(entry: dict[str, Any]) -> Any:
    """Return the regions of an image: a list, or in VIA 1 an object of them by number."""
    regions = entry.get("regions", [])
    return list(regions.values()) if isinstance(regions, dict) else regions


def class_attribute(regions: list[Any]) -> str:
    """Return the region attribute that holds the class: one of a usual name, or the one most regions have."""
    counts: Counter[str] = Counter()
    for region in regions:
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        if isinstance(attributes, dict):
            counts.update(
                key for key, value in attributes.items() if isinstance(value, str) and value.strip()
            )
    usual = [key for name in _USUAL for key in counts if key.lower() == name]
    return usual[0] if usual else counts.most_common(1)[0][0] if counts else ""


def _shape(entry: dict[str, Any], where: str, attribute: str) -> DrawnShape | str:
    """Read a region.

    Raises:
        ShapeError: If it is none.
    """
    place, attributes = entry.get("shape_attributes"), entry.get("region_attributes")
    if not isinstance(place, dict):
        raise ShapeError(f"shape_attributes are {short_repr(place)}")
    name = attributes.get(attribute, "") if isinstance(attributes, dict) and attribute else NO_CLASS
    shape = partial(DrawnShape, name.strip() if isinstance(name, str) else "", where)
    kind = place.get("name")
    if kind in _OPEN:
        return str(kind)
    if kind == "polygon":
        xs, ys = place.get("all_points_x"), place.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            raise ShapeError("a polygon needs all_points_x and all_points_y of one length")
        return shape(rings=(ring_of([list(point) for point in zip(xs, ys, strict=True)]),))
    if kind == "rect":
        x, y, w, h = _numbers(place, "x", "y", "width", "height")
        return shape((x, y, x + w, y + h))
    if kind == "circle":
        x, y, radius = _numbers(place, "cx", "cy", "r")
        return shape(rings=(ellipse(x, y, radius, radius),))
    if kind == "ellipse":
        x, y, across, down = _numbers(place, "cx", "cy", "rx", "ry")
        angle = place.get("theta", 0.0)
        return shape(rings=(ellipse(x, y, across, down, angle if are_numbers([angle]) else 0.0),))
    raise ShapeError(f"a shape of name {short_repr(kind)}")


def _numbers(place: dict[str, Any], *keys: str) -> list[float]:
    values = [place.get(key) for key in keys]
    if not are_numbers(values):
        raise ShapeError(f"{', '.join(keys)} are {short_repr(values)}, expected numbers")
    return values
