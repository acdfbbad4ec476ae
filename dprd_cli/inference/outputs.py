"""What `dprd predict --save` writes: one class a kind, each fed one image or frame at a time.

Every file is whole and valid after each image, so that an interruption or a full disk loses nothing that
was computed before; a video is finished when its frames end or the program is asked to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dprd_cli.files.images import image_suffix
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.annotation_files import CocoDatasetFiles, YoloDatasetFiles
from dprd_cli.inference.collected import CocoResultsFile, CsvTable
from dprd_cli.inference.drawings import DrawingFiles, VideoFiles
from dprd_cli.inference.entry import DisplayStyle, OutputEntry
from dprd_cli.inference.labelme import LabelmeFiles
from dprd_cli.inference.objects import CropFiles, MaskFiles
from dprd_cli.inference.sources import Source

#: Kinds that write into a subfolder of `--out` of their name.
FOLDERS = ("frames", "labelme", "dataset", "yolo", "masks", "crops")
#: Kind -> the files that hold many images.
SHARED_FILES = {"coco": ("results.json", "images.json"), "csv": ("results.csv",)}


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
KINDS = ("images", "video", "frames", "coco", "csv", "labelme", "dataset", "yolo", "masks", "crops")


def output_names(sources: Sequence[Source], stems: Sequence[str], kinds: Sequence[str]) -> set[str]:
    """Return the names of all files and folders that may be written at the top of the folder.

    Args:
        sources: What is looked at.
        stems: What the outputs of each are called.
        kinds: Some of `KINDS`.
    """
    names = {name for kind in kinds for name in SHARED_FILES.get(kind, ())} | set(FOLDERS).intersection(kinds)
    for source, stem in zip(sources, stems, strict=True):
        if source.is_moving and "video" in kinds:
            names.add(f"{stem}.mp4")
        elif not source.is_moving and "images" in kinds:
            names.add(f"{stem}{image_suffix(source.path)}")
    return names


def make_outputs(
    folder: OutputFolder | None, kinds: Sequence[str], style: DisplayStyle, *, frames: bool
) -> tuple[dict[str, PerImageOutput], dict[str, SharedOutput]]:
    """Return an output for each kind: those with files for each image, and those that hold many.

    Args:
        folder: Where they write; None for no kinds.
        kinds: Some of `KINDS`.
        style: What is shown.
        frames: Whether there are videos among the inputs.
    """
    if folder is None:
        return {}, {}
    drawn: dict[str, DrawingFiles | VideoFiles] = {}
    if "images" in kinds:
        drawn["images"] = DrawingFiles(folder)
    if "frames" in kinds:
        drawn["frames"] = DrawingFiles(folder, frames=True)
    if "video" in kinds:
        drawn["video"] = VideoFiles(folder)
    outputs: dict[str, PerImageOutput] = dict(drawn)
    shared: dict[str, SharedOutput] = {}
    if "coco" in kinds:
        shared["coco"] = CocoResultsFile(folder, list(drawn.values()), style)
    if "csv" in kinds:
        shared["csv"] = CsvTable(folder, style, frames=frames)
    if "dataset" in kinds:
        shared["dataset"] = CocoDatasetFiles(folder)
    others: dict[str, type[LabelmeFiles | YoloDatasetFiles | MaskFiles | CropFiles]] = {
        "labelme": LabelmeFiles,
        "yolo": YoloDatasetFiles,
        "masks": MaskFiles,
        "crops": CropFiles,
    }
    outputs |= {kind: make(folder) for kind, make in others.items() if kind in kinds}
    return outputs, shared
