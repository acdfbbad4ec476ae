"""How the built-in data set is painted: objects, textures, colours and cluttered backgrounds.

Pixels come from integer arithmetic and OpenCV's bit-exact 8-bit operations, so that the same seed gives the
same image on every machine. Colour and texture carry no information about the class.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.synthetic.shapes import Parts, Rng, outlines

Bytes = NDArray[Any]  # uint8; OpenCV's stubs promise no more than numbers
Color = NDArray[np.float64]  # RGB, 0..255. [3]

CONTRAST = 90.0  # distance in RGB, 0..441, sought between an object and all that is behind it
TRIES = 10
_FIXED_BITS = 4  # polygon corners go to OpenCV in sixteenths of a pixel


@dataclass(frozen=True, slots=True)
class Sprite:
    """One drawn object, cropped to its extent.

    Args:
        mask: 255 on the object, 0 elsewhere, uint8. [h, w]
        shade: Brightness of the surface, dark on the outline of every part, uint8. [h, w]
        area: Number of object pixels.
    """

    mask: Bytes
    shade: Bytes
    area: int


def draw_sprite(rng: Rng, parts: Parts, outline: int) -> Sprite:
    """Draw parts, each in its own shade with a lighter core and a dark outline.

    Args:
        rng: Random numbers for the shades.
        parts: Parts in drawing order, in pixels from any origin. [P, 6]
        outline: Width of the outlines in pixels.
    """
    polygons = outlines(parts)
    cores = parts.copy()
    cores[:, 4:] *= 0.5
    cores[:, :4] -= 0.18 * np.tile(parts[:, 5:6], 4)  # light falls from the upper left
    low = np.floor(polygons.min(axis=(0, 1))) - 1
    width, height = (np.ceil(polygons.max(axis=(0, 1))) + 2 - low).astype(int)
    mask, shade = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    tones = rng.integers(165, 215, len(parts)).tolist()
    for polygon, core, tone in zip(_fixed(polygons - low), _fixed(outlines(cores) - low), tones, strict=True):
        _fill(mask, polygon, 255)
        _fill(shade, polygon, tone)
        _fill(shade, core, tone + 40)
        _stroke(shade, polygon, 70, 2 * outline - 1)  # the outer half falls outside the mask
    return Sprite(mask, shade, cv2.countNonZero(mask))


def draw_texture(rng: Rng, height: int, width: int, wavelength: float) -> Bytes:
    """Draw a plain, striped, dotted, noisy or graded texture.

    Args:
        rng: Random numbers.
        height: Height in pixels.
        width: Width in pixels.
        wavelength: Period of stripes, dots and noise in pixels.

    Returns:
        Mixing weight between two colours, uint8. [h, w]
    """
    kind, angle = int(rng.integers(5)), rng.uniform(0, np.pi)
    if kind == 0:
        return np.zeros((height, width), np.uint8)
    if kind == 1:
        return np.where(_waves(height, width, angle, wavelength) & 128, 255, 0).astype(np.uint8)
    if kind == 2:
        u, v = (_waves(height, width, a, wavelength) & 255 for a in (angle, angle + np.pi / 2))
        return np.where((u - 128) ** 2 + (v - 128) ** 2 < 75**2, 255, 0).astype(np.uint8)
    if kind == 3:
        rows, cols = (max(2, round(side / wavelength)) for side in (height, width))
        coarse = rng.integers(0, 256, (rows, cols), dtype=np.uint8)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    ramp = _waves(height, width, angle, float(np.hypot(height, width)))
    return np.clip(ramp - int(ramp.min()), 0, 255).astype(np.uint8)


def paint_sprite(rng: Rng, region: Bytes, sprite: Sprite, crop: tuple[slice, slice], behind: Color) -> Color:
    """Paint a sprite in random texture and colours, in place.

    Args:
        rng: Random numbers.
        region: Where to paint, RGB. [h, w, 3]
        sprite: The object.
        crop: Which rows and columns of the sprite `region` shows.
        behind: Colours to stand out from. [n, 3]

    Returns:
        The object's mean colour. [3]
    """
    height, width = region.shape[:2]
    wavelength = max(10.0, rng.uniform(0.08, 0.2) * max(sprite.mask.shape))
    texture = draw_texture(rng, height, width, wavelength)
    first, second = _object_colors(rng, behind)
    # three bits of texture and five of shade: one look-up in a palette colours the object
    index = (texture & 0xE0) | (sprite.shade[crop] >> 3)
    surface = cv2.applyColorMap(index, _palette(first, second))
    region[:] = cv2.copyTo(surface, sprite.mask[crop], region.copy())
    return _seen(first, second)


def paint_background(rng: Rng, side: int, scale: int) -> Bytes:
    """Paint a textured ground with blobs, lines and single limbs, none of them an object.

    Args:
        rng: Random numbers.
        side: Side of the image in pixels.
        scale: Canvas pixels an image pixel.

    Returns:
        RGB. [side * scale, side * scale, 3]
    """
    first = _random_color(rng)
    second = np.clip(first + rng.uniform(-60, 60, 3), 0, 255)
    texture = draw_texture(rng, side, side, rng.uniform(0.06, 0.3) * side)
    mix = np.arange(256)[:, None] / 255
    ground = cv2.applyColorMap(texture, np.rint(first + (second - first) * mix).astype(np.uint8)[:, None])
    canvas = cv2.resize(ground, (side * scale, side * scale), interpolation=cv2.INTER_LINEAR_EXACT)
    for _ in range(int(rng.integers(2, 6))):
        _paint_blob(rng, canvas, _near(rng, first, 80))
    for _ in range(int(rng.integers(1, 6))):
        _paint_line(rng, canvas, _near(rng, first, 110))
    for _ in range(int(rng.integers(0, 4))):
        _paint_limb(rng, canvas, _near(rng, first, 120))
    return canvas


def finish(rng: Rng, canvas: Bytes, side: int) -> Bytes:
    """Shrink the canvas to the image and add sensor noise. [side, side, 3]."""
    image: Bytes = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    noise = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape) & 15
    return cv2.subtract(cv2.add(image, noise), np.full_like(image, 8))


def _waves(height: int, width: int, angle: float, wavelength: float) -> NDArray[np.int32]:
    """Return the phase of a plane wave in 1/256 of a period, not wrapped. [h, w]."""
    step_x, step_y = (round(65536 * float(f) / wavelength) for f in (np.cos(angle), np.sin(angle)))
    x, y = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)
    return ((x * step_x)[None, :] + (y * step_y)[:, None]) >> 8


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return points in the fixed-point integers that `_fill` and `_stroke` expect."""
    return np.rint(points * (1 << _FIXED_BITS)).astype(np.int32)


