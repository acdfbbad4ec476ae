"""Finding COCO's files: where COCO, and the programs that export its format, put them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco import CocoAnnotations
from dprd_cli.data.formats.coco_checks import read_coco_json
from dprd_cli.data.formats.json_kinds import find_json
from dprd_cli.data.formats.names import ImageNames, near_names
from dprd_cli.data.formats.paths import is_file, name_fault
from dprd_cli.data.formats.problems import first_five
from dprd_cli.data.formats.source import Classes, DataSource, Part, by_part
from dprd_cli.errors import DataError
from dprd_cli.structures.sample import CocoTree

#: Names tried in a data folder, in this order (COCO's own, common variants, Roboflow's export).
JSON_NAMES: dict[Part, tuple[str, ...]] = {
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
IMAGE_NAMES: dict[Part, tuple[str, ...]] = {
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
    "all": ("images", "images/default", "data", "JPEGImages"),
}
_SAMPLE = 50  # images that a folder is judged by


def find_usual(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return the files that are named in the config, or have one of the usual names: they come first."""
    named: dict[Part, str] = {"train": config.train_json, "val": config.val_json}
    chosen = any(named.values())
    if not chosen and (root is None or config.voc_train or config.voc_val or not _usual(root)):
        return None
    parts = {part: _below(root, name) for part, name in named.items() if name}
    if root is not None and root.is_dir():
        parts = {**_anywhere(root), **_usual(root), **parts}
    return _source(config, root, parts)


def find_test(config: DataConfig) -> DataSource:
    """Return COCO's test-dev: the json that is named, or has its usual name."""
    root = None if config.built_in else Path(config.path)
    parts = _usual(root) if root is not None else {}
    if config.test_json:
        parts["test"] = _below(root, config.test_json)
    return _source(config, root, parts)


def find_any(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return files of any other name, told by what is in them."""
    parts = _anywhere(root) if root is not None else {}
    return _source(config, root, parts) if parts.keys() - {"test"} else None


def _usual(root: Path) -> dict[Part, Path]:
    """Return the files of the usual names."""
    found = {
        part: next((root / name for name in names if is_file(root / name)), None)
        for part, names in JSON_NAMES.items()
    }
    return {part: path for part, path in found.items() if path is not None}


def _anywhere(root: Path) -> dict[Part, Path]:
    """Return the one file of each part; `instances` in its name comes before others of COCO's.

    Raises:
        DataError: If there are several.
    """
    parts: dict[Part, Path] = {}
    for part, paths in by_part(find_json(root, "coco"), root).items():
        best = [path for path in paths if "instances" in path.name] or paths
        if len(best) > 1:
            names = first_five(path.relative_to(root) for path in best)
            split = "train" if part == "all" else part
            raise DataError(
                f"{root}: {len(best)} annotation files in COCO's format may be meant ({names}); "
                f"name one with --set data.{split}_json=FILE"
            )
        parts[part] = best[0]
    return parts


def _source(config: DataConfig, root: Path | None, parts: dict[Part, Path]) -> DataSource:
    missing = {
        part: f"add {root / names[0]}, or pass --set data.{part}_json=FILE (tried {', '.join(names)})"
        if root is not None
        else f"pass --set data.{part}_json=FILE, or --data FOLDER that holds both"
        for part, names in JSON_NAMES.items()
    }
    openers = {part: partial(open_json, config, root, part, path) for part, path in parts.items()}
    return DataSource("COCO", root or next(iter(parts.values()), Path()), openers, missing)


def _below(root: Path | None, name: str) -> Path:
    """Return a path that the user named: as it is, or below the data folder where only that exists."""
    path = Path(name)
    return root / name if root and not path.exists() and (root / name).exists() else path


def open_json(
    config: DataConfig, root: Path | None, part: Part, json_path: Path, classes: Classes = None
) -> CocoAnnotations:
    """Read an annotation file and find the folder of its images.

    Raises:
        DataError: If either is missing.
    """
    del classes  # the file has its own, which are compared later
    tree = read_coco_json(json_path)
    images_dir = _find_images(config, root, part, json_path, tree)
    return CocoAnnotations(
        json_path, images_dir, config.follow_links, config.crowds == "objects", parsed=[tree]
    )


def _find_images(config: DataConfig, root: Path | None, part: Part, json_path: Path, tree: CocoTree) -> Path:
    named: str = getattr(config, f"{part}_images", "")
    if named:
        return _below(root, named)
    folders = [folder for folder in dict.fromkeys(_tried(root, part, json_path)) if folder.is_dir()]
    names = _sample_names(tree)
    if not names:  # the check of the file will say what is wrong with it
        return folders[0]
    held = [sum(not name_fault(name)[0] and is_file(folder / name) for name in names) for folder in folders]
    if max(held) == 0:
        held = [sum(known.find(name) is not None for name in names) for known in map(ImageNames, folders)]
    if max(held) == 0:
        near = near_names(names, json_path.parent if root is None or root.is_file() else root)
        raise DataError(
            f"{json_path}: its images ({first_five(names[:2])}, ...) are in none of "
            f"{', '.join(str(folder) for folder in folders)}{f' ({near})' if near else ''}; "
            f"pass --set data.{'train' if part == 'all' else part}_images=DIR"
        )
    return folders[held.index(max(held))]


def _tried(root: Path | None, part: Part, json_path: Path) -> Iterable[Path]:
    """Yield the folders that images may be in, the likeliest first."""
    own = json_path.parent
    bases = [root] if root and root.is_dir() else [own, own.parent]
    for base in bases:
        yield from (base / name for name in IMAGE_NAMES[part])
        yield base / "images" / json_path.stem.rpartition("_")[2]  # CVAT's instances_SUBSET.json
    yield from (own / "data", own, *(own / name for name in IMAGE_NAMES["all"]), *bases)


def _sample_names(tree: CocoTree) -> list[str]:
    """Return the names of some images, from all over the file."""
    images = tree.get("images")
    if not isinstance(images, list):
        return []
    step = max(1, len(images) // _SAMPLE)
    names = (one.get("file_name", one.get("coco_url")) for one in images[::step] if isinstance(one, dict))
    return [name for name in names if isinstance(name, str) and name_fault(name)[0] != "file"]
