"""An image to draw on: boxes, masks and labels that stay legible from 128 to several thousand pixels.

Coordinates are pixels of the image that was given; small images are enlarged so that text is readable.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dprd_cli.ops.outlines import border_paths
from dprd_cli.structures.sample import ImageArray

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
Point = tuple[float, float]

ORANGE: Color = (255, 165, 0)
WHITE: Color = (255, 255, 255)
DARK: Color = (25, 25, 25)
_SHORT_SIDE, _LONG_SIDE = 600, 2000  # images are enlarged toward the first, up to the second
_SHIFT = 4  # OpenCV draws at 1/16 pixels


# Distinct on photographs and from the parts' orange; further classes get computed ones.
_COLORS: tuple[Color, ...] = (
    (38, 118, 235),
    (34, 160, 80),
    (216, 40, 78),
    (146, 82, 222),
    (0, 168, 180),
    (226, 74, 168),
    (112, 150, 24),
    (92, 92, 240),
    (0, 128, 104),
    (164, 34, 120),
    (64, 176, 245),
    (134, 88, 62),
)


def class_color(label: int) -> Color:
    """Return the fixed colour of a class index."""
    if label < len(_COLORS):
        return _COLORS[label]
    hue = (0.19 + 0.81 * (label * 0.618034 % 1.0)) % 1.0  # leaves out the oranges
    saturation, value = ((0.8, 0.85), (0.55, 0.95), (0.7, 0.72))[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the label font (DejaVu Sans, which matplotlib brings along) at a height in pixels."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def shorten(text: str, width: int, face: ImageFont.FreeTypeFont) -> str:
    """Cut a text so that it is at most `width` pixels wide, with an ellipsis."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


