"""Finding what is wrong with a COCO annotation file before anything is trained on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dprd_cli.data.formats.ids import is_known, known_ids, settle_ids
from dprd_cli.data.formats.image_files import check_files
from dprd_cli.data.formats.object_checks import CheckReport, ObjectCounts, Size
from dprd_cli.data.formats.paths import name_fault
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.segmentation import are_numbers, segmentation_fault
from dprd_cli.errors import DataError, short_repr
from dprd_cli.files.images import LFS_POINTER
from dprd_cli.structures.sample import CocoEntry, CocoTree, is_class_name

_MAX_ID = 2**53  # the evaluators keep ids in floats
_MAX_PIXELS = 2**31 - 1  # of run lengths
_SLACK = 1.0  # pixels by which a box may reach out of its image without being counted


def read_json(path: Path) -> CocoTree:
    """Parse an annotation file, without looking into it.

    Raises:
        DataError: If it is missing, unreadable, not JSON, or not a JSON object.
    """
    try:
        content = path.read_bytes()
        if content.startswith(LFS_POINTER):
            raise DataError(f"{path}: a Git LFS pointer, not the file itself: run git lfs pull")
        tree = json.loads(content.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such annotation file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read the annotation file ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); expected an annotation file") from error
    if not isinstance(tree, dict):
        raise DataError(
            f"{path}: not COCO: expected an object with {_KEYS_TEXT}, got a {type(tree).__name__}"
        )
    return tree


def read_coco_json(path: Path) -> CocoTree:
    """Parse an annotation file of COCO's form, with ids as integers; see `settle_ids`.

    Raises:
        DataError: As `read_json`.
    """
    return settle_ids(read_json(path))


_KEYS = ("images", "annotations", "categories")
_KEYS_TEXT = "'images', 'annotations' and 'categories'"


def check_coco(
    tree: CocoTree,
    json_path: Path,
    images_dir: Path,
    problems: Problems,
    *,
    missing_ok: bool = False,
    links: bool = False,
) -> CheckReport:
    """Check a parsed annotation file against the format and against the image folder.

    Args:
        tree: The parsed file.
        json_path: Where it came from, for messages.
        images_dir: Folder that `file_name` is relative to.
        problems: Gets everything that is found.
        missing_ok: Only warn of missing images (they are skipped when they are read).
        links: Follow links that lead out of the image folder.

    Returns:
        Counts, and the images that can be read.

    Raises:
        DataError: If the file is not of this format at all, or the folder is missing.
    """
    _check_keys(tree, json_path)
    _check_categories(tree["categories"], problems)
    sizes = _check_images(tree["images"], problems)
    report = CheckReport(problems, num_images=len(tree["images"]))
    checker = _AnnotationChecker(
        sizes={image["id"]: size for image, size in sizes},
        images=known_ids(tree["images"]),
        categories=known_ids(tree["categories"]),
        report=report,
    )
    _check_ids(tree["annotations"], "annotation", problems)
    for ann in tree["annotations"]:
        checker.check(ann)
    checker.summarise()
    named = [image for image, _ in sizes if not name_fault(image.get("file_name"))[0]]
    names = [image["file_name"] for image in named]
    bad = check_files(names, images_dir, problems, missing_ok=missing_ok, links=links)
    report.usable_images = [image for image in named if image["file_name"] not in bad]
    return report


def _check_keys(tree: CocoTree, json_path: Path) -> None:
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
    if any("segments_info" in entry for entry in tree["annotations"]):
        raise DataError(
            f"{json_path}: a panoptic file (segments_info), whose masks are in images; instances are needed: "
            "take the file whose annotations have a bbox each"
        )
    for key in ("images", "categories"):
        if not tree[key]:
            raise DataError(f"{json_path}: '{key}' is empty: there is nothing to learn from")


def _check_ids(entries: list[CocoEntry], what: str, problems: Problems) -> None:
    """Every entry has an integer id, and no two the same."""
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        ident = entry.get("id")
        if type(ident) is not int:
            text = f"{what} number {index + 1} has id {short_repr(ident)}, expected an integer"
            problems.add(f"{what} id", text, index + 1)
        elif abs(ident) > _MAX_ID:
            problems.add(f"{what} id", f"{what} number {index + 1} has an id beyond 2^53", index + 1)
        elif ident in seen:
            problems.add(f"{what} twice", f"{what} id {ident} is used more than once", ident)
        else:
            seen.add(ident)


def _check_categories(categories: list[CocoEntry], problems: Problems) -> None:
    _check_ids(categories, "category", problems)
    seen: dict[str, Any] = {}
    for category in categories:
        name, ident = category.get("name"), category.get("id")
        if not is_class_name(name):
            problems.add("name", f"category {ident} has name {short_repr(name)}, expected a word", ident)
        elif name in seen:
            problems.add(
                "same name", f"categories {seen[name]} and {ident} have the same name '{name}'", ident
            )
        else:
            seen[name] = ident
    ids = sorted(one["id"] for one in categories if type(one.get("id")) is int)
    if ids and ids[-1] - ids[0] >= len(ids):
        text = f"category ids have gaps ({ids[0]} to {ids[-1]} for {plural(len(ids), 'category')})"
        problems.count("gaps", f"{text}: the classes are numbered anew, results keep the ids", ids, "note")


def _check_images(images: list[CocoEntry], problems: Problems) -> list[tuple[CocoEntry, Size]]:
    """Check the images' entries; return those that annotations can refer to, with their (height, width)."""
    _check_ids(images, "image", problems)
    sound: list[tuple[CocoEntry, Size]] = []
    seen: dict[str, Any] = {}
    twice: list[Any] = []
    for image in images:
        name, ident = image.get("file_name"), image.get("id")
        wrong = [side for side in ("width", "height") if type(image.get(side)) is not int or image[side] <= 0]
        for side in wrong:
            text = f"image {ident} has {side} {short_repr(image.get(side))}, expected a positive integer"
            problems.add(side, text, ident)
        if not wrong and image["width"] * image["height"] > _MAX_PIXELS:
            wrong = ["size"]
            problems.add("size", f"image {ident} has more than 2^31 pixels", ident)
        kind, text = name_fault(name)
        if kind:
            problems.add(kind, f"image {ident} {text}", ident)
        elif name in seen:
            twice.append(ident)
        else:
            seen[str(name)] = ident
        if not wrong and type(ident) is int:
            sound.append((image, (image["height"], image["width"])))
    if twice:
        text = f"{plural(len(twice), 'image')} with the file_name of another (image ids {first_five(twice)})"
        problems.count("same file", f"{text}: each lacks the objects of the other", twice)
    return sound