def _fill(canvas: Bytes, polygon: NDArray[np.int32], value: int | list[int]) -> None:
    cv2.fillConvexPoly(canvas, polygon, value, cv2.LINE_8, _FIXED_BITS)


def _stroke(canvas: Bytes, polygon: NDArray[np.int32], value: int | list[int], width: int) -> None:
    cv2.polylines(canvas, [polygon], isClosed=True, color=value, thickness=width, shift=_FIXED_BITS)


def _random_color(rng: Rng) -> Color:
    """Draw a colour of any hue, none of them very dark. [3]."""
    hue, saturation, value = rng.uniform(), rng.uniform(0.15, 1.0), rng.uniform(0.35, 1.0)
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _near(rng: Rng, color: Color, spread: float) -> list[int]:
    """Draw a colour within `spread` of another in each channel. [3]."""
    return [round(float(c)) for c in np.clip(color + rng.uniform(-spread, spread, 3), 0, 255)]


def _seen(first: Color, second: Color) -> Color:
    """Return the mean colour of an object of two colours: surfaces are shaded to about four fifths. [3]."""
    return 0.4 * (first + second)


def _object_colors(rng: Rng, behind: Color) -> tuple[Color, Color]:
    """Draw two related colours that stand out from every row of `behind`, the best of a few draws."""
    best, best_distance = (behind[0], behind[0]), -1.0
    for _ in range(TRIES):
        first = _random_color(rng)
        second = np.clip(first + rng.uniform(-100, 100, 3), 0, 255)
        seen = np.stack([_seen(first, first), _seen(first, second)])  # plain texture shows the first alone
        distance = float(np.linalg.norm(seen[:, None] - behind, axis=2).min())
        if distance > best_distance:
            best, best_distance = (first, second), distance
        if distance >= CONTRAST:
            break
    return best


def _palette(first: Color, second: Color) -> Bytes:
    """Return the RGB of every index: three high bits mix two colours, five low bits darken. [256, 1, 3]."""
    mix, shade = (np.arange(256) >> 5)[:, None] / 7, (np.arange(256) & 31)[:, None] / 31
    return np.rint((first + (second - first) * mix) * shade).astype(np.uint8)[:, None]


def _paint_blob(rng: Rng, canvas: Bytes, color: list[int]) -> None:
    side = len(canvas)
    center = rng.integers(0, side, 2).tolist()
    axes = rng.integers(side // 40, side // 5, 2).tolist()
    cv2.ellipse(canvas, center, axes, float(rng.integers(180)), 0, 360, color, -1)


def _paint_line(rng: Rng, canvas: Bytes, color: list[int]) -> None:
    side = len(canvas)
    start, end = rng.integers(-side // 8, side + side // 8, (2, 2)).tolist()
    cv2.line(canvas, start, end, color, max(1, round(side * rng.uniform(0.005, 0.02))))


def _paint_limb(rng: Rng, canvas: Bytes, color: list[int]) -> None:
    """Paint one or two joined segments that look like a part of an object."""
    side = len(canvas)
    joint, heading = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
    radius = side * rng.uniform(0.008, 0.035)
    rows = []
    for _ in range(int(rng.integers(1, 3))):
        end = joint + radius * rng.uniform(2, 6) * np.array([np.cos(heading), np.sin(heading)])
        rows.append([*joint, *end, radius, radius])
        joint, heading = end, heading + rng.uniform(-1.2, 1.2)
    for polygon in _fixed(outlines(np.array(rows))):
        _fill(canvas, polygon, color)
        _stroke(canvas, polygon, [c // 2 for c in color], 2)
