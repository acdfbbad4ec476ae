"""What is odd about objects, whatever the format, by hand."""

import pytest

from dprd_cli.data.formats.object_checks import CheckReport, ObjectCounts

SIZE = 48, 64


def told(*anns, severity="warning"):
    """Return the kinds that some annotations of an image of 48 x 64 are warned of, with their lines."""
    report = CheckReport()
    counts = ObjectCounts(report)
    for ident, ann in enumerate(anns, start=1):
        counts.add({"id": ident, "image_id": 1, "category_id": ident, **ann}, SIZE, ident)
    counts.summarise()
    return {problem.kind: problem.line() for problem in report.problems.of(severity)}


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def test_shares_in_place_of_pixels():
    shares = [{"bbox": [0.1, 0.2, 0.3, 0.4]}, {"bbox": [0, 0, 1, 1]}]
    assert told(*shares, severity="error")["shares"].startswith("all 2 boxes are smaller than one pixel")
    assert told(*shares, {"bbox": [1, 2, 3, 4]}, severity="error") == {}
    assert told({"bbox": [0, 0, 1, 1]}, {"bbox": [0, 1, 1, 1]}, severity="error") == {}  # pixels


def test_corners_in_place_of_width_and_height():
    # read as [x, y, w, h] both leave the image: 35 + 55 of 64, 30 + 40 of 48
    corners = [{"bbox": [35, 20, 55, 40]}, {"bbox": [10, 30, 30, 40]}]
    assert told(*corners)["corners"].startswith("all 2 boxes would fit as [x1, y1, x2, y2]; they are read as")
    assert "corners" not in told(*corners, {"bbox": [30, 30, 10, 10]})
    assert "corners" not in told({"bbox": [-1, 0, 65, 48]}, {"bbox": [0, -1, 64, 49]})  # drawn over the edge
    proof = {"bbox": [10, 10, 30, 30], "segmentation": square(10, 10, 20)}
    assert "as the polygons of 1 prove" in told(proof)["corners"]


def test_masks_far_from_their_box_in_every_form():
    rows = {"size": [4, 6], "counts": [1, 3, 20]}  # down the columns: x 0, y 1 to 3
    far = {"bbox": [1, 0, 3, 1], "segmentation": rows}  # along the rows: x 1 to 3, y 0
    assert [*told(far)] == ["row-major", "far mask"]
    assert told({"bbox": [0, 1, 1, 3], "segmentation": rows}) == {}
    assert [*told({"bbox": [30, 30, 9, 9], "segmentation": square(1, 1, 9)})] == ["far mask"]


@pytest.mark.parametrize(
    ("segmentation", "kind"),
    [
        ({"size": [48, 64], "counts": [48 * 64]}, "empty mask"),
        ([[1, 1], [9, 1], [9, 9]], "points"),
        ([[1, 1, 9, 9]], "thin"),
    ],
)
def test_segmentations_that_give_no_mask(segmentation, kind):
    assert [*told({"bbox": [1, 1, 8, 8], "segmentation": segmentation})] == [kind]


@pytest.mark.parametrize(
    ("area", "wrong"),
    [(81, False), (45, False), (0, True), (-5, True), (1e9, True), (30, True), (None, False)],
)
def test_areas_that_contradict_the_mask(area, wrong):
    mask = {"bbox": [1, 1, 9, 9], "segmentation": square(1, 1, 9), "area": area}  # 81, within a factor of 2
    assert ("wrong area" in told(mask)) == wrong


def test_areas_without_a_mask_are_inside_the_box():
    assert told({"bbox": [1, 1, 9, 9], "area": 20}) == {}  # of a mask that was left out
    assert "(1: 200)" in told({"bbox": [1, 1, 9, 9], "area": 200})["wrong area"]
