"""What `dprd predict --save` writes: one class a kind, each fed one image or frame at a time.

Every file is whole and valid after each image, so that an interruption or a full disk loses nothing that
was computed before; a video is finished when its frames end or the program is asked to stop.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dprd_cli.errors import ResourceError
from dprd_cli.files.atomic import GrowingFile, csv_text, write_atomically
from dprd_cli.files.images import encode_png, image_suffix, write_image
from dprd_cli.inference.labelme import to_labelme
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.video import VideoFile
from dprd_cli.ops.masks import paste_crop
from dprd_cli.structures.sample import ImageArray

#: Subfolders of `--out` that are written to.
FOLDERS = ("frames", "labelme", "masks", "crops")
_XYXY = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class Style:
    """What is shown of detections, in all kinds of output but the COCO results and the table.

    Args:
        score_thresh: From this score on.
        masks: Masks too, where there are any.
        parts: Part boxes too, where there are any.
    """

    score_thresh: float = 0.5
    masks: bool = True
    parts: bool = False


@dataclass(frozen=True)
class Entry:
    """An image or frame, and how its outputs are named.

    Args:
        prediction: All its detections.
        image_id: Its id in the COCO results.
        path: The file that it comes from, or a path like one; its suffix decides the format of drawings.
        is_file: Whether there is such an image file.
        stem: Name of its outputs without suffix, no two alike; frames share their video's.
        style: What is shown.
    """

    prediction: Prediction
    image_id: int
    path: Path
    is_file: bool
    stem: str
    style: Style

    @property
    def place(self) -> str:
        """`STEM`, or `STEM/FRAME`, such as `clip/000012`."""
        moment = self.prediction.moment
        return f"{self.stem}/{moment.index:06d}" if moment else self.stem

    @property
    def suffix(self) -> str:
        """Of images that are made from it."""
        return image_suffix(self.path)

    @cached_property
    def shown(self) -> Prediction:
        """The detections that are shown."""
        return self.prediction.above(self.style.score_thresh)

    @cached_property
    def drawing(self) -> ImageArray:
        """The annotated image."""
        return self.shown.plot(masks=self.style.masks, parts=self.style.parts)


class Output(Protocol):
    """One kind of output, with files for each image.

    Attributes:
        count: How many were written.
    """

    count: int

    def add(self, entry: Entry) -> None:
        """Write one image or frame.

        Raises:
            ResourceError: If it cannot be written.
        """

    def close(self) -> list[str]:
        """Finish, and return what there is now, in words."""


class Merged(Protocol):
    """One kind of output that holds many images; what is written can come from other processes."""

    def open(self) -> None:
        """Begin what is written.

        Raises:
            ResourceError: If it cannot be written.
        """

    def content(self, entry: Entry) -> Any:
        """Return what `write` takes for one image or frame; it can be sent to another process."""

    def write(self, content: Any) -> None:
        """Append one image.

        Raises:
            ResourceError: If it cannot be written.
        """

    def close(self) -> list[str]:
        """Finish, and return what there is now, in words."""


class Drawings:
    """Annotated images; `frames` takes the frames of videos, into folders of their own."""

    def __init__(self, folder: Path, *, frames: bool = False) -> None:
        self.folder, self.frames, self.count = folder, frames, 0

    def path(self, entry: Entry) -> Path | None:
        """Return where an entry is drawn to, if it is."""
        is_frame = entry.prediction.moment is not None
        return self.folder / f"{entry.place}{entry.suffix}" if is_frame == self.frames else None

    def add(self, entry: Entry) -> None:
        """Draw and write one."""
        if path := self.path(entry):
            write_image(_with_folder(path), entry.drawing)
            self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return _counted(self.count, "annotated frame" if self.frames else "annotated image")


class Videos:
    """Annotated videos, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self._open: VideoFile | None = None

    def path(self, entry: Entry) -> Path | None:
        """Return the video that an entry belongs to, if it does."""
        return self.folder / f"{entry.stem}.mp4" if entry.prediction.moment else None

    def add(self, entry: Entry) -> None:
        """Append one frame to its video."""
        path, moment = self.path(entry), entry.prediction.moment
        if path is None or moment is None:
            return
        if self._open is None or self._open.path != path:
            self.close()
            self._open = VideoFile(path, moment.rate)
            self.count += 1
        self._open.add(entry.drawing)

    def close(self) -> list[str]:
        """Finish the last video."""
        if self._open:
            video, self._open = self._open, None
            video.close()
        return _counted(self.count, "annotated video")


