"""A YOLO folder's `data.yaml`: what it may say, where its images are, and a line for every fault."""

import pytest

from dprd_cli.data.formats.yolo_files import YoloDescription, find_yaml, list_images, read_description


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
    yolo.image("images/train/b.png", "0 0.5 0.5 0.1 0.1\n")
    train, _ = yolo.load()
    assert [len(train[n].boxes) for n in range(2)] == [0, 1]  # no file: without objects


def test_lists_lead_nowhere_else(yolo):
    yolo.describe(train="list.txt", val="images/val", names=["cat", "dog"])
    for line in ("/etc/passwd", "../../a.png", "images/../../a.png"):
        (yolo.root / "list.txt").write_text(f"{line}\n")
        assert yolo.refused().startswith(f"{yolo.root / 'list.txt'}: '{line}' is outside {yolo.root}; ")
    (yolo.root / "list.txt").write_text("images/train/gone.png\nimages/train/a.png\n")
    assert "1 of 2 images missing in" in yolo.refused()
    assert len(yolo.load(on_bad_image="skip")[0]) == 1


@pytest.mark.parametrize("name", ["data.yaml", "data.yml", "dataset.yaml", "dataset.yml"])
def test_descriptions_are_found_by_name(tmp_path, name):
    assert find_yaml(tmp_path) is None
    (tmp_path / name).write_text("names: [cat]\n")
    assert find_yaml(tmp_path) == find_yaml(tmp_path / name) == tmp_path / name
    assert find_yaml(tmp_path / "other.yaml") is None


def test_a_description_by_hand(tmp_path):
    (tmp_path / "root" / "inner").mkdir(parents=True)
    path = tmp_path / "root" / "data.yaml"
    path.write_text("path: inner\nnames: {2: dog, 0: 5}\ntrain: images\nvalid: [a, b.txt]\n")
    assert read_description(path) == YoloDescription(
        path, tmp_path / "root" / "inner", {0: "5", 2: "dog"}, {"train": ("images",), "val": ("a", "b.txt")}
    )


def test_images_are_sorted_in_folders_and_in_a_lists_own_order(tmp_path):
    folder = tmp_path / "images" / "train"
    (folder / "a").mkdir(parents=True)
    for name in ("b.PNG", "a/c.jpg", ".hidden.png", "x.txt"):
        (folder / name).touch()
    (tmp_path / "list.txt").write_text("images/train/b.PNG\nimages/train/a/c.jpg\nimages/train/b.PNG\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\nval: list.txt\n")
    description = read_description(tmp_path / "data.yaml")
    assert list_images(description, "train") == ["images/train/a/c.jpg", "images/train/b.PNG"]
    assert list_images(description, "val") == ["images/train/b.PNG", "images/train/a/c.jpg"]
