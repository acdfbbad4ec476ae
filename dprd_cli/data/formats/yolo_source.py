"""Finding YOLO's files: by a `data.yaml`, or by a list of class names, as Label Studio and CVAT write it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.paths import is_file
from dprd_cli.data.formats.source import DataSource, Part, split_folders
from dprd_cli.data.formats.yolo import YoloAnnotations
from dprd_cli.data.formats.yolo_files import YoloDescription, find_yaml, read_description
from dprd_cli.errors import DataError
from dprd_cli.structures.sample import SPLITS, is_class_name

#: Files of class names, one a line, in the order in which they are tried: CVAT's, Label Studio's, labelImg's.
NAME_FILES = ("obj.names", "data/obj.names", "classes.txt", "labels/classes.txt")
#: Darknet's lists of images.
_LISTS: dict[Part, tuple[str, ...]] = {
    "train": ("train.txt", "Train.txt"),
    "val": ("valid.txt", "val.txt", "Validation.txt"),
}


def find_described(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return the data that a `data.yaml` describes, which is named or lies in the folder."""
    path = find_yaml(root) if root is not None else None
    if path is None:
        return None
    description = read_description(path)
    for split in SPLITS:
        if split not in description.places and (description.root / "images" / split).is_dir():
            description.places[split] = (f"images/{split}",)
    if not description.places.keys() & {"train", "val"}:
        description.places["all"] = ("images" if (description.root / "images").is_dir() else ".",)
    return _source(config, description)


def find_names(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return the images beside, or in `images/` beside, a list of class names."""
    if root is None or not root.is_dir():
        return None
    path = next((root / name for name in NAME_FILES if is_file(root / name)), None)
    if path is None:
        return None
    places: dict[Part, tuple[str, ...]] = {
        part: (found,)
        for part, names in _LISTS.items()
        if (found := next((name for name in names if is_file(root / name)), ""))
    }
    if not places:
        images = root / "images" if (root / "images").is_dir() else root
        folders = split_folders(images)
        places = {part: (folder.relative_to(root).as_posix(),) for part, folder in folders.items()}
    return _source(config, YoloDescription(path, root, _read_names(path), places))


def _source(config: DataConfig, description: YoloDescription) -> DataSource:
    skip_bad = config.on_bad_image == "skip"
    parts = {
        part: partial(YoloAnnotations, description, part, skip_bad=skip_bad, links=config.follow_links)
        for part in description.places
    }
    missing: dict[Part, str] = {
        split: f"name its images in {description.path}, as '{split}: images/{split}'" for split in SPLITS
    }
    return DataSource("YOLO", description.path, dict(parts), missing)


def _read_names(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the class names ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names or not all(map(is_class_name, names)) or len(set(names)) < len(names):
        raise DataError(f"{path}: expected the classes' names, one a line and each once")
    return dict(enumerate(names))
