"""The whole check of a data set: annotations, files, pixels and classes of both splits, in one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.anchor_fit import check_anchors
from dprd_cli.data.formats.coco import CocoDataset, check_masks, match_classes
from dprd_cli.data.formats.problems import Problem, Problems, first_five, plural
from dprd_cli.data.formats.segmentation import has_mask
from dprd_cli.data.image_checks import ImageCheck, ImageCounts, check_images
from dprd_cli.data.look_alikes import warn_of_look_alikes
from dprd_cli.data.presence import check_presence
from dprd_cli.data.splits import find_source, open_split, parts_of, warn_of_overlap
from dprd_cli.errors import DataError, UsageError
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import SPLITS, CocoEntry, CocoTree, Split


@dataclass(frozen=True, slots=True)
class AnnotationCounts:
    """How much annotations hold, as far as they are sound.

    Args:
        images: Images listed.
        without_objects: Images without an object.
        objects: Annotations that are no crowd (difficult ones included).
        with_masks: Objects that have a segmentation.
        crowds: Annotations of crowds.
        difficult: Objects that VOC marks as difficult.
    """

    images: int
    without_objects: int
    objects: int
    with_masks: int
    crowds: int
    difficult: int


@dataclass(slots=True)
class SplitCheck:
    """What the check of a split found.

    Attributes:
        split: `train` or `val`.
        annotations_name: The annotation files in words; empty if none were found.
        problems: Everything odd.
        counts: How much the annotations hold; None if they could not be read.
        classes: Objects of each class.
        decoded: How many images were decoded; None if it did not come to that.
    """

    split: Split
    annotations_name: str = ""
    problems: Problems = field(default_factory=Problems)
    counts: AnnotationCounts | None = None
    classes: dict[str, int] = field(default_factory=dict)
    decoded: ImageCounts | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "split": self.split,
            "source": self.annotations_name,
            **(asdict(self.counts) if self.counts else {}),
            "decoded": self.decoded.decoded if self.decoded else 0,
            "known": self.decoded.known if self.decoded else 0,
            "classes": self.classes,
            "problems": [problem.to_json() for problem in sorted_problems(self.problems)],
        }


def sorted_problems(problems: Problems) -> list[Problem]:
    """Return errors, then warnings, then notes."""
    return [*problems.of("error"), *problems.of("warning"), *problems.of("note")]


def check_data(
    config: DataConfig, rpn: RPNConfig | None = None, *, workers: int = -1, progress: Progress | None = None
) -> list[SplitCheck]:
    """Check both splits and collect everything that is found.

    Args:
        config: Where the data is; `limit`, `max_pixels` and `on_bad_image` are used.
        rpn: The anchors that objects are compared with; none are without.
        workers: Processes that decode images; -1 takes one for each core.
        progress: Called with the images (done, total) of a split.

    Returns:
        What was found in each split that is there; of one that is not, why.

    Raises:
        UsageError: If it is the built-in data.
    """
    if config.built_in:
        raise UsageError("the built-in data is drawn, not read: there is nothing to check")
    checks = {split: SplitCheck(split) for split in SPLITS}
    try:
        source = find_source(config)
    except DataError as error:
        checks["train"].problems.take("annotations", error)
        return [checks["train"]]
    classes: dict[str, int] | None = None
    seen: dict[Split, dict[Path, ImageCheck]] = {}
    for split, check in checks.items():
        if split not in parts_of(source, config):
            use = "evaluated on, not trained on" if split == "train" else "trained on, not evaluated on"
            text = f"{source.place}: no {split} split: the data can be {use}"
            check.problems.count("no split", text, [], "note")
            continue
        try:
            annotations = open_split(source, config, split, classes)
            tree = annotations.read(check.problems)
        except DataError as error:
            check.problems.take("annotations", error)
            continue
        check.annotations_name = annotations.name
        try:
            report = annotations.check(tree, check.problems, missing_ok=config.on_bad_image == "skip")
        except DataError as error:
            check.problems.take("files", error)
            continue
        _count(tree, check)
        lacking = Problems()
        check_presence(tree, split, annotations.name, lacking, left_out=len(report.degenerate))
        check.problems.extend(lacking)
        if rpn is not None:
            check_anchors(tree, config, rpn, check.problems)
        classes = _match(tree, check, classes)
        images = report.usable_images[: config.limit or None]
        check_masks(annotations, tree, images, config, check.problems)
        sizes = {image["file_name"]: (image["height"], image["width"]) for image in images}
        folder = annotations.images_dir
        check.decoded = check_images(
            sizes,
            folder,
            annotations.file_of,
            check.problems,
            max_pixels=config.max_pixels,
            workers=workers,
            skip_bad=config.on_bad_image == "skip",
            progress=progress,
        )
        seen[split] = {folder / name: one for name, one in check.decoded.checks.items()}
    train, val = checks.values()
    if len(seen) == 2:
        warn_of_look_alikes(seen["train"], seen["val"], val.problems)
        names = [path.relative_to(folder).as_posix() for path in seen["val"]]
        warn_of_overlap(set(seen["train"]), folder, names, val.problems)
    _compare_classes(train, val)
    return [train, val]


def _count(tree: CocoTree, check: SplitCheck) -> None:
    """Count what the annotations hold, as far as they are sound."""
    names = {
        category["id"]: category["name"]
        for category in tree["categories"]
        if type(category.get("id")) is int and isinstance(category.get("name"), str)
    }
    anns = [ann for ann in tree["annotations"] if type(ann.get("category_id")) is int]
    objects = [ann for ann in anns if not ann.get("iscrowd", 0) or ann.get("difficult")]
    histogram = Counter(names[ann["category_id"]] for ann in objects if ann["category_id"] in names)
    used = {ann["image_id"] for ann in objects if type(ann.get("image_id")) is int}
    masks = sum(map(has_mask, objects))
    check.counts = AnnotationCounts(
        images=len(tree["images"]),
        without_objects=sum(image.get("id") not in used for image in tree["images"] if _has_id(image)),
        objects=len(objects),
        with_masks=masks,
        crowds=len(anns) - len(objects),
        difficult=sum(bool(ann.get("difficult")) for ann in anns),
    )
    check.classes = {name: histogram[name] for name in names.values()}
    if 0 < masks < len(objects):
        bare = [ann.get("id") for ann in objects if not has_mask(ann)]
        text = f"{plural(len(bare), 'object')} without a mask among {masks} with one"
        line = f"{text} (annotation ids {first_five(bare)}): mask losses where there are masks"
        check.problems.count("no mask", line, bare, "note")


def _has_id(image: CocoEntry) -> bool:
    return type(image.get("id")) is int


def _match(tree: CocoTree, check: SplitCheck, classes: dict[str, int] | None) -> dict[str, int] | None:
    """Compare the categories with those of the training split; return the latter."""
    if any(kind in check.problems.kinds for kind in ("category id", "category twice", "name", "same name")):
        return classes
    known = (tuple(classes), tuple(classes.values())) if classes else (None, None)
    try:
        names, ids = match_classes(tree, check.annotations_name, *known)
    except DataError as error:
        check.problems.take("classes", error)
        return classes
    return dict(zip(names, ids, strict=True))


def _compare_classes(train: SplitCheck, val: SplitCheck) -> None:
    """Warn of classes that are evaluated but never trained on."""
    never = [name for name, number in val.classes.items() if number and not train.classes.get(name)]
    if never and train.counts:
        text = f"{plural(len(never), 'class')} with objects here, but none in training ({first_five(never)})"
        val.problems.count("not trained", text, never)


def check_before_training(dataset: CocoDataset, config: DataConfig, progress: Progress | None = None) -> str:
    """Decode every image of a split before it is trained on, or evaluated in training.

    The annotations were checked when the data set was built.

    Returns:
        A line that says how many were decoded, and what is odd.

    Raises:
        DataError: One line that names the first image that cannot be used, and counts the others.
    """
    problems = Problems()
    sizes = {
        name: (int(height), int(width))
        for name, (height, width) in zip(dataset.file_names, dataset.sizes.tolist(), strict=True)
    }
    counts = check_images(
        sizes,
        dataset.images_dir,
        dataset.annotations.file_of,
        problems,
        max_pixels=config.max_pixels,
        workers=config.workers,
        skip_bad=config.on_bad_image == "skip",
        progress=progress,
    )
    problems.stop()
    lines = [
        f"  {counts.line()}",
        *(f"  {problem.severity}: {problem.line()}" for problem in sorted_problems(problems)),
    ]
    return "\n".join(lines)
