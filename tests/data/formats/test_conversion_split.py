"""A split on its way into another format."""

from pathlib import Path

from dprd_cli.data.formats.conversion_split import ConversionSplit


def test_every_image_comes_with_its_annotations_in_the_orders_of_the_file():
    tree = {
        "images": [{"id": 5}, {"id": 2}, {"id": 9}],
        "annotations": [
            {"id": 1, "image_id": 2},
            {"id": 2, "image_id": 5},
            {"id": 3, "image_id": 2},
        ],
    }
    split = ConversionSplit("train", tree, Path("images"), {})
    found = [(image["id"], [ann["id"] for ann in anns]) for image, anns in split.by_image()]
    assert found == [(5, [2]), (2, [1, 3]), (9, [])]
    assert sum(len(anns) for _, anns in found) == len(tree["annotations"])
    assert not split.changes
