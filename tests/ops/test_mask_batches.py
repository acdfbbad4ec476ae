"""Masks pasted at once are those pasted one by one, in a number of operations that does not grow."""

import numpy as np
import pytest
import torch

from dprd_cli.benchmark.launches import CountedDevice
from dprd_cli.ops import mask_batches
from dprd_cli.ops.mask_batches import paste_at_once, run_edges
from dprd_cli.ops.masks import encode_rle, paste_masks

SIZE = (75, 110)
EDGES = torch.tensor(
    [
        [-200.0, -200.0, 400.0, 400.0],
        [20.0, -90.0, 70.0, 200.0],
        [60.0, 40.0, 110.0, 75.0],
        [5.0, 5.0, 5.0, 9.0],
        [9.0, 9.0, 5.0, 5.0],
        [-50.0, -50.0, -20.0, -20.0],
        [100.0, 0.0, 130.0, 200.0],
        [0.0, 0.0, float("nan"), 10.0],
        [0.0, float("-inf"), 5.0, 10.0],
    ]
)


def objects(num=40, size=28):
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(num, 2, generator=generator) * 120 - 20
    sides = torch.rand(num, 2, generator=generator) * 90 + 0.3
    boxes = torch.cat((torch.cat([corners, corners + sides], dim=1), EDGES))
    return torch.rand(len(boxes), size, size, generator=generator).round(decimals=3) + 3e-4, boxes


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("pixels", [1, 1 << 26, 3 * SIZE[0] * SIZE[1]])  # one mask, all, three at a time
def test_pasted_at_once_as_one_by_one(threshold, pixels, monkeypatch):
    monkeypatch.setattr(mask_batches, "_PIXELS", pixels)
    masks, boxes = objects()
    together, alone = (
        paste_at_once(masks, boxes, SIZE, threshold),
        paste_masks(masks, boxes, SIZE, threshold).numpy(),
    )
    assert together.shape == alone.shape
    assert (together.numpy() != alone).sum() <= 3  # of 400,000 pixels: rounding at the threshold
    assert together.any((1, 2)).sum() > 20


def test_cells_that_are_not_square_and_full_masks():
    box = torch.tensor([[10.0, 5.0, 20.0, 9.0]])
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:9, 10:20] = True
    for shape in ((5, 5), (3, 7)):
        assert np.array_equal(paste_at_once(torch.ones(1, *shape), box, (30, 40))[0].numpy(), expected)
    assert paste_at_once(torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4)).all()


def test_edges_are_those_of_the_pasted_masks():
    masks, boxes = objects()
    for found, mask in zip(run_edges(masks, boxes, SIZE), paste_at_once(masks, boxes, SIZE), strict=True):
        flat = mask.numpy().T.ravel()
        assert np.array_equal(found, np.flatnonzero(flat != np.concatenate(([False], flat[:-1]))))


def test_no_masks():
    nothing = torch.zeros(0, 28, 28), torch.zeros(0, 4)
    assert paste_at_once(*nothing, SIZE).shape == (0, *SIZE)
    assert run_edges(*nothing, SIZE) == []


def test_masks_of_a_device_are_encoded_and_pasted_there():
    masks, boxes = objects()
    masks = (masks > 0.5).float() * 0.8 + 0.1  # nothing near the threshold in the middle of a cell
    work, found = [], []
    for count in (4, len(masks)):
        with CountedDevice() as counted:
            there = masks[:count].to(counted.device), boxes[:count].to(counted.device)
            found = encode_rle(*there, SIZE)
        work.append((counted.work.launches, counted.work.waits))
    assert work[0] == work[1]  # whatever the number of masks
    assert work[0][1] <= 5  # two to bring them there, one for the edges, and their way back
    ours = encode_rle(masks, boxes, SIZE)
    assert sum(a != b for a, b in zip(found, ours, strict=True)) <= 1
    with CountedDevice() as counted:
        pasted = paste_masks(masks.to(counted.device), boxes.to(counted.device), SIZE).cpu().numpy()
    assert (pasted != paste_masks(masks, boxes, SIZE).numpy()).sum() <= 2
