"""What `dprd predict --save` writes: one class a kind, each fed one image or frame at a time.

Every file is whole and valid after each image, so that an interruption or a full disk loses nothing that
was computed before; a video is finished when its frames end or the program is asked to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dprd_cli.inference.collected import CocoResultsFile, CsvTable
from dprd_cli.inference.drawings import DrawingFiles, VideoFiles
from dprd_cli.inference.entry import DisplayStyle, OutputEntry
from dprd_cli.inference.labelme import LabelmeFiles
from dprd_cli.inference.objects import CropFiles, MaskFiles

#: Subfolders of `--out` that are written to.
FOLDERS = ("frames", "labelme", "masks", "crops")


class PerImageOutput(Protocol):
    """One kind of output, with files for each image.

    Attributes:
        count: How many were written.
    """

    count: int

    def add(self, entry: OutputEntry) -> None:
        """Write one image or frame.

        Raises:
            ResourceError: If it cannot be written.
        """

    def close(self) -> list[str]:
        """Finish, and return what there is now, in words."""


class SharedOutput(Protocol):
    """One kind of output that holds many images; what is written can come from other processes."""

    def open(self) -> None:
        """Begin what is written.

        Raises:
            ResourceError: If it cannot be written.
        """

    def content(self, entry: OutputEntry) -> Any:
        """Return what `write` takes for one image or frame; it can be sent to another process."""

    def write(self, content: Any) -> None:
        """Append one image.

        Raises:
            ResourceError: If it cannot be written.
        """

    def close(self) -> list[str]:
        """Finish, and return what there is now, in words."""


#: What `--save` takes, in the order in which it is reported.
KINDS = ("images", "video", "frames", "coco", "csv", "labelme", "masks", "crops")


def make_outputs(
    folder: Path, kinds: Sequence[str], style: DisplayStyle, *, frames: bool
) -> tuple[dict[str, PerImageOutput], dict[str, SharedOutput]]:
    """Return an output for each kind: those with files for each image, and those that hold many.

    Args:
        folder: Exists.
        kinds: Some of `KINDS`.
        style: What is shown.
        frames: Whether there are videos among the inputs.
    """
    drawn: dict[str, DrawingFiles | VideoFiles] = {}
    if "images" in kinds:
        drawn["images"] = DrawingFiles(folder)
    if "frames" in kinds:
        drawn["frames"] = DrawingFiles(folder / "frames", frames=True)
    if "video" in kinds:
        drawn["video"] = VideoFiles(folder)
    outputs: dict[str, PerImageOutput] = dict(drawn)
    shared: dict[str, SharedOutput] = {}
    if "coco" in kinds:
        shared["coco"] = CocoResultsFile(folder, list(drawn.values()), style)
    if "csv" in kinds:
        shared["csv"] = CsvTable(folder, style, frames=frames)
    others: dict[str, type[LabelmeFiles | MaskFiles | CropFiles]] = {
        "labelme": LabelmeFiles,
        "masks": MaskFiles,
        "crops": CropFiles,
    }
    outputs |= {kind: make(folder) for kind, make in others.items() if kind in kinds}
    return outputs, shared
