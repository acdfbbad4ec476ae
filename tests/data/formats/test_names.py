"""Images by the names that other programs wrote."""

import unicodedata

import pytest

from dprd_cli.data.formats.names import ImageNames, near_names, repair_names, spellings
from dprd_cli.data.formats.problems import Problems


@pytest.fixture
def folder(tmp_path):
    for name in ("t1.png", "sub/t2.png", "my cat (1).png", "IMG.JPG", "x/same.png", "y/same.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / unicodedata.normalize("NFD", "Prüfung.png")).touch()
    return tmp_path


FOUND = [
    ("t1.png", "t1.png"),
    ("./t1.png", "t1.png"),
    ("images\\t1.png", "t1.png"),
    ("..\\..\\label-studio\\media\\upload\\4\\t1.png", "t1.png"),
    ("/home/me/t1.png", "t1.png"),
    ("C:\\me\\t1.png", "t1.png"),
    ("sub\\t2.png", "sub/t2.png"),
    ("t2.png", "sub/t2.png"),
    ("images/1/t2.png", "sub/t2.png"),
    ("http://host/data/t1.png?token=1", "t1.png"),
    ("my%20cat%20%281%29.png", "my cat (1).png"),
    ("x/same.png", "x/same.png"),
    ("same.png", None),  # which of the two?
    ("img.jpg", None),
    ("IMG.jpeg", None),
    ("gone.png", None),
    ("../t1.png/..", None),
]


@pytest.mark.parametrize(("name", "expected"), FOUND)
def test_one_file_or_none(folder, name, expected):
    assert ImageNames(folder).find(name) == expected


def test_another_unicode_form_is_the_same_name(folder):
    decomposed = unicodedata.normalize("NFD", "Prüfung.png")
    assert ImageNames(folder).find("Prüfung.png") == decomposed != "Prüfung.png"
    assert spellings(decomposed) == ["Prüfung.png"]


def test_another_case_or_suffix_is_named_and_not_taken(folder):
    assert near_names(["img.jpg", "IMG.jpeg", "t1.tif", "gone.png"], folder) == "IMG.JPG, t1.png are there"
    assert near_names(["img.jpg"], folder) == "IMG.JPG is there"
    assert near_names(["gone.png"], folder) == ""


def repaired(folder, *names):
    """Return the names after the repair, and the notes."""
    tree, problems = {"images": [{"id": n, "file_name": name} for n, name in enumerate(names)]}, Problems()
    repair_names(tree, folder, problems)
    return [image["file_name"] for image in tree["images"]], [p.line() for p in problems.of("note")]


def test_what_is_meant_is_put_in_and_told(folder):
    assert repaired(folder, "t1.png") == (["t1.png"], [])
    assert repaired(folder, "a\\t1.png", "t2.png", "gone.png") == (
        ["t1.png", "sub/t2.png", "gone.png"],
        ["2 images found under another name than the file says: 'a\\t1.png' is t1.png"],
    )


def test_two_names_never_become_one_image(folder):
    assert repaired(folder, "a/t1.png", "b/t1.png")[0] == ["a/t1.png", "b/t1.png"]
    assert repaired(folder, "t1.png", "b/t1.png")[0] == ["t1.png", "b/t1.png"]
    assert repaired(folder, "./t1.png", "t1.png")[0] == ["t1.png", "t1.png"]  # one name: the check tells it


def test_an_address_of_coco_stands_for_a_name(tmp_path):
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017" / "7.jpg").touch()
    tree = {"images": [{"id": 7, "coco_url": "http://images.cocodataset.org/train2017/7.jpg"}, 3, {"id": 8}]}
    repair_names(tree, tmp_path, Problems())
    assert tree["images"] == [{**tree["images"][0], "file_name": "train2017/7.jpg"}, 3, {"id": 8}]
    repair_names({"images": "none"}, tmp_path, Problems())
