"""Data folders for the tests of reading, checking, converting and loading data."""

import pytest

from data_folders import YoloFolder, write_cups, write_rich_coco


@pytest.fixture
def cups(tmp_path):
    """A COCO folder of seven training images and five for evaluation, of 24 x 32."""
    return write_cups(tmp_path)


@pytest.fixture
def rich(tmp_path):
    """A COCO folder with everything that its format can hold; see `write_rich_coco`."""
    return write_rich_coco(tmp_path / "rich")


@pytest.fixture
def yolo(tmp_path):
    """A YOLO folder with one image in each split."""
    return YoloFolder(tmp_path)


@pytest.fixture
def voc_year(tmp_path, voc_folder):
    """A VOC folder of no year, with two images of 48 x 64."""
    made = voc_folder(tmp_path / "mine")
    made.image("a", ("dog", (5, 5, 34, 40)), ("cat", (40, 4, 63, 20), True)).image(
        "b", ("cat", (1, 1, 64, 48))
    )
    return made.lists(train="a b", val="b")
