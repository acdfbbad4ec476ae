"""Writing a data set's division into splits: COCO files beside a link to the images, which stay there."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.division import DivisionRule, divide
from dprd_cli.data.formats.coco_writer import CocoWriter
from dprd_cli.data.formats.conversion_split import SPLIT_NAMES, ConversionSplit
from dprd_cli.data.formats.problems import plural
from dprd_cli.data.splits import SplitFiles, read_whole
from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.files.atomic import writing
from dprd_cli.files.output_folder import new_folder
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import CocoTree

SplitImages = Literal["link", "copy"]
SPLIT_IMAGES: tuple[SplitImages, ...] = ("link", "copy")
#: Takes the number at the end of a frame's name off it.
FRAMES = r"(.*?)[0-9]+\.[^.]+$"


@dataclass(frozen=True, slots=True)
class DivisionSummary:
    """What was divided.

    Args:
        images: Split -> images.
        objects: Split -> class name -> objects.
        hint: What may be better, in words; or nothing.
    """

    images: dict[str, int]
    objects: dict[str, dict[str, int]]
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in words."""
        lines = []
        for name, number in self.images.items():
            counts = self.objects[name]
            shown = ", ".join(f"{word} {count}" for word, count in list(counts.items())[:12])
            objects = plural(sum(counts.values()), "object")
            lines.append(f"{name}: {plural(number, 'image')}, {objects}{f' ({shown})' if shown else ''}")
        return [*lines, *([self.hint] if self.hint else [])]


def split_files(
    config: DataConfig,
    target: Path,
    rule: DivisionRule,
    *,
    images: SplitImages = "link",
    progress: Progress | None = None,
) -> DivisionSummary:
    """Divide a set without splits, and write `train.json`, `val.json` and `test.json` beside `images`.

    `images` is a link to the set's image folder, which is not touched; or a copy of the images.

    Args:
        config: Where the set is.
        target: A new or empty folder.
        rule: How it is divided.
        images: Whether to `link` or to `copy`.
        progress: Called with (done, total) of the images of a split.

    Raises:
        UsageError: If the shares leave nothing for training, or the folder is not empty.
        DataError: If the set cannot be used or divided; `dprd data check` lists everything.
        ResourceError: If the folder cannot be written.
    """
    if not (rule.val > 0 and rule.test >= 0 and rule.val + rule.test < 1):
        raise UsageError("--val and --test are shares of the images: above 0, and below 1 together")
    if config.built_in:
        raise UsageError("the built-in data has its splits; name a folder of images and annotations")
    with new_folder(target):
        files = read_whole(config)
        files.annotations.check(files.tree, files.problems, missing_ok=False)
        files.problems.stop()
        splits = _parts(files, rule)
        with writing(target):
            _bring_images(files, target, images)
            for split in splits:
                CocoWriter(target).write(split, progress or (lambda _done, _total: None))
    counts: dict[str, dict[str, int]] = {split.name: _count(split.tree) for split in splits}
    hint = "" if rule.group_by else frame_hint([image["file_name"] for image in files.tree["images"]])
    return DivisionSummary({split.name: len(split.tree["images"]) for split in splits}, counts, hint)


def _parts(files: SplitFiles, rule: DivisionRule) -> list[ConversionSplit]:
    parts = divide(files.tree, rule)
    found = []
    for name in SPLIT_NAMES:
        chosen = parts[name]
        if not chosen:
            continue
        ids = {image["id"] for image in chosen}
        anns = [ann for ann in files.tree["annotations"] if ann["image_id"] in ids]
        tree: CocoTree = {**files.tree, "images": chosen, "annotations": anns}
        names = {image["file_name"]: image["file_name"] for image in chosen}
        found.append(ConversionSplit(name, tree, files.annotations.images_dir, names))
    return found


def _bring_images(files: SplitFiles, target: Path, how: SplitImages) -> None:
    """Make `images` in the target."""
    source, place = files.annotations.images_dir.resolve(), target.resolve() / "images"
    if how == "copy":
        for image in files.tree["images"]:
            path = place / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / image["file_name"], path)
        return
    try:
        place.symlink_to(os.path.relpath(source, place.parent), target_is_directory=True)
    except (OSError, ValueError) as error:  # a system without links; another drive
        raise ResourceError(f"{place}: no link can be made here ({error}); pass --images copy") from error


def _count(tree: CocoTree) -> dict[str, int]:
    """Return class name -> objects, the most frequent first."""
    names = {one["id"]: one["name"] for one in tree["categories"]}
    counts = Counter(names[ann["category_id"]] for ann in tree["annotations"] if not ann.get("iscrowd"))
    return dict(counts.most_common())


def frame_hint(names: list[str]) -> str:
    """Return advice where the images' names look like frames of a few sequences; else nothing."""
    found = (re.search(FRAMES, name) for name in names)
    starts = Counter(match.group(1) for match in found if match)
    if len(starts) < 2 or len(starts) * 5 > len(names) or min(starts.values()) < 2:
        return ""
    return (
        f"the names look like frames of {len(starts)} sequences: if they are, neighbours are in several "
        f"splits; keep each sequence together with --group-by '{FRAMES}'"
    )
