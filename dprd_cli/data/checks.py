"""Finding what is wrong with a COCO annotation file before anything is trained on it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.data.problems import Problems, first_five, plural
from dprd_cli.data.segmentation import are_numbers, has_thin_polygon, segmentation_fault
from dprd_cli.errors import DataError

#: Objects with a thinner box, in pixels and after clipping to the picture, are left out.
MIN_BOX_SIDE = 0.01


@dataclass(slots=True)
class CheckReport:
    """What a file holds, and what is odd about it but can be used.

    Attributes:
        num_images: Pictures listed.
        num_objects: Annotations that are not crowds, degenerate ones included.
        num_crowds: Annotations that are crowds (COCO) or difficult (VOC).
        degenerate: Annotation ids of objects whose box is thinner than `MIN_BOX_SIDE`.
        warnings: Lines to print.
    """

    num_images: int = 0
    num_objects: int = 0
    num_crowds: int = 0
    degenerate: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_coco_json(path: Path) -> dict[str, Any]:
    """Parse an annotation file, without looking into it.

    Raises:
        DataError: If it is missing, unreadable, not JSON, or not a JSON object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            tree = json.load(file)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such annotation file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read the annotation file ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); expected a COCO annotation file") from error
    if not isinstance(tree, dict):
        raise DataError(
            f"{path}: not COCO: expected an object with {_KEYS_TEXT}, got a {type(tree).__name__}"
        )
    return tree


_KEYS = ("images", "annotations", "categories")
_KEYS_TEXT = "'images', 'annotations' and 'categories'"


def check_coco(
    tree: dict[str, Any], json_path: Path, images_dir: Path, *, missing_ok: bool = False
) -> CheckReport:
    """Check a parsed annotation file against the format and against the picture folder.

    Args:
        tree: The parsed file.
        json_path: Where it came from, for messages.
        images_dir: Folder that `file_name` is relative to.
        missing_ok: Only warn of missing pictures (they are skipped when they are read).

    Returns:
        Counts and warnings.

    Raises:
        DataError: One line that names the first problem (with the ids) and counts the others.
    """
    _check_keys(tree, json_path)
    problems = Problems(json_path)
    report = CheckReport(num_images=len(tree["images"]))
    _check_categories(tree["categories"], problems)
    _check_images(tree["images"], problems)
    problems.stop()
    sizes = {image["id"]: (image["height"], image["width"]) for image in tree["images"]}
    categories = {category["id"] for category in tree["categories"]}
    _check_annotations(tree["annotations"], sizes, categories, problems, report)
    problems.stop()
    check_files([image["file_name"] for image in tree["images"]], images_dir, problems, report, missing_ok)
    problems.stop(
        "copy the pictures into the folder, or name another with --set data.train_images=DIR (val_images, "
        "test_images)"
    )
    return report


def _check_keys(tree: dict[str, Any], json_path: Path) -> None:
    missing = [key for key in _KEYS if key not in tree]
    if missing:
        names = " and ".join(f"'{key}'" for key in missing)
        raise DataError(f"{json_path}: not COCO instances: {names} missing; expected {_KEYS_TEXT}")
    for key in _KEYS:
        if not isinstance(tree[key], list):
            raise DataError(
                f"{json_path}: not COCO: '{key}' must be a list, got a {type(tree[key]).__name__}"
            )
        for index, entry in enumerate(tree[key]):
            if not isinstance(entry, dict):
                kind = type(entry).__name__
                raise DataError(f"{json_path}: not COCO: {key}[{index}] must be an object, got a {kind}")
    for key in ("images", "categories"):
        if not tree[key]:
            raise DataError(f"{json_path}: '{key}' is empty: there is nothing to learn from")


def _check_ids(entries: list[dict[str, Any]], what: str, problems: Problems) -> None:
    """Every entry has an integer id, and no two the same."""
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        ident = entry.get("id")
        if type(ident) is not int:
            problems.add(
                f"{what} id", f"{what} number {index + 1} has id {ident!r}, expected an integer", index + 1
            )
        elif ident in seen:
            problems.add(f"{what} twice", f"{what} id {ident} is used more than once", ident)
        else:
            seen.add(ident)


def _check_categories(categories: list[dict[str, Any]], problems: Problems) -> None:
    _check_ids(categories, "category", problems)
    seen: dict[str, Any] = {}
    for category in categories:
        name, ident = category.get("name"), category.get("id")
        if not isinstance(name, str) or not name:
            problems.add("name", f"category {ident} has name {name!r}, expected a word", ident)
        elif name in seen:
            problems.add(
                "same name", f"categories {seen[name]} and {ident} have the same name '{name}'", ident
            )
        else:
            seen[name] = ident


def _check_images(images: list[dict[str, Any]], problems: Problems) -> None:
    _check_ids(images, "image", problems)
    for image in images:
        name, ident = image.get("file_name"), image.get("id")
        for side in ("width", "height"):
            if type(image.get(side)) is not int or image[side] <= 0:
                problems.add(
                    side, f"image {ident} has {side} {image.get(side)!r}, expected a positive integer", ident
                )
        if not isinstance(name, str) or not name or "\0" in name:
            problems.add("file", f"image {ident} has file_name {name!r}, expected a path", ident)
        elif is_absolute(name):
            problems.add(
                "absolute",
                f"image {ident} has the absolute file_name '{name}', expected a relative one",
                ident,
            )
        elif leaves_folder(name):
            problems.add(
                "outside", f"image {ident} has file_name '{name}', which leaves the picture folder", ident
            )


