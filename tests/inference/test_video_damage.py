"""What a file says of its own length, against its length."""

import struct

import cv2
import numpy as np
import pytest

from dprd_cli.inference.video_damage import is_cut_off, lost_tail


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi"])
def test_a_file_is_cut_off_wherever_its_last_part_is(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 32))
    for level in range(9):
        writer.write(np.full((32, 48, 3), 20 * level, np.uint8))
    writer.release()
    content = path.read_bytes()
    assert not is_cut_off(path)
    assert not lost_tail(str(path), 0.8, 10)
    assert lost_tail(str(path), 0.5, 10)  # frames after that one are in the file
    for length in (len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert is_cut_off(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"plain text, long enough",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7,  # a length that is not known yet
        b"\x1a\x45\xdf\xa3\x00",
        struct.pack(">I4s", 0, b"ftyp") + b"to the end",
        struct.pack(">I4s", 3, b"ftyp") + b"smaller than its head",
        struct.pack(">I4sQ", 1, b"ftyp", 4) + b"the same in 64 bits",
        struct.pack(">I4sQ", 1, b"ftyp", 24) + b"8 bytes.",
        struct.pack(">I4sI4s", 8, b"ftyp", 20, b"moov") + struct.pack(">I4sI", 12, b"elst", 0),
    ],
)
def test_odd_files_are_not_cut_off(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    assert not is_cut_off(path)
    assert not lost_tail(str(path), 0.0, 10)


@pytest.mark.parametrize("track", [b"", b"mdia", b"edts", b"elst" + bytes(8), b"mdhd"])
def test_tracks_that_are_no_tracks_trim_nothing(tmp_path, track):
    inside = struct.pack(">I4s", 8 + len(track), b"trak") + track
    movie = struct.pack(">I4s", 28, b"mvhd") + bytes(20) + inside
    content = struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 8 + len(movie), b"moov") + movie
    (tmp_path / "a.mp4").write_bytes(content)
    assert not lost_tail(str(tmp_path / "a.mp4"), 0.0, 10)
