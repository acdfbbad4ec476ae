"""A YOLO folder's `data.yaml`, and the images of its splits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dprd_cli.data.formats.paths import is_absolute, is_file, leaves_folder
from dprd_cli.data.formats.problems import Problems, plural
from dprd_cli.data.formats.source import Part
from dprd_cli.errors import DataError, short_repr
from dprd_cli.files.images import has_image_suffix
from dprd_cli.structures.sample import is_class_name

#: Names of the description, in the order in which they are tried.
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLIT_KEYS: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
_MAX_BYTES = 1 << 20
_DEEPEST = 20
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class YoloDescription:
    """What a `data.yaml` says.

    Args:
        path: The file.
        root: Folder that everything is below.
        names: Class number -> name.
        places: Part -> folders of images and lists of them, as written.
        keypoints: Numbers of the key points that follow each box; 0 without any.
    """

    path: Path
    root: Path
    names: dict[int, str]
    places: dict[Part, tuple[str, ...]]
    keypoints: int = 0


def find_yaml(path: Path) -> Path | None:
    """Return the description that `path` is, or that lies in it; None if there is none."""
    if path.suffix in (".yaml", ".yml"):
        return path if is_file(path) else None
    return next((path / name for name in YAML_NAMES if is_file(path / name)), None)


def read_description(path: Path) -> YoloDescription:
    """Read a `data.yaml`. Keys such as `download` are never acted on.

    Raises:
        DataError: If it cannot be read, or does not say what it should.
    """
    tree = _load(path)
    names, places = _names(path, tree), _places(path, tree)
    return YoloDescription(path, _root(path, tree), names, places, _keypoints(path, tree))


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: larger than 1 MiB; expected a short description of a YOLO data set")
        text = path.read_text(encoding="utf-8-sig")
        _check_events(text)
        tree = yaml.load(text, _Loader)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]  # safe_load raises any of these on odd scalars
        raise DataError(f"{path}: not YAML ({reason})") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path}: expected keys such as 'names', 'train' and 'val'")
    return tree


def _check_events(text: str) -> None:
    """Check that YAML is as large as it looks: an alias of a list or mapping is that once more.

    Raises:
        YAMLError: If it is not, or is nested deep.
    """
    scalars: set[str] = set()
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent) and event.anchor not in scalars:
            raise yaml.YAMLError(f"*{event.anchor} repeats a list or mapping; write it out")
        if isinstance(event, yaml.ScalarEvent):
            scalars.add(event.anchor)
        else:
            scalars.discard(getattr(event, "anchor", ""))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise yaml.YAMLError(f"more than {_DEEPEST} levels")


def _root(path: Path, tree: dict[str, Any]) -> Path:
    """Return the folder that `path:` names, from the file's own or as it is; else the file's own."""
    said = tree.get("path")
    if isinstance(said, str) and said and "\0" not in said:
        for folder in (path.parent / said, Path(said)):
            if folder.is_dir():
                return folder
    return path.parent


def _names(path: Path, tree: dict[str, Any]) -> dict[int, str]:
    names = tree.get("names")
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not pairs:
        raise DataError(f"{path}: 'names' must be a list of class names, or an object {{0: name, 1: ...}}")
    found: dict[int, str] = {}
    seen: set[str] = set()
    for key, name in pairs.items():
        number = int(key) if isinstance(key, str) and re.fullmatch("[0-9]{1,9}", key) else key
        if type(number) is not int or number < 0 or number in found:
            shown = short_repr(key)
            raise DataError(f"{path}: 'names' has the class number {shown}, expected an integer from 0")
        text = (
            name.strip(" ")
            if isinstance(name, str)
            else short_repr(name)
            if type(name) in (int, float)
            else ""
        )
        if not is_class_name(text):
            raise DataError(f"{path}: class {number} has name {short_repr(name)}, expected a word")
        if text in seen:
            raise DataError(f"{path}: 'names' has '{text}' twice")
        seen.add(text)
        found[number] = text
    classes = tree.get("nc")
    if type(classes) is int and classes != len(found):
        raise DataError(
            f"{path}: 'nc' says {classes} classes, but 'names' has {len(found)}; correct the file"
        )
    return dict(sorted(found.items()))


def _keypoints(path: Path, tree: dict[str, Any]) -> int:
    shape = tree.get("kpt_shape")
    if shape is None:
        return 0
    if isinstance(shape, list) and len(shape) == 2 and set(map(type, shape)) == {int} and min(shape) > 0:
        return int(shape[0] * shape[1])
    raise DataError(f"{path}: 'kpt_shape' is {short_repr(shape)}, expected [points, 2 or 3]")


def _places(path: Path, tree: dict[str, Any]) -> dict[Part, tuple[str, ...]]:
    places: dict[Part, tuple[str, ...]] = {}
    for split, keys in _SPLIT_KEYS.items():
        said = next((tree[key] for key in keys if tree.get(key)), None)
        if said is None:
            continue
        items = said if isinstance(said, list) else [said]
        if not all(isinstance(item, str) and item and "\0" not in item for item in items):
            raise DataError(f"{path}: '{split}' must name a folder of images, a list of them, or several")
        places[split] = tuple(items)
    return places


def list_images(description: YoloDescription, part: Part, problems: Problems | None = None) -> list[str]:
    """Return the images of a part, relative to the root: sorted in folders, in a list's own order.

    Args:
        description: Where they are.
        part: Which of them.
        problems: Gets a note of those that a list names by a longer path.

    Raises:
        DataError: If a folder or list is missing, lies outside the root, or there is no image.
    """
    places = description.places.get(part) or (f"images/{part}",)
    names: dict[str, None] = {}
    for place in places:
        target = _below(description, place, part)
        if target.is_file():
            found = _listed(description, target, problems if problems is not None else Problems())
        else:
            found = _images_in(description, target)
        names.update(dict.fromkeys(found))
    if not names:
        raise DataError(f"{description.path}: no image in {part}: {', '.join(places)}")
    return list(names)


def _below(description: YoloDescription, place: str, split: str) -> Path:
    """Return where a place is. Roboflow's `../train/images` means `train/images`.

    Raises:
        DataError: If it is not there, or not below the root.
    """
    root = description.root
    tried = [root / place]
    if place.startswith("../"):
        tried.append(root / place.removeprefix("../"))
    inside = [path for path in tried if _is_inside(path, root)]
    there = [path for path in inside if path.exists()]
    if there:
        return there[0]
    if not inside:
        raise DataError(
            f"{description.path}: {split} '{place}' is outside {root}; move it there, or set 'path' to a "
            "folder that holds it"
        )
    raise DataError(
        f"{inside[0]}: no such folder or list of images, which {description.path} names for {split}; "
        "correct the file"
    )


def _is_inside(path: Path, root: Path) -> bool:
    """Whether a path is below a folder, by its words; links are looked at with the images."""
    whole, base = (os.path.abspath(place) for place in (path, root))
    return whole == base or whole.startswith(os.path.join(base, ""))


def _images_in(description: YoloDescription, folder: Path) -> list[str]:
    found = []
    for place, _, files in os.walk(folder):
        for name in files:
            if has_image_suffix(name) and not name.startswith("."):
                found.append(_relative(description, Path(place, name)))
    return sorted(found)


def _listed(description: YoloDescription, path: Path, problems: Problems) -> list[str]:
    """Return the images that a text file lists, relative to the root or to the file's own folder.

    Where they are at neither, the first folders of the path are another machine's, or lead to the root.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the list of images ({error})") from error
    found, longer = [], []
    for line in filter(None, map(str.strip, lines)):
        tried = [description.root / line, path.parent / line]
        inside = [one for one in tried if "\0" not in line and _is_inside(one, description.root)]
        image = next((one for one in inside if is_file(one)), None) or _shortened(description, line)
        if image is None and (not inside or (leaves_folder(line) and is_absolute(line))):
            raise DataError(f"{path}: '{line}' is outside {description.root}; list images that are inside")
        found.append(_relative(description, image or inside[0]))
        if image is not None and image not in inside:
            longer.append(f"'{line}' is {found[-1]}")
    if longer:
        text = f"{plural(len(longer), 'image')} listed by a path that does not begin at {description.root}"
        problems.count("other name", f"{text}: {longer[0]}", longer, "note")
    return found


def _shortened(description: YoloDescription, line: str) -> Path | None:
    """Return the file at the longest end of a path that is one below the root."""
    parts = [part for part in re.split(r"[\\/]", line) if part not in ("", ".", "..")]
    ends = (description.root.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return next((path for path in ends if is_file(path)), None) if "\0" not in line else None


def _relative(description: YoloDescription, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, description.root)).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()
