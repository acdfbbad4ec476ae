"""Whether a video that has ended lost something: the frame count of its container is a hint, no proof.

Edit lists (clips that were trimmed on a phone), longer audio and variable frame rates make fewer frames than
stated; nothing is wrong with such a file. Something is, if the file is shorter than its parts, or if frames
that are in it after the last one could not be decoded.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2

_MOST_BOXES = 100_000
_LARGEST_INDEX = 2**28  # bytes of a `moov` that is looked into
_FRAMES = 2.5  # after the last one, for which B-frames and fields may be out of order


def is_cut_off(path: Path) -> bool:
    """Whether an MP4, Matroska or AVI file is shorter than what it says of its parts; of others, False."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska_end(file) > size
        if start[:4] == b"RIFF":
            return 8 + int.from_bytes(start[4:8], "little") > size
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            return any(end > size for _, _, end in _file_boxes(file, size))
    return False


def lost_tail(name: str, last: float, rate: float) -> bool:
    """Whether a file holds frames that are to be shown after the last one that could be decoded.

    Args:
        name: The file.
        last: Time of the last frame, in seconds.
        rate: Frames a second.
    """
    if _is_trimmed(Path(name)):  # what was trimmed away is still in it
        return False
    packets = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    packets.set(cv2.CAP_PROP_FORMAT, -1)  # read, but not decoded
    latest = 0.0
    while packets.grab():
        latest = max(latest, packets.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    packets.release()
    return latest > last + _FRAMES / rate


def _file_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the content, end) of the boxes at the top of an MP4 file."""
    place = 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        length, content = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), 16
        if length == 0:  # to the end
            length = size - place
        if length < content:
            return
        yield head[4:8], place + content, place + length
        place += length


def _matroska_end(file: BinaryIO) -> int:
    """Return where the segment of a Matroska file ends; 0 if it does not say."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """Read a length; None where it is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    value = int.from_bytes(bytes((first[0] & ((1 << (7 - more)) - 1),)) + rest, "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value


def _is_trimmed(path: Path) -> bool:
    """Whether an edit list of an MP4 file leaves out the end of its track."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return False
        for kind, start, end in _file_boxes(file, size):
            if kind == b"moov" and end - start <= _LARGEST_INDEX:
                file.seek(start)
                return _has_trimmed_track(file.read(end - start))
    return False


def _has_trimmed_track(moov: bytes) -> bool:
    try:
        (movie_scale,) = (_scale_and_length(box)[0] for kind, box in _boxes(moov) if kind == b"mvhd")
        for kind, track in _boxes(moov):
            if kind != b"trak":
                continue
            inside = dict(_boxes(track))
            edits = dict(_boxes(inside.get(b"edts", b""))).get(b"elst")
            if edits is None:
                continue
            scale, length = _scale_and_length(dict(_boxes(inside[b"mdia"]))[b"mdhd"])
            if _end_of_edits(edits, movie_scale, scale) < length / scale - _FRAMES / 30:
                return True
    except (KeyError, ValueError, struct.error, ZeroDivisionError):
        return False
    return False


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length < 8:
            return
        yield data[place + 4 : place + 8], data[place + 8 : place + length]
        place += length


def _scale_and_length(header: bytes) -> tuple[int, int]:
    """Return the units a second and the length in them of `mvhd` or `mdhd`."""
    scale, length = struct.unpack_from(">IQ" if header[0] else ">II", header, 20 if header[0] else 12)
    return scale, length


def _end_of_edits(edits: bytes, movie_scale: int, scale: int) -> float:
    """Return where in the track the last edit ends, in seconds."""
    form = ">Qqhh" if edits[0] else ">Iihh"
    (count,) = struct.unpack_from(">I", edits, 4)
    end = 0.0
    for number in range(min(count, _MOST_BOXES)):
        length, start, _, _ = struct.unpack_from(form, edits, 8 + number * struct.calcsize(form))
        if start >= 0:  # -1 is a pause
            end = max(end, start / scale + length / movie_scale)
    return end
