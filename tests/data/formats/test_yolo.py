"""YOLO folders: what is read, by hand, and a line for every fault."""

import numpy as np
import pytest
import yaml
from PIL import Image

from data_folders import both_splits, refused
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.errors import DataError

HEIGHT, WIDTH = 20, 40


class Yolo:
    """A YOLO folder with one image in each split."""

    def __init__(self, root):
        self.root = root
        self.describe(train="images/train", val="images/val", names=["cat", "dog"])
        for split in ("train", "val"):
            self.image(f"images/{split}/a.png", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.6 0.1 0.6 0.7\n")

    def describe(self, **tree):
        (self.root / "data.yaml").write_text(yaml.safe_dump(tree))

    def image(self, name, labels=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        if labels is not None:
            self.labels(name).parent.mkdir(parents=True, exist_ok=True)
            self.labels(name).write_text(labels)

    def labels(self, name):
        return (self.root / name.replace("images/", "labels/")).with_suffix(".txt")

    def load(self, path=None, **settings):
        return both_splits(DataConfig(path=str(path or self.root), workers=0, **settings))

    def refused(self, **settings):
        return refused(lambda: self.load(**settings))


@pytest.fixture
def yolo(tmp_path):
    return Yolo(tmp_path)


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


def test_the_description_itself_may_be_named(yolo):
    (yolo.root / "data.yaml").rename(yolo.root / "mine.yaml")
    assert len(yolo.load(yolo.root / "mine.yaml")[0]) == 1


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("images/train", "images/train/a.png"),
        ("../train/images", "train/images/b.png"),
        ("list.txt", "images/train/a.png"),
    ],
)
def test_places_of_images(yolo, place, name):
    yolo.image("train/images/b.png", "0 0.5 0.5 0.5 0.5\n")
    (yolo.root / "list.txt").write_text("./images/train/a.png\n\n")
    yolo.describe(
        train=[place], valid="images/val", names={0: "cat", 1: "dog"}, nc=2, download="print('never')"
    )
    train, _ = yolo.load()
    assert train.file_names == [name]
    assert len(train[0].boxes)


def test_names_with_gaps_keep_their_numbers(yolo):
    yolo.describe(train="images/train", val="images/val", names={0: "cat", 1: "dog", 5: 7})
    train, _ = yolo.load()
    assert (train.class_names, train.category_ids) == (("cat", "dog", "7"), (0, 1, 5))


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


DESCRIPTIONS = [
    ("names: [cat\n", "not YAML ("),
    ("a: !!python/object/apply:os.system [ls]\n", "not YAML ("),
    ("when: 2026-99-99\n", "not YAML ("),
    ("- 1\n", "expected keys such as 'names', 'train' and 'val'"),
    ("train: x\n", "'names' must be a list of class names, or an object {0: name, 1: ...}"),
    ("names: [a, a]\n", "'names' has 'a' twice"),
    ("names: {a: 0}\n", "'names' has the class number 'a', expected an integer from 0"),
    ("names: [[a]]\n", "class 0 has name ['a'], expected a word"),
    ("names: [a]\nnc: 2\n", "'nc' says 2 classes, but 'names' has 1; correct the file"),
    ("names: [a]\ntrain: 5\n", "'train' must name a folder of images, a list of them, or several"),
    ("names: [a]\ntrain: ../../elsewhere\n", "train '../../elsewhere' is outside "),
    ("names: [a]\ntrain: /etc\n", "train '/etc' is outside "),
]


@pytest.mark.parametrize(("text", "fault"), DESCRIPTIONS)
def test_faults_of_the_description(yolo, text, fault):
    (yolo.root / "data.yaml").write_text(text)
    assert yolo.refused().startswith(f"{yolo.root / 'data.yaml'}: {fault}")


def test_what_is_missing(yolo):
    yolo.describe(train="images/gone", val="images/val", names=["cat", "dog"])
    assert yolo.refused().startswith(f"{yolo.root / 'images/gone'}: no such folder or list of images, which ")
    (yolo.root / "images/gone").mkdir()
    assert yolo.refused() == f"{yolo.root / 'data.yaml'}: no image in train: images/gone"
    yolo.describe(train="images/train", val="images/val", names=["cat", "dog"])
    yolo.labels("images/train/a.png").unlink()
    assert "none of 1 image has a label file; expected " in yolo.refused()
    yolo.image("images/train/b.png", "")
    train, _ = yolo.load()
    assert [len(train[n].boxes) for n in range(2)] == [0, 0]  # no file: without objects


def test_lists_lead_nowhere_else(yolo):
    yolo.describe(train="list.txt", val="images/val", names=["cat", "dog"])
    for line in ("/etc/passwd", "../../a.png", "images/../../a.png"):
        (yolo.root / "list.txt").write_text(f"{line}\n")
        assert yolo.refused().startswith(f"{yolo.root / 'list.txt'}: '{line}' is outside {yolo.root}; ")
    (yolo.root / "list.txt").write_text("images/train/gone.png\nimages/train/a.png\n")
    assert "1 of 2 images missing in" in yolo.refused()
    assert len(yolo.load(on_bad_image="skip")[0]) == 1


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
    image = Image.new("RGB", (WIDTH, HEIGHT))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(yolo.root / "images/train/a.png", exif=exif)
    train, _ = yolo.load()
    assert train[0].image.shape[:2] == (WIDTH, HEIGHT)
