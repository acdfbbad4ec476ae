"""Ids of every form that tools write become integers; what is none stays for the check to name."""

import copy

from dprd_cli.data.formats.ids import as_integer, is_known, known_ids, settle_ids


def tree(image, category, ann=1):
    return {
        "images": [{"id": image, "file_name": "a.png", "width": 64.0, "height": 48}],
        "categories": [{"id": category, "name": "cat"}],
        "annotations": [{"id": ann, "image_id": image, "category_id": category}],
    }


def ids(found):
    (image,), (category,), (ann,) = found["images"], found["categories"], found["annotations"]
    assert (ann["image_id"], ann["category_id"]) == (image["id"], category["id"])
    return image["id"], category["id"], ann["id"]


def test_integers_stay():
    plain = tree(7, 3)
    plain["images"][0]["width"] = 64
    assert settle_ids(copy.deepcopy(plain)) == plain


def test_floats_without_a_fraction_are_integers():
    found = settle_ids(tree(1.0, 2.0, 3.0))
    assert ids(found) == (1, 2, 3)
    assert all(type(one) is int for one in (*ids(found), found["images"][0]["width"]))
    assert ids(settle_ids(tree(1.5, 2))) == (1.5, 2, 1)


def test_texts_are_the_numbers_they_spell_or_are_numbered():
    assert ids(settle_ids(tree("007", "3", "x"))) == (7, 3, 1)
    found = settle_ids(tree("img_001", "cat"))
    assert ids(found) == (1, 1, 1)
    assert found["images"][0]["text_id"] == "img_001"
    assert ids(settle_ids({**tree("b", 1), "images": [{"id": "b", "text_id": "of someone"}]})) == (1, 1, 1)
    assert "text_id" not in settle_ids({"images": [{"id": 3, "text_id": "of someone"}]})["images"][0]
    several = {
        "images": [{"id": 5}, {"id": "a"}, {"id": "9"}, {"id": "a"}],
        "categories": [],
        "annotations": [],
    }
    # after the integers, in the order of the file; the same text is the same id, which the check names
    assert [one["id"] for one in settle_ids(several)["images"]] == [5, 6, 7, 6]
    twice = {"images": [{"id": "1"}, {"id": "01"}], "annotations": [{"id": 1, "image_id": "01"}]}
    assert [one["id"] for one in settle_ids(twice)["images"]] == [1, 2]
    assert twice["annotations"][0]["image_id"] == 2


def test_what_is_malformed_stays():
    broken = {"images": [{"id": [1]}, {"id": True}, {}, 3], "annotations": None, "categories": {"id": "x"}}
    assert settle_ids(copy.deepcopy(broken)) == broken
    assert settle_ids({}) == {}
    assert settle_ids(tree(float("nan"), None))["categories"][0]["id"] is None
    assert as_integer("1") == "1"


def test_a_reference_to_what_is_no_id_is_known():
    """So that a wrong id is told of once, and not again at each annotation."""
    known = known_ids([{"id": 1}, {"id": 1.5}, {"id": [2]}, {}])
    assert [is_known(one, known) for one in (1, 1.5, None, "1", [2], True)] == [True] * 3 + [False] * 3
