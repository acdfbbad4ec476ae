"""Checking annotation files: every fault has one line that names the ids."""

import copy
import json

import numpy as np
import pytest

from dprd_cli.data.formats.coco_checks import check_coco, read_json
from dprd_cli.data.formats.object_checks import clip_box
from dprd_cli.data.formats.problems import Problems
from dprd_cli.errors import DataError

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]


def note(ident, **changes):
    base = {"id": ident, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4], "area": 16.0, "iscrowd": 0}
    return {**base, "segmentation": copy.deepcopy(SQUARE), **changes}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(b"the check does not open images")
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 20, "height": 10},
            {"id": 2, "file_name": "b.png", "width": 20, "height": 10},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [note(1), note(2, image_id=2, category_id=7)],
    }


def check(tree, tmp_path, **options):
    path = tmp_path / "train.json"
    report = check_coco(tree, path, tmp_path / "images", Problems(path), **options)
    report.problems.stop()
    return report


def refused(tree, tmp_path, **options):
    with pytest.raises(DataError) as caught:
        check(tree, tmp_path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"{tmp_path / 'train.json'}: ")


def test_a_sound_file(tree, tmp_path):
    tree["annotations"].append(note(3, iscrowd=1))
    report = check(tree, tmp_path)
    assert (report.num_images, report.num_objects, report.num_crowds) == (2, 2, 1)
    assert report.warnings == []
    assert report.degenerate == []


def test_reading_what_is_not_json(tmp_path):
    path = tmp_path / "x.json"
    for content, expected in [
        (None, f"{path}: no such annotation file"),
        ("{", f"{path}: not JSON ("),
        (
            "[1]",
            f"{path}: not COCO: expected an object with 'images', 'annotations' and 'categories', got a list",
        ),
    ]:
        if content is not None:
            path.write_text(content)
        with pytest.raises(DataError) as caught:
            read_json(path)
        assert str(caught.value).startswith(expected)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        read_json(path)
    with pytest.raises(DataError, match=r"cannot read the annotation file \(Is a directory\)"):
        read_json(tmp_path)


def test_missing_keys_and_wrong_types(tree, tmp_path):
    assert refused({"images": []}, tmp_path) == (
        "not COCO instances: 'annotations' and 'categories' missing; "
        "expected 'images', 'annotations' and 'categories'"
    )
    assert refused({**tree, "images": {}}, tmp_path) == "not COCO: 'images' must be a list, got a dict"
    assert refused({**tree, "annotations": [1]}, tmp_path) == (
        "not COCO: annotations[0] must be an object, got a int"
    )
    assert refused({**tree, "images": []}, tmp_path) == "'images' is empty: there is nothing to learn from"
    assert check({**tree, "annotations": []}, tmp_path).num_objects == 0  # images without objects are fine


