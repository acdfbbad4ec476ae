import re
import struct

import cv2
import numpy as np
import pytest

from dprd_cli.errors import DataError, ResourceError
from dprd_cli.inference.sources import VIDEO_SUFFIXES
from dprd_cli.inference.video import FrameReader, VideoFile


def write(path, levels, size=(32, 48), rate=10.0):
    video = VideoFile(path, rate)
    for level in levels:
        video.add(np.full((*size, 3), (level, 0, 0), dtype=np.uint8))
    video.close()
    return path


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path / "a.mp4", range(100, 150, 10), size=(33, 49))
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    frames = list(FrameReader(str(path)))
    assert [moment.index for moment, _ in frames] == [0, 1, 2, 3, 4]
    assert [round(moment.seconds, 6) for moment, _ in frames] == [0, 0.1, 0.2, 0.3, 0.4]
    assert all(image.shape == (32, 48, 3) for _, image in frames)  # even sizes
    reds = [image[..., 0].mean() for _, image in frames]
    assert np.abs(np.array(reds) - range(100, 150, 10)).max() < 12
    assert all(image[..., 2].mean() < 20 for _, image in frames)  # RGB, not BGR


def test_steps_and_limits(tmp_path):
    path = str(write(tmp_path / "a.mp4", range(0, 100, 10)))
    reader = FrameReader(path, step=4)
    assert reader.rate == 2.5
    assert [moment.index for moment, _ in reader] == [0, 4, 8]
    assert [moment.index for moment, _ in FrameReader(path, step=2, limit=2)] == [0, 2]


def test_files_that_are_no_videos(tmp_path):
    with pytest.raises(DataError, match=r"gone.mp4: no such file; check the path"):
        FrameReader(str(tmp_path / "gone.mp4"))
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match=r"text.mp4: not a video that OpenCV can read"):
        FrameReader(str(tmp_path / "text.mp4"))
    with pytest.raises(DataError, match=r"webcam:97: no such camera, or in use"):
        FrameReader("webcam:97")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A video of 60 frames, ten a second, none of which is empty."""
    path = tmp_path_factory.mktemp("noise") / "a.mp4"
    video = VideoFile(path, 10)
    for image in np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8):
        video.add(image)
    video.close()
    return path.read_bytes()


def taken(path, content):
    """Return the times of the frames of a file of such content, and the line that ends it."""
    path.write_bytes(content)
    times = []
    try:
        times.extend(moment.seconds for moment, _ in FrameReader(str(path)))
    except DataError as error:
        return times, str(error)
    return times, None


def test_a_video_that_breaks_off_gives_its_frames_and_then_says_so(noise, tmp_path):
    start, end = noise.index(b"mdat"), noise.index(b"moov")
    half = (start + end) // 2
    zeros = noise[:half] + bytes(end - 4 - half) + noise[end - 4 :]  # the rest never came
    times, line = taken(tmp_path / "cut.mp4", zeros)
    assert re.search(r"cut.mp4: ends after \d+ of 60 frames, truncated or corrupt; those are done$", line)
    assert times == pytest.approx([number / 10 for number in range(len(times))])
    assert 5 < len(times) < 58


def test_damage_in_the_middle_is_passed_over_and_told(noise, tmp_path):
    start, end = noise.index(b"mdat"), noise.index(b"moov")
    half, length = (start + end) // 2, (end - start) // 20
    times, line = taken(tmp_path / "a.mp4", noise[:half] + bytes(length) + noise[half + length :])
    assert 50 < len(times) < 60
    assert times[-1] == pytest.approx(5.9)  # at their own times
    assert re.search(rf"a.mp4: corrupt after frame \d+; the {len(times)} frames that can be read are", line)


def test_a_sound_file_of_fewer_frames_than_it_states_is_not_corrupt(noise, tmp_path):
    """As a phone trims: the frames stay in the file, and an edit list says which are shown."""
    for first, length in ((0.0, 2.0), (1.5, 2.0), (4.0, 2.0)):
        content = bytearray(noise)
        (scale,) = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)
        place = content.index(b"elst") + 12
        struct.pack_into(">Ii", content, place, int(1000 * length), int(first * scale))
        times, line = taken(tmp_path / "trimmed.mp4", bytes(content))
        assert line is None
        assert times == pytest.approx([number / 10 for number in range(20)])


@pytest.mark.parametrize(
    "ending", ["avi", "mkv", "webm", "mov", "3gp", "flv", "wmv", "ts", "mts", "m2ts", "vob"]
)
def test_containers_that_are_read(tmp_path, ending):
    assert f".{ending}" in VIDEO_SUFFIXES
    codec = {"ts": "mpg2", "mts": "mpg2", "m2ts": "mpg2", "vob": "mpg2", "flv": "FLV1", "wmv": "WMV2"}
    code = cv2.VideoWriter.fourcc(*codec.get(ending, "VP80" if ending == "webm" else "mp4v"))
    path = tmp_path / f"a.{ending}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, (96, 64))
    for level in range(12):
        writer.write(np.full((64, 96, 3), 20 * level, np.uint8))
    writer.release()
    times, line = taken(path, path.read_bytes())
    assert (len(times), line) == (12, None)
    assert times == pytest.approx([number / 25 for number in range(12)], abs=2e-3)


def boxes_with(content, replaced, path=(b"moov", b"trak", b"mdia", b"minf", b"stbl")):
    """Return an MP4 file with the contents of some boxes replaced, and the sizes around put right."""
    out, place = b"", 0
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        inside = content[place + 8 : place + size]
        if kind in path:
            inside = boxes_with(inside, replaced, path)
        inside = replaced.get(kind, inside)
        out += struct.pack(">I4s", 8 + len(inside), kind) + inside
        place += size
    return out


@pytest.fixture
def uneven(tmp_path):
    """Two seconds of ten frames: half a second, a second's pause, half a second."""
    path = write(tmp_path / "even.mp4", range(0, 250, 25))
    content = path.read_bytes()
    (scale,) = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)
    tenth = scale // 10
    times = b"".join(struct.pack(">II", *run) for run in ((4, tenth), (1, 11 * tenth), (5, tenth)))
    content = boxes_with(content, {b"stts": struct.pack(">II", 0, 3) + times, b"edts": b""})
    path.write_bytes(content)
    return path


