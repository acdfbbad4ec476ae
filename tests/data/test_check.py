"""The whole check of a data set, by hand: counts, classes, both splits, and what stops a training."""

import json

import numpy as np
import pytest
from PIL import Image

from data_folders import CATEGORIES, refused, small_config, write_split
from dprd_cli.data.build import build_dataset
from dprd_cli.data.check import AnnotationCounts, check_before_training, check_data, sorted_problems
from dprd_cli.errors import UsageError


def change(path, **changes):
    """Change keys of an annotation file; a function gets the old value."""
    tree = json.loads(path.read_text())
    for key, value in changes.items():
        tree[key] = value(tree[key]) if callable(value) else value
    path.write_text(json.dumps(tree))


def kinds(check, severity):
    return [problem.kind for problem in check.problems.of(severity)]


def test_sound_data_by_hand(cups):
    train, val = check_data(small_config(cups), workers=0)
    assert train.counts == AnnotationCounts(
        images=7, without_objects=1, objects=6, with_masks=6, crowds=0, difficult=0
    )
    assert (train.split, train.annotations_name) == ("train", str(cups / "train.json"))
    assert train.classes == {"cup": 6, "jug": 0}
    assert (train.decoded.decoded, val.decoded.decoded) == (7, 5)
    assert [kinds(one, severity) for one in (train, val) for severity in ("error", "warning")] == [[]] * 4
    found = train.to_json()
    assert found["source"] == str(cups / "train.json")
    assert (found["images"], found["decoded"], found["known"]) == (7, 7, 0)
    json.dumps(found)


def test_crowds_difficult_objects_and_missing_masks_are_counted(cups):
    def mark(anns):
        anns[0]["iscrowd"] = 1
        anns[1] |= {"iscrowd": 1, "difficult": True}
        anns[2]["segmentation"] = []
        return anns

    change(cups / "train.json", annotations=mark)
    train, _ = check_data(small_config(cups), workers=0)
    assert train.counts == AnnotationCounts(
        images=7, without_objects=2, objects=5, with_masks=4, crowds=1, difficult=1
    )
    assert "no mask" in kinds(train, "note")
    line = train.problems.kinds["no mask"].line()
    assert (
        line
        == "1 object without a mask among 4 with one (annotation ids 3): mask losses where there are masks"
    )


def test_a_split_that_is_not_there_does_not_hide_the_other(cups):
    (cups / "train.json").unlink()
    train, val = check_data(small_config(cups), workers=0)
    assert (kinds(train, "note"), train.counts, train.decoded) == (["no split"], None, None)
    assert kinds(train, "error") == kinds(val, "error") == []  # it can be evaluated on
    assert "images" not in train.to_json()
    assert val.counts.images == 5
    (cups / "val.json").write_text('{"images": []}')
    _, val = check_data(small_config(cups), workers=0)
    assert (kinds(val, "error"), val.annotations_name) == (["files"], str(cups / "val.json"))


def test_classes_of_evaluation_that_are_never_trained_on(cups):
    change(cups / "val.json", annotations=lambda anns: [{**ann, "category_id": 5} for ann in anns])
    _, val = check_data(small_config(cups), workers=0)
    assert val.problems.kinds["not trained"].line() == (
        "1 class with objects here, but none in training (jug)"
    )


def test_classes_that_training_does_not_have(cups):
    write_split(cups / "val.json", cups / "images", 5, [*CATEGORIES, {"id": 9, "name": "pot"}], prefix="v")
    _, val = check_data(small_config(cups), workers=0)
    assert kinds(val, "error") == ["classes"]


def test_images_of_both_splits(cups):
    write_split(cups / "val.json", cups / "images", 3)  # the names of the training images
    _, val = check_data(small_config(cups), workers=0)
    line = "3 images shared with the training split (p1.png, p2.png, p3.png): the numbers will be too good"
    assert val.problems.kinds["overlap"].line() == line


def test_a_limit_decodes_fewer_images_but_counts_all(cups):
    train, val = check_data(small_config(cups, limit=2), workers=0)
    assert (train.decoded.decoded, val.decoded.decoded, train.counts.images) == (2, 2, 7)


def test_errors_come_before_warnings_and_notes(cups):
    def spoil(anns):
        anns[0]["category_id"] = 99
        anns[1]["bbox"] = [0, 0, 0, 0]
        del anns[2]["area"]
        return anns

    change(cups / "train.json", annotations=spoil)
    train, _ = check_data(small_config(cups), workers=0)
    found = [problem.severity for problem in sorted_problems(train.problems)]
    assert found == sorted(found, key=("error", "warning", "note").index)
    assert set(found) == {"error", "warning", "note"}
    assert [entry["severity"] for entry in train.to_json()["problems"]] == found


def test_progress_is_that_of_each_split(cups):
    seen = []
    check_data(small_config(cups), workers=0, progress=lambda *one: seen.append(one))
    assert seen == [*((n, 7) for n in range(1, 8)), *((n, 5) for n in range(1, 6))]


def test_the_built_in_data_is_not_read(cups):
    with pytest.raises(UsageError, match="there is nothing to check"):
        check_data(small_config("synthetic"))


def test_before_training_every_image_is_decoded_or_named(cups):
    settings = small_config(cups, max_pixels=5000)
    train = build_dataset(settings, "train")
    assert check_before_training(train, settings).startswith("  7 images decoded (")
    Image.fromarray(np.zeros((24, 32), np.uint8)).convert("P").save(cups / "images" / "p1.png")
    (cups / "images" / "p2.png").write_text("x")
    (cups / "images" / "p4.png").write_text("x")
    assert refused(lambda: check_before_training(train, settings)) == (
        f"{cups / 'images' / 'p2.png'}: not an image that is read here; remove it or convert it to PNG or "
        "JPEG (2 such: p2.png, p4.png); or pass --set data.on_bad_image=skip"
    )
    skips = small_config(cups, on_bad_image="skip", max_pixels=5000)
    lines = check_before_training(build_dataset(skips, "train"), skips).splitlines()
    assert lines[1].startswith("  warning: 2 images skipped (p2.png, p4.png); first: ")
    assert lines[2] == "  note: 1 image with a palette, converted to RGB (p1.png)"