class CocoResults:
    """`results.json`, COCO's results of every detection, and `images.json`, the images of its ids."""

    def __init__(self, folder: Path, images: Sequence[Drawings | Videos], style: Style) -> None:
        self.folder, self.images, self.style = folder, images, style
        self._files: list[GrowingFile] = []

    def open(self) -> None:
        """Begin both files."""
        names = ("results.json", "images.json")
        self._files = [GrowingFile(self.folder / name, b"[\n", b"\n]\n", b",\n") for name in names]

    def content(self, entry: Entry) -> tuple[bytes, bytes]:
        """Return one image's detections, and the image."""
        prediction, style = entry.prediction, self.style
        records = prediction.to_coco(entry.image_id, masks=style.masks, parts=style.parts)
        height, width = prediction.image_size
        image = {"id": entry.image_id, "file_name": prediction.name, "width": width, "height": height}
        if prediction.moment:
            image |= {"frame": prediction.moment.index, "seconds": prediction.moment.seconds}
        drawn = next((path for kind in self.images if (path := kind.path(entry))), None)
        if drawn:
            image["drawing"] = drawn.relative_to(self.folder).as_posix()
        return ",\n".join(map(json.dumps, records)).encode(), json.dumps(image).encode()

    def write(self, content: tuple[bytes, bytes]) -> None:
        """Append one image and its detections."""
        records, image = content
        if records:
            self._files[0].append(records)
        self._files[1].append(image)

    def close(self) -> list[str]:
        """Close both files."""
        for file in self._files:
            file.close()
        return ["results.json", "images.json"]


class Table:
    """`results.csv`: a row for every detection."""

    def __init__(self, folder: Path, style: Style, *, frames: bool) -> None:
        self.path, self.style = folder / "results.csv", style
        self._columns = ["file", "image_id", "class", "score", "mask_score", *_XYXY]
        self._columns += ["frame", "seconds"] if frames else []
        self._file: GrowingFile | None = None

    def open(self) -> None:
        """Nothing yet: the first image says which columns there are."""

    def content(self, entry: Entry) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of parts, and one image's rows."""
        parts = entry.prediction.part_boxes if self.style.parts else None
        return 0 if parts is None else parts.shape[1], list(self._rows(entry))

    def write(self, content: tuple[int, list[dict[str, Any]]]) -> None:
        """Append the rows of one image; the first says how many parts there are."""
        parts, rows = content
        if self._file is None:
            self._start(parts)
        assert self._file is not None
        if rows:
            self._file.append(csv_text(self._columns, rows))

    def close(self) -> list[str]:
        """Close the file."""
        if self._file is None:
            self._start(0)
        assert self._file is not None
        self._file.close()
        return [self.path.name]

    def _start(self, parts: int) -> None:
        self._columns += [f"part{number}_{name}" for number in range(1, parts + 1) for name in _XYXY]
        names = dict(zip(self._columns, self._columns, strict=True))
        self._file = GrowingFile(self.path, csv_text(self._columns, [names]))

    def _rows(self, entry: Entry) -> Iterator[dict[str, Any]]:
        found, style = entry.prediction, self.style
        at = {"frame": found.moment.index, "seconds": found.moment.seconds} if found.moment else {}
        records = found.to_coco(entry.image_id, masks=False, parts=style.parts)
        scores = found.detections.mask_scores
        if style.masks and found.detections.masks is not None:
            scores = found.detections.scores if scores is None else scores
            for record, score in zip(records, scores.tolist(), strict=True):
                record["mask_score"] = score
        for name, record in zip(found.class_names, records, strict=True):
            row = {"file": found.name, "image_id": entry.image_id, "class": name, "score": record["score"]}
            row |= {"mask_score": record.get("mask_score", ""), **_xyxy("", record["bbox"]), **at}
            for number, part in enumerate(record.get("part_boxes", []), start=1):
                row |= _xyxy(f"part{number}_", part)
            yield row


