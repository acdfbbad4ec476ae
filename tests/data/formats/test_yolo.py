"""YOLO label files: what is read, by hand, and a line for every fault."""

import numpy as np
import pytest
from PIL import Image

from data_folders import YOLO_SIZE
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.errors import DataError


def test_boxes_and_polygons_by_hand(yolo):
    train, val = yolo.load()
    assert (train.class_names, train.category_ids, val.class_names) == (
        ("cat", "dog"),
        (0, 1),
        ("cat", "dog"),
    )
    sample = train[0]
    # centre (20, 10), size (10, 10); the polygon spans x 4 to 24, y 2 to 14
    np.testing.assert_allclose(sample.boxes, [[15, 5, 25, 15], [4, 2, 24, 14]], atol=1e-4)
    assert (sample.labels.tolist(), sample.has_mask.tolist()) == ([0, 1], [False, True])
    assert abs(sample.masks[1].sum() - 20 * 12 / 2) < 12  # half the rectangle
    truth = val.coco()
    assert [one["category_id"] for one in truth["annotations"]] == [0, 1]
    assert truth["annotations"][0]["area"] == pytest.approx(100)
    assert describe(train)[0].endswith("(0 without objects), 2 objects (1 with masks, 1 without)")


def test_a_checkpoints_ids_are_taken_by_name(yolo):
    config = DataConfig(path=str(yolo.root))
    val = build_dataset(config, "val", class_names=("dog", "cat"), category_ids=(17, 18))
    assert [one["category_id"] for one in val.coco()["annotations"]] == [18, 17]
    assert val[0].labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="category 'cat' is not a class of the training data or checkpoint"):
        build_dataset(config, "val", class_names=("dog",), category_ids=(17,))


LINES = [
    ("0 0.5 0.5 0.1", "4 numbers, expected a class and a box (5) or a polygon (7, 9, 11, ...)"),
    ("0 0.1 0.1 0.5 0.1 0.5", "6 numbers, expected a class and a box (5) or a polygon (7, 9, 11, ...)"),
    ("cat 0.5 0.5 0.1 0.1", "'cat 0.5 0.5 0.1 0.1' holds something that is not a number"),
    ("0 0.5 nan 0.1 0.1", "a number is not finite"),
    ("2 0.5 0.5 0.1 0.1", "class 2 is not in the names of data.yaml (0, 1)"),
    ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is not in the names of data.yaml (0, 1)"),
    ("0 0.5 0.5 -0.1 0.1", "a box of negative size"),
    ("0 20 10 10 10", "reaches to 25, but coordinates are shares of the image's width and height, 0 to 1"),
]


@pytest.mark.parametrize(("line", "fault"), LINES)
def test_faults_of_a_line_name_file_and_line(yolo, line, fault):
    path = yolo.labels("images/train/a.png")
    path.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    assert yolo.refused() == f"{path}: line 3: {fault}; correct the file"


def test_links_out_of_the_folder_and_broken_images(yolo, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "b.png"
    Image.new("RGB", (9, 9)).save(outside)
    (yolo.root / "images/train/b.png").symlink_to(outside)
    assert "'images/train/b.png' is a link that leads out of" in yolo.refused()
    (yolo.root / "images/train/b.png").unlink()
    (yolo.root / "images/train/b.png").write_text("x")
    assert yolo.refused().startswith(f"{yolo.root / 'images/train/b.png'}: not an image that is read here")
    train, _ = yolo.load(on_bad_image="skip")
    assert train.report.warnings == ["1 image skipped, which cannot be read (images/train/b.png)"]


def test_a_turned_image_has_its_upright_size(yolo):
    image = Image.new("RGB", YOLO_SIZE[::-1])
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(yolo.root / "images/train/a.png", exif=exif)
    train, _ = yolo.load()
    assert train[0].image.shape[:2] == YOLO_SIZE[::-1]


def test_ids_are_the_numbers_of_the_files_as_in_predict(yolo):
    """In text order 10 comes before 2; an image that is skipped takes no id away."""
    yolo.image("images/train/10.png", "0 0.5 0.5 0.25 0.5\n")
    yolo.image("images/train/2.png")
    (yolo.root / "images" / "train" / "a.png").unlink()
    train, _ = yolo.load()
    assert dict(zip(train.file_names, train.image_ids.tolist(), strict=True)) == {
        "images/train/10.png": 10, "images/train/2.png": 2
    }  # fmt: skip
    assert [ann["image_id"] for ann in train.coco()["annotations"]] == [10]
