"""What is done to images and masks without PyTorch and OpenCV, for `dprd_cli.onnx`: NumPy alone."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Formats of images that are read, by what is in a file, whatever its name; Pillow knows more, of which some
#: start other programs (EPS) or load plugins.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
#: Those of them that this Pillow reads.
READABLE = tuple(one for one in FORMATS if one != "AVIF" or importlib.util.find_spec("PIL.AvifImagePlugin"))
#: Pillow's modes of grey beyond 8 bits.
DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def scale_deep_grey(grey: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    """Map 0..65535 to 0..255, where `convert("RGB")` would turn most of it white; None for other values.

    Args:
        grey: [H, W]

    Returns:
        [H, W, 1]
    """
    if grey.min(initial=0) < 0 or grey.max(initial=0) > 0xFFFF:
        return None
    return ((grey + 128) // 257).astype(np.uint8)[:, :, None]


def resize_shape(height: int, width: int, min_size: float, max_size: int) -> tuple[int, int]:
    """Return the (height, width) whose short side is `min_size`, unless the longest would exceed `max_size`.

    Rounds halves up. Source: Detectron2's `ResizeShortestEdge.get_output_shape`.
    """
    scale = min_size / min(height, width)
    new_height, new_width = (min_size, scale * width) if height < width else (scale * height, min_size)
    if max(new_height, new_width) > max_size:
        shrink = max_size / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def resize_image(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize as training does: bilinearly, or to the mean of the covered area where it shrinks by half.

    Law: OpenCV's INTER_LINEAR and INTER_AREA, to one grey value.

    Args:
        image: [H, W, 3]
        shape: (height, width) of the result.

    Returns:
        [h, w, 3]
    """
    if image.shape[:2] == tuple(shape):
        return image
    shrinks = shape[0] * 2 < image.shape[0] or shape[1] * 2 < image.shape[1]
    along = _mean_along if shrinks else _between_along
    values = along(along(image.astype(np.float32), shape[0], 0), shape[1], 1)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _between_along(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """Interpolate linearly along an axis of an image [H, W, 3], between the two nearest pixels."""
    length = values.shape[axis]
    where = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    low = np.floor(where).astype(int)
    weight = (where - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    first = values.take(low, axis)
    return np.asarray(first + weight * (values.take(np.minimum(low + 1, length - 1), axis) - first))


def _mean_along(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """Take means along an axis of an image [H, W, 3], over what each new pixel covers."""
    length = values.shape[axis]
    sums = np.zeros([side + (one == axis) for one, side in enumerate(values.shape)])
    np.cumsum(values, axis=axis, out=sums[1:] if axis == 0 else sums[:, 1:], dtype=np.float64)
    ends = np.arange(size + 1) * (length / size)
    low = np.minimum(ends.astype(int), length - 1)
    weight = (ends - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    at_ends = sums.take(low, axis) * (1 - weight) + sums.take(low + 1, axis) * weight
    return np.asarray(np.diff(at_ends, axis=axis) * (size / length), dtype=np.float32)


def paste_mask(
    mask: NDArray[np.float32], box: NDArray[np.float32], image_size: tuple[int, int], threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Paste one mask into the image; law: `ops.masks.paste_masks`'s.

    Args:
        mask: Probabilities inside the box. [M, M]
        box: xyxy, pixels of the image. [4]
        image_size: (height, width) of the image.
        threshold: Pixels at or above this probability belong to the object.

    Returns:
        [H, W]
    """
    left, top, right, bottom = map(float, box)
    if not (right > left and bottom > top and all(map(math.isfinite, (left, top, right, bottom)))):
        return np.zeros(image_size, dtype=bool)
    across = _weights(left, right, mask.shape[1], image_size[1])
    down = _weights(top, bottom, mask.shape[0], image_size[0])
    return np.asarray(down @ mask @ across.T >= threshold)


def _weights(low: float, high: float, cells: int, pixels: int) -> NDArray[np.float32]:
    """Return the bilinear weights [pixels, cells] of cells spread over low..high."""
    where = (np.arange(pixels, dtype=np.float32) + np.float32(0.5) - np.float32(low)) / np.float32(high - low)
    where = where * cells - np.float32(0.5)
    return np.asarray(np.clip(1 - np.abs(where[:, None] - np.arange(cells, dtype=np.float32)), 0, None))


def compress_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask [H, W] as COCO's compressed run lengths."""
    flat = np.concatenate(([False], mask.T.ravel()))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(edges, prepend=0, append=mask.size).tolist()
    text = []
    for index, run in enumerate(runs):
        rest, more = run - (runs[index - 2] if index > 2 else 0), True
        while more:
            low, rest = rest & 31, rest >> 5
            more = rest != (-1 if low & 16 else 0)
            text.append(chr(48 + (low | 32 if more else low)))
    return {"size": [int(side) for side in mask.shape], "counts": "".join(text)}