class Labelme:
    """`labelme/NAME.json`: what is shown, as polygons (boxes where there are no masks) to be corrected."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder / "labelme", 0

    def add(self, entry: Entry) -> None:
        """Write one file. An image that is no file of its own (a frame, a download) goes into it."""
        path = _with_folder(self.folder / f"{entry.place}.json")
        image = None if entry.is_file else encode_png(entry.prediction.image)
        name = _relative(entry.path, path.parent) if entry.is_file else f"{path.stem}.png"
        content = to_labelme(entry.shown, name, image, masks=entry.style.masks)
        text = json.dumps(content, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))
        self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return _counted(self.count, "labelme file")


class Masks:
    """`masks/NAME/00-CLASS.png`: each object that is shown, white on black, in the image's size."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder / "masks", 0

    def add(self, entry: Entry) -> None:
        """Write the masks of one image."""
        found = entry.shown.detections
        if found.masks is None or not entry.style.masks:
            return
        for name, mask, box in zip(_object_names(entry), found.masks, found.boxes, strict=True):
            image = np.zeros(entry.prediction.image_size, dtype=np.uint8)
            crop, x, y = paste_crop(mask, box, found.image_size)
            image[y : y + crop.shape[0], x : x + crop.shape[1]] = crop * np.uint8(255)
            path = _with_folder(self.folder / entry.place / f"{name}.png")
            data = encode_png(image)
            write_atomically(path, lambda file, data=data: file.write(data))  # type: ignore[misc]
            self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return _counted(self.count, "mask")


class Crops:
    """`crops/NAME/00-CLASS.jpg`: the image inside the box of each object that is shown."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder / "crops", 0

    def add(self, entry: Entry) -> None:
        """Write the crops of one image."""
        height, width = entry.prediction.image_size
        for name, (x1, y1, x2, y2) in zip(_object_names(entry), entry.shown.boxes.tolist(), strict=True):
            left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
            right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
            crop = entry.prediction.image[top:bottom, left:right]
            if crop.size:
                path = self.folder / entry.place / f"{name}{entry.suffix}"
                write_image(_with_folder(path), np.ascontiguousarray(crop))
                self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return _counted(self.count, "crop")


#: What `--save` takes, in the order in which it is reported.
KINDS = ("images", "video", "frames", "coco", "csv", "labelme", "masks", "crops")


def make_outputs(
    folder: Path, kinds: Sequence[str], style: Style, *, frames: bool
) -> tuple[dict[str, Output], dict[str, Merged]]:
    """Return an output for each kind: those with files for each image, and those that hold many.

    Args:
        folder: Exists.
        kinds: Some of `KINDS`.
        style: What is shown.
        frames: Whether there are videos among the inputs.
    """
    drawn: dict[str, Drawings | Videos] = {}
    if "images" in kinds:
        drawn["images"] = Drawings(folder)
    if "frames" in kinds:
        drawn["frames"] = Drawings(folder / "frames", frames=True)
    if "video" in kinds:
        drawn["video"] = Videos(folder)
    outputs: dict[str, Output] = dict(drawn)
    merged: dict[str, Merged] = {}
    if "coco" in kinds:
        merged["coco"] = CocoResults(folder, list(drawn.values()), style)
    if "csv" in kinds:
        merged["csv"] = Table(folder, style, frames=frames)
    others: dict[str, type[Labelme | Masks | Crops]] = {"labelme": Labelme, "masks": Masks, "crops": Crops}
    outputs |= {kind: make(folder) for kind, make in others.items() if kind in kinds}
    return outputs, merged


def _object_names(entry: Entry) -> list[str]:
    """Return `00-dog`, `01-traffic-light`, ...: numbers by score, as in the COCO results."""
    names = (re.sub(r"[^\w.-]+", "-", name)[:80] for name in entry.shown.class_names)
    return [f"{number:02d}-{name}" for number, name in enumerate(names)]


def _with_folder(path: Path) -> Path:
    """Return a path after making its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{path.parent}: cannot create the folder ({error.strerror})") from error
    return path


def _relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder; whole where there is no such way."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return str(path.resolve())


def _counted(number: int, what: str) -> list[str]:
    return [f"{number} {what}{'' if number == 1 else 's'}"] if number else []


def _xyxy(prefix: str, box: Sequence[float]) -> dict[str, float]:
    x, y, w, h = box
    return dict(zip((prefix + name for name in _XYXY), (x, y, x + w, y + h), strict=True))
