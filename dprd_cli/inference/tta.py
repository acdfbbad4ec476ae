"""Multi-scale testing: one image, seen at several sizes and mirrored, gives one set of detections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.transforms import resize, resize_shape, to_tensors
from dprd_cli.ops.boxes import clip_boxes
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import without_objects

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector
    from dprd_cli.model.selection import BoxDetails

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageView:
    """One way to look at an image.

    Args:
        size: (height, width) that it is resized to.
        flipped: Mirrored left and right, after resizing.
    """

    size: Size
    flipped: bool

    def render(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the image, RGB [H, W, 3], as the network sees it. [3, h, w]."""
        tensor = to_tensors(resize(without_objects(image), self.size))[0]
        return tensor.flip(-1) if self.flipped else tensor

    def place(self, boxes: Tensor, frame: Size) -> Tensor:
        """Map boxes from an image of size `frame` into the view. [D, 4]; `lift` undoes it."""
        boxes = boxes * _scale(boxes, frame, self.size)
        return _mirror(boxes, self.size[1]) if self.flipped else boxes

    def lift(self, boxes: Tensor, frame: Size) -> Tensor:
        """Map boxes from the view into an image of size `frame` (height, width). [D, 4]."""
        boxes = _mirror(boxes, self.size[1]) if self.flipped else boxes
        return boxes * _scale(boxes, self.size, frame)


def _scale(boxes: Tensor, before: Size, after: Size) -> Tensor:
    return boxes.new_tensor([after[1] / before[1], after[0] / before[0]] * 2)


def _mirror(boxes: Tensor, width: int) -> Tensor:
    """Mirror left and right: x becomes width - x. [D, 4]."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack((width - x2, y1, width - x1, y2), dim=-1)


def view_sizes(config: DataConfig) -> tuple[int, ...]:
    """Return the short sides to test at, in pixels.

    Reading: the paper names no sizes. `tta_min_sizes`, or nine from 1/2 to 3/2 of `test_min_size`: at 800
    these are Detectron2's 400, 500, ..., 1200.
    """
    return config.tta_min_sizes or tuple(round(config.test_min_size * n / 8) for n in range(4, 13))


def make_views(image_size: Size, config: DataConfig) -> list[ImageView]:
    """Return every size of an image of `image_size`, each as it is and, with `tta_flip`, mirrored."""
    sizes = [resize_shape(*image_size, side, config.tta_max_size) for side in view_sizes(config)]
    flips = (False, True) if config.tta_flip else (False,)
    return [ImageView(size, flipped) for size in dict.fromkeys(sizes) for flipped in flips]


@torch.no_grad()
def detect_views(
    detector: Detector,
    image: NDArray[np.uint8],
    config: DataConfig,
    *,
    masks: bool = True,
) -> Detections:
    """Detect in one image at every view, one after the other, and merge.

    Law: with the test size as the only size and no flip, the result is the plain one, bit by bit (with
    `model.parts.refeed=lookup`).

    Args:
        detector: In eval mode.
        image: RGB. [H, W, 3]
        config: `tta_min_sizes`, `tta_max_size` and `tta_flip` are the views; `test_min_size` and `max_size`
            the frame.
        masks: Predict masks, where there are mask heads.

    Returns:
        Detections in the frame of the plain test image, as `Detector.detect` gives them; without a trace,
        which belongs to one view.

    Source: "multi-scale testing" in Table 4; the scheme is that of Detectron2's `GeneralizedRCNNWithTTA`.
    Reading: its boxes are merged in the test frame and not in the original image's, which is the same but
    for rounding; each view resizes the original image and not the test image.
    """
    size = (image.shape[0], image.shape[1])
    plain = ImageView(resize_shape(*size, config.test_min_size, config.max_size), flipped=False)
    views = make_views(size, config)
    found = []
    for view in views:
        seen = detector.detect([view.render(image)], masks=False).detections[0]
        boxes = clip_boxes(view.lift(seen.boxes, plain.size), seen.boxes.new_tensor(plain.size))
        found.append(Detections(boxes, seen.scores, seen.labels, plain.size))
    selector = detector.roi_heads.selector
    merged = merge(found, selector.nms_iou, selector.detections_per_image, selector.rivals)
    return _describe(detector, image, merged, plain, views, masks=masks)


def merge(
    found: list[Detections],
    nms_iou: float,
    limit: int,
    group_of: Callable[[Tensor], Tensor] | None = None,
) -> Detections:
    """Unite the detections of several views by NMS per class.

    Law: of one view, or of views that find nothing in common, all are kept; the best score comes first.

    Args:
        found: Detections of each view, all in one frame, each after its own NMS.
        nms_iou: IoU above which, of two views' detections of a class, that of lower score goes.
        limit: Most detections that are kept.
        group_of: Classes [D] -> the groups within which detections suppress each other [D]; the classes.

    Reading: Detectron2 runs NMS over all detections again. Those of one view have been through it, so here
    they do not suppress each other: the same result, but rounding cannot change a single view's.
    """
    boxes, scores, labels = (
        torch.cat([getattr(d, name) for d in found]) for name in ("boxes", "scores", "labels")
    )
    view = torch.repeat_interleave(torch.tensor([len(d) for d in found])).to(labels.device)
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels, view = boxes[order], scores[order], labels[order], view[order]
    groups = labels if group_of is None else group_of(labels)
    rivals = (groups[:, None] == groups) & (view[:, None] != view) & (box_iou(boxes, boxes) > nms_iou)
    overlaps = rivals.cpu().numpy()
    alive = np.ones(len(boxes), dtype=bool)
    for row in range(len(boxes)):
        if alive[row]:
            alive[row + 1 :] &= ~overlaps[row, row + 1 :]
    keep = torch.from_numpy(np.flatnonzero(alive)[:limit]).to(labels.device)
    return Detections(boxes[keep], scores[keep], labels[keep], found[0].image_size)


def _describe(
    detector: Detector,
    image: NDArray[np.uint8],
    merged: Detections,
    plain: ImageView,
    views: list[ImageView],
    *,
    masks: bool,
) -> Detections:
    """Add part boxes, as the plain view has them, and masks and mask IoUs, averaged over the views.

    Reading: the mask branch of each view decomposes the boxes by its own DPR-Net, as it does at one scale.
    """

    def look(view: ImageView) -> BoxDetails:
        boxes = view.place(merged.boxes, plain.size)
        return detector.forward_with_given_boxes(view.render(image), boxes, merged.labels, masks=masks)

    first = look(plain)
    if first.masks is None or not len(merged):
        scores = first.mask_scores(merged.scores)
        return replace(merged, masks=first.masks, mask_scores=scores, part_boxes=first.part_boxes)
    total = torch.zeros_like(first.masks, dtype=torch.float32)  # mixed precision gives 16 bits
    total_iou = torch.zeros_like(merged.scores)
    for view in views:
        seen = first if view == plain else look(view)
        assert seen.masks is not None
        total += seen.masks.flip(-1) if view.flipped else seen.masks
        total_iou += 0 if seen.mask_ious is None else seen.mask_ious
    ious = None if first.mask_ious is None else total_iou / len(views)
    details = first._replace(masks=(total / len(views)).to(first.masks.dtype), mask_ious=ious)
    scores = details.mask_scores(merged.scores)
    return replace(merged, masks=details.masks, mask_scores=scores, part_boxes=details.part_boxes)
