"""Masks between their three forms: probabilities inside a box, bool images, and COCO's run lengths.

A full-size mask is large (100 of them on a 1333x800 image are 100 MB), so on a CPU nothing here makes more
than one at a time unless `paste_masks` is asked for it. On a GPU they are pasted there (`ops.mask_batches`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from dprd_cli.ops.mask_batches import paste_at_once, run_edges


def _interpolation(low: float, high: float, cells: int, start: int, stop: int) -> Tensor:
    """Return the bilinear weights [n, M] of M `cells` spread over low..high, at pixels start..stop.

    The same as `grid_sample(align_corners=False, padding_mode="zeros")` along one axis: the mask's cell
    centres lie half a cell inside the box, and outside them the values fall off to zero.
    """
    # in NumPy, whose calls are cheaper than PyTorch's where there is so little to do
    pixels = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    where = (pixels - np.float32(low)) / np.float32(high - low) * np.float32(cells) - np.float32(0.5)
    weights = np.abs(where[:, None] - np.arange(cells, dtype=np.float32))
    np.subtract(np.float32(1), weights, out=weights)
    return torch.from_numpy(np.maximum(weights, 0, out=weights))


def paste_crop(
    mask: Tensor, box: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> tuple[NDArray[np.bool_], int, int]:
    """Paste one mask into the part of the image that it can reach.

    Args:
        mask: Probabilities inside the box. [M, M]
        box: xyxy, pixels of the image; may reach outside it. [4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability belong to the object.

    Returns:
        The crop [h, w] (empty for an empty box), and the x and y of its top left pixel.

    Source: Detectron2's `paste_masks_in_image`; bilinear sampling is done as two small matrix products.
    """
    height, width = image_size
    left, top, right, bottom = box.detach().cpu().float().tolist()
    if not (right > left and bottom > top and all(map(math.isfinite, (left, top, right, bottom)))):
        return np.zeros((0, 0), dtype=bool), 0, 0
    rows, columns = mask.shape
    # values reach half a mask cell beyond the box
    margin_x, margin_y = (right - left) / columns / 2, (bottom - top) / rows / 2
    x0, x1 = max(math.floor(left - margin_x), 0), min(math.ceil(right + margin_x), width)
    y0, y1 = max(math.floor(top - margin_y), 0), min(math.ceil(bottom + margin_y), height)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((0, 0), dtype=bool), 0, 0
    across = _interpolation(left, right, columns, x0, x1)
    down = _interpolation(top, bottom, rows, y0, y1)
    values = down @ mask.detach().cpu().float() @ across.T  # [h, w]
    return (values >= threshold).numpy(), x0, y0


def paste_masks(masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Paste masks into full-size images, on the device they are on; call it with a few at a time.

    Args:
        masks: Probabilities inside each box. [D, M, M]
        boxes: xyxy, pixels of the image. [D, 4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability belong to the object.

    Returns:
        One mask per box, bool. [D, H, W]
    """
    if masks.device.type != "cpu":
        return paste_at_once(masks, boxes, image_size, threshold)
    pasted = np.zeros((len(masks), *image_size), dtype=bool)
    for canvas, mask, box in zip(pasted, masks, boxes, strict=True):
        crop, x, y = paste_crop(mask, box, image_size, threshold)
        canvas[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return torch.from_numpy(pasted)


def encode_rle(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Run-length encode masks as they would be in the image, without making full-size ones.

    Law: `rle_to_mask(encode_rle(masks, ...)[i]) == paste_masks(masks, ...)[i]`.

    Args:
        masks: Probabilities inside each box. [D, M, M]
        boxes: xyxy, pixels of the image. [D, 4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability belong to the object.

    Returns:
        COCO's compressed RLE per box, JSON-serialisable: `{"size": [H, W], "counts": str}`.
    """
    masks, boxes = masks.detach(), boxes.detach()
    if masks.device.type != "cpu":
        edges = run_edges(masks, boxes, image_size, threshold)
    else:
        crops = (paste_crop(*one, image_size, threshold) for one in zip(masks, boxes.cpu(), strict=True))
        edges = [_crop_edges(*crop, image_size) for crop in crops]
    size = [int(side) for side in image_size]
    counts = [_run_lengths(one, size[0] * size[1]) for one in edges]
    encoded = coco_mask.frPyObjects([{"size": size, "counts": c} for c in counts], *size) if counts else []
    return [{"size": size, "counts": rle["counts"].decode("ascii")} for rle in encoded]


def _crop_edges(crop: NDArray[np.bool_], x: int, y: int, image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return where the runs of 1 start and end, in turns, of an image that is 0 outside a crop.

    Args:
        crop: [h, w]
        x: Left of the crop.
        y: Top of the crop.
        image_size: (height, width) of the image; runs go down its columns.
    """
    height = image_size[0]
    rows, columns = crop.shape
    framed = np.zeros((columns, rows + 2), dtype=bool)
    framed[:, 1:-1] = crop.T
    found = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    edges: NDArray[np.int64] = found + found // (rows + 1) * (height - rows - 1) + x * height + y
    # a run that reaches the bottom goes on at the top of the next column
    if rows == height:
        joined = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate((joined, joined + 1)))
    return edges


def _run_lengths(edges: NDArray[np.int64], pixels: int) -> list[int]:
    """Return the lengths of the runs of 0 and 1, in turns, of `pixels` pixels."""
    lengths: list[int] = np.diff(edges, prepend=0, append=pixels).tolist()
    return lengths[:-1] if len(lengths) > 1 and lengths[-1] == 0 else lengths


def mask_to_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Run-length encode a full-size mask [H, W] as COCO's compressed RLE, JSON-serialisable."""
    return _encode(np.asfortranarray(mask, dtype=np.uint8))


def rle_to_mask(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """Return the mask [H, W] of COCO's compressed RLE; the inverse of `mask_to_rle`."""
    return np.asarray(coco_mask.decode(rle), dtype=bool)


def _encode(canvas: NDArray[np.uint8]) -> dict[str, Any]:
    rle = coco_mask.encode(canvas)
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}
