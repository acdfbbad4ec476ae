"""Part boxes that one can tell apart: which part moved where, and how much it did for the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from dprd_cli.drawing.canvas import DARK, ORANGE, WHITE, Box, Canvas, Color, Point, font, ink
from dprd_cli.model.parts import decompose
from dprd_cli.structures.part_names import PART_NAMES, part_letters
from dprd_cli.structures.sample import ImageArray

#: How parts are drawn: orange tones from light to dark, the paper's Fig. 6 (one orange, nothing else), or a
#: palette that every kind of colour vision tells apart.
STYLES = ("tones", "paper", "distinct")
_TONES: tuple[Color, ...] = ((255, 224, 130), (255, 179, 0), (245, 124, 0), (168, 66, 0))
_DISTINCT: tuple[Color, ...] = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115)),  # as in the evaluation's plot of parts
    *((213, 94, 0), (204, 121, 167), (86, 180, 233)),
)
#: Where in its box the sign of a part is: those of the halves are in four different corners.
_CORNERS: tuple[Point, ...] = ((0, 0), (1, 1), (1, 0), (0, 1))
_OBJECT_SIDE = 800  # pixels of an object that is cut out, at most
_OBJECT_EMPHASIS = 1.9  # its lines and texts: it is shown at half its size
_WHOLE = 0.7  # of the line width: a whole box
_LEAST_SIDE = 70  # pixels on the canvas from which an object gets more than lines
_LEAST_FALL = 0.005  # of a score, from which it is worth a number


@dataclass(frozen=True, slots=True)
class ObjectParts:
    """The parts of one object.

    Args:
        box: The whole, xyxy. [4]
        part_boxes: Its parts, xyxy. [P, 4]
        falls: By how much the class score falls without each part; more are not looked at. [P, ...] or None
    """

    box: Tensor
    part_boxes: Tensor
    falls: Tensor | None = None


def part_colors(count: int, style: str = "tones") -> list[Color]:
    """Return the colour of each part, in one of `STYLES`."""
    if style == "paper":
        return [ORANGE] * count
    if style == "distinct":
        return [_DISTINCT[number % len(_DISTINCT)] for number in range(count)]
    places = np.linspace(0, len(_TONES) - 1, count)
    channels = [np.interp(places, range(len(_TONES)), channel) for channel in zip(*_TONES, strict=True)]
    return [(round(red), round(green), round(blue)) for red, green, blue in zip(*channels, strict=True)]


def draw_parts(
    image: ImageArray,
    boxes: Tensor,
    part_boxes: Tensor | None,
    *,
    captions: Sequence[str] = (),
    style: str = "tones",
    falls: Tensor | None = None,
    detailed: bool = True,
    legend: bool = False,
    longest: int | None = None,
    emphasis: float = 1.0,
) -> ImageArray:
    """Draw whole boxes and their parts.

    The whole is white, each part has its colour and its letter, dashes are the reference parts, an arrow goes
    from a reference part's centre to the part's. In the style `paper` there are boxes only, all in orange.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        boxes: xyxy. [D, 4]
        part_boxes: xyxy, or None to draw whole boxes only. [D, P, 4]
        captions: A label for each box, or nothing.
        style: One of `STYLES`.
        falls: By how much each class score falls without each part: a number at the part, and the weight of
            its line; None leaves them out. [D, P or P+1]
        detailed: With letters, numbers, moves, tints and reference parts; else boxes alone.
        legend: Add a strip below that says what is what.
        longest: Make images smaller whose long side has more pixels.
        emphasis: Factor on lines and texts.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]

    Source: Fig. 6.
    """
    canvas = Canvas(image, longest, emphasis)
    order, rows = largest_first(boxes), box_rows(boxes)
    for index in order:
        if style == "paper":
            for part in [] if part_boxes is None else box_rows(part_boxes[index]):
                canvas.box(part, ORANGE, width=0.65, halo=True)
            canvas.box(rows[index], ORANGE, width=1.9, halo=True)
        elif part_boxes is None:
            canvas.box(rows[index], WHITE, width=_WHOLE, halo=True)
        else:
            one = ObjectParts(boxes[index], part_boxes[index], None if falls is None else falls[index])
            draw_object_parts(canvas, one, style=style, detailed=detailed)
    for box, text in zip(rows, captions, strict=False):
        canvas.chip(box, text, ORANGE if style == "paper" else DARK)
    drawn = canvas.finish()
    if not legend or part_boxes is None or style == "paper":
        return drawn
    return add_legend(drawn, part_boxes.shape[1], style, falls=falls is not None)


def draw_object(
    image: ImageArray,
    parts: ObjectParts,
    *,
    style: str = "tones",
) -> ImageArray:
    """Draw one object with its parts, cut out of its image and enlarged; its label is for whoever shows it.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        parts: The object, in the frame of the image.
        style: One of `STYLES`.

    Returns:
        RGB, between 3:4 and 4:3 where the image allows it. [h, w, 3]
    """
    boxes = torch.cat([parts.box[None], parts.part_boxes]).float()
    low, high = boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)
    middle, size = (low + high) / 2, 1.3 * (high - low) + 4
    size = torch.maximum(size, 0.75 * size.flip(0))
    limit = torch.tensor([image.shape[1], image.shape[0]])
    start = torch.minimum((middle - size / 2).floor().clamp(min=0), limit - 1).int()
    stop = torch.maximum(torch.minimum((middle + size / 2).ceil(), limit).int(), start + 1)
    (left, top), (right, bottom) = start.tolist(), stop.tolist()
    shift = boxes.new_tensor([left, top, left, top])
    window = np.ascontiguousarray(image[top:bottom, left:right])
    return draw_parts(
        window,
        boxes[:1] - shift,
        boxes[None, 1:] - shift,
        style=style,
        falls=None if parts.falls is None else parts.falls[None],
        longest=_OBJECT_SIDE,
        emphasis=_OBJECT_EMPHASIS,
    )


def draw_object_parts(
    canvas: Canvas,
    parts: ObjectParts,
    *,
    style: str = "tones",
    whole: Color | None = WHITE,
    fill: bool = True,
    detailed: bool = True,
) -> None:
    """Draw one object: its whole box, its reference parts, its parts, their letters and moves.

    Args:
        canvas: To draw on.
        parts: The object.
        style: One of `STYLES`.
        whole: Colour of the whole box; None leaves it out.
        fill: Tint the parts.
        detailed: With letters, numbers, moves and reference parts, where the object is large enough.
    """
    count = len(parts.part_boxes)
    colors, letters = part_colors(count, style), part_letters(count)
    (box,), boxes = box_rows(parts.box[None]), box_rows(parts.part_boxes)
    references = box_rows(decompose(parts.box.float(), count))
    side = canvas.scale * min(box[2] - box[0], box[3] - box[1])
    detailed = detailed and style != "paper" and side >= _LEAST_SIDE
    falls = None if parts.falls is None else parts.falls[:count].tolist()
    for part, color in zip(boxes, colors, strict=True) if detailed and fill else ():
        canvas.fill(part, color, min(0.13, 0.5 / count))
    for reference in references if detailed else ():
        canvas.box(reference, WHITE, width=0.5, dashed=True)
    for number, (part, color) in enumerate(zip(boxes, colors, strict=True)):
        canvas.box(part, color, width=_weight(falls, number), halo=True)
    if whole is not None:
        canvas.box(box, whole, width=_WHOLE, halo=True)
    if not detailed:
        return
    for number, (part, reference, color) in enumerate(zip(boxes, references, colors, strict=True)):
        canvas.arrow(_centre(reference), _centre(part), color)
        sign = letters[number]
        if falls is not None and abs(falls[number]) >= _LEAST_FALL:
            sign += f" {-falls[number]:+.2f}".replace("-", "\N{MINUS SIGN}")
        canvas.tag(part, _CORNERS[number] if number < len(_CORNERS) else (0.5, 0.5), sign, color)


def compare_parts(
    image: ImageArray, boxes: Tensor, part_boxes: Tensor, *, style: str = "tones", longest: int | None = None
) -> tuple[ImageArray, ImageArray]:
    """Draw reference parts, and deformed parts.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        boxes: xyxy. [D, 4]
        part_boxes: Deformed parts of the same boxes, xyxy. [D, P, 4]
        style: One of `STYLES`.
        longest: Make images smaller whose long side has more pixels.

    Returns:
        Two images of one size, RGB. Each [H', W', 3]
    """
    reference = decompose(boxes, part_boxes.shape[1])
    return (
        draw_parts(image, boxes, reference, style=style, longest=longest),
        draw_parts(image, boxes, part_boxes, style=style, longest=longest),
    )


def add_legend(image: ImageArray, count: int, style: str, *, falls: bool) -> ImageArray:
    """Put a strip below an image that says what is what in it.

    Args:
        image: RGB. [H, W, 3]
        count: P.
        style: One of `STYLES`, not `paper`.
        falls: Explain the numbers, too.

    Returns:
        RGB. [H', W, 3]
    """
    width = image.shape[1]
    size = int(np.clip(width // 48, 11, 26))
    face, gap = font(size), size
    signs = zip(part_letters(count), PART_NAMES[count], part_colors(count, style), strict=True)
    items: list[tuple[str, str, Color | None]] = [
        ("whole", "object", None),
        ("dashed", "reference part", None),
    ]
    items += [(letter, name, color) for letter, name, color in signs]
    items += [("arrow", "move of its centre", None)]
    items += [("\N{MINUS SIGN}0.12", "what the score loses without the part", None)] if falls else []
    places, x, y = [], gap, gap
    for sign, text, color in items:
        swatch = 2 * size if sign in ("whole", "dashed", "arrow") else int(face.getlength(sign)) + size // 2
        wide = swatch + size // 3 + int(face.getlength(text))
        if x > gap and x + wide > width - gap:
            x, y = gap, y + round(1.7 * size)
        places.append((x, y, swatch, sign, text, color))
        x += wide + gap
    strip = Image.new("RGB", (width, y + round(1.7 * size)), WHITE)
    pen = ImageDraw.Draw(strip)
    for x, y, swatch, sign, text, color in places:
        middle = y + size // 2
        _draw_swatch(pen, (x, y - size // 6, x + swatch, y + size + size // 6), sign, color, face.size)
        pen.text((x + swatch + size // 3, middle), text, fill=DARK, font=face, anchor="lm")
    return np.concatenate([image, np.asarray(strip)])


def _draw_swatch(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], sign: str, color: Color | None, size: float
) -> None:
    x1, y1, x2, y2 = box
    middle, line = (y1 + y2) // 2, max(1, round(size / 9))
    if sign == "whole":
        pen.rectangle(box, fill=WHITE, outline=DARK, width=line)
    elif sign == "dashed":
        step = max(2, (x2 - x1) // 5)
        for x in range(x1, x2, 2 * step):
            pen.line((x, middle, min(x + step, x2), middle), fill=(120, 120, 120), width=line + 1)
    elif sign == "arrow":
        pen.line((x1, middle, x2 - 1, middle), fill=DARK, width=line + 1)
        head = size / 3
        pen.polygon([(x2, middle), (x2 - head, middle - head), (x2 - head, middle + head)], fill=DARK)
    else:
        pen.rectangle(box, fill=color or (235, 235, 235))
        pen.text(((x1 + x2) / 2, middle), sign, fill=ink(color or WHITE), font=font(round(size)), anchor="mm")


def _weight(falls: Sequence[float] | None, number: int) -> float:
    """Return the width of a part's line: that of the part which the score needs most is the largest."""
    if falls is None or max(falls) < 0.02:
        return 0.75
    return 0.6 + 1.1 * max(0.0, falls[number]) / max(falls)


def _centre(box: Box) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def box_rows(boxes: Tensor) -> list[Box]:
    """Return boxes [N, 4] as tuples."""
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.detach().cpu().float().tolist()]


def largest_first(boxes: Tensor) -> list[int]:
    """Return the order of boxes [N, 4] in which small objects end up on top."""
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order: list[int] = torch.argsort(sizes, descending=True).tolist()
    return order
