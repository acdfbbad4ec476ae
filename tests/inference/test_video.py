import numpy as np
import pytest

from dprd_cli.errors import DataError, ResourceError
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


def test_a_video_that_breaks_off_gives_its_frames_and_then_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    video = VideoFile(tmp_path / "a.mp4", 10)
    for image in noise:
        video.add(image)
    video.close()
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    start, end = content.index(b"mdat"), content.index(b"moov")
    half = (start + end) // 2
    content[half : end - 4] = bytes(end - 4 - half)  # as a download that was cut short, its index in front
    (tmp_path / "cut.mp4").write_bytes(content)
    taken = []
    with pytest.raises(DataError, match=r"cut.mp4: ends after \d+ of 60 frames, truncated or corrupt"):
        taken.extend(moment.index for moment, _ in FrameReader(str(tmp_path / "cut.mp4")))
    assert taken == list(range(len(taken)))
    assert 5 < len(taken) < 58


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
