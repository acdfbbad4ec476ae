"""Annotated images, frames and videos: which entries each kind takes, and where they lie."""

import cv2
import numpy as np
from PIL import Image

from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.drawings import DrawingFiles, VideoFiles
from paths import visible


def test_images_and_frames_go_to_different_kinds(tmp_path, make_entry):
    image, frame = make_entry(), make_entry("in/clip.mp4", frame=3)
    folder = OutputFolder(tmp_path, "predict")
    images, frames, videos = DrawingFiles(folder), DrawingFiles(folder, frames=True), VideoFiles(folder)
    assert images.path(image) == tmp_path / "a.jpg"
    assert frames.path(frame) == tmp_path / "frames" / "clip" / "000003.png"
    assert videos.path(frame) == tmp_path / "clip.mp4"
    assert images.path(frame) is frames.path(image) is videos.path(image) is None


def test_what_is_drawn_is_written_and_counted(tmp_path, make_entry):
    files = DrawingFiles(OutputFolder(tmp_path, "predict"))
    for entry in (make_entry("x/b.png"), make_entry("x/clip.mp4", frame=0)):
        files.add(entry)
    assert visible(tmp_path) == ["b.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), make_entry().drawing)
    assert files.close() == ["1 annotated image"]


def test_a_video_ends_where_the_next_begins(tmp_path, make_entry):
    files = VideoFiles(OutputFolder(tmp_path, "predict"))
    for name, frames in (("one.mp4", 2), ("two.mp4", 3)):
        for frame in range(frames):
            files.add(make_entry(name, frame=frame))
    assert (tmp_path / "one.mp4").is_file()
    assert not (tmp_path / "two.mp4").exists()  # not whole yet
    assert files.close() == ["2 annotated videos"]
    counts = [
        cv2.VideoCapture(str(tmp_path / f"{name}.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
        for name in ("one", "two")
    ]
    assert counts == [2, 3]
