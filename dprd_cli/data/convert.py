"""Conversion between COCO, Pascal VOC and YOLO: both splits, images and masks too, into a new folder."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco_writer import CocoWriter
from dprd_cli.data.formats.conversion_split import ConversionSplit
from dprd_cli.data.formats.problems import plural
from dprd_cli.data.formats.voc_writer import VocWriter
from dprd_cli.data.formats.yolo_writer import YoloWriter
from dprd_cli.data.splits import read_split
from dprd_cli.errors import UsageError
from dprd_cli.files.atomic import writing
from dprd_cli.files.output_folder import new_folder
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import SPLITS, CocoTree, Split

AnnotationFormat = Literal["coco", "voc", "yolo"]
FORMATS: tuple[AnnotationFormat, ...] = ("coco", "voc", "yolo")
ImageTransfer = Literal["copy", "link", "none"]
TRANSFERS: tuple[ImageTransfer, ...] = ("copy", "link", "none")


class AnnotationWriter(Protocol):
    """Writes annotations in one format into a folder."""

    def image_path(self, split: ConversionSplit, file_name: str) -> Path:
        """Return where an image goes."""
        ...

    def write(self, split: ConversionSplit, progress: Progress) -> None:
        """Write a split's annotations."""
        ...


@dataclass(frozen=True, slots=True)
class ConversionSummary:
    """How much was converted, and what changed on the way.

    Args:
        images: Split -> images.
        objects: Split -> annotations.
        changes: Split -> what the target format cannot hold -> how often.
    """

    images: dict[str, int]
    objects: dict[str, int]
    changes: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in words."""
        lines = []
        for name, number in self.images.items():
            objects = plural(self.objects[name], "annotation")
            lines.append(f"{name}: {plural(number, 'image')}, {objects}")
            lines += [f"  {count} {text}" for text, count in self.changes[name].items()]
        return lines


def convert(
    config: DataConfig,
    target: Path,
    to: AnnotationFormat,
    *,
    images: ImageTransfer = "copy",
    progress: Progress | None = None,
) -> ConversionSummary:
    """Write a data set in another format.

    Reading: an object that VOC marks as difficult is trained on, and ignored in evaluation; COCO's crowds are
    neither. So difficult objects become crowds in COCO's evaluation split alone (`difficult` stays beside
    it), and crowds become difficult objects in VOC's.

    Args:
        config: Where the data is.
        target: A new or empty folder.
        to: The format.
        images: `copy` them, `link` them (hard links, which take no space), or `none`.
        progress: Called with (done, total) of the images of a split.

    Raises:
        BusyError: If another process writes into the folder.
        UsageError: If the folder is not empty, or inside the data, or the data is the built-in one.
        DataError: If the data cannot be used; `dprd data check` lists everything.
        ResourceError: If the disk is full.
    """
    show = progress or (lambda _done, _total: None)
    _check_target(config, target)
    with new_folder(target):
        splits = _read(config)
        with writing(target):
            writer = _writer(to, target, splits)
            for split in splits:
                if images != "none":
                    _bring_images(split, writer, images, show)
                writer.write(split, show)
    return ConversionSummary(
        {split.name: len(split.tree["images"]) for split in splits},
        {split.name: len(split.tree["annotations"]) for split in splits},
        {split.name: dict(split.changes) for split in splits},
    )


def _check_target(config: DataConfig, target: Path) -> None:
    if config.built_in:
        raise UsageError("the built-in data is written with `dprd data synth`, then converted from there")
    data = Path(config.path).resolve()
    if data in target.resolve().parents or data == target.resolve():
        raise UsageError(f"{target} is inside {config.path}, into which nothing is written; choose another")


def _read(config: DataConfig) -> list[ConversionSplit]:
    classes: dict[str, int] | None = None
    found: list[tuple[Split, CocoTree, Path]] = []
    for name in SPLITS:
        files = read_split(config, name, classes)
        files.annotations.check(files.tree, files.problems, missing_ok=False)
        files.problems.stop()
        found.append((name, files.tree, files.annotations.images_dir))
        classes = classes or {one["name"]: one["id"] for one in files.tree["categories"]}
    names = _new_names([folder / image["file_name"] for _, tree, folder in found for image in tree["images"]])
    return [
        ConversionSplit(
            name, tree, folder, {i["file_name"]: names[folder / i["file_name"]] for i in tree["images"]}
        )
        for name, tree, folder in found
    ]


def _new_names(paths: list[Path]) -> dict[Path, str]:
    """Return a name without folders for each image, with different stems, whatever the case of letters."""
    unique = list(dict.fromkeys(paths))
    stems = Counter(path.stem.lower() for path in unique)
    taken: set[str] = set()
    names: dict[Path, str] = {}
    for path in unique:
        stem = path.stem if stems[path.stem.lower()] == 1 else f"{path.parent.name}_{path.stem}"
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem}_{number}"
        taken.add(candidate.lower())
        names[path] = f"{candidate}{path.suffix}"
    return names


def _writer(to: AnnotationFormat, target: Path, splits: list[ConversionSplit]) -> AnnotationWriter:
    names = [one["name"] for one in sorted(splits[0].tree["categories"], key=lambda one: one["id"])]
    if to == "coco":
        return CocoWriter(target)
    return VocWriter(target) if to == "voc" else YoloWriter(target, names)


def _bring_images(
    split: ConversionSplit, writer: AnnotationWriter, how: ImageTransfer, progress: Progress
) -> None:
    total = len(split.tree["images"])
    for done, image in enumerate(split.tree["images"], start=1):
        original, place = split.images_dir / image["file_name"], writer.image_path(split, image["file_name"])
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # the other split has it too
            continue
        if how == "link":
            os.link(original.resolve(), place)
        else:
            shutil.copyfile(original, place)
        progress(done, total)
