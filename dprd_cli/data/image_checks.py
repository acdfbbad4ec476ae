"""Decoding every image of a split once, before anything depends on it; what was sound is remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.files.cache import cache_folder
from dprd_cli.files.image_facts import ALARMING_TRAITS, TRAITS, inspect_image
from dprd_cli.files.images import ImageError, size_fault
from dprd_cli.runtime.cores import available_cores
from dprd_cli.runtime.progress import Progress
from dprd_cli.runtime.workers import WorkerPool

_CHUNK = 16  # images a process is given at once
_VERSION = 4  # of what is remembered: a later version may look closer


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """What decoding an image showed.

    Args:
        size: (height, width), upright.
        traits: Which of `TRAITS` it has.
        kind: Kind of the error, or empty.
        error: One line that names the file, or empty.
        look: What it looks like; see `ImageInfo`.
        content: A checksum of its pixels; see `ImageInfo`.
    """

    size: tuple[int, int] = (0, 0)
    traits: tuple[str, ...] = ()
    kind: str = ""
    error: str = ""
    look: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """How many images were decoded, how many were known from before, and the seconds that it took.

    Args:
        decoded: Images that were decoded.
        known: Images that were not, because they are remembered.
        seconds: The time.
        checks: What is known of each image, by file name.
    """

    decoded: int
    known: int
    seconds: float
    checks: dict[str, ImageCheck] = field(default_factory=dict, repr=False)

    def line(self) -> str:
        """Return them in words."""
        known = f", {self.known} known from an earlier check" if self.known else ""
        return f"{plural(self.decoded, 'image')} decoded{known} ({self.seconds:.1f} s)"


def check_images(
    images: dict[str, tuple[int, int]],
    images_dir: Path,
    said_in: Callable[[str], Path],
    problems: Problems,
    *,
    max_pixels: int,
    workers: int = -1,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> ImageCounts:
    """Decode images completely and compare their sizes with what the annotations say.

    An image that was sound before, and whose size in bytes and time of change are the same, is not decoded
    again. That is remembered in the user's cache folder, never in the data.

    Args:
        images: (height, width) by file name.
        images_dir: Folder that the names are relative to.
        said_in: The annotation file of an image, for messages.
        problems: Gets what is found.
        max_pixels: Largest image (width x height) that is decoded.
        workers: Processes; -1 takes one for each core, 0 and 1 none.
        skip_bad: Only warn of images that cannot be used, because they are skipped later.
        progress: Called with (done, total).
    """
    started = time.monotonic()
    sound = _SoundImages(images_dir)
    found = {name: known for name in images if (known := sound.recall(name, max_pixels)) is not None}
    missing = [name for name in images if name not in found]
    num_known = len(found)
    for name, check in _check_all(missing, images_dir, max_pixels, workers):
        found[name] = check
        sound.keep(name, check)
        if progress is not None:
            progress(len(found), len(images))
    sound.save()
    bad = Problems()
    traits: dict[str, list[str]] = {}
    for name, size in images.items():
        check = found[name]
        if check.error:
            bad.add(check.kind, check.error, name, "")
        elif check.size != size:
            bad.add("image size", size_fault(images_dir / name, check.size, said_in(name), size), name, "")
        for trait in check.traits:
            traits.setdefault(trait, []).append(name)
    num_bad = sum(len(problem.who) for problem in bad.kinds.values())
    _report(bad, traits, problems, skip_bad=skip_bad and num_bad < len(images))
    return ImageCounts(len(missing), num_known, time.monotonic() - started, found)


def _report(bad: Problems, traits: dict[str, list[str]], problems: Problems, *, skip_bad: bool) -> None:
    if skip_bad and bad.kinds:
        names = [name for problem in bad.kinds.values() for name in problem.who]
        first = next(iter(bad.kinds.values())).message
        text = f"{plural(len(names), 'image')} skipped ({first_five(names)}); first: {first}"
        problems.count("skipped", text, names)
    else:
        for problem in bad.kinds.values():
            problem.advice = "or pass --set data.on_bad_image=skip"
        problems.extend(bad)
    for trait, text in TRAITS.items():
        if trait in traits:
            found = traits[trait]
            line = f"{plural(len(found), 'image')} {text} ({first_five(found)})"
            problems.count(trait, line, found, "warning" if trait in ALARMING_TRAITS else "note")


def _check_all(
    names: list[str], images_dir: Path, max_pixels: int, workers: int
) -> Iterator[tuple[str, ImageCheck]]:
    """Yield every image's name and what decoding it showed, in their order."""
    workers = min(workers if workers >= 0 else available_cores(), len(names) // _CHUNK)
    step = _CHUNK if workers > 1 else 1
    pool = WorkerPool(
        partial(_check_some, images_dir=images_dir, max_pixels=max_pixels),
        workers if workers > 1 else 0,
        name="processes that decode images",
    )
    for checks in pool.map(names[start : start + step] for start in range(0, len(names), step)):
        yield from checks


def _check_some(names: Iterable[str], images_dir: Path, max_pixels: int) -> list[tuple[str, ImageCheck]]:
    found = []
    for name in names:
        try:
            info = inspect_image(images_dir / name, max_pixels)
            check = ImageCheck(info.size, info.traits, look=info.look, content=info.content)
        except ImageError as error:
            check = ImageCheck(kind=error.kind, error=str(error))
        found.append((name, check))
    return found


class _SoundImages:
    """Which images of a folder were sound, in a file of the user's cache folder.

    A file that is broken, or cannot be written, is as good as none; without a home nothing is remembered.
    """

    def __init__(self, images_dir: Path) -> None:
        self._folder = Path(os.path.realpath(images_dir))
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
        folder = cache_folder()
        self._path = folder and folder / f"images-{name}.json"
        self._entries: dict[str, Any] = {}
        self._changed = False
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and content.get("version") == _VERSION:
                self._entries = content["images"] if isinstance(content.get("images"), dict) else {}

    def recall(self, name: str, max_pixels: int) -> ImageCheck | None:
        """Return what is known of an image, unless its file has changed."""
        entry: Any = self._entries.get(name)
        try:
            num_bytes, changed, height, width, look, content, *traits = entry
            fits = (
                height * width <= max_pixels
                and set(traits) <= set(TRAITS)
                and isinstance(look + content, str)
            )
        except (TypeError, ValueError):
            return None
        if not fits or self._stamp(name) != [num_bytes, changed]:
            return None
        return ImageCheck((height, width), tuple(traits), look=look, content=content)

    def keep(self, name: str, check: ImageCheck) -> None:
        """Remember a sound image."""
        stamp = self._stamp(name)
        if stamp and not check.error:
            self._entries[name] = [*stamp, *check.size, check.look, check.content, *check.traits]
            self._changed = True

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if not self._changed or self._path is None:
            return
        content = {"version": _VERSION, "folder": str(self._folder), "images": self._entries}
        temporary = self._path.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)

    def _stamp(self, name: str) -> list[int]:
        try:
            stat = (self._folder / name).stat()
        except (OSError, ValueError):
            return []
        return [stat.st_size, stat.st_mtime_ns]