def test_a_rate_that_varies_keeps_its_times_and_its_length(uneven, tmp_path):
    frames = list(FrameReader(str(uneven)))
    times = [0, 0.1, 0.2, 0.3, 0.4, 1.5, 1.6, 1.7, 1.8, 1.9]
    assert [moment.seconds for moment, _ in frames] == pytest.approx(times)
    video = VideoFile(tmp_path / "out.mp4", 20.0)
    for moment, image in frames:
        video.add(image, moment.seconds)
    video.close()
    shown = list(FrameReader(str(tmp_path / "out.mp4")))
    assert len(shown) == 39  # to 1.95 s at 20 a second, where the last frame is shown
    for moment, image in shown:
        last = max(number for number, at in enumerate(times) if at <= moment.seconds + 1e-6)
        assert image[..., 0].mean() == pytest.approx(25 * last, abs=12)


def test_frames_that_come_faster_than_they_are_written_are_left_out(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 10.0)
    for number in range(40):  # a second
        video.add(np.full((32, 48, 3), 6 * number, np.uint8), 7.0 + number / 40)
    video.close()
    frames = list(FrameReader(str(tmp_path / "a.mp4")))
    assert len(frames) == 11  # the last frame is nearest to the time of the eleventh
    assert [image.mean() for _, image in frames] == pytest.approx([24 * n for n in range(11)], abs=20)


def test_a_pause_has_an_end(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 1.0)
    for seconds in (0.0, 1e6, 1e6 + 1):
        video.add(np.zeros((32, 48, 3), np.uint8), seconds)
    assert video.frames == 62
    video.close()


def test_frames_of_another_size_are_fitted(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 10.0)
    for size in ((32, 48), (64, 96), (33, 49)):
        video.add(np.full((*size, 3), 100, np.uint8))
    video.close()
    assert [image.shape for _, image in FrameReader(str(tmp_path / "a.mp4"))] == [(32, 48, 3)] * 3


def test_a_codec_that_cannot_be_decoded_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "my clip.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 32))
    for level in range(20):
        writer.write(np.full((32, 48, 3), level, np.uint8))
    writer.release()
    name = b"V_MPEG4/ISO/ASP"
    content = path.read_bytes()
    assert content.count(name) == 1
    times, line = taken(path, content.replace(name, b"V_AV1".ljust(len(name), b"\0")))
    assert times == []
    assert line == (
        f"{path}: this OpenCV cannot decode its frames (AV1); convert it: "
        f"ffmpeg -i '{path}' -c:v libx264 'my clip-h264.mp4'"
    )


def test_a_disk_without_room(tmp_path, monkeypatch):
    video = VideoFile(tmp_path / "a.mp4", 10)
    video.add(np.zeros((32, 48, 3), dtype=np.uint8))
    video.frames = 9  # eight of them were lost
    with pytest.raises(ResourceError, match=r"a.mp4: only 1 of 9 frames were written; the disk may be full"):
        video.close()
    assert (tmp_path / "a.mp4").is_file()
    with pytest.raises(ResourceError, match=r"b.mp4: cannot write the video; check the folder and the disk"):
        VideoFile(tmp_path / "gone" / "b.mp4", 10).add(np.zeros((32, 48, 3), dtype=np.uint8))


def test_a_video_without_frames_is_none(tmp_path):
    VideoFile(tmp_path / "a.mp4", 10).close()
    assert list(tmp_path.iterdir()) == []
