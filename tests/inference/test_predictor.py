import copy

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadFailure, ReadOptions
from dprd_cli.inference.sources import Source
from dprd_cli.inference.video import VideoFile


def save(path, size=(100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path


def test_detections_come_back_in_the_frame_of_the_image(left_half):
    model = left_half()
    found = Predictor(model).predict(np.zeros((50, 100, 3), dtype=np.uint8))
    assert model.detector.seen == [(3, 64, 128)]  # short side 64, as the configuration says
    assert found.image_size == (50, 100)
    torch.testing.assert_close(found.boxes[0], torch.tensor([0.0, 0.0, 50.0, 50.0]))
    torch.testing.assert_close(found.part_boxes[0, 3], torch.tensor([0.0, 0.0, 50.0, 50.0]))


def test_the_longest_side_is_limited(left_half):
    model = left_half(min_size=64, max_size=96)
    Predictor(model).predict(np.zeros((50, 100, 3), dtype=np.uint8))
    assert model.detector.seen == [(3, 48, 96)]


def test_low_scores_are_left_out(left_half):
    found = Predictor(left_half(), min_score=0.5).predict(np.zeros((9, 9, 3), dtype=np.uint8))
    assert len(found) == len(found.masks) == 1


def test_the_trace_goes_with_the_detections_into_the_image_s_frame(tmp_path, left_half):
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", (30, 60))]
    for item in Predictor(left_half(), min_score=0.1).predict_files(paths, ReadOptions(2, 0)):
        assert torch.equal(item.trace.boxes[:, 0], item.detections.boxes)
        assert item.trace.image_size == item.image.shape[:2]
        for shown in (item.above(0.5), item.best(1)):
            assert len(shown.trace) == len(shown.detections) == 1
            assert torch.equal(shown.trace.anchor_index, item.trace.anchor_index[:1])
        assert len(item.best(9)) == 2


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_files_are_predicted_in_order_and_unreadable_ones_reported(tmp_path, batch_size, workers, left_half):
    paths = [save(tmp_path / "a.png"), tmp_path / "b.png", save(tmp_path / "c.png", (30, 60))]
    paths[1].write_bytes(b"not an image")
    items = list(Predictor(left_half()).predict_files(paths, ReadOptions(batch_size, workers)))
    assert [item.name for item in items] == [str(path) for path in paths]
    assert [type(item) for item in items] == [Prediction, ReadFailure, Prediction]
    assert "b.png" in items[1].message
    assert items[2].detections.image_size == items[2].image.shape[:2] == (60, 30)


def test_images_are_not_changed(left_half):
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    before = copy.deepcopy(image)
    Predictor(left_half()).predict(image)
    assert np.array_equal(image, before)


def video(path, levels, size=(32, 48)):
    frames = [np.full((*size, 3), level, dtype=np.uint8) for level in levels]
    writer = VideoFile(path, 10)
    for frame in frames:
        writer.add(frame)
    writer.close()
    return Source("video", str(path))


@pytest.mark.parametrize("workers", [0, 2])
def test_sources_of_every_kind_keep_their_order(tmp_path, monkeypatch, left_half, workers):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png")
    clip = video(tmp_path / "clip.mp4", range(0, 250, 50))
    sources = [Source("image", "a.png"), Source("video", "gone.mp4"), clip, Source("image", "gone.png")]
    reading = ReadOptions(batch_size=2, workers=workers, frame_step=2, max_frames=2)
    found = list(Predictor(left_half()).predict_sources(sources, reading))
    assert [number for number, _ in found] == [0, 1, 2, 2, 3]
    assert [item.name for _, item in found] == [
        "a.png", "gone.mp4", f"{clip.text}#0", f"{clip.text}#2", "gone.png",
    ]  # fmt: skip
    assert [type(item) for _, item in found] == [Prediction, ReadFailure, Prediction, Prediction, ReadFailure]
    second = found[3][1]
    assert (second.moment.index, second.moment.rate, round(second.moment.seconds, 6)) == (2, 5, 0.2)
    assert abs(int(second.image.mean()) - 100) < 10
    assert len(second.detections) == 2


def test_the_url_and_not_the_temporary_file_is_named(monkeypatch, left_half):
    monkeypatch.setattr("dprd_cli.inference.predictor.read_url", lambda url: b"GIF89a nothing")
    item = Predictor(left_half()).read(Source("url", "https://a.b/c.gif"))
    assert item.message.startswith("https://a.b/c.gif: ")