class Canvas:
    """A copy of an image, enlarged if it is small.

    Args:
        image: RGB. [H, W, 3]
        longest: Make images smaller whose long side has more pixels; None: keep the size of large ones.
        emphasis: Factor on lines and texts, for an image that will be shown smaller.
    """

    def __init__(self, image: ImageArray, longest: int | None = None, emphasis: float = 1.0) -> None:
        height, width = image.shape[:2]
        self.scale = max(1.0, min(_SHORT_SIDE / min(height, width), _LONG_SIDE / max(height, width)))
        if longest is not None:
            self.scale = min(self.scale, longest / max(height, width))
        self.size = (max(1, round(height * self.scale)), max(1, round(width * self.scale)))
        if self.size == (height, width):
            self.pixels = image.copy()
        else:
            self.pixels = _resize(image, self.size, cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA)
        side = min(self.size)
        self.line = max(1.0, 2.4 * emphasis * (side / _SHORT_SIDE) ** 0.75)
        self.text_size = max(12, round(15 * emphasis * (side / _SHORT_SIDE) ** 0.75))
        self._chips: list[tuple[int, int, int, int]] = []
        self._texts: list[tuple[tuple[int, int], str, Color, int]] = []

    def mask(self, crop: NDArray[np.bool_], x: int, y: int, color: Color, opacity: float = 0.42) -> None:
        """Tint an object and draw its outline.

        Args:
            crop: The object, in the canvas's own (enlarged) pixels. [h, w]
            x: Left of the crop.
            y: Top of the crop.
            color: RGB.
            opacity: How opaque the tint is, 0..1.
        """
        if not crop.any():
            return
        window = self.pixels[y : y + crop.shape[0], x : x + crop.shape[1]]
        tinted = (1 - opacity) * window[crop] + opacity * np.asarray(color, dtype=np.float32)
        window[crop] = tinted.astype(np.uint8)
        paths = [(path + np.array((x, y))).astype(np.int32) for path in border_paths(crop)]
        cv2.drawContours(self.pixels, paths, -1, color, max(1, round(self.line * 0.6)), cv2.LINE_AA)

    def full_mask(self, mask: NDArray[np.bool_], color: Color) -> None:
        """Tint an object given as a mask of the whole original image. [H, W]."""
        enlarged = _resize(mask.astype(np.uint8) * 255, self.size, cv2.INTER_LINEAR) >= 128
        self.mask(enlarged, 0, 0, color)

    def box(
        self, box: Box, color: Color, *, width: float = 1.0, halo: bool = False, dashed: bool = False
    ) -> None:
        """Draw a box.

        Args:
            box: xyxy, pixels of the original image.
            color: RGB.
            width: Factor on the canvas's line width.
            halo: Put a thin dark line under it, so that it shows on any background.
            dashed: Draw dashes.
        """
        side = self.scale * min(box[2] - box[0], box[3] - box[1])
        thickness = max(1, round(min(self.line * width, side / 14)))  # small objects stay visible
        corners = self._corners(box, thickness)
        if halo:
            extra = 2 * max(1, round(thickness * 0.3))
            self._outline(corners, DARK, thickness + extra, dashed=dashed, opacity=0.5)
        self._outline(corners, color, thickness, dashed=dashed)

    def chip(self, box: Box, text: str, color: Color) -> None:
        """Put a label at a box, where it covers no other label if possible, always inside the image."""
        face, (height, width) = font(self.text_size), self.size
        pad = max(2, self.text_size // 4)
        text = shorten(text, width - 2 * pad, face)
        chip_w, chip_h = min(width, int(face.getlength(text)) + 2 * pad + 1), self.text_size + 2 * pad - 1
        left, top, right, bottom = (value * self.scale for value in box)
        spots = [(left, top - chip_h), (left, top), (right - chip_w, top - chip_h), (left, bottom)]
        spots += [(right - chip_w, top), (left, bottom - chip_h), (right, top), (left, (top + bottom) / 2)]
        placed = [
            (round(max(0, min(x, width - chip_w))), round(max(0, min(y, height - chip_h)))) for x, y in spots
        ]
        x, y = min(placed, key=lambda spot: self._covered((*spot, spot[0] + chip_w, spot[1] + chip_h)))
        self._chips.append((x, y, x + chip_w, y + chip_h))
        self.pixels[y : y + chip_h, x : x + chip_w] = color
        self._texts.append(((x + pad, y + chip_h // 2), text, ink(color), self.text_size))

    def tag(self, box: Box, corner: Point, text: str, color: Color) -> None:
        """Put a sign inside a box, where there is room and no other sign.

        Args:
            box: xyxy, pixels of the original image.
            corner: Where in the box, from (0, 0), its upper left corner, to (1, 1).
            text: A few letters.
            color: RGB.
        """
        size = max(11, round(0.85 * self.text_size))
        pad, face = max(2, size // 5), font(size)
        wide, high = int(face.getlength(text)) + 2 * pad + 1, size + 2 * pad - 2
        left, top, right, bottom = (value * self.scale for value in box)
        if right - left < 1.15 * wide or bottom - top < 1.6 * high:
            return
        inset = 0.5 * self.line
        x = round(left + inset + corner[0] * (right - left - wide - 2 * inset))
        y = round(top + inset + corner[1] * (bottom - top - high - 2 * inset))
        x, y = max(0, min(x, self.size[1] - wide)), max(0, min(y, self.size[0] - high))
        spot = (x, y, x + wide, y + high)
        if self._covered(spot):
            return
        self._chips.append(spot)
        self.pixels[y : y + high, x : x + wide] = color
        self._texts.append(((x + pad, y + high // 2), text, ink(color), size))

    def fill(self, box: Box, color: Color, opacity: float) -> None:
        """Tint the inside of a box, xyxy in pixels of the original image."""
        x1, y1, x2, y2 = (max(0, round(value * self.scale)) for value in box)
        window = self.pixels[y1:y2, x1:x2]
        tinted = (1 - opacity) * window + opacity * np.asarray(color, dtype=np.float32)
        window[...] = tinted.astype(np.uint8)

    def arrow(self, start: Point, end: Point, color: Color) -> None:
        """Draw an arrow between two points of the original image; a dot where they are the same."""
        a, b = ((round(x * self.scale), round(y * self.scale)) for x, y in (start, end))
        length = float(np.hypot(b[0] - a[0], b[1] - a[1]))
        line = max(1, round(1.1 * self.line))
        halo = 2 * max(1, round(0.35 * self.line))
        if length < 2.5 * line:
            cv2.circle(self.pixels, b, line + halo // 2, DARK, -1, cv2.LINE_AA)
            cv2.circle(self.pixels, b, line, color, -1, cv2.LINE_AA)
            return
        tip = min(0.6, 3.5 * self.line / length)
        cv2.arrowedLine(self.pixels, a, b, DARK, line + halo, cv2.LINE_AA, 0, tip)
        cv2.arrowedLine(self.pixels, a, b, color, line, cv2.LINE_AA, 0, tip)

    def finish(self) -> ImageArray:
        """Return the drawn image. [H', W', 3]."""
        if self._texts:
            image = Image.fromarray(self.pixels)
            pen = ImageDraw.Draw(image)
            for place, text, color, size in self._texts:
                pen.text(place, text, fill=color, font=font(size), anchor="lm")
            self.pixels = np.array(image)
        return self.pixels

    def _covered(self, chip: tuple[int, int, int, int]) -> int:
        """Return how many pixels of earlier labels a label would cover."""
        x1, y1, x2, y2 = chip
        return sum(
            max(0, min(x2, other[2]) - max(x1, other[0])) * max(0, min(y2, other[3]) - max(y1, other[1]))
            for other in self._chips
        )

    def _corners(self, box: Box, thickness: int) -> tuple[float, float, float, float]:
        """Scale a box to the canvas and keep its line inside the image."""
        height, width = self.size
        inset = thickness / 2
        x1, y1, x2, y2 = (value * self.scale for value in box)
        x1, x2 = (min(max(x, inset), width - inset) - 0.5 for x in (x1, x2))
        y1, y2 = (min(max(y, inset), height - inset) - 0.5 for y in (y1, y2))
        return x1, y1, x2, y2

    def _outline(
        self, corners: Box, color: Color, thickness: int, *, dashed: bool, opacity: float = 1.0
    ) -> None:
        x1, y1, x2, y2 = corners
        margin = thickness + 1
        left, top = max(0, int(x1) - margin), max(0, int(y1) - margin)
        window = self.pixels[top : int(y2) + margin + 1, left : int(x2) + margin + 1]
        drawn = window.copy()
        lines = [((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))]
        for start, end in lines:
            for piece in _dashes(start, end, 4 * self.line) if dashed else [(start, end)]:
                ends = [(round((x - left) * 2**_SHIFT), round((y - top) * 2**_SHIFT)) for x, y in piece]
                cv2.line(drawn, ends[0], ends[1], color, thickness, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(drawn, opacity, window, 1 - opacity, 0, dst=drawn)
        window[...] = drawn


def ink(color: Color) -> Color:
    """Return black or white, whichever is legible on a colour."""
    light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    return (15, 15, 15) if light else WHITE


def _dashes(start: Point, end: Point, length: float) -> list[tuple[Point, Point]]:
    """Cut a line into dashes of about `length` with gaps between them; it starts and ends with a dash."""
    a, b = np.asarray(start), np.asarray(end)
    count = max(1, round(float(np.linalg.norm(b - a)) / length / 2)) * 2 - 1
    marks = a + (b - a) * np.linspace(0, 1, count + 1)[:, None]
    points: list[Point] = [(float(x), float(y)) for x, y in marks]
    return [(points[i], points[i + 1]) for i in range(0, count, 2)]


def _resize(image: ImageArray, size: tuple[int, int], method: int) -> ImageArray:
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=method), dtype=np.uint8)


def shrink(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return an image whose long side is at most so many pixels, RGB, as it is or made smaller. [h, w, 3].

    Args:
        image: RGB. [H, W, 3]
        longest: Pixels of the long side, at most.
    """
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
