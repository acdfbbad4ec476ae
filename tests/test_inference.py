import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dprd_cli.config import Config
from dprd_cli.errors import DataError
from dprd_cli.inference import Prediction, Predictor, Unreadable, find_images
from dprd_cli.structures import Detections


class LeftHalf(nn.Module):
    """Finds the left half of every picture, twice."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []
        self.part_offsets = []

    def detect(self, images, part_offsets="learned", *, masks=True):
        self.seen += [tuple(image.shape) for image in images]
        self.part_offsets.append(part_offsets)
        assert all(image.dtype == torch.uint8 for image in images)
        return SimpleNamespace(detections=[self._one(*image.shape[1:]) for image in images])

    def _one(self, height, width):
        box = torch.tensor([0.0, 0.0, width / 2, height])
        return Detections(
            box.repeat(2, 1),
            torch.tensor([0.9, 0.2]),
            torch.tensor([0, 0]),
            (height, width),
            masks=torch.ones(2, 28, 28),
            part_boxes=box.repeat(2, 4, 1),
        )


def loaded(min_size=64, max_size=128):
    config = Config()
    data = config.data.model_copy(update={"test_min_size": min_size, "max_size": max_size})
    return SimpleNamespace(detector=LeftHalf(), config=config.model_copy(update={"data": data}))


def save(path, size=(100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path


def test_detections_come_back_in_the_frame_of_the_picture():
    model = loaded()
    found = Predictor(model).predict(np.zeros((50, 100, 3), dtype=np.uint8))
    assert model.detector.seen == [(3, 64, 128)]  # short side 64, as the configuration says
    assert found.image_size == (50, 100)
    torch.testing.assert_close(found.boxes[0], torch.tensor([0.0, 0.0, 50.0, 50.0]))
    torch.testing.assert_close(found.part_boxes[0, 3], torch.tensor([0.0, 0.0, 50.0, 50.0]))


def test_the_longest_side_is_limited():
    model = loaded(min_size=64, max_size=96)
    Predictor(model).predict(np.zeros((50, 100, 3), dtype=np.uint8))
    assert model.detector.seen == [(3, 48, 96)]


def test_low_scores_are_left_out_and_part_offsets_are_passed_on():
    model = loaded()
    found = Predictor(model, min_score=0.5, part_offsets="mean").predict(np.zeros((9, 9, 3), dtype=np.uint8))
    assert len(found) == len(found.masks) == 1
    assert model.detector.part_offsets == ["mean"]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_files_are_predicted_in_order_and_unreadable_ones_reported(tmp_path, batch_size):
    paths = [save(tmp_path / "a.png"), tmp_path / "b.png", save(tmp_path / "c.png", (30, 60))]
    paths[1].write_bytes(b"not a picture")
    items = list(Predictor(loaded()).predict_files(paths, batch_size))
    assert [item.path for item in items] == paths
    assert [type(item) for item in items] == [Prediction, Unreadable, Prediction]
    assert "b.png" in items[1].message
    assert items[2].detections.image_size == items[2].image.shape[:2] == (60, 30)


def test_pictures_are_not_changed():
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    before = copy.deepcopy(image)
    Predictor(loaded()).predict(image)
    assert np.array_equal(image, before)


def test_inputs_are_files_folders_and_globs_each_picture_once(tmp_path):
    b, a = save(tmp_path / "in" / "b.JPG"), save(tmp_path / "in" / "a.png")
    odd = tmp_path / "in" / "picture.data"
    a.with_suffix(".txt").write_text("")
    save(tmp_path / "in" / "deeper" / "c.png")
    odd.write_bytes(a.read_bytes())
    folder = str(tmp_path / "in")
    assert find_images([folder]) == [a, b]
    assert find_images([str(b), folder, str(tmp_path / "in" / ".." / "in" / "a.png")]) == [b, a]
    assert find_images([f"{folder}/*"]) == [a, b]
    assert find_images([f"{folder}/**/*.png"]) == [a, tmp_path / "in" / "deeper" / "c.png"]
    assert find_images([str(odd)]) == [odd]  # a file named on its own may have any suffix


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path):
    path = save(tmp_path / "a[1].png")
    assert find_images([str(path)]) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.jpg", "nothing.jpg: no such file or folder"),
        ("empty", "empty: no images in this folder"),
        ("*.jpg", r"\*.jpg: no image matches"),
    ],
)
def test_inputs_that_are_not_there(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_images([str(tmp_path / name)])
