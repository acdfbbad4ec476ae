"""Annotated images, frames and videos."""

from __future__ import annotations

from pathlib import Path

from dprd_cli.files.images import write_image
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import OutputEntry, counted
from dprd_cli.inference.video import VideoFile


class DrawingFiles:
    """Annotated images; `frames` takes the frames of videos, into `frames/NAME/`."""

    def __init__(self, folder: OutputFolder, *, frames: bool = False) -> None:
        self.folder, self.frames, self.count = folder, frames, 0

    def path(self, entry: OutputEntry) -> Path | None:
        """Return where an entry is drawn to, if it is."""
        name = self._name(entry)
        return self.folder.path / name if name else None

    def add(self, entry: OutputEntry) -> None:
        """Draw and write one."""
        if name := self._name(entry):
            write_image(self.folder.claim(name), entry.drawing)
            self.count += 1

    def close(self) -> list[str]:
        """Return how many were written."""
        return counted(self.count, "annotated frame" if self.frames else "annotated image")

    def _name(self, entry: OutputEntry) -> str | None:
        if (entry.prediction.moment is not None) != self.frames:
            return None
        return f"{'frames/' if self.frames else ''}{entry.place}{entry.suffix}"


class VideoFiles:
    """Annotated videos, one after the other."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.count = folder, 0
        self._open: VideoFile | None = None

    def path(self, entry: OutputEntry) -> Path | None:
        """Return the video that an entry belongs to, if it does."""
        return self.folder.path / f"{entry.stem}.mp4" if entry.prediction.moment else None

    def add(self, entry: OutputEntry) -> None:
        """Append one frame to its video."""
        path, moment = self.path(entry), entry.prediction.moment
        if path is None or moment is None:
            return
        if self._open is None or self._open.path != path:
            self.close()
            self._open = VideoFile(self.folder.claim(path.name), moment.rate)
            self.count += 1
        self._open.add(entry.drawing, moment.seconds)

    def close(self) -> list[str]:
        """Finish the last video."""
        if self._open:
            video, self._open = self._open, None
            video.close()
        return counted(self.count, "annotated video")
