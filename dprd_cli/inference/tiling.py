"""Large images in tiles: each is looked at on its own, as is the whole, and what they find is merged.

The network sees every image at about the same size, so that on a large one small objects vanish. A tile is
looked at as an image of its own. What its border cuts is left to a view that has it whole: the tile beside,
if the overlap is as wide as the object, or the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms, box_area, box_iou

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.transforms import prepare
from dprd_cli.errors import UsageError
from dprd_cli.inference.tta import detect_views
from dprd_cli.ops.boxes import clip_boxes
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import without_objects

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector

_LEAST_TILE = 32
_EDGE = 0.01  # of a tile's side: nearer to its border than this, a box is cut
_COVERED = 0.7  # share of a cut box that lies in another one of its class, which then has it whole
_SAME = 0.5  # IoU, where two tiles overlap, of the pieces of one object


@dataclass(frozen=True, slots=True)
class Tiling:
    """How large images are cut.

    Args:
        size: Side of the square tiles, pixels of the image.
        overlap: Share of a tile that the next one shows again, at least.

    Raises:
        UsageError: If they are out of range.
    """

    size: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.size < _LEAST_TILE:
            raise UsageError(f"--tile {self.size}: expected at least {_LEAST_TILE} pixels")
        if not 0 <= self.overlap <= 0.9:
            raise UsageError(f"--overlap {self.overlap}: expected a share from 0 to 0.9")

    def cuts(self, image_size: tuple[int, int]) -> bool:
        """Whether an image of (height, width) has more than one tile."""
        return max(image_size) > self.size

    def windows(self, image_size: tuple[int, int]) -> list[TileWindow]:
        """Return the tiles of an image of (height, width), row by row; together they cover it."""
        height, width = image_size
        return [
            TileWindow(x, y, min(x + self.size, width), min(y + self.size, height))
            for y in self._starts(height)
            for x in self._starts(width)
        ]

    def _starts(self, side: int) -> list[int]:
        rest = side - self.size
        if rest <= 0:
            return [0]
        steps = math.ceil(rest / (self.size * (1 - self.overlap)))
        return [round(number * rest / steps) for number in range(steps + 1)]


class TileWindow(NamedTuple):
    """The part of an image that a tile shows, in pixels.

    Args:
        x1: Left.
        y1: Top.
        x2: Right, exclusive.
        y2: Bottom, exclusive.
    """

    x1: int
    y1: int
    x2: int
    y2: int


def detect_tiles(
    detector: Detector,
    image: NDArray[np.uint8],
    config: DataConfig,
    tiling: Tiling,
    *,
    masks: bool = True,
    tta: bool = False,
) -> Detections:
    """Detect in the tiles of an image and in the whole of it, one after the other, and merge.

    Law: what a tile says is what the detector says of that part of the image alone, moved to its place.

    Args:
        detector: In eval mode.
        image: RGB, larger than a tile. [H, W, 3]
        config: How each view is resized.
        tiling: The tiles.
        masks: Predict masks, where there are mask heads.
        tta: Look at each view at several scales and mirrored.

    Returns:
        Detections in the frame of the image, on the CPU, best score first; without a trace. Memory is that of
        the image, of one view, and of the detections.
    """
    size = (image.shape[0], image.shape[1])
    windows = [TileWindow(0, 0, size[1], size[0]), *tiling.windows(size)]
    found = [
        _moved(_look(detector, image, window, config, masks=masks, tta=tta), window, size)
        for window in windows
    ]
    every = _joined(found)
    view = torch.repeat_interleave(torch.tensor([len(one) for one in found]))
    kept, groups = sort_out_cuts(every, view, windows, tiling.size * _EDGE)
    parts = [every[kept]]
    if groups:
        whole = prepare(without_objects(image), config)[0].to(detector.device)
        parts.append(_united(detector, whole, every, groups, masks=masks))
    merged = _joined(parts)
    selector = detector.roi_heads.selector
    best = batched_nms(merged.boxes, merged.scores, selector.rivals(merged.labels), selector.nms_iou)
    return merged[best[: selector.most_in_tiles]]


def _look(
    detector: Detector,
    image: NDArray[np.uint8],
    window: TileWindow,
    config: DataConfig,
    *,
    masks: bool,
    tta: bool,
) -> Detections:
    part = np.ascontiguousarray(image[window.y1 : window.y2, window.x1 : window.x2])
    if tta:
        return detect_views(detector, part, config, masks=masks)
    tensor = prepare(without_objects(part), config)[0].to(detector.device)
    return detector.detect([tensor], masks=masks).detections[0]


def _moved(found: Detections, window: TileWindow, size: tuple[int, int]) -> Detections:
    """Return the detections of a tile in the frame of the image."""
    found = found.to("cpu").resize((window.y2 - window.y1, window.x2 - window.x1))
    shift = found.boxes.new_tensor([window.x1, window.y1] * 2)
    parts = None if found.part_boxes is None else found.part_boxes + shift
    return replace(found, boxes=found.boxes + shift, part_boxes=parts, image_size=size)


def _joined(found: Sequence[Detections]) -> Detections:
    """Return the detections of several views as one, in their order."""

    def join(name: str) -> Tensor | None:
        rows = [getattr(one, name) for one in found]
        return None if rows[0] is None else torch.cat(rows)

    boxes, scores, labels = (torch.cat([getattr(d, n) for d in found]) for n in ("boxes", "scores", "labels"))
    optional = (join(name) for name in ("masks", "mask_scores", "part_boxes"))
    return Detections(boxes, scores, labels, found[0].image_size, *optional)


def sort_out_cuts(
    found: Detections, view: Tensor, windows: Sequence[TileWindow], edge: float
) -> tuple[Tensor, list[list[int]]]:
    """Decide on the boxes that end at a border inside the image, where the object may go on.

    Such a box goes, if another tile shows the place with room around it, or if another view has the object
    whole: a box of the class in which it lies, of at least half its score. Of the others, those of two tiles
    that agree where both look are pieces of one object.

    Args:
        found: Detections of all views, in the frame of the image.
        view: Which window each is from, int64. [D]
        windows: The views; the first is the whole image.
        edge: Boxes that end this near to a border end at it, pixels.

    Returns:
        The rows that stay as they are, ascending, int64 [D']; the groups of pieces, two or more rows each.
    """
    boxes = found.boxes
    frames = boxes.new_tensor([tuple(window) for window in windows])  # [V, 4]
    free = _clearances(boxes, frames, found.image_size) > edge  # [D, V]
    cut = ~free[torch.arange(len(boxes)), view]
    elsewhere = free.clone()
    elsewhere[:, 0] = False  # the whole image has room around everything, but sees less
    pieces = []
    for row in torch.nonzero(cut & ~elsewhere.any(dim=1))[:, 0].tolist():
        rivals = ~cut & (found.labels == found.labels[row]) & (view != view[row])
        rivals &= found.scores >= found.scores[row] / 2
        if not (_shares(boxes[row], boxes[rivals]) >= _COVERED).any():
            pieces.append(row)
    groups = _groups(pieces, found, view, frames)
    alone = torch.tensor([group[0] for group in groups if len(group) == 1], dtype=torch.int64)
    kept = torch.cat((torch.nonzero(~cut)[:, 0], alone)).sort().values
    return kept, [group for group in groups if len(group) > 1]


def _clearances(boxes: Tensor, frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how far boxes are from the views' borders inside the image; negative outside. [D, V]."""
    inner = torch.stack(
        (frames[:, 0] > 0, frames[:, 1] > 0, frames[:, 2] < size[1], frames[:, 3] < size[0]), dim=1
    )
    far = boxes[:, None] - frames  # [D, V, 4]
    far[..., 2:] *= -1
    clearances: Tensor = torch.where(inner, far, torch.inf).amin(dim=2)  # at the image's border a box may end
    return clearances


def _shares(box: Tensor, others: Tensor) -> Tensor:
    """Return how much of a box [4] lies in each of the others [D, 4], as a share of its area. [D]."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shares: Tensor = (high - low).clamp(min=0).prod(dim=1) / box_area(box[None]).clamp(min=1e-6)
    return shares


def _groups(pieces: list[int], found: Detections, view: Tensor, frames: Tensor) -> list[list[int]]:
    """Put together the pieces of one object: of a class, and alike where their tiles overlap."""
    group = {row: row for row in pieces}

    def first(row: int) -> int:
        while group[row] != row:
            row = group[row]
        return row

    for number, row in enumerate(pieces):
        for other in pieces[number + 1 :]:
            if found.labels[row] == found.labels[other] and view[row] != view[other]:
                one, two = frames[view[row]], frames[view[other]]
                shared = torch.cat((torch.maximum(one[:2], two[:2]), torch.minimum(one[2:], two[2:])))
                if (shared[2:] > shared[:2]).all() and _agree(found.boxes[[row, other]], shared):
                    group[first(other)] = first(row)
    groups: dict[int, list[int]] = {}
    for row in pieces:
        groups.setdefault(first(row), []).append(row)
    return list(groups.values())


def _agree(boxes: Tensor, shared: Tensor) -> bool:
    """Whether two boxes [2, 4] are alike in a part of the image, xyxy [4]."""
    inside = torch.cat((boxes[:, :2].clamp(min=shared[:2]), boxes[:, 2:].clamp(max=shared[2:])), dim=1)
    return bool((inside[:, 2:] > inside[:, :2]).all()) and bool(
        box_iou(inside[:1], inside[1:])[0, 0] >= _SAME
    )


def _united(
    detector: Detector, whole: Tensor, found: Detections, groups: Sequence[Sequence[int]], *, masks: bool
) -> Detections:
    """Return an object for each group of pieces: their hull, described in the whole image [3, h, w]."""
    boxes = torch.stack(
        [
            torch.cat((found.boxes[group, :2].amin(dim=0), found.boxes[group, 2:].amax(dim=0)))
            for group in map(list, groups)
        ]
    )
    labels = torch.stack([found.labels[group[0]] for group in groups])
    scores = torch.stack([found.scores[list(group)].max() for group in groups])
    frame = (int(whole.shape[1]), int(whole.shape[2]))
    framed = Detections(boxes, scores, labels, found.image_size).resize(frame).to(detector.device)
    framed = replace(framed, boxes=clip_boxes(framed.boxes, framed.boxes.new_tensor(frame)))
    details = detector.forward_with_given_boxes(whole, framed.boxes, framed.labels, masks=masks)
    mask_scores = details.mask_scores(framed.scores)
    described = replace(framed, masks=details.masks, mask_scores=mask_scores, part_boxes=details.part_boxes)
    return replace(described.to("cpu").resize(found.image_size), boxes=boxes)
