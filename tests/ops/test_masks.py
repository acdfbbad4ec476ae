import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from dprd_cli.ops.masks import encode_rle, mask_to_rle, paste_crop, paste_masks, rle_to_mask


def detectron2_values(mask, box, image_size):
    """Detectron2's `_do_paste_mask` (layers/mask_ops.py, v0.6), over the whole image."""
    height, width = image_size
    x0, y0, x1, y1 = box
    y = (torch.arange(height, dtype=torch.float32) + 0.5 - y0) / (y1 - y0) * 2 - 1
    x = (torch.arange(width, dtype=torch.float32) + 0.5 - x0) / (x1 - x0) * 2 - 1
    grid = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], dim=-1)
    return grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]


def random_objects(num=40, size=28, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(num, 2, generator=generator) * 120 - 20
    sides = torch.rand(num, 2, generator=generator) * 90 + 0.3
    return torch.rand(num, size, size, generator=generator), torch.cat([corners, corners + sides], dim=1)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_pasting_equals_detectron2_sampling_over_the_whole_image(threshold):
    image_size = (75, 110)
    masks, boxes = random_objects()
    pasted = paste_masks(masks, boxes, image_size, threshold).numpy()
    for got, mask, box in zip(pasted, masks, boxes, strict=True):
        values = detectron2_values(mask, box, image_size).numpy()
        clear = np.abs(values - threshold) > 1e-4  # the same up to rounding
        assert np.array_equal(got[clear], (values >= threshold)[clear])
        assert clear.mean() > 0.98


def test_full_mask_fills_exactly_the_pixels_whose_centres_are_inside():
    # all ones falls to 0.5 at the border: the centres 10.5..19.5 lie inside 10..20, 5.5..8.5 inside 5..9
    pasted = paste_masks(torch.ones(1, 5, 5), torch.tensor([[10.0, 5.0, 20.0, 9.0]]), (30, 40)).numpy()[0]
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:9, 10:20] = True
    assert np.array_equal(pasted, expected)


def test_threshold_is_inclusive():
    mask, box = torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    assert paste_masks(mask, box, (4, 4), 0.5).numpy().all()


def test_work_happens_inside_the_box_only():
    crop, x, y = paste_crop(torch.ones(28, 28), torch.tensor([500.0, 300.0, 556.0, 328.0]), (2000, 3000))
    assert (x, y) == (499, 299)  # half a cell (1 and 0.5 pixels) further out
    assert crop.shape == (30, 58)


@pytest.mark.parametrize(
    "box",
    [
        [5.0, 5.0, 5.0, 9.0],
        [9.0, 9.0, 5.0, 5.0],
        [-50.0, -50.0, -20.0, -20.0],
        [100.0, 0.0, 120.0, 10.0],
        [0.0, 0.0, float("nan"), 10.0],
        [0.0, 0.0, float("inf"), 10.0],
    ],
)
def test_boxes_that_are_empty_outside_or_not_finite_give_empty_masks(box):
    box = torch.tensor([box])
    assert not paste_masks(torch.ones(1, 28, 28), box, (20, 30)).numpy().any()
    assert rle_to_mask(encode_rle(torch.ones(1, 28, 28), box, (20, 30))[0]).shape == (20, 30)


def test_encoding_equals_pasting():
    masks, boxes = random_objects(seed=1)
    encoded = encode_rle(masks, boxes, (75, 110))
    pasted = paste_masks(masks, boxes, (75, 110)).numpy()
    assert all(np.array_equal(rle_to_mask(rle), mask) for rle, mask in zip(encoded, pasted, strict=True))
    assert encoded[0]["size"] == [75, 110]
    assert isinstance(encoded[0]["counts"], str)


def test_run_lengths_are_in_fortran_order():
    mask = np.zeros((3, 2), dtype=bool)
    mask[:, 0] = True  # the first three pixels, column by column
    rle = mask_to_rle(mask)
    assert rle == {"size": [3, 2], "counts": "033"}  # 0 off, 3 on, 3 off
    assert np.array_equal(rle_to_mask(rle), mask)


def test_no_objects():
    empty = torch.zeros(0, 28, 28), torch.zeros(0, 4)
    assert paste_masks(*empty, (20, 30)).numpy().shape == (0, 20, 30)
    assert encode_rle(*empty, (20, 30)) == []


def test_run_lengths_are_those_of_the_full_size_masks():
    image_size = (75, 110)
    masks, boxes = random_objects(seed=2)
    whole = torch.tensor(
        [[-200.0, -200.0, 400.0, 400.0], [20.0, -90.0, 70.0, 200.0], [60.0, 40.0, 110.0, 75.0]]
    )
    masks = torch.cat((masks, torch.ones(3, 28, 28), torch.zeros(1, 28, 28)))
    boxes = torch.cat((boxes, whole, boxes[:1]))
    pasted = paste_masks(masks, boxes, image_size).numpy()
    assert pasted[40].all()  # from the first pixel to the last
    assert pasted[41].all(axis=0).sum() > 40  # columns that go on in the next
    assert pasted[42, -1, -1]
    assert not pasted[43].any()
    assert encode_rle(masks, boxes, image_size) == [mask_to_rle(mask) for mask in pasted]


def test_encoding_nothing():
    assert encode_rle(torch.zeros(0, 28, 28), torch.zeros(0, 4), (75, 110)) == []
