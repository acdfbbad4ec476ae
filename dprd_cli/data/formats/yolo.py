"""YOLO's annotations in COCO's form: a `data.yaml`, and a text file of boxes or polygons for each image."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dprd_cli.data.formats.image_files import check_files
from dprd_cli.data.formats.object_checks import CheckReport, ObjectCounts
from dprd_cli.data.formats.paths import is_file
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.segmentation import outline_fault
from dprd_cli.data.formats.source import Part
from dprd_cli.data.formats.yolo_files import YoloDescription, list_images
from dprd_cli.errors import DataError
from dprd_cli.files.images import UNREAD_SUFFIXES, has_image_suffix, read_size
from dprd_cli.files.results import image_ids
from dprd_cli.structures.sample import CocoEntry, CocoTree

_LABELS = {"images": "labels", "Images": "Labels", "IMAGES": "LABELS"}
_ADVICE = "copy the images there, or correct the list"
_MARGIN = 0.01  # coordinates this far outside 0..1 are clipped; farther ones are not shares of the image


class _LineError(Exception):
    """What is wrong with a line of a label file, in words."""


@dataclass(frozen=True, slots=True)
class YoloAnnotations:
    """The annotations of a split of a YOLO folder.

    Args:
        description: What `data.yaml` says.
        split: Which images.
        classes: Category id of each class name, of a training split or checkpoint; else the class numbers.
        skip_bad: Leave out images that are missing or cannot be read.
        links: Follow links that lead out of the folder.
    """

    description: YoloDescription
    split: Part
    classes: dict[str, int] | None = None
    skip_bad: bool = False
    links: bool = False
    is_voc = False
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The description's path, and the split."""
        return f"{self.description.path} {self.split}"

    @property
    def images_dir(self) -> Path:
        """The folder that the file names are relative to."""
        return self.description.root

    def file_of(self, file_name: str) -> Path:
        """Return the label file of an image.

        It is `labels` in place of the last `images` of the path, whatever the case; or beside the image,
        where only that is there.
        """
        beside = Path(file_name).with_suffix(".txt")
        parts = list(beside.parts)
        places = [index for index, part in enumerate(parts[:-1]) if part.lower() == "images"]
        if not places:
            return self.images_dir / beside
        parts[places[-1]] = _LABELS.get(parts[places[-1]], "labels")
        path = self.images_dir.joinpath(*parts)
        return self.images_dir / beside if not is_file(path) and is_file(self.images_dir / beside) else path

    def read(self, problems: Problems) -> CocoTree:
        """Read all label files, and the images' sizes, into COCO's form; see `Annotations`.

        Annotations also have `where`, the file and line, for messages.
        """
        names = list_images(self.description, self.split, problems)
        ids = dict(zip(names, image_ids([Path(name) for name in names]), strict=True))
        found = Problems(self.description.path)
        bad = check_files(
            names, self.images_dir, found, missing_ok=self.skip_bad, links=self.links, advice=_ADVICE
        )
        problems.extend(found)
        images: list[CocoEntry] = []
        anns: list[CocoEntry] = []
        for file_name, size in self._read_sizes([name for name in names if name not in bad], problems):
            ident = ids[file_name]
            images.append({"id": ident, "file_name": file_name, "width": size[1], "height": size[0]})
            for ann in self._read_labels(self.file_of(file_name), size, problems):
                anns.append({"id": len(anns) + 1, "image_id": ident, **ann})
        if pointed := sum(bool(ann.pop("keypoints", 0)) for ann in anns):
            text = f"{plural(pointed, 'object')} with key points (kpt_shape), of which the box alone is taken"
            problems.count("key points", text, [], "note")
        self._report_unlabelled(names, problems)
        report_strays(
            {self.file_of(name).parent: (self.images_dir / name).parent for name in names}, problems
        )
        categories = [{"id": self._ids[number], "name": name} for number, name in self._names.items()]
        return {"images": images, "annotations": anns, "categories": categories}

    @property
    def _names(self) -> dict[int, str]:
        return self.description.names

    @property
    def _ids(self) -> dict[int, int]:
        """Category id of each class number."""
        return {number: (self.classes or {}).get(name, number) for number, name in self._names.items()}

    def _read_sizes(self, file_names: list[str], problems: Problems) -> list[tuple[str, tuple[int, int]]]:
        """Return the images that can be opened, with their (height, width)."""
        broken: list[str] = []
        for name in file_names:
            if name in self._sizes:
                continue
            try:
                self._sizes[name] = read_size(self.images_dir / name, sys.maxsize)
            except DataError as error:
                broken.append(name)
                if not self.skip_bad or len(broken) == len(file_names):
                    problems.add("image", str(error), name, "or pass --set data.on_bad_image=skip")
        if broken and self.skip_bad:
            text = f"{plural(len(broken), 'image')} skipped, which cannot be read ({first_five(broken)})"
            problems.count("skipped", text, broken)
        return [(name, self._sizes[name]) for name in file_names if name in self._sizes]

    def _read_labels(self, path: Path, size: tuple[int, int], problems: Problems) -> list[CocoEntry]:
        """Return the annotations of one image, without ids; none if there is no file."""
        if not is_file(path):
            return []
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problems.add("labels", f"{path}: cannot read the label file ({error})", path.name)
            return []
        anns = []
        ids, keypoints = self._ids, self.description.keypoints
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                ann = _parse(line, size, ids, keypoints)
            except _LineError as error:
                problems.add("line", f"{path}: line {number}: {error}", f"{path.name} line {number}")
                continue
            anns.append({**ann, "where": f"{path.name} line {number}"})
        return anns

    def _report_unlabelled(self, file_names: list[str], problems: Problems) -> None:
        missing = [name for name in file_names if not is_file(self.file_of(name))]
        if missing and len(missing) == len(file_names):
            text = f"none of {plural(len(missing), 'image')} has a label file"
            text = f"{self.name}: {text}; expected {self.file_of(missing[0])}"
            problems.count("no labels", text, missing, "error", "put the labels there")
        elif missing:
            text = f"{plural(len(missing), 'image')} without a label file, taken as without objects"
            problems.count("unlabelled", f"{text} ({first_five(missing)})", missing, "note")

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Count what is odd but can be used."""
        del missing_ok  # the image files were looked at in reading
        images, anns = tree["images"], tree["annotations"]
        report = CheckReport(problems, len(images), len(anns), usable_images=list(images))
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        counts = ObjectCounts(report)
        for ann in anns:
            counts.add(ann, sizes[ann["image_id"]], ann["where"])
        counts.summarise()
        return report


def report_strays(folders: dict[Path, Path], problems: Problems) -> None:
    """Warn of label files without an image, and of images that are not read here.

    Args:
        folders: Folder of label files -> folder of their images.
        problems: Gets the warnings.
    """
    strays: list[str] = []
    unread: list[str] = []
    for labels, images in folders.items():
        if not os.path.isdir(labels) or not os.path.isdir(images):  # which, unlike Path's, take any name
            continue
        names = sorted(path.name for path in images.iterdir())
        stems = {Path(name).stem for name in names if has_image_suffix(name)}
        unread += [name for name in names if name.lower().endswith(UNREAD_SUFFIXES)]
        files = (path for path in sorted(labels.glob("*.txt")) if path.stem not in stems)
        strays += [path.name for path in files if _holds_labels(path)]
    if strays:
        text = f"{plural(len(strays), 'label file')} without an image ({first_five(strays)})"
        problems.count("stray labels", text, strays)
    if unread:
        text = f"{plural(len(unread), 'image')} of a kind that is not read ({first_five(unread)})"
        problems.count("unread", f"{text}: convert to PNG or JPEG", unread)


def _holds_labels(path: Path) -> bool:
    """Whether a text file looks like labels, by its first line."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return bool(re.match(r"[0-9]+(\s+[-+.0-9eE]+){4}", file.readline()))
    except (OSError, UnicodeDecodeError):
        return False