def is_absolute(name: str) -> bool:
    """Whether a file name starts at a root or a drive, on any system."""
    return bool(re.match(r"[\\/]|[A-Za-z]:", name))


def leaves_folder(name: str) -> bool:
    """Whether a relative file name goes up, on any system."""
    return ".." in re.split(r"[\\/]", name)


def _check_annotations(
    annotations: list[dict[str, Any]],
    sizes: dict[int, tuple[int, int]],
    categories: set[int],
    problems: Problems,
    report: CheckReport,
) -> None:
    _check_ids(annotations, "annotation", problems)
    thin: list[int] = []
    for note in annotations:
        ident, category, image = note.get("id"), note.get("category_id"), note.get("image_id")
        if type(category) is not int or category not in categories:
            problems.add(
                "category",
                f"annotation {ident} refers to category {category!r}, which is not in 'categories'",
                ident,
            )
        if type(image) is not int or image not in sizes:
            problems.add(
                "image", f"annotation {ident} refers to image {image!r}, which is not in 'images'", ident
            )
            continue
        if note.get("iscrowd", 0) not in (0, 1):
            problems.add(
                "crowd", f"annotation {ident} has iscrowd {note['iscrowd']!r}, expected 0 or 1", ident
            )
            continue
        if note.get("area") is not None and not are_numbers([note["area"]]):
            problems.add(
                "area", f"annotation {ident} has area {note['area']!r}, expected a finite number", ident
            )
        crowd = bool(note.get("iscrowd", 0))
        report.num_crowds += crowd
        report.num_objects += not crowd
        box = note.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not are_numbers(box):
            problems.add(
                "bbox",
                f"annotation {ident} has bbox {box!r}, expected four finite numbers [x, y, w, h]",
                ident,
            )
        elif not crowd and is_degenerate(box, sizes[image]):
            report.degenerate.append(ident)  # type: ignore[arg-type]
        fault = segmentation_fault(note.get("segmentation"), sizes[image])
        if fault:
            problems.add("segmentation", f"annotation {ident}: {fault}", ident)
        elif has_thin_polygon(note.get("segmentation")):
            thin.append(ident)  # type: ignore[arg-type]
    if report.degenerate:
        report.warnings.append(
            f"{plural(len(report.degenerate), 'object')} left out: the box, clipped to the picture, "
            f"has no area "
            f"(annotation ids {first_five(report.degenerate)})"
        )
    if thin:
        report.warnings.append(
            f"{plural(len(thin), 'object')} with polygons of fewer than three points, which are ignored "
            f"(annotation ids {first_five(thin)})"
        )


def clip_box(box: list[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Turn COCO's [x, y, w, h] into xyxy inside a picture of `size` (height, width), in pixels."""
    x, y, w, h = box
    height, width = size
    return (
        min(max(x, 0), width),
        min(max(y, 0), height),
        min(max(x + w, 0), width),
        min(max(y + h, 0), height),
    )


def is_degenerate(box: list[float], size: tuple[int, int]) -> bool:
    """Whether [x, y, w, h] in pixels is thinner than `MIN_BOX_SIDE` inside a picture of (height, width)."""
    x1, y1, x2, y2 = clip_box(box, size)
    return x2 - x1 < MIN_BOX_SIDE or y2 - y1 < MIN_BOX_SIDE


def check_files(
    names: list[str], images_dir: Path, problems: Problems, report: CheckReport, missing_ok: bool
) -> None:
    """Check that every file is there, and inside the folder once symbolic links are followed.

    Args:
        names: Relative to the folder.
        images_dir: The folder.
        problems: Gets what cannot be used.
        report: Gets a warning where files are missing and that is all right.
        missing_ok: Only warn of missing files, as long as there are others.

    Raises:
        DataError: If the folder is missing.
    """
    if not images_dir.is_dir():
        raise DataError(
            f"{images_dir}: no such picture folder (for {problems.source}); name it with "
            "--set data.train_images=DIR or data.val_images=DIR"
        )
    root = os.path.realpath(images_dir)
    listings: dict[str, dict[str, bool]] = {}
    missing: list[str] = []
    for name in names:
        folder, _, base = name.rpartition("/")
        if folder not in listings:
            listings[folder] = _list(os.path.join(root, folder))
            if not _inside(os.path.join(root, folder), root):
                problems.add("link", f"'{name}' lies behind a link that leads out of {images_dir}", name)
        is_link = listings[folder].get(base)
        if is_link and not _inside(os.path.join(root, name), root):
            problems.add("link", f"'{name}' is a link that leads out of {images_dir}", name)
        elif is_link is None or (is_link and not os.path.exists(os.path.join(root, name))):
            missing.append(name)
    if not missing:
        return
    text = f"{len(missing)} of {plural(len(names), 'picture')} missing in {images_dir}: {first_five(missing)}"
    if missing_ok and len(missing) < len(names):
        report.warnings.append(f"{text}; they are skipped")
    else:
        problems.add("missing", text, missing[0])  # once: the text counts them


def _list(folder: str) -> dict[str, bool]:
    """Return the entries of a folder that are not folders, and whether each is a link."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_symlink() for entry in entries if not entry.is_dir()}
    except OSError:
        return {}


def _inside(path: str, root: str) -> bool:
    real = os.path.realpath(path)
    return real == root or real.startswith(os.path.join(root, ""))
