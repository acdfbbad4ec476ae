"""Videos and cameras in, videos out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.errors import DataError, ResourceError

_CAMERA_RATE = 10.0  # frames a second of a camera that does not say


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a frame is in its video.

    Args:
        index: Its number, from 0.
        seconds: Its time; for a camera, since the start.
        rate: Frames a second, of those that are taken.
    """

    index: int
    seconds: float
    rate: float


class FrameReader:
    """An open video file or camera.

    Args:
        name: The file, or `webcam:N`.
        step: Take every so many frames.
        limit: Stop after so many taken frames; 0 takes all.

    Attributes:
        rate: Taken frames a second.

    Raises:
        DataError: If it cannot be opened.
    """

    def __init__(self, name: str, step: int = 1, limit: int = 0) -> None:
        self.name, self.step, self.limit = name, step, limit
        self._camera = name.startswith("webcam:")
        if not self._camera and not Path(name).is_file():
            raise DataError(f"{name}: no such file; check the path")
        with _quiet():
            self._capture = cv2.VideoCapture(int(name.partition(":")[2]) if self._camera else name)
        if not self._capture.isOpened():
            what = "no such camera, or in use" if self._camera else "not a video that OpenCV can read"
            raise DataError(f"{name}: {what}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = (rate if 0 < rate < 1000 else _CAMERA_RATE) / step

    def __iter__(self) -> Iterator[tuple[Moment, NDArray[np.uint8]]]:
        """Yield frames as upright RGB [H, W, 3], then close.

        Raises:
            DataError: After the last good frame of a video that ends too early, or a camera that went away.
        """
        index = taken = 0
        started = time.monotonic()
        try:
            while not self.limit or taken < self.limit:
                if not self._capture.grab():
                    self._check_end(index)
                    return
                if index % self.step == 0:
                    good, image = self._capture.retrieve()
                    if not good:
                        raise DataError(f"{self.name}: frame {index} is corrupt; frames before it are done")
                    taken += 1
                    moment = Moment(index, self._time(started), self.rate)
                    yield moment, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                index += 1
        finally:
            self._capture.release()

    def _time(self, started: float) -> float:
        if self._camera:
            return time.monotonic() - started
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _check_end(self, frames: int) -> None:
        """Compare with the length that the file states, which some formats only estimate."""
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self._camera:
            raise DataError(f"{self.name}: the camera gives no more frames; those so far are done")
        if frames == 0 or frames < stated - max(2, stated // 50):
            raise DataError(
                f"{self.name}: ends after {frames} of {stated} frames, truncated or corrupt; those are done"
            )


class VideoFile:
    """An MP4 file (MPEG-4) that is written frame by frame; it appears under its name when closed.

    Args:
        path: The file, ending in `.mp4`.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate, self.frames = path, rate, 0
        self._temporary = path.with_name(f".{path.name}.tmp.mp4")
        self._writer: cv2.VideoWriter | None = None

    def add(self, image: NDArray[np.uint8]) -> None:
        """Append a frame, RGB [H, W, 3], all of one size; odd sizes lose their last row or column.

        Raises:
            ResourceError: If the file cannot be written.
        """
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if self._writer is None:
            size = (image.shape[1], image.shape[0])
            with _quiet():
                code = cv2.VideoWriter.fourcc(*"mp4v")
                self._writer = cv2.VideoWriter(str(self._temporary), code, self.rate, size)
            if not self._writer.isOpened():
                raise ResourceError(f"{self.path}: cannot write the video; check the folder and the disk")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            ResourceError: If frames are missing in it, as on a full disk; what there is stays.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with _quiet():
            written = cv2.VideoCapture(str(self._temporary))
        kept = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if kept:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)
        if kept < self.frames:
            raise ResourceError(
                f"{self.path}: only {kept} of {self.frames} frames were written; the disk may be full"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's and FFmpeg's own messages off stderr: what goes wrong is said here, in one line."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the first video is opened
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
