"""Annotated images, frames and videos."""

from __future__ import annotations

from pathlib import Path

from dprd_cli.files.images import write_image
from dprd_cli.inference.entry import OutputEntry, counted, with_folder
from dprd_cli.inference.video import VideoFile


class DrawingFiles:
    """Annotated images; `frames` takes the frames of videos, into folders of their own."""

    def __init__(self, folder: Path, *, frames: bool = False) -> None:
        self.folder, self.frames, self.count = folder, frames, 0

    def path(self, entry: OutputEntry) -> Path | None:
        """Return where an entry is drawn to, if it is."""
        is_frame = entry.prediction.moment is not None
        return self.folder / f"{entry.place}{entry.suffix}" if is_frame == self.frames else None

    def add(self, entry: OutputEntry) -> None:
        """Draw and write one."""
        if path := self.path(entry):
            write_image(with_folder(path), entry.drawing)
            self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "annotated frame" if self.frames else "annotated image")


class VideoFiles:
    """Annotated videos, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self._open: VideoFile | None = None

    def path(self, entry: OutputEntry) -> Path | None:
        """Return the video that an entry belongs to, if it does."""
        return self.folder / f"{entry.stem}.mp4" if entry.prediction.moment else None

    def add(self, entry: OutputEntry) -> None:
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
        return counted(self.count, "annotated video")
