"""Masks of many boxes pasted at once, on the device they are on: `ops.masks`' way for GPUs.

One by one, and inside their boxes, as `ops.masks` does it, is cheapest on a CPU. A GPU waits for the host at
each of them; here a batch takes a fixed number of operations, and only the ends of its runs come back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_PIXELS = 1 << 26  # of all masks that are pasted together; 256 MB in float32


def paste_at_once(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> Tensor:
    """Paste masks into full-size images, on their device.

    Law: `ops.masks.paste_masks`'s masks, but for pixels whose probability is the threshold's to rounding.

    Args:
        masks: Probabilities inside each box. [D, M, M]
        boxes: xyxy, pixels of the image; an empty one, or one that is not finite, gives an empty mask. [D, 4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability, more than 0, belong to the object.

    Returns:
        One mask per box, bool, columns contiguous. [D, H, W]
    """
    pasted = [part.mT for part in _transposed(masks, boxes, image_size, threshold)]
    return torch.cat(pasted) if pasted else masks.new_zeros((0, *image_size), dtype=torch.bool)


def run_edges(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> list[NDArray[np.int64]]:
    """Return where the runs of pasted masks start and end, in turns, counted down the image's columns.

    The host waits for the device once for each batch of masks.

    Args:
        masks: Probabilities inside each box. [D, M, M]
        boxes: As `paste_at_once` has them. [D, 4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability, more than 0, belong to the object.

    Returns:
        Rising positions in 0..H*W-1 per mask; the first starts a run of 1. D x [n]
    """
    edges = []
    for part in _transposed(masks, boxes, image_size, threshold):
        flat = part.flatten(1)  # [d, W * H]
        found = (flat ^ F.pad(flat, (1, 0))[:, :-1]).nonzero().cpu().numpy()
        edges += np.split(found[:, 1], np.searchsorted(found[:, 0], np.arange(1, len(part))))
    return edges


def _transposed(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float
) -> Iterator[Tensor]:
    """Yield pasted masks [d, W, H], some at a time, as COCO's run lengths go through them."""
    height, width = image_size
    together = max(_PIXELS // max(height * width, 1), 1)
    for mask, box in zip(torch.split(masks, together), torch.split(boxes, together), strict=True):
        if len(mask):
            left, top, right, bottom = box.float().unbind(1)
            # two zero cells behind the last: the upper one of a pixel that is past it
            cells = F.pad(mask.float(), (1, 2, 1, 2)).mT  # [d, M + 3, M + 3], columns first
            index, weight = _taps(top, bottom, mask.shape[1], height)  # [d, H]
            index = index[:, None].expand(-1, cells.shape[1], -1)
            columns = torch.lerp(cells.gather(2, index), cells.gather(2, index + 1), weight[:, None])
            index, weight = _taps(left, right, mask.shape[2], width)  # [d, W]
            index = index[:, :, None].expand(-1, -1, height)
            values = torch.lerp(columns.gather(1, index), columns.gather(1, index + 1), weight[:, :, None])
            yield values >= threshold


def _taps(low: Tensor, high: Tensor, cells: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Return the lower of each pixel's two cells, one of zeros before the first, and the upper's weight.

    The same as `grid_sample(align_corners=False, padding_mode="zeros")` along one axis. A box that is empty
    or not finite has the zero cell everywhere.

    Args:
        low: Where the first cell begins, in pixels. [d]
        high: Where the last one ends. [d]
        cells: Number of cells M.
        pixels: Number of pixels n.

    Returns:
        int64 in 0..M+1, and float32 in 0..1. [d, n] each
    """
    size = high - low
    centres = torch.arange(pixels, device=low.device) + 0.5
    where = (centres - low[:, None]) / size[:, None] * cells - 0.5
    usable = (size > 0) & size.isfinite()
    where = torch.where(usable[:, None], where.clamp(-1, cells), -1.0)
    lower = where.floor()
    return lower.long() + 1, where - lower
