"""Images of detections and targets."""

from __future__ import annotations

from collections.abc import Sequence

from dprd_cli.drawing.canvas import Canvas, class_color
from dprd_cli.drawing.parts import ObjectParts, box_rows, draw_object_parts, largest_first
from dprd_cli.ops.masks import paste_crop
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import ImageArray

#: What decides an object's colour.
COLORED_BY = ("class", "instance")


def draw_detections(
    image: ImageArray,
    detections: Detections,
    class_names: Sequence[str],
    *,
    score_thresh: float = 0.5,
    masks: bool = True,
    parts: bool = False,
    part_style: str = "tones",
    color_by: str = "",
) -> ImageArray:
    """Draw masks, boxes, class names and scores, and the parts where asked.

    Args:
        image: RGB; left unchanged. [H, W, 3]
        detections: In the frame of the image.
        class_names: Name of each class index.
        score_thresh: Leave out detections below this score.
        masks: Draw masks, where there are any.
        parts: Draw part boxes, where there are any, with what the score loses without each, if known.
        part_style: One of `drawing.parts.STYLES`.
        color_by: One of `COLORED_BY`; empty: by instance where there is one class.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]
    """
    canvas = Canvas(image)
    shown = detections[detections.scores >= score_thresh].to("cpu")
    order = largest_first(shown.boxes)
    by_instance = color_by == "instance" or (not color_by and len(class_names) == 1)
    numbers = range(len(shown)) if by_instance else shown.labels.tolist()
    colors = [class_color(number) for number in numbers]
    with_masks = masks and shown.masks is not None
    if masks and shown.masks is not None:
        for index in order:
            box = shown.boxes[index].float() * canvas.scale
            crop, x, y = paste_crop(shown.masks[index], box, canvas.size)
            canvas.mask(crop, x, y, colors[index])
    boxes = box_rows(shown.boxes)
    for index in order:
        if parts and shown.part_boxes is not None:
            falls = None if shown.part_falls is None else shown.part_falls[index]
            one = ObjectParts(shown.boxes[index], shown.part_boxes[index], falls)
            draw_object_parts(canvas, one, style=part_style, whole=None, fill=not with_masks)
        canvas.box(boxes[index], colors[index], width=1.3 if parts else 1.0)
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
    order, boxes, labels = largest_first(target.boxes), box_rows(target.boxes), target.labels.tolist()
    if target.masks is not None:
        for index in order:
            if target.has_mask[index]:
                canvas.full_mask(target.masks[index].numpy().astype(bool), class_color(labels[index]))
    for index in order:
        canvas.box(boxes[index], class_color(labels[index]))
    for box, label in zip(boxes, labels, strict=True):
        canvas.chip(box, class_names[label], class_color(label))
    return canvas.finish()
