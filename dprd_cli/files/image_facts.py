"""What is known of an image once it was decoded: its size, what is special about it, how it looks."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dprd_cli.files.images import open_image, orientation_of, read_lightness
from dprd_cli.ops.arrays import DEEP_GREY

#: What is special about an image -> what is done about it, for reports.
TRAITS = {
    "12-bit": "of 16-bit grey whose values reach at most 4095 of 65535, so that they become nearly black "
    "(0 to 16 of 255): multiply the values by 16",
    "16-bit": "of 16-bit grey, scaled to 8 bits",
    "alpha": "with alpha, which is dropped",
    "cmyk": "in CMYK, converted to RGB",
    "palette": "with a palette, converted to RGB",
    "turned": "turned upright, as the EXIF orientation says",
    "animated": "animated, of which the first frame is taken",
}
#: Those that are more than worth a note.
ALARMING_TRAITS = frozenset(("12-bit",))
_GRID = 16  # cells of the fingerprint's side
_LEAST_SIDE = 8 * _GRID  # pixels of an image that is halved before its cells are averaged
_FLAT = 8  # grey levels between the darkest and the lightest cell, below which nothing can be told


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What is known of an image without its pixels.

    Args:
        size: (height, width), upright.
        traits: Which of `TRAITS` it has.
        look: 64 hexadecimal digits that are the same, but for a few bits, in images that look the same;
            empty where there is too little to see.
        content: A checksum of the pixels, of their lightness in a JPEG: images that look the same to the bit
            have the same one if they are the same.
    """

    size: tuple[int, int]
    traits: tuple[str, ...]
    look: str
    content: str


def inspect_image(path: Path | str, max_pixels: int) -> ImageInfo:
    """Decode an image to its last byte and forget its pixels, without any warning.

    Raises:
        ImageError: As `read_image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = read_lightness(path, max_pixels)
        with open_image(path) as image:
            bands = image.getbands()
            found = {
                "12-bit": image.mode in DEEP_GREY and 0 < pixels.max(initial=0) <= 16,
                "16-bit": image.mode in DEEP_GREY,
                "alpha": "A" in bands or "a" in bands or "transparency" in image.info,
                "cmyk": image.mode == "CMYK",
                "palette": image.mode in ("P", "PA"),
                "turned": orientation_of(image) > 1,
                "animated": _is_animated(image),
            }
    traits = tuple(name for name, there in found.items() if there)
    content = f"{zlib.crc32(np.ascontiguousarray(pixels).data):08x}"
    return ImageInfo(pixels.shape[:2], traits, look_of(pixels), content)


def _is_animated(image: Image.Image) -> bool:
    """Whether there is a second frame; one that cannot be found is none."""
    try:
        return getattr(image, "n_frames", 1) > 1
    except Exception:  # Pillow's plugins raise nearly anything on broken files
        return False


def look_of(pixels: NDArray[np.uint8]) -> str:
    """Return which cells of a 16 x 16 grid have a lighter neighbour at the right, as hexadecimal digits.

    Args:
        pixels: RGB, [H, W, 3], or lightness, [H, W].
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    for _ in range(2):  # halving is so fast that it saves four fifths of the time
        height, width = grey.shape
        if height % 2 == width % 2 == 0 and min(height, width) >= _LEAST_SIDE:
            grey = np.asarray(
                cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8
            )
    cells = cv2.resize(grey, (_GRID + 1, _GRID), interpolation=cv2.INTER_AREA).astype(np.int16)
    if np.ptp(cells) < _FLAT:
        return ""
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes().hex()
