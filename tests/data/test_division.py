"""Dividing a set: shares, classes, what belongs together, and the same result every time."""

import re
from collections import Counter

import pytest

from dprd_cli.data.division import DivisionRule, divide, group_key
from dprd_cli.errors import DataError, UsageError


def scene(names, classes):
    """Return a tree with an object of a class in each image."""
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    anns = [{"image_id": n, "category_id": kind} for n, kind in enumerate(classes)]
    return {"images": images, "annotations": anns, "categories": []}


def names_of(parts):
    return {part: {image["file_name"] for image in images} for part, images in parts.items()}


def test_shares_and_classes():
    names, classes = [f"{n:03d}.jpg" for n in range(100)], [1] * 80 + [2] * 15 + [3] * 5
    parts = divide(scene(names, classes), DivisionRule(0.2, 0.2))
    assert {part: len(images) for part, images in parts.items()} == {"train": 60, "val": 20, "test": 20}
    counts = {part: Counter(classes[image["id"]] for image in images) for part, images in parts.items()}
    assert counts["train"] == {1: 48, 2: 9, 3: 3}
    assert counts["val"] == counts["test"] == {1: 16, 2: 3, 3: 1}


def test_the_seed_and_the_names_decide_and_not_the_order():
    names, classes = [f"{n}.jpg" for n in range(40)], [1, 2] * 20
    parts = names_of(divide(scene(names, classes), DivisionRule(0.2)))
    tree = scene(names[::-1], classes[::-1])
    assert names_of(divide(tree, DivisionRule(0.2))) == parts
    assert names_of(divide(tree, DivisionRule(0.2, seed=1))) != parts
    assert parts["train"].isdisjoint(parts["val"])
    assert parts["train"] | parts["val"] == {*names}


ALIKE = [
    ("a_jpg.rf.0123456789abcdef.jpg", "a_jpg.rf.fedcba9876543210.jpg"),
    ("a.jpg", "a_aug_3.jpg"),
    ("a.jpg", "A copy.jpg"),
    ("a.jpg", "a_flipped.png"),
    ("x/a.jpg", "x/a-rotated-2.jpg"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_copies_have_one_key(one, other):
    assert group_key(one) == group_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a1.jpg", "a2.jpg"), ("x/a.jpg", "y/a.jpg"), ("crop.jpg", "b.jpg")]
)
def test_others_have_their_own(one, other):
    assert group_key(one) != group_key(other)


def test_copies_stay_together():
    names = [f"{n}{end}.jpg" for n in range(20) for end in ("", "_flip", " (1)")]
    parts = names_of(divide(scene(names, [1] * 60), DivisionRule(0.25)))
    assert [len({re.match("[0-9]+", name)[0] for name in parts[part]}) for part in ("train", "val")] == [
        15,
        5,
    ]


def test_numbers_in_brackets_alone_are_no_copies():
    names = [f"img ({n}).jpg" for n in range(10)]
    assert len(divide(scene(names, [1] * 10), DivisionRule(0.2))["val"]) == 2


def test_a_pattern_keeps_sequences_together():
    names = [f"clip{n}_{frame}.jpg" for n in range(5) for frame in range(10)]
    rule = DivisionRule(0.2, group_by=r"(clip\d+)_")
    parts = names_of(divide(scene(names, [1] * 50), rule))
    assert len({name[:5] for name in parts["val"]}) == 1
    assert len(parts["val"]) == 10
    with pytest.raises(UsageError, match="not a regular expression"):
        divide(scene(names, []), DivisionRule(group_by="("))


def test_one_id_or_one_file_twice_is_in_one_part():
    tree = scene([f"{n}.jpg" for n in range(10)], [1] * 10)
    tree["images"] += [{"id": 3, "file_name": "other.jpg"}, {"id": 77, "file_name": "5.jpg"}]
    parts = divide(tree, DivisionRule(0.4))
    for images in parts.values():
        ids, names = {image["id"] for image in images}, {image["file_name"] for image in images}
        assert (3 in ids) == ({"3.jpg", "other.jpg"} <= names)
        assert (77 in ids) == (5 in ids)


def test_every_part_gets_an_image_or_there_are_too_few():
    tree = scene(["a.jpg", "b.jpg", "c.jpg"], [1, 1, 1])
    assert [len(images) for images in divide(tree, DivisionRule(0.01, 0.01)).values()] == [1, 1, 1]
    with pytest.raises(
        DataError, match="1 image in 1 group cannot be divided into 2 splits: label more images"
    ):
        divide(scene(["a.jpg"], [1]), DivisionRule())


def test_entries_that_are_not_sound_do_not_stop_it():
    tree = scene(["a.jpg", "b.jpg"], [1, 1])
    tree["annotations"] += [3, {"image_id": [1]}, {"category_id": None}]
    tree["images"].append("none")
    assert sum(map(len, divide(tree, DivisionRule(0.5)).values())) == 2
