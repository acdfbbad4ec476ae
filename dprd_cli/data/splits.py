"""Finding the annotations and images of a split, in whatever format they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dprd_cli.config import registry
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.division import DivisionRule
from dprd_cli.data.formats import coco_source, datumaro, labelme, via, voc_source, yolo_source
from dprd_cli.data.formats.annotations import Annotations
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.source import Classes, DataSource, Part
from dprd_cli.data.holdout import HoldoutAnnotations
from dprd_cli.errors import DataError
from dprd_cli.files.images import has_image_suffix
from dprd_cli.structures.sample import CocoTree, Split

registry.reader.update(
    {
        "coco": coco_source.find_usual,
        "voc-devkit": voc_source.find_devkit,
        "yolo": yolo_source.find_described,
        "coco-any": coco_source.find_any,
        "datumaro": datumaro.find,
        "via": via.find,
        "labelme": labelme.find,
        "voc-flat": voc_source.find_flat,
        "yolo-names": yolo_source.find_names,
    }
)


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """A split's annotation files, and what was read from them.

    Args:
        annotations: The files, and the folder of the images.
        tree: What they say, in COCO's form.
        problems: What is wrong with them, as far as reading showed it.
    """

    annotations: Annotations
    tree: CocoTree
    problems: Problems


def find_source(config: DataConfig) -> DataSource:
    """Find a data set, in whatever format it is.

    Raises:
        DataError: If there is none; the line says what there is instead.
    """
    root = None if config.built_in else Path(config.path)
    if root is not None and not root.exists():
        raise DataError(
            f"{root}: no such data folder; pass --data FOLDER with images and annotations, or "
            "--data synthetic"
        )
    # plugins' first, then in the order in which the package's own are: the surest signs come first
    for name in (*registry.reader.from_plugins, *registry.reader.built_in):
        source: DataSource | None = registry.reader.call(name, config, root)
        if source is not None:
            return source
    raise DataError(
        f"{root}: no annotations of a format that is read (COCO, VOC, YOLO, labelme, VIA, Datumaro); there "
        f"{_what_is_there(root or Path())}; docs/own-data.md shows where each program's export has them"
    )


def _what_is_there(root: Path) -> str:
    """Say what a folder holds, or that it is a file."""
    if not root.is_dir():
        return "is this one file"
    try:
        paths = [path for path in root.glob("**/*") if path.is_file()][:10_000]
    except OSError:
        paths = []
    images = sum(has_image_suffix(path.name) for path in paths)
    others = Counter(path.suffix or path.name for path in paths if not has_image_suffix(path.name))
    kinds = [f"{number} {suffix}" for suffix, number in others.most_common(5)]
    return f"are {', '.join([plural(images, 'image'), *kinds])}"


def parts_of(source: DataSource, config: DataConfig) -> tuple[Split, ...]:
    """Return the splits that a source can give: without one for evaluation, a share of the images is that."""
    whole = source.parts.keys() & {"train", "all"}
    if "val" in source.parts:
        return ("train", "val") if whole else ("val",)
    return ("train", "val") if whole and config.holdout else ("train",)


def open_split(source: DataSource, config: DataConfig, split: Split, classes: Classes = None) -> Annotations:
    """Open a split's annotations; where there is none for evaluation, it is held out of the others.

    Raises:
        DataError: If the split is not there.
    """
    whole: Part = "train" if "train" in source.parts else "all"
    if split == "val" and "val" in source.parts:
        return source.parts["val"](classes)
    if whole in source.parts and (config.holdout or split == "train"):
        annotations = source.parts[whole](classes)
        if "val" in source.parts or not config.holdout:
            return annotations
        return HoldoutAnnotations(annotations, split, DivisionRule(config.holdout, seed=config.holdout_seed))
    there = f"{first_five(source.parts)} annotations" if source.parts else "folders"
    hint = source.missing.get(split, "divide it with dprd data split")
    raise DataError(
        f"{source.place}: there are {source.kind}'s {there}, but none of the {split} split; {hint}"
    )


def read_split(
    config: DataConfig,
    split: Split,
    classes: dict[str, int] | None = None,
    problems: Problems | None = None,
) -> SplitFiles:
    """Find a split's annotations in whatever format they are, and read them.

    Args:
        config: `path`, and the keys that name files, say where they are.
        split: Which one.
        classes: Category id of each class name, of the training split or a checkpoint.
        problems: Gets the errors of single images and objects.

    Raises:
        DataError: If there are none, or they cannot be read at all.
    """
    annotations = open_split(find_source(config), config, split, classes)
    return _read(annotations, problems)


def read_whole(config: DataConfig, problems: Problems | None = None) -> SplitFiles:
    """Read the one undivided part of a data set, or its training part where it has no other.

    Raises:
        DataError: If there is none, or the set is divided already.
    """
    source = find_source(config)
    known: list[Part] = [part for part in source.parts if part != "test"]
    known = ["train"] if config.train_json else known
    if len(known) != 1:
        raise DataError(
            f"{source.place}: has {', '.join(known) or 'no'} splits already; name one file with --set "
            "data.train_json=FILE to divide that"
        )
    return _read(source.parts[known[0]](None), problems)


def _read(annotations: Annotations, problems: Problems | None) -> SplitFiles:
    problems = problems if problems is not None else Problems()
    return SplitFiles(annotations, annotations.read(problems), problems)


def read_test_split(config: DataConfig) -> SplitFiles:
    """Find and read COCO's test-dev, whose json lists images alone.

    Raises:
        DataError: If it is missing; the line lists what was tried and says what to add.
    """
    source = coco_source.find_test(config)
    if "test" not in source.parts:
        if config.built_in:
            raise DataError(f"no test annotation file: {source.missing['test']}")
        raise DataError(f"{source.place}: no annotation file of the test split; {source.missing['test']}")
    return _read(source.parts["test"](None), None)


def warn_of_overlap(train: set[Path], images_dir: Path, names: list[str], problems: Problems) -> None:
    """Warn of images that are in both splits.

    Args:
        train: The training images.
        images_dir: Folder of those for evaluation.
        names: Their file names.
        problems: Gets the warning.
    """
    both = sorted(name for name in names if images_dir / name in train)
    if both:
        text = f"{plural(len(both), 'image')} shared with the training split ({first_five(both)})"
        problems.count("overlap", f"{text}: the numbers will be too good", both)
