"""Finding images by names that other programs wrote: other slashes, codings, folders, cases and suffixes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dprd_cli.data.formats.paths import is_absolute, leaves_folder, name_fault
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.files.images import has_image_suffix
from dprd_cli.structures.sample import CocoTree


@dataclass(frozen=True, slots=True)
class _FolderIndex:
    """The files below a folder by what is left of their names once spelling does not count.

    Args:
        paths: Relative path in Unicode's composed form -> as the folder has it.
        bases: File name in that form -> every such relative path.
        stems: File name in that form, small and without an image's suffix -> every such relative path.
    """

    paths: dict[str, str]
    bases: dict[str, list[str]]
    stems: dict[str, list[str]]


def _index(folder: Path) -> _FolderIndex:
    found = _FolderIndex({}, {}, {})
    for place, _, files in os.walk(folder):
        start = os.path.relpath(place, folder)
        for name in files:
            path = name if start == os.curdir else Path(start, name).as_posix()
            composed = unicodedata.normalize("NFC", path)
            found.paths[composed] = path
            base = composed.rpartition("/")[2]
            found.bases.setdefault(base, []).append(path)
            if has_image_suffix(base):
                found.stems.setdefault(Path(base).stem.casefold(), []).append(path)
    return found


def spellings(name: str) -> list[str]:
    r"""Return the ways in which a name can be meant: with `\` as `/`, `%20` as a blank, without `./`."""
    composed = unicodedata.normalize("NFC", name)
    ways = [composed, composed.replace("\\", "/")]
    if "://" in composed:
        ways.append(urlsplit(composed).path.lstrip("/"))
    ways += [unquote(way) for way in ways]
    return list(dict.fromkeys(way if is_absolute(way) else os.path.normpath(way) for way in ways if way))


class ImageNames:
    """The files of a folder, by the names that annotations have for them.

    Args:
        folder: The folder; it is searched when a name is first not found as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: _FolderIndex | None = None
        self._listings: dict[str, set[str]] = {}

    @property
    def _files(self) -> _FolderIndex:
        if self._found is None:
            self._found = _index(self.folder)
        return self._found

    def find(self, name: str) -> str | None:
        """Return the one file that a name means, relative to the folder; None if there is none.

        The same name in another spelling comes first, then the file name alone, where one file has it.
        """
        if not name_fault(name)[0] and self._is_there(name):
            return os.path.normpath(name)
        ways = spellings(name)
        for way in ways:
            if way in self._files.paths and not leaves_folder(way):
                return self._files.paths[way]
        for way in ways:
            same = self._files.bases.get(way.rpartition("/")[2], [])
            if len(same) == 1:
                return same[0]
        return None

    def _is_there(self, name: str) -> bool:
        """Whether the folder has such an entry; each folder is listed once, because images are many."""
        place, _, base = name.rpartition("/")
        if place not in self._listings:
            try:
                self._listings[place] = set(os.listdir(self.folder / place))
            except (OSError, ValueError):
                self._listings[place] = set()
        return base in self._listings[place]

    def near(self, name: str) -> str | None:
        """Return a file whose name differs in case or suffix alone, or lies in another folder."""
        for way in spellings(name):
            base = way.rpartition("/")[2]
            found = self._files.bases.get(base) or self._files.stems.get(Path(base).stem.casefold())
            if found:
                return found[0]
        return None


def near_names(names: Iterable[str], folder: Path) -> str:
    """Return, in words, which files are there in place of the first hundred missing ones; empty if none."""
    known = ImageNames(folder)
    near = dict.fromkeys(found for name in list(names)[:100] if (found := known.near(name)))
    if not near:
        return ""
    return f"{first_five(near)} {'is' if len(near) == 1 else 'are'} there"


def repair_names(tree: CocoTree, folder: Path, problems: Problems) -> None:
    """Give the images of a parsed annotation file the names that their files have, as far as one is meant.

    A name that is the folder's stays. So does one whose file another entry means too: it stays missing.

    Args:
        tree: The file; entries that are no images at all are left to the check.
        folder: The image folder.
        problems: Gets a note that names what was found under another name.
    """
    entries = tree.get("images")
    if not isinstance(entries, list) or not folder.is_dir():
        return
    known = ImageNames(folder)
    meant: dict[str, list[tuple[dict[str, object], str]]] = {}
    for image in (entry for entry in entries if isinstance(entry, dict)):
        name = image.get("file_name", _url_name(image))
        if isinstance(name, str) and name_fault(name)[0] != "file":
            image.setdefault("file_name", name)
            meant.setdefault(known.find(name) or name, []).append((image, name))
    changed: dict[str, str] = {}
    for actual, those in meant.items():
        if len({os.path.normpath(name) for _, name in those}) > 1:
            continue  # two images, one file: one of them is not it
        for image, name in those:
            image["file_name"] = actual
            if actual != os.path.normpath(name):
                changed[name] = actual
    if changed:
        listed, actual = next(iter(changed.items()))
        text = f"{plural(len(changed), 'image')} found under another name than the file says"
        problems.count("other name", f"{text}: '{listed}' is {actual}", changed.values(), "note")


def _url_name(image: dict[str, object]) -> str | None:
    """Return folder and name at the end of LVIS's `coco_url`, which stands in place of a `file_name`."""
    url = image.get("coco_url")
    return "/".join(urlsplit(url).path.split("/")[-2:]) if isinstance(url, str) else None
