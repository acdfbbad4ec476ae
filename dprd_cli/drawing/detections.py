"""Images of detections, targets and parts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from dprd_cli.drawing.canvas import ORANGE, WHITE, Box, Canvas, class_color, font, shorten
from dprd_cli.ops.masks import paste_crop
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import ImageArray


def draw_detections(
    image: ImageArray,
    detections: Detections,
    class_names: Sequence[str],
    *,
    score_thresh: float = 0.5,
    masks: bool = True,
    parts: bool = False,
) -> ImageArray:
    """Draw masks, boxes, class names and scores, and the parts in orange where asked.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        detections: In the frame of the image.
        class_names: Name of each class index.
        score_thresh: Leave out detections below this score.
        masks: Draw masks, where there are any.
        parts: Draw part boxes, where there are any.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]
    """
    canvas = Canvas(image)
    shown = detections[detections.scores >= score_thresh].to("cpu")
    order = _largest_first(shown.boxes)
    colors = [class_color(label) for label in shown.labels.tolist()]
    if masks and shown.masks is not None:
        for index in order:
            box = shown.boxes[index].float() * canvas.scale
            crop, x, y = paste_crop(shown.masks[index], box, canvas.size)
            canvas.mask(crop, x, y, colors[index])
    boxes = _rows(shown.boxes)
    for index in order:
        if parts and shown.part_boxes is not None:
            _draw_part_boxes(canvas, shown.part_boxes[index])
        canvas.box(boxes[index], colors[index])
    for box, label, score, color in zip(
        boxes, shown.labels.tolist(), shown.scores.tolist(), colors, strict=True
    ):
        canvas.chip(box, f"{class_names[label]} {score:.2f}", color)
    return canvas.finish()


def draw_targets(image: ImageArray, target: Target, class_names: Sequence[str]) -> ImageArray:
    """Draw what an image is trained on: masks, boxes, class names.

    Args:
        image: RGB, of `target.image_size`; left unchanged. [H, W, 3]
        target: In the frame of the image.
        class_names: Name of each class index.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]
    """
    canvas, target = Canvas(image), target.to("cpu")
    order, boxes, labels = _largest_first(target.boxes), _rows(target.boxes), target.labels.tolist()
    if target.masks is not None:
        for index in order:
            if target.has_mask[index]:
                canvas.full_mask(target.masks[index].numpy().astype(bool), class_color(labels[index]))
    for index in order:
        canvas.box(boxes[index], class_color(labels[index]))
    for box, label in zip(boxes, labels, strict=True):
        canvas.chip(box, class_names[label], class_color(label))
    return canvas.finish()


def draw_parts(
    image: ImageArray,
    boxes: Tensor,
    part_boxes: Tensor | None,
    *,
    captions: Sequence[str] = (),
    fixed: bool = False,
) -> ImageArray:
    """Draw whole boxes (thick) and their parts (thin) in orange, as the paper's Fig. 6 does.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        boxes: xyxy. [D, 4]
        part_boxes: xyxy, or None to draw whole boxes only. [D, P, 4]
        captions: A label for each box, or nothing.
        fixed: Draw the parts as white dashes, the sign of reference parts.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]
    """
    canvas = Canvas(image)
    order, rows = _largest_first(boxes), _rows(boxes)
    for index in order:
        if part_boxes is not None:
            _draw_part_boxes(canvas, part_boxes[index], fixed=fixed)
        canvas.box(rows[index], ORANGE, width=1.9, halo=True)
    for box, text in zip(rows, captions, strict=False):
        canvas.chip(box, text, ORANGE)
    return canvas.finish()


def compare_parts(image: ImageArray, detections: Detections, reference_parts: Tensor) -> ImageArray:
    """Draw reference parts (left) beside deformed parts (right).

    Args:
        image: RGB; left unchanged. [H, W, 3]
        detections: With part boxes, in the frame of the image.
        reference_parts: Reference parts of the same boxes, xyxy. [D, P, 4]

    Returns:
        RGB. [H', W', 3]
    """
    left = draw_parts(image, detections.boxes, reference_parts, fixed=True)
    right = draw_parts(image, detections.boxes, detections.part_boxes)
    return grid([left, right], 2, ["reference parts", "deformed parts"], width=2 * left.shape[1] + 30)


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


def _draw_part_boxes(canvas: Canvas, part_boxes: Tensor, *, fixed: bool = False) -> None:
    for part in _rows(part_boxes):
        canvas.box(part, WHITE if fixed else ORANGE, width=0.65, halo=True, dashed=fixed)


def _rows(boxes: Tensor) -> list[Box]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.detach().cpu().float().tolist()]


def _largest_first(boxes: Tensor) -> list[int]:
    """Return the order in which small objects end up on top."""
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order: list[int] = torch.argsort(sizes, descending=True).tolist()
    return order
