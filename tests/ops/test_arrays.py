"""NumPy's versions of what OpenCV, PyTorch and pycocotools do elsewhere: the same numbers."""

import cv2
import numpy as np
import pytest
import torch

from dprd_cli.ops.arrays import compress_mask, paste_mask, resize_image, resize_shape
from dprd_cli.ops.masks import mask_to_rle, paste_masks

IMAGE = np.random.default_rng(0).integers(0, 256, (83, 121, 3), dtype=np.uint8)


def test_the_short_side_rules_unless_the_long_one_would_be_too_long():
    assert resize_shape(480, 640, 800, 1333) == (800, 1067)
    assert resize_shape(640, 480, 800, 1333) == (1067, 800)
    assert resize_shape(100, 1000, 800, 1333) == (133, 1333)
    assert resize_shape(1, 5000, 800, 1333) == (1, 1333)


@pytest.mark.parametrize("shape", [(166, 242), (97, 141), (60, 87), (83, 61), (400, 583)])
def test_growing_and_shrinking_a_little_is_opencv_s_interpolation(shape):
    expected = cv2.resize(IMAGE, shape[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(resize_image(IMAGE, shape).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(40, 59), (27, 40), (8, 12), (1, 1)])
def test_shrinking_by_half_is_the_mean_of_the_area(shape):
    expected = cv2.resize(IMAGE, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(resize_image(IMAGE, shape).astype(int) - expected).max() <= 1


def test_an_image_of_that_size_stays():
    assert resize_image(IMAGE, IMAGE.shape[:2]) is IMAGE


@pytest.mark.parametrize(
    "box",
    [(3.2, 5.1, 40.7, 33.3), (-10, -5, 20, 70), (5, 5, 5, 9), (50, 20, 300, 90), (float("nan"), 0, 9, 9)],
)
def test_masks_are_pasted_as_pytorch_does(box):
    mask = np.random.default_rng(1).random((14, 14), dtype=np.float32)
    boxes = torch.tensor([box], dtype=torch.float32)
    (expected,) = paste_masks(torch.from_numpy(mask)[None], boxes, (60, 80)).numpy()
    pasted = paste_mask(mask, boxes[0].numpy(), (60, 80))
    assert pasted.shape == (60, 80)
    assert (pasted != expected).mean() <= 1e-3  # on the threshold, the last digit decides


@pytest.mark.parametrize("seed", range(4))
def test_masks_are_compressed_as_pycocotools_does(seed):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((70, 90)).astype(np.float32), (0, 0), seed + 0.5)
    mask = smooth > smooth.mean()
    assert compress_mask(mask) == mask_to_rle(mask)


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.eye(6, dtype=bool)])
def test_masks_at_the_ends(mask):
    assert compress_mask(mask) == mask_to_rle(mask)
