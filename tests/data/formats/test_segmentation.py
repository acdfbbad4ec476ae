"""Segmentations in COCO's forms: what is wrong with one, and what comes back of those that are kept."""

import copy

import numpy as np
import pytest
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.segmentation import (
    NO_MASK,
    POLYGONS,
    RLE,
    MaskStore,
    are_numbers,
    compressed_total,
    decode,
    encode,
    has_mask,
    has_thin_polygon,
    is_far_from_box,
    looks_like_points,
    mask_area,
    mask_bounds,
    row_major_bounds,
    segmentation_fault,
    usable_part,
)

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
BLANK = {"size": [10, 20], "counts": [0, 200]}


def test_sound_segmentations():
    for good in (None, [], SQUARE, BLANK, {**BLANK, "counts": [200]}):
        assert segmentation_fault(good, (10, 20)) == ""


def test_compressed_rle_lengths_agree_with_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, width = rng.integers(1, 60, size=2)
        mask = rng.random((height, width)) < rng.random()
        counts = rle_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
        assert compressed_total(counts) == height * width
        assert segmentation_fault({"size": [height, width], "counts": counts}, (height, width)) == ""
    blank = rle_masks.encode(np.zeros((3000, 4000), dtype=np.uint8, order="F"))["counts"].decode()
    assert compressed_total(blank) == 12_000_000