class _AnnotationChecker:
    """Checks annotations one by one, and counts what can be used all the same.

    Args:
        sizes: (height, width) of each sound image.
        images: Ids of all images; those that are no integers too, which are told of once, there.
        categories: Ids of all categories, likewise.
        report: Gets counts and problems.
    """

    def __init__(
        self, sizes: dict[int, Size], images: set[Any], categories: set[Any], report: CheckReport
    ) -> None:
        self.sizes, self.images, self.categories = sizes, images, categories
        self.report, self.problems = report, report.problems
        self.objects = ObjectCounts(report, "annotation ids ", slack=_SLACK)
        self.without_area: list[Any] = []

    def check(self, ann: CocoEntry) -> None:
        """Check an annotation."""
        ident, category, image = ann.get("id"), ann.get("category_id"), ann.get("image_id")
        if not is_known(category, self.categories):
            shown = short_repr(category)
            text = f"annotation {ident} refers to category {shown}, which is not in 'categories'"
            self.problems.add("category", text, ident)
        if not is_known(image, self.images):
            text = f"annotation {ident} refers to image {short_repr(image)}, which is not in 'images'"
            self.problems.add("image", text, ident)
        if type(image) is not int or image not in self.images:
            return
        if ann.get("iscrowd", 0) not in (0, 1):
            text = f"annotation {ident} has iscrowd {short_repr(ann['iscrowd'])}, expected 0 or 1"
            self.problems.add("crowd", text, ident)
            return
        if ann.get("area") is None:
            self.without_area.append(ident)
        elif not are_numbers([ann["area"]]):
            text = f"annotation {ident} has area {short_repr(ann['area'])}, expected a finite number"
            self.problems.add("area", text, ident)
        crowd = bool(ann.get("iscrowd", 0))
        self.report.num_crowds += crowd
        self.report.num_objects += not crowd
        box = ann.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not are_numbers(box):
            text = f"annotation {ident} has bbox {short_repr(box)}, expected four finite numbers [x, y, w, h]"
            self.problems.add("bbox", text, ident)
            box = None
        if image in self.sizes:
            self._check_shape(ann, box, self.sizes[image], crowd=crowd)

    def _check_shape(self, ann: CocoEntry, box: list[float] | None, size: Size, *, crowd: bool) -> None:
        """Check box and segmentation against the image's size, and against each other."""
        ident, segmentation = ann.get("id"), ann.get("segmentation")
        fault = segmentation_fault(segmentation, size)
        if fault:
            self.problems.add("segmentation", f"annotation {ident}: {fault}", ident)
        if box is not None and not crowd:
            if fault:
                ann = {**ann, "segmentation": None}
            if not are_numbers([ann.get("area")]):
                ann = {**ann, "area": None}
            self.objects.add(ann, size, ident)

    def summarise(self) -> None:
        """Turn the counts into lines."""
        self.objects.summarise()
        if self.without_area:
            text = f"{plural(len(self.without_area), 'annotation')} without area, which is computed"
            self.problems.count("no area", text, self.without_area, "note")