def _parse(line: str, size: tuple[int, int], ids: dict[int, int], keypoints: int = 0) -> CocoEntry:
    """Read a line: a class number, and a box (its centre and size) or a polygon, in shares of the image.

    Where there are key points, so many numbers follow the box.

    Raises:
        _LineError: If it is something else.
    """
    words = line.split()
    pointed = keypoints > 0 and len(words) == 5 + keypoints
    words = words[:5] if pointed else words
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise _LineError(
            f"{plural(len(words), 'number')}, expected a class and a box (5) or a polygon (7, 9, 11, ...)"
        )
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise _LineError(f"'{line.strip()[:40]}' holds something that is not a number") from None
    if not all(map(math.isfinite, values)):
        raise _LineError("a number is not finite")
    if values[0] not in ids:
        raise _LineError(f"class {words[0]} is not in the names of data.yaml ({first_five(ids)})")
    shares = np.array(values[1:]).reshape(-1, 2)
    height, width = size
    if len(shares) == 2:
        low, high = shares[0] - shares[1] / 2, shares[0] + shares[1] / 2
        if shares[1].min() < 0:
            raise _LineError("a box of negative size")
    else:
        low, high = shares.min(axis=0), shares.max(axis=0)
    if low.min() < -_MARGIN or high.max() > 1 + _MARGIN:
        worst = low.min() if low.min() < -_MARGIN else high.max()
        raise _LineError(
            f"reaches to {worst:.4g}, but coordinates are shares of the image's width and height, 0 to 1"
        )
    scale = np.array([width, height])
    (x1, y1), (x2, y2) = np.clip(low, 0, 1) * scale, np.clip(high, 0, 1) * scale
    rings = [(np.clip(shares, 0, 1) * scale).ravel().tolist()] if len(shares) > 2 else None
    if fault := outline_fault(rings or []):
        raise _LineError(fault)
    return {
        "category_id": ids[int(values[0])],
        "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
        "iscrowd": 0,
        "segmentation": rings,
        "keypoints": int(pointed),
    }