def rectangle(height, width, x, y, w, h):
    mask = np.zeros((height, width), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def compressed(mask):
    counts = rle_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    return {"size": list(mask.shape), "counts": counts}


def runs(mask):
    """Return COCO's uncompressed run lengths: down the columns, of 0 and 1 in turns."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
    lengths = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": lengths if not flat[0] else [0, *lengths]}


def test_numbers_are_finite_and_no_bools():
    assert are_numbers([1, 2.5, -3])
    assert are_numbers([])
    assert are_numbers([1e308, 1e308])  # whose sum is not finite
    for bad in ([True], ["1"], [None], [float("nan")], [1, float("inf")], [10**400], [[1]]):
        assert not are_numbers(bad)


def test_thin_polygons():
    assert has_thin_polygon([[1, 1, 2, 2]])
    assert has_thin_polygon([*copy.deepcopy(SQUARE), []])
    for fine in (None, [], SQUARE, BLANK):
        assert not has_thin_polygon(fine)


def test_outlines_that_take_gigabytes_to_draw_are_refused():
    # there and back over 400 pixels, corner by corner: 400 pixels an edge, so 5000 edges are 2,000,000
    fits = [value for n in range(5000) for value in (400 * (n % 2), n % 3)]
    assert segmentation_fault([fits], (100, 400)) == ""
    text = "polygons whose outlines are longer than 2000000 pixels"
    assert segmentation_fault([[*fits, 0, 0, 400, 0]], (100, 400)) == text
    assert segmentation_fault([fits[:6000], fits[:6000]], (100, 400)) == text


def test_polygons_far_from_their_box_by_hand():
    # the square spans 4 x 4 = 16; moved by 1 it shares 3 * 4 = 12: IoU 12 / 20 = 0.6, by 2: 8 / 24 = 0.33
    bounds = mask_bounds(SQUARE)
    assert bounds == [1, 1, 5, 5]
    assert not is_far_from_box(bounds, [1, 1, 4, 4])
    assert not is_far_from_box(bounds, [2, 1, 4, 4])
    assert is_far_from_box(bounds, [3, 1, 4, 4])
    assert is_far_from_box(bounds, [50, 50, 4, 4])


def test_what_gives_a_mask_has_bounds_and_an_area():
    mask = rectangle(10, 20, 8, 2, 5, 7)  # columns 8 to 12, rows 2 to 8
    for segmentation in (compressed(mask), runs(mask)):
        assert usable_part(segmentation) is not None
        assert mask_bounds(segmentation) == [8, 2, 13, 9]
        assert mask_area(segmentation) == 35
    assert (usable_part(SQUARE) is not None, mask_area(SQUARE)) == (True, 16)
    for nothing in (None, [], [[1, 1]], [[1, 1, 2, 2]], {**BLANK, "counts": [200]}):
        assert (usable_part(nothing) is not None, mask_bounds(nothing), mask_area(nothing)) == (
            False,
            None,
            0,
        )


def test_runs_along_the_rows_by_hand():
    # the mask [x 8 to 12, y 2 to 8] of 10 x 20, written row after row
    written = compressed(rectangle(20, 10, 2, 8, 7, 5))
    assert row_major_bounds({**written, "size": [10, 20]}) == [8, 2, 13, 9]


def test_points_in_place_of_a_polygon():
    assert looks_like_points([[10, 10], [30, 10], [30, 26]])
    for other in (None, [], [[10, 10], [30, 10]], SQUARE, BLANK):
        assert not looks_like_points(other)
    fault = segmentation_fault([[[1, 1], [2, 1], [2, 2]]], (10, 20))
    assert fault == "a polygon holds lists (points), expected flat numbers [x1, y1, x2, y2, ...]"


@pytest.mark.parametrize("seed", range(10))
def test_what_is_kept_comes_back_as_the_same_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 40, size=2))
    mask = rng.random((height, width)) < rng.random()
    for segmentation in (compressed(mask), runs(mask)):
        assert segmentation_fault(segmentation, (height, width)) == ""
        kind, pieces = encode(segmentation, (height, width))
        assert kind == RLE
        again = rle_masks.decode(decode(kind, pieces, (height, width))).astype(bool)
        np.testing.assert_array_equal(again, mask)


def test_polygons_are_kept_as_they_are_and_thin_ones_dropped():
    ring = [1.25, 1, 5, 1, 5, 5.5]
    kind, pieces = encode([ring, [1, 1], SQUARE[0]], (10, 20))
    assert kind == POLYGONS
    assert [np.frombuffer(piece).tolist() for piece in pieces] == [ring, SQUARE[0]]
    for nothing in (None, [], [[1, 1, 2, 2]]):
        assert encode(nothing, (10, 20)) == (NO_MASK, [])


def test_a_store_gives_each_object_its_own_mask():
    one, two = rectangle(10, 20, 1, 1, 4, 4), rectangle(10, 20, 8, 2, 5, 7)
    other = rectangle(6, 5, 0, 3, 2, 3)
    store = MaskStore(
        [
            (SQUARE, (10, 20)),  # filled: columns and rows 1 to 4
            (None, (10, 20)),
            (compressed(two), (10, 20)),
            (runs(other), (6, 5)),
        ]
    )
    assert store.kinds.tolist() == [POLYGONS, NO_MASK, RLE, RLE]
    masks = store.decode(slice(0, 3), (10, 20))
    np.testing.assert_array_equal(masks, [one, np.zeros((10, 20), dtype=bool), two])
    np.testing.assert_array_equal(store.decode(slice(3, 4), (6, 5)), [other])
    assert store.decode(slice(4, 4), (6, 5)).shape == (0, 6, 5)


def test_what_is_a_mask():
    """Three points, or a pixel."""
    blank = rle_masks.encode(np.zeros((10, 20), dtype=np.uint8, order="F"))["counts"].decode()
    whole = rle_masks.encode(np.ones((10, 20), dtype=np.uint8, order="F"))["counts"].decode()
    none = [
        None,
        [],
        [[]],
        [[1, 1]],
        [[1, 1, 5, 5]],
        {"size": [10, 20], "counts": [200]},
        {**BLANK, "counts": blank},
    ]
    assert [usable_part(one) for one in none] == [None] * len(none)
    assert [encode(one, (10, 20)) for one in none] == [(NO_MASK, [])] * len(none)
    masks = [SQUARE, BLANK, {**BLANK, "counts": whole}]
    assert [usable_part(one) for one in masks] == masks
    assert usable_part([*SQUARE, [1, 1, 5, 5]]) == SQUARE
    assert has_mask({"segmentation": SQUARE})
    assert not has_mask({})
    malformed = ["x", 3, [3], [[1, 2], 3], [[[1, 2], [3, 4], [5, 6]]], {}, {"counts": ["x"]}, {"counts": "~"}]
    assert not any(has_mask({"segmentation": one}) for one in malformed)
