"""YOLO's annotations in COCO's form: a `data.yaml`, and a text file of boxes or polygons for each image."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dprd_cli.data.formats.coco_checks import CheckReport, ObjectCounts
from dprd_cli.data.formats.paths import check_files, is_file
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.yolo_files import YoloDescription, list_images
from dprd_cli.errors import DataError
from dprd_cli.files.images import read_size
from dprd_cli.files.results import image_ids
from dprd_cli.structures.sample import CocoEntry, CocoTree, Split

_MARGIN = 0.01  # coordinates this far outside 0..1 are clipped; farther ones are not shares of the image


class _LineError(Exception):
    """What is wrong with a line of a label file, in words."""


@dataclass(frozen=True, slots=True)
class YoloAnnotations:
    """The annotations of a split of a YOLO folder.

    Args:
        description: What `data.yaml` says.
        split: `train` or `val`.
        classes: Category id of each class name, of a training split or checkpoint; else the class numbers.
        skip_bad: Leave out images that are missing or cannot be read.
    """

    description: YoloDescription
    split: Split
    classes: dict[str, int] | None = None
    skip_bad: bool = False
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
        """Return the label file of an image: `labels` in place of the last `images` of its path."""
        parts = [*Path(file_name).parts[:-1], f"{Path(file_name).stem}.txt"]
        places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
        if places:
            parts[places[-1]] = "labels"
        return self.images_dir.joinpath(*parts)

    def read(self, problems: Problems) -> CocoTree:
        """Read all label files, and the images' sizes, into COCO's form; see `Annotations`.

        Annotations also have `where`, the file and line, for messages.
        """
        names = list_images(self.description, self.split)
        ids = dict(zip(names, image_ids([Path(name) for name in names]), strict=True))
        found = Problems(self.description.path)
        bad = check_files(names, self.images_dir, found, missing_ok=self.skip_bad)
        problems.extend(found)
        images: list[CocoEntry] = []
        anns: list[CocoEntry] = []
        for file_name, size in self._read_sizes([name for name in names if name not in bad], problems):
            ident = ids[file_name]
            images.append({"id": ident, "file_name": file_name, "width": size[1], "height": size[0]})
            for ann in self._read_labels(self.file_of(file_name), size, problems):
                anns.append({"id": len(anns) + 1, "image_id": ident, **ann})
        self._report_unlabelled([image["file_name"] for image in images], problems)
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
        ids = self._ids
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                ann = _parse(line, size, ids)
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


def _parse(line: str, size: tuple[int, int], ids: dict[int, int]) -> CocoEntry:
    """Read a line: a class number, and a box (its centre and size) or a polygon, in shares of the image.

    Raises:
        _LineError: If it is something else.
    """
    words = line.split()
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
    ring = (np.clip(shares, 0, 1) * scale).ravel().tolist() if len(shares) > 2 else None
    return {
        "category_id": ids[int(values[0])],
        "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
        "iscrowd": 0,
        "segmentation": ring and [ring],
    }
