"""Which image of the annotations a row of a results file belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dprd_cli.data.formats.ids import TEXT_ID, as_integer
from dprd_cli.errors import DataError, short_repr
from dprd_cli.files.atomic import read_json


class ImageMatcher:
    """Finds the image of each row: by the names in `images.json`, its own `file_name`, or its `image_id`.

    A name is the same image if it is the annotations' `file_name`, or the only one with that last part, or
    (of another suffix) with that stem. An `image_id` that is a text is the annotations' own id, or a name.

    Args:
        ground_truth: The COCO `instances` dict that the rows belong to.
        names: What each `image_id` is, of `images.json`; empty where there is none.
    """

    def __init__(self, ground_truth: Mapping[str, Any], names: Mapping[int, str]) -> None:
        self._names = names
        images = ground_truth["images"]
        self._ids: set[int] = {image["id"] for image in images}
        self._sources: dict[str, int] = {image[TEXT_ID]: image["id"] for image in images if TEXT_ID in image}
        self._paths: dict[str, int] = {}
        self._last: dict[str, list[tuple[PurePosixPath, int]]] = defaultdict(list)
        self._stems: dict[str, list[int]] = defaultdict(list)
        for image in images:
            path = _path(str(image.get("file_name", image["id"])))
            self._paths[str(path)] = image["id"]
            self._last[path.name].append((path, image["id"]))
            self._stems[path.stem].append(image["id"])
        self._of_name: dict[str, int | None] = {}

    def find(self, row: Mapping[str, Any]) -> int | str:
        """Return the id of a row's image in the annotations, or what is wrong.

        Args:
            row: With `image_id`, of any type.
        """
        ident: object = as_integer(row["image_id"])
        name = row.get("file_name")
        known = isinstance(ident, int) and ident in self._names
        if isinstance(ident, int) and known:
            name = self._names[ident]
        if isinstance(name, str):
            found = self._by_name(name)
            where = " of images.json" if known else ""
            return f"its image '{name}'{where} is not in the annotations" if found is None else found
        if isinstance(ident, int) and not isinstance(ident, bool) and ident in self._ids:
            return ident
        if isinstance(ident, str):
            found = self._sources.get(ident, self._by_name(ident))
            if found is not None:
                return found
        return (
            f"image_id {short_repr(ident)} is not in the annotations (an id there, or the image's name; or "
            "each row has file_name, or images.json beside the file has the names)"
        )

    def _by_name(self, name: str) -> int | None:
        if name not in self._of_name:
            self._of_name[name] = self._search(_path(name))
        return self._of_name[name]

    def _search(self, path: PurePosixPath) -> int | None:
        if str(path) in self._paths:
            return self._paths[str(path)]
        same = self._last.get(path.name, [])
        if len(same) > 1:
            same = [(other, ident) for other, ident in same if _is_end(other, path) or _is_end(path, other)]
        if same:
            return same[0][1] if len(same) == 1 else None
        stems = {*self._stems.get(path.stem, []), *self._stems.get(path.name, [])}
        return stems.pop() if len(stems) == 1 else None


def read_image_names(path: Path, image_ids: set[Any]) -> dict[int, str]:
    """Return what each id is, of the `images.json` beside a results file.

    Args:
        path: The results file.
        image_ids: The ids in it; the names are for another file unless they have all of them.

    Returns:
        Id -> file name; empty where there are none for this file.

    Raises:
        DataError: If it cannot be read, or two images have the same id.
    """
    place = path.with_name("images.json")
    if not place.is_file():
        return {}
    entries = read_json(place, "image list")
    names: dict[int, str] = {}
    for entry in entries if isinstance(entries, list) else []:
        ident = as_integer(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if type(ident) is not int or not isinstance(name, str):
            continue
        if names.setdefault(ident, name) != name:
            raise DataError(f"{place}: image id {ident} is both '{names[ident]}' and '{name}'")
    return names if image_ids <= names.keys() else {}


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _is_end(short: PurePosixPath, long: PurePosixPath) -> bool:
    """Whether the last parts of a path are another path."""
    return long.parts[-len(short.parts) :] == short.parts
