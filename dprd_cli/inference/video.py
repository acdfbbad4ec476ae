"""Videos and cameras in, videos out."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.errors import DataError, ResourceError
from dprd_cli.inference.video_damage import is_cut_off, lost_tail

_MOST_FRAMES = 1e8  # a file that says more does not know
_CAMERA_RATE = 10.0  # frames a second of a camera that does not say
_FILE_RATE = 30.0  # and of a file
_ATTEMPTS = 100  # to decode a frame after one that is damaged
_LONGEST_GAP = 60.0  # seconds that one frame is shown in a video that is written
_CODECS = {"AV01": "AV1", "HVC1": "HEVC", "HEV1": "HEVC", "VVC1": "VVC"}


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
        unknown = _CAMERA_RATE if self._camera else _FILE_RATE
        self.rate = (rate if 0 < rate < 1000 else unknown) / step

    def __iter__(self) -> Iterator[tuple[Moment, NDArray[np.uint8]]]:
        """Yield frames as upright RGB [H, W, 3], then close.

        What cannot be decoded is passed over; the times are those at which frames are to be shown.

        Raises:
            DataError: After the last good frame of a video that is damaged, or a camera that went away.
        """
        index = taken = 0
        seconds, damaged = 0.0, -1  # the frame that damage was first found after
        started = time.monotonic()
        try:
            while not self.limit or taken < self.limit:
                if not self._capture.grab():
                    if not self._goes_on(index):
                        break
                    damaged = index if damaged < 0 < index else damaged  # before the first: a broadcast
                seconds = self._time(index, seconds, started)
                if index % self.step == 0:
                    good, image = self._capture.retrieve()
                    if good:
                        taken += 1
                        moment = Moment(index, seconds, self.rate)
                        yield moment, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                    else:
                        damaged = index if damaged < 0 else damaged
                index += 1
            else:
                return
            self._check_end(index, seconds, damaged)
        finally:
            self._capture.release()

    def _time(self, index: int, before: float, started: float) -> float:
        """Return the time of the frame that was grabbed; where the file does not say, by the rate."""
        if self._camera:
            return time.monotonic() - started
        seconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if index == 0:
            return max(0.0, seconds)
        return seconds if seconds > before else before + 1 / (self.rate * self.step)

    def _goes_on(self, frames: int) -> bool:
        """Whether a frame comes after some that could not be decoded; it is grabbed then."""
        if self._camera:
            return False
        left = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) - frames
        return any(self._capture.grab() for _ in range(max(_ATTEMPTS, min(left, 10 * _ATTEMPTS))))

    def _check_end(self, frames: int, seconds: float, damaged: int) -> None:
        """Raise if something is lost; see `video_damage`."""
        if self._camera:
            raise DataError(f"{self.name}: the camera gives no more frames; those so far are done")
        if frames == 0:
            raise DataError(self._undecodable())
        if damaged >= 0:
            raise DataError(
                f"{self.name}: corrupt after frame {damaged - 1}; the {frames} frames that can be read are "
                "done"
            )
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        with _quiet():
            lost = frames < stated and (
                is_cut_off(Path(self.name)) or lost_tail(self.name, seconds, self.rate * self.step)
            )
        if lost:
            raise DataError(
                f"{self.name}: ends after {frames} of {stated} frames, truncated or corrupt; those are done"
            )

    def _undecodable(self) -> str:
        """Return what to say of a video of which no frame can be decoded."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        codec = code.to_bytes(4, "little").decode("latin-1").strip("\0 ").upper()
        codec = _CODECS.get(codec, codec or "unknown codec")
        new = Path(self.name).with_suffix("").name + "-h264.mp4"
        return (
            f"{self.name}: this OpenCV cannot decode its frames ({codec}); convert it: "
            f"ffmpeg -i {shlex.quote(self.name)} -c:v libx264 {shlex.quote(new)}"
        )


def stated_frames(name: str, step: int = 1, limit: int = 0) -> int:
    """Return how many frames would be taken of a video by what it says of itself; 0 where it does not say.

    Args:
        name: The file, or `webcam:N`.
        step: As for `FrameReader`.
        limit: As for `FrameReader`.
    """
    if name.startswith("webcam:"):
        return limit
    with _quiet():
        capture = cv2.VideoCapture(name)
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0.0
        capture.release()
    frames = -(-int(stated) // step) if 0 < stated < _MOST_FRAMES else 0
    return min(frames, limit) if limit else frames


class VideoFile:
    """An MP4 file (MPEG-4) that is written frame by frame; it appears under its name when closed.

    Its rate is constant. Frames are repeated or left out so that each is shown at its time: the file lasts as
    long as what it was made from, whatever that one's rate.

    Args:
        path: The file, ending in `.mp4`.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate, self.frames = path, rate, 0
        self._temporary = path.with_name(f".{path.name}.tmp.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start = self._time = 0.0
        self._shown: NDArray[np.uint8] | None = None

    def add(self, image: NDArray[np.uint8], seconds: float | None = None) -> None:
        """Append a frame, RGB [H, W, 3], in the size of the first; odd sizes lose their last row or column.

        Args:
            image: The frame. [H, W, 3]
            seconds: When it is shown, on any clock; None for as soon as the one before was.

        Raises:
            ResourceError: If the file cannot be written.
        """
        if self._writer is None:
            self._open(image)
            self._start = self._time = seconds or 0.0
        place = self.frames
        if seconds is not None:
            self._start += max(0.0, seconds - self._time - _LONGEST_GAP)
            self._time = seconds
            place = round((seconds - self._start) * self.rate)
        while self.frames < place:
            self._write()
        self._shown = self._fitted(image)
        if self.frames == place:
            self._write()

    def _open(self, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        self._size = (width // 2 * 2, height // 2 * 2)
        with _quiet():
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._temporary), code, self.rate, self._size)
        if not self._writer.isOpened():
            raise ResourceError(f"{self.path}: cannot write the video; check the folder and the disk")

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame as the file takes it: BGR, of its size. [H, W, 3]."""
        width, height = self._size
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if image.shape[:2] != (height, width):  # a broadcast whose format changes
            image = np.asarray(cv2.resize(image, self._size), dtype=np.uint8)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    def _write(self) -> None:
        assert self._writer is not None
        assert self._shown is not None
        self._writer.write(self._shown)
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
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the first video is opened, and this:
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", "1000000")  # packets of sound after the last frame
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
