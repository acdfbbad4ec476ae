"""Images as programs have them: Pillow's, arrays and tensors, all brought to upright 8-bit RGB."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from dprd_cli.structures.sample import ImageArray

Channels: TypeAlias = Literal["rgb", "bgr"]
#: An image in memory: Pillow's; an array, uint8 [H, W, 3] or grey [H, W]; a tensor [3, H, W], uint8 or 0..1.
ImageInMemory: TypeAlias = Image.Image | NDArray[Any] | Tensor
#: A file or URL, or an image in memory.
ImageLike: TypeAlias = str | PathLike[str] | ImageInMemory


def to_rgb(image: ImageInMemory, channels: Channels = "rgb") -> ImageArray:
    """Return an image in memory as 8-bit RGB. [H, W, 3].

    Args:
        image: Pillow's, which is turned upright; an array, uint8 [H, W, 3] or grey [H, W]; a tensor
            [3, H, W], uint8 or floating in 0..1.
        channels: Order of the channels in arrays and tensors: `bgr` is what OpenCV reads.

    Raises:
        ValueError: If it has another shape, type or range.
        TypeError: If it is something else.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if isinstance(image, Tensor):
        return _in_rgb(_from_tensor(image), channels)
    if isinstance(image, np.ndarray):
        return _in_rgb(_from_array(image), channels)
    raise TypeError(f"expected a path, a Pillow image, an array or a tensor, but got {type(image).__name__}")


def _in_rgb(image: ImageArray, channels: Channels) -> ImageArray:
    if channels not in ("rgb", "bgr"):
        raise ValueError(f"channels: expected 'rgb' or 'bgr', but got {channels!r}")
    return np.ascontiguousarray(image if channels == "rgb" else image[:, :, ::-1])


def _from_pillow(image: Image.Image) -> ImageArray:
    """Turn a Pillow image upright and into 8-bit RGB. [H, W, 3]."""
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(f"expected an image of 8 bits a channel, but got mode {image.mode}; pass its file")
    if 0 in image.size:
        raise ValueError(f"expected an image with pixels, but got {image.width}x{image.height}")
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _from_tensor(image: Tensor) -> ImageArray:
    """Turn a tensor [3, H, W], uint8 or floating in 0..1, into an array [H, W, 3]."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected a tensor of shape (3, _, _), but got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.is_floating_point():
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise ValueError("expected a tensor of values in 0..1, or of uint8")
        image = (image * 255).round().to(torch.uint8)
    return _from_array(image.permute(1, 2, 0).numpy())


def _from_array(image: NDArray[Any]) -> ImageArray:
    """Check an array, uint8 [H, W, 3] or grey [H, W], and return it as [H, W, 3]."""
    if image.dtype != np.uint8:
        raise ValueError(f"expected values of type uint8, but got {image.dtype}")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected an array of shape (_, _, 3) or (_, _), but got {image.shape}")
    return image
