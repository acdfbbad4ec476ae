"""What a command is given to look at: files, folders, globs, lists of names, URLs, videos and cameras."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from dprd_cli.errors import DataError, UsageError
from dprd_cli.files.images import IMAGE_SUFFIXES
from dprd_cli.files.text import decode, has_mark
from dprd_cli.files.written_files import is_output_folder

Kind = Literal["image", "url", "video", "webcam"]

#: Suffixes of files that are read as videos, named on their own or by a glob.
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".flv"),
    *(".avi", ".mkv", ".webm", ".ogv", ".wmv", ".asf"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf"),
)
_KINDS = {"url": "a URL", "video": "a video", "webcam": "a camera"}


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to look at.

    Args:
        kind: `image` and `video` are files.
        text: The path, the URL, or `webcam:N`.
    """

    kind: Kind
    text: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file on this machine."""
        return self.kind in ("image", "video")

    @property
    def is_moving(self) -> bool:
        """Whether it has many frames."""
        return self.kind in ("video", "webcam")

    @property
    def path(self) -> Path:
        """The file, or a path that results of something else can be named after."""
        if self.is_file:
            return Path(self.text)
        if self.kind == "webcam":
            return Path(self.text.replace(":", "-"))
        try:
            parts = urlsplit(self.text)
        except ValueError:  # it is no URL, as reading it will tell
            return Path("url")
        name = unquote(parts.path).rstrip("/").rpartition("/")[2] or parts.netloc
        return Path(re.sub(r"[^\w.-]+", "-", name).lstrip(".") or "url")


def find_images(
    inputs: Iterable[str],
    *,
    lists: Sequence[str] = (),
    null: bool = False,
    recursive: bool = False,
    leave_out: Path | None = None,
) -> list[Path]:
    """Return the images that files, folders, globs and lists stand for, each once, in the order given.

    Args:
        inputs: Files; folders (their images by name); globs (`**` goes into folders); `@FILE` and `-`, which
            list names.
        lists: As for `find_sources`, and so the others.
        null: See there.
        recursive: See there.
        leave_out: See there.

    Raises:
        DataError: At the first input that is not there or holds no image.
        UsageError: At something that is no image file, such as a video.
    """
    found = _find(inputs, IMAGE_SUFFIXES, lists, null=null, recursive=recursive, leave_out=leave_out)
    for source in found:
        if source.kind != "image":
            raise UsageError(f"{source.text}: {_KINDS[source.kind]}; only image files can be looked at here")
    return [source.path for source in found]


def find_sources(
    inputs: Iterable[str],
    *,
    lists: Sequence[str] = (),
    null: bool = False,
    recursive: bool = False,
    leave_out: Path | None = None,
) -> list[Source]:
    """Return everything that the inputs stand for, each once, in the order given.

    Args:
        inputs: As for `find_images`; and videos, `http(s)://` URLs, `webcam:N`, `@FILE` (a list of names),
            `-` (names on standard input).
        lists: Files that list names, after the inputs; `-` is standard input.
        null: Names in lists end in NUL, not in a line break (`find -print0`).
        recursive: Folders give the images of the folders inside too.
        leave_out: A folder that recursion does not enter; nor does it enter those that hold results.

    Raises:
        DataError: At the first input that is not there or holds no image. Names in lists are not looked
            for: what cannot be read is found out when its turn comes.
        UsageError: If a list holds NULs without `null`.
    """
    suffixes = IMAGE_SUFFIXES + VIDEO_SUFFIXES
    return _find(inputs, suffixes, lists, null=null, recursive=recursive, leave_out=leave_out)


def _find(
    inputs: Iterable[str],
    suffixes: tuple[str, ...],
    lists: Sequence[str],
    *,
    null: bool,
    recursive: bool,
    leave_out: Path | None,
) -> list[Source]:
    found: dict[str, Source] = {}
    for text in [*inputs, *(name if name == "-" else f"@{name}" for name in lists)]:
        if text == "-" or (text.startswith("@") and not os.path.exists(text)):
            sources = [_named(name) for name in _read_list(text, null=null)]
        elif _named(text).is_file:
            walk = recursive and os.path.isdir(text)
            files = _walk(Path(text), leave_out) if walk else _files(text, suffixes)
            sources = [_named(str(path)) for path in files]
        else:
            sources = [_named(text)]
        for source in sources:
            name = source.text
            found.setdefault(os.path.realpath(name) if source.is_file else name, source)
    return list(found.values())


def _named(text: str) -> Source:
    """Return what a name stands for by its look."""
    if re.match(r"https?://", text, re.IGNORECASE):
        return Source("url", text)
    if re.fullmatch(r"webcam:\d{1,3}", text):
        return Source("webcam", text)
    return Source("video" if Path(text).suffix.lower() in VIDEO_SUFFIXES else "image", text)


def _read_list(text: str, *, null: bool) -> Iterator[str]:
    """Yield the names in `@FILE`, or on standard input for `-`."""
    name = "standard input" if text in ("-", "@-") else text[1:]
    try:
        content = sys.stdin.buffer.read() if name == "standard input" else Path(name).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot read the list of names ({error.strerror})") from error
    if has_mark(content):
        try:
            content = decode(content).encode()
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: not a list of names ({error})") from error
    if b"\0" in content and not null:
        raise UsageError(f"{name}: names that end in NUL; pass --null")
    names = content.split(b"\0") if null else content.splitlines()
    names = [entry for entry in names if entry.strip()]
    if not names:
        raise DataError(f"{name}: no names in this list")
    yield from (os.fsdecode(entry) for entry in names)


def _files(text: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that a path or a glob stands for."""
    path = Path(text)
    if os.path.isdir(path):  # which, unlike Path's, takes any name
        try:
            inside = _of(path.iterdir(), IMAGE_SUFFIXES)
        except OSError as error:
            raise DataError(f"{path}: cannot read the folder ({error.strerror})") from error
        return inside or _no_images(path)
    if os.path.exists(path):
        return [path]
    scheme, sign, _ = text.partition("://")
    if sign and scheme.isalnum():
        raise DataError(f"{text}: {scheme} is not supported; save it to a file, or give an http(s) URL")
    if not glob.has_magic(text):
        raise DataError(f"{path}: no such file or folder; check the path")
    inside = _of((Path(name) for name in glob.glob(text, recursive=True)), suffixes)
    if not inside:
        raise DataError(f"{text}: no image matches")
    return inside


def _walk(folder: Path, leave_out: Path | None) -> list[Path]:
    """Return the images in a folder and the folders inside; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot read the folder ({error.strerror})") from error

    skipped = leave_out.resolve() if leave_out else None
    inside: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=fail):
        inner = {name: Path(place) / name for name in folders}
        folders[:] = [
            name for name, path in inner.items() if path.resolve() != skipped and not is_output_folder(path)
        ]
        inside += _of((Path(place) / name for name in names), IMAGE_SUFFIXES)
    return sorted(inside) or _no_images(folder)


def _no_images(folder: Path) -> list[Path]:
    raise DataError(f"{folder}: no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")


def _of(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.is_file())
