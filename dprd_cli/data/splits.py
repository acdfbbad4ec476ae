"""Finding the annotations and images of a split, in whatever format they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco import Annotations, CocoAnnotations
from dprd_cli.data.formats.coco_checks import read_coco_json
from dprd_cli.data.formats.paths import is_file, name_fault
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.voc import VocAnnotations
from dprd_cli.data.formats.voc_lists import choose_lists, find_years
from dprd_cli.data.formats.yolo import YoloAnnotations
from dprd_cli.data.formats.yolo_files import find_yaml, read_description
from dprd_cli.errors import DataError
from dprd_cli.structures.sample import CocoTree, Split

SplitOrTest = Literal["train", "val", "test"]

#: Names tried in a data folder, in this order (COCO's own, common variants, Roboflow's export).
JSON_NAMES: dict[SplitOrTest, tuple[str, ...]] = {
    "train": (
        "train.json",
        "annotations/train.json",
        "annotations/instances_train.json",
        "annotations/instances_train2017.json",
        "instances_train2017.json",
        "annotations/instances_train2014.json",
        "train/_annotations.coco.json",
    ),
    "val": (
        "val.json",
        "annotations/val.json",
        "annotations/instances_val.json",
        "annotations/instances_val2017.json",
        "instances_val2017.json",
        "annotations/instances_val2014.json",
        "valid/_annotations.coco.json",
    ),
    "test": ("annotations/image_info_test-dev2017.json", "image_info_test-dev2017.json"),
}
#: Image folders tried, below the data folder; after them the json's own folder and the data folder.
IMAGE_NAMES: dict[SplitOrTest, tuple[str, ...]] = {
    "train": (
        "images",
        "train2017",
        "images/train2017",
        "images/train",
        "train",
        "train2014",
        "images/train2014",
    ),
    "val": ("images", "val2017", "images/val2017", "images/val", "val", "val2014", "images/val2014"),
    "test": ("test2017", "images/test2017", "images", "images/test", "test"),
}


def _root(config: DataConfig) -> Path | None:
    """Return the data folder, or None where both files were named without one."""
    return None if config.built_in else Path(config.path)


def _below(root: Path | None, name: str) -> Path:
    """Return a path that the user named: as it is, or below the data folder where only that exists."""
    path = Path(name)
    return root / name if root and not path.exists() and (root / name).exists() else path


def _find_json(config: DataConfig, split: SplitOrTest) -> Path:
    root = _root(config)
    named: str = getattr(config, f"{split}_json")
    if named:
        return _below(root, named)
    if root is None:
        raise DataError(
            f"no {split} annotation file: pass --set data.{split}_json=FILE, or --data FOLDER that holds both"
        )
    if root.is_file():
        raise DataError(
            f"{root}: one file, but training and evaluation need an annotation file each: pass the folder "
            "that holds train.json and val.json, or --set data.train_json=FILE --set data.val_json=FILE"
        )
    if not root.is_dir():
        raise DataError(
            f"{root}: no such data folder; pass --data FOLDER with COCO, VOC or YOLO annotations, "
            "or --data synthetic"
        )
    for name in JSON_NAMES[split]:
        if (root / name).is_file():
            return root / name
    other: SplitOrTest = "val" if split == "train" else "train"
    beside = next((name for name in JSON_NAMES[other] if (root / name).is_file()), None)
    start = f"{root}: there is {beside}, but no annotation file" if beside else f"{root}: no annotation file"
    raise DataError(
        f"{start} of the {split} split; add {root / JSON_NAMES[split][0]}, or pass "
        f"--set data.{split}_json=FILE (tried {', '.join(JSON_NAMES[split])})"
    )


def _find_images(config: DataConfig, split: SplitOrTest, json_path: Path, tree: CocoTree) -> Path:
    root = _root(config)
    named: str = getattr(config, f"{split}_images")
    if named:
        return _below(root, named)
    bases = [root] if root else [json_path.parent, json_path.parent.parent]
    tried = [base / name for base in bases for name in IMAGE_NAMES[split]]
    tried += [json_path.parent, *([root] if root else [])]
    folders = [folder for folder in dict.fromkeys(tried) if folder.is_dir()]
    images = tree.get("images")
    entries = [i for i in images[:5] if isinstance(i, dict)] if isinstance(images, list) else []
    names: list[str] = [i["file_name"] for i in entries if not name_fault(i.get("file_name"))[0]]
    if not names:  # the check of the file will say what is wrong with it
        return folders[0]
    held = [sum(is_file(folder / name) for name in names) for folder in folders]
    if max(held) == 0:
        raise DataError(
            f"{json_path}: its images ({first_five(names[:2])}, ...) are in none of "
            f"{', '.join(str(folder) for folder in folders)}; pass --set data.{split}_images=DIR"
        )
    return folders[held.index(max(held))]


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
    problems = problems if problems is not None else Problems()
    if _is_voc(config):
        root = Path(config.path)
        annotations: Annotations = VocAnnotations(
            root, choose_lists(find_years(root), config, split), classes
        )
        return SplitFiles(annotations, annotations.read(problems), problems)
    description = _find_yolo(config)
    if description is not None:
        skip_bad = config.on_bad_image == "skip"
        annotations = YoloAnnotations(read_description(description), split, classes, skip_bad)
        return SplitFiles(annotations, annotations.read(problems), problems)
    return read_coco_split(config, split, problems)


def read_coco_split(config: DataConfig, split: SplitOrTest, problems: Problems | None = None) -> SplitFiles:
    """Find a split's json and image folder, named in the config or below `config.path`, and read the json.

    Args:
        config: `path`, and the keys that name files, say where they are.
        split: Which one; `test` is COCO's test-dev.
        problems: What is found later can be collected here.

    Raises:
        DataError: If either is missing; the line lists what was tried and says what to add.
    """
    json_path = _find_json(config, split)
    tree = read_coco_json(json_path)
    annotations = CocoAnnotations(json_path, _find_images(config, split, json_path, tree))
    return SplitFiles(annotations, tree, problems if problems is not None else Problems())


def _is_voc(config: DataConfig) -> bool:
    """Whether the data folder is VOC's; COCO files that lie there, or are named, come first."""
    root = _root(config)
    if root is None or config.train_json or config.val_json or not find_years(root):
        return False
    names = (name for split in JSON_NAMES.values() for name in split)
    return bool(config.voc_train or config.voc_val) or not any((root / name).is_file() for name in names)


def _find_yolo(config: DataConfig) -> Path | None:
    """Return the `data.yaml` that is named or lies in the data folder; COCO files come first."""
    root = _root(config)
    if root is None or config.train_json or config.val_json:
        return None
    names = (name for split in JSON_NAMES.values() for name in split)
    return None if any(is_file(root / name) for name in names) else find_yaml(root)


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
