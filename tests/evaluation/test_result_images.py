"""Rows find their image by what they say of it, and never another one."""

import json

import pytest

from dprd_cli.errors import DataError
from dprd_cli.evaluation.result_images import ImageMatcher, read_image_names

TRUTH = {
    "images": [
        {"id": 1, "file_name": "a/x.jpg"},
        {"id": 2, "file_name": "b/x.jpg"},
        {"id": 3, "file_name": "c/3.png"},
        {"id": 4, "file_name": "frame.1.png", "text_id": "img_4"},
    ]
}


@pytest.mark.parametrize(
    ("row", "image"),
    [
        ({"image_id": 3}, 3),
        ({"image_id": 3.0}, 3),
        ({"image_id": "img_4"}, 4),
        ({"image_id": "frame.1"}, 4),
        ({"image_id": "a/x.jpg"}, 1),
        # a name wins over a number, which may be a position
        ({"image_id": 1, "file_name": "b/x.jpg"}, 2),
        ({"image_id": 1, "file_name": "/home/me/data/b/x.jpg"}, 2),
        ({"image_id": 1, "file_name": "c\\3.png"}, 3),
        ({"image_id": 1, "file_name": "3.jpg"}, 3),
        ({"image_id": 9, "file_name": "frame.1"}, 4),
    ],
)
def test_the_image_of_a_row(row, image):
    assert ImageMatcher(TRUTH, {}).find(row) == image


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"image_id": 9}, "image_id 9 is not in the annotations (an id there, or the image's name"),
        ({"image_id": True}, "image_id True is not in"),
        ({"image_id": [3]}, "image_id [3] is not in"),
        ({"image_id": 1.5}, "image_id 1.5 is not in"),
        ({"image_id": "y"}, "image_id 'y' is not in"),
        ({"image_id": 3, "file_name": "y.png"}, "its image 'y.png' is not in the annotations"),
        ({"image_id": 3, "file_name": "x.jpg"}, "its image 'x.jpg' is not in"),  # there are two
    ],
)
def test_what_has_no_image_is_said(row, fault):
    assert ImageMatcher(TRUTH, {}).find(row).startswith(fault)


def test_names_of_another_file_say_which_image_an_id_is():
    matcher = ImageMatcher(TRUTH, {1: "c/3.png", 2: "photo.jpg"})
    assert matcher.find({"image_id": 1}) == 3
    assert matcher.find({"image_id": 2}) == "its image 'photo.jpg' of images.json is not in the annotations"
    assert matcher.find({"image_id": 4}) == 4


def test_images_json_is_read_where_it_is_this_files(tmp_path):
    results = tmp_path / "results.json"
    assert read_image_names(results, {1}) == {}
    place = tmp_path / "images.json"
    place.write_text(json.dumps([{"id": 1, "file_name": "a.png"}, {"id": 2.0, "file_name": "b.png"}, 3, {}]))
    assert read_image_names(results, {1, 2}) == {1: "a.png", 2: "b.png"}
    assert read_image_names(results, {1, 7}) == {}
    place.write_text(json.dumps([{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]))
    with pytest.raises(DataError, match=r"image id 1 is both 'a\.png' and 'b\.png'"):
        read_image_names(results, {1})
    place.write_text("{")
    with pytest.raises(DataError, match="not a JSON file"):
        read_image_names(results, {1})
