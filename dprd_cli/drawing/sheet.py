"""Several images on one white sheet, with titles."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dprd_cli.drawing.canvas import WHITE, font, shorten
from dprd_cli.structures.sample import ImageArray


def grid(
    images: Sequence[ImageArray],
    columns: int,
    titles: Sequence[str] = (),
    *,
    width: int = 1920,
    gap: int = 10,
) -> ImageArray:
    """Set images in rows of equal width on white; each row's images share a height.

    Args:
        images: RGB, of any sizes. Each [h, w, 3]
        columns: Images a row.
        titles: A line above each image, or nothing.
        width: Width of the sheet, pixels, about.
        gap: Between images, pixels.

    Returns:
        RGB. [H', W', 3]

    Raises:
        ValueError: If there is no image.
    """
    if not images:
        raise ValueError("images: expected at least one image, but got none")
    columns = min(columns, len(images))
    inner = width - gap * (columns + 1)
    names = [*titles, *[""] * (len(images) - len(titles))]
    starts = range(0, len(images), columns)
    heights = [inner / sum(im.shape[1] / im.shape[0] for im in images[s : s + columns]) for s in starts]
    if len(images) % columns:  # a last row that is not full keeps the height of the others
        heights[-1] = min(heights[-1], float(np.median(heights[:-1])))
    strips = [
        _row(
            images[start : start + columns], names[start : start + columns], height, gap, titled=bool(titles)
        )
        for start, height in zip(starts, heights, strict=True)
    ]
    total = max(width, *(strip.shape[1] for strip in strips))
    padded = [
        cv2.copyMakeBorder(strip, 0, gap, 0, total - strip.shape[1], cv2.BORDER_CONSTANT, value=WHITE)
        for strip in strips
    ]
    return np.asarray(np.concatenate([np.full((gap, total, 3), 255, dtype=np.uint8), *padded]))


def _row(
    images: Sequence[ImageArray], titles: Sequence[str], height: float, gap: int, *, titled: bool
) -> ImageArray:
    """Return one row of a grid, its images scaled to one height."""
    size = 20
    face, head = font(size), (size + 14 if titled else 0)
    cells = [np.full((round(height) + head, gap, 3), 255, dtype=np.uint8)]
    for image, title in zip(images, titles, strict=True):
        wide, high = max(1, round(height * image.shape[1] / image.shape[0])), max(1, round(height))
        method = cv2.INTER_AREA if high < image.shape[0] else cv2.INTER_CUBIC
        cell = np.full((high + head, wide + gap, 3), 255, dtype=np.uint8)
        cell[head:, :wide] = cv2.resize(image, (wide, high), interpolation=method)
        if title:
            page = Image.fromarray(cell)
            text = shorten(title, wide, face)
            ImageDraw.Draw(page).text((wide / 2, head / 2), text, fill=(20, 20, 20), font=face, anchor="mm")
            cell = np.array(page)
        cells.append(cell)
    return np.concatenate(cells, axis=1)