CASES = [
    (
        ("annotations", 0, "category_id", 99),
        "annotation 1 refers to category 99, which is not in 'categories'",
    ),
    (
        ("annotations", 0, "category_id", "3"),
        "annotation 1 refers to category '3', which is not in 'categories'",
    ),
    (
        ("annotations", 0, "category_id", True),
        "annotation 1 refers to category True, which is not in 'categories'",
    ),
    (("annotations", 0, "image_id", 5), "annotation 1 refers to image 5, which is not in 'images'"),
    (("annotations", 0, "image_id", [1]), "annotation 1 refers to image [1], which is not in 'images'"),
    (("annotations", 1, "id", 1), "annotation id 1 is used more than once"),
    (("annotations", 1, "id", None), "annotation number 2 has id None, expected an integer"),
    (("annotations", 0, "iscrowd", 2), "annotation 1 has iscrowd 2, expected 0 or 1"),
    (("annotations", 0, "area", "16"), "annotation 1 has area '16', expected a finite number"),
    (("annotations", 0, "area", float("nan")), "annotation 1 has area nan, expected a finite number"),
    (
        ("annotations", 0, "bbox", [1, 2, 3]),
        "annotation 1 has bbox [1, 2, 3], expected four finite numbers [x, y, w, h]",
    ),
    (
        ("annotations", 0, "bbox", [1, 2, 3, float("inf")]),
        "annotation 1 has bbox [1, 2, 3, inf], expected four finite numbers [x, y, w, h]",
    ),
    (
        ("annotations", 0, "bbox", [1, 2, True, 4]),
        "annotation 1 has bbox [1, 2, True, 4], expected four finite numbers [x, y, w, h]",
    ),
    (
        ("annotations", 0, "bbox", ["1", 2, 3, 4]),
        "annotation 1 has bbox ['1', 2, 3, 4], expected four finite numbers [x, y, w, h]",
    ),
    (("images", 1, "id", 1), "image id 1 is used more than once"),
    (("images", 1, "id", "x"), "image number 2 has id 'x', expected an integer"),
    (("images", 0, "width", 0), "image 1 has width 0, expected a positive integer"),
    (("images", 0, "height", None), "image 1 has height None, expected a positive integer"),
    (("images", 0, "file_name", None), "image 1 has file_name None, expected a path"),
    (
        ("images", 0, "file_name", "/etc/a.png"),
        "image 1 has the absolute file_name '/etc/a.png', expected a relative one",
    ),
    (
        ("images", 0, "file_name", "C:\\a.png"),
        "image 1 has the absolute file_name 'C:\\a.png', expected a relative one",
    ),
    (
        ("images", 0, "file_name", "../a.png"),
        "image 1 has file_name '../a.png', which leaves the image folder",
    ),
    (
        ("images", 0, "file_name", "x\\..\\a.png"),
        "image 1 has file_name 'x\\..\\a.png', which leaves the image folder",
    ),
    (("images", 0, "file_name", "a\0.png"), "image 1 has file_name 'a\\x00.png', expected a path"),
    (("images", 0, "file_name", "\ud800"), "image 1 has file_name '\\ud800', expected a path"),
    (("images", 0, "width", 2**40), "image 1 has more than 2^31 pixels"),
    (("images", 1, "id", 2**60), "image number 2 has an id beyond 2^53"),
    (("categories", 1, "id", 3), "category id 3 is used more than once"),
    (("categories", 1, "name", "cat"), "categories 3 and 7 have the same name 'cat'"),
    (("categories", 1, "name", 4), "category 7 has name 4, expected a word"),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
def test_one_line_for_each_fault(tree, tmp_path, change, expected):
    key, index, name, value = change
    tree[key][index][name] = value
    text = refused(tree, tmp_path)
    assert text.startswith(expected)
    assert text.endswith("; correct the file")


def test_faults_are_counted(tree, tmp_path):
    tree["annotations"] = [note(i, category_id=9) for i in range(11, 18)] + [note(20, area="x")]
    assert refused(tree, tmp_path) == (
        "annotation 11 refers to category 9, which is not in 'categories' (7 such: 11, 12, 13, 14, 15, ...); "
        "1 other problem; correct the file"
    )


RLE = {"size": [10, 20], "counts": [0, 200]}
SEGMENTATIONS = [
    ([[1, 1, 5, 1, 5, 5, 1]], "a polygon has 7 numbers, expected pairs of x and y"),
    ([[1, 1, 5, 1, 5, "5"]], "a polygon holds something that is not a finite number"),
    ([[1, 1, 5, 1, 5, False]], "a polygon holds something that is not a finite number"),
    ([[1, 1, 5, 1, 5, float("nan")]], "a polygon holds something that is not a finite number"),
    ([1, 1, 5, 1, 5, 5], "segmentation must be a list of polygons [[x1, y1, x2, y2, ...], ...]"),
    ("polygon", "segmentation is a str, expected a list of polygons or an RLE"),
    ({**RLE, "size": [20, 10]}, "RLE size [20, 10] is not the image's [height, width] = [10, 20]"),
    ({"counts": [200]}, "RLE size None is not the image's [height, width] = [10, 20]"),
    ({**RLE, "counts": [0, 199]}, "RLE counts cover 199 pixels, the image has 200"),
    ({**RLE, "counts": [300, -100]}, "RLE counts must be non-negative integers"),
    ({**RLE, "counts": [0.5, 199.5]}, "RLE counts must be non-negative integers"),
    ({**RLE, "counts": 200}, "RLE counts is a int, expected a list of integers or a string"),
    ({**RLE, "counts": "04"}, "RLE counts cover 4 pixels, the image has 200"),
    ({**RLE, "counts": "é"}, "RLE counts is malformed"),
    ({**RLE, "counts": "\ud800"}, "RLE counts is malformed"),
    (
        [[1, 1, 5, 1, 5, 1e9]],
        "a polygon reaches more than 10 times the image's longest side away from it",
    ),
    ({**RLE, "counts": "o"}, "RLE counts is malformed"),  # promises another digit
]


@pytest.mark.parametrize(("segmentation", "expected"), SEGMENTATIONS)
def test_malformed_segmentations_name_the_annotation(tree, tmp_path, segmentation, expected):
    tree["annotations"][1]["segmentation"] = segmentation
    assert refused(tree, tmp_path) == f"annotation 2: {expected}; correct the file"


def test_degenerate_boxes_and_thin_polygons_are_counted(tree, tmp_path):
    tree["annotations"] = [
        note(11, bbox=[1, 1, 0, 4]),
        note(12, bbox=[25, 1, 5, 5]),  # right of the image, which is 20 wide
        note(13, bbox=[5, 5, -3, 2]),
        note(14, bbox=[5, 5, 3, 2], area=6, segmentation=[[1, 1, 2, 2]]),
        note(15, bbox=[1, 1, 0, 0], iscrowd=1),
    ]
    report = check(tree, tmp_path)
    assert report.degenerate == [11, 12, 13]
    assert report.warnings == [
        "3 objects left out: the box, clipped to the image, has no area (annotation ids 11, 12, 13)",
        "1 object with polygons of fewer than three points, which are ignored (annotation ids 14)",
    ]


def test_what_can_be_used_is_counted(tree, tmp_path):
    tree["images"][1]["file_name"] = "a.png"
    tree["annotations"] = [
        note(11, bbox=[15, 1, 8, 4], segmentation=None),  # to x = 23 of 20
        note(12, bbox=[15, 1, 5.9, 4], segmentation=None),  # within a pixel
        note(13, bbox=[5, 1, 4, 4]),  # the polygon covers x 1 to 5
        note(14, bbox=[5, 1, 4, 4], segmentation=None),
        note(15, bbox=[5, 1, 4, 4], image_id=2, segmentation=None),
    ]
    del tree["annotations"][0]["area"]
    report = check(tree, tmp_path)
    assert report.warnings == [
        "1 image with the file_name of another (image ids 2): each lacks the objects of the other",
        "1 box clipped to the image (annotation ids 11)",
        "1 object whose box and mask overlap by less than half (annotation ids 13)",
        "1 object annotated twice: same image, category and box (annotation ids 14)",
    ]
    assert [problem.line() for problem in report.problems.of("note")] == [
        "category ids have gaps (3 to 7 for 2 categories): the classes are numbered anew, results keep the "
        "ids",
        "1 annotation without area, which is computed",
    ]


def test_all_faults_are_found_in_one_run(tree, tmp_path):
    tree["categories"][1]["name"] = "cat"
    tree["images"][1]["file_name"] = "gone.png"
    tree["annotations"][0]["category_id"] = 9
    problems = Problems(tmp_path / "train.json")
    report = check_coco(tree, tmp_path / "train.json", tmp_path / "images", problems)
    assert [problem.kind for problem in problems.of("error")] == ["same name", "category", "missing"]
    assert [image["file_name"] for image in report.usable_images] == ["a.png"]


def test_clip_box_by_hand():
    # [x, y, w, h] = [-2, 3, 30, 4] in an image 10 high and 20 wide: x from -2..28 to 0..20, y 3..7
    assert clip_box([-2, 3, 30, 4], (10, 20)) == (0, 3, 20, 7)


def test_checking_is_fast_enough_for_coco(tree, tmp_path):
    import time

    ring = np.random.default_rng(0).uniform(0, 10, 60).tolist()
    tree["annotations"] = [note(i, segmentation=[ring]) for i in range(1, 9_001)]
    start = time.process_time()
    check(json.loads(json.dumps(tree)), tmp_path)
    assert time.process_time() - start < 5  # about 0.3 s
