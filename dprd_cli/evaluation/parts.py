"""How far parts deform, and how much of it adapts to the instance.

An offset is measured as Eq. 2 makes it: the shift of a part's centre in units of the reference part's
size, and the logarithm of the size ratio. If every instance had the same offsets (one template), the
spread around the mean would be zero however far the parts moved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dprd_cli.model.parts import decompose
from dprd_cli.ops.boxes import paired_iou, to_centers
from dprd_cli.structures.detections import Detections

_HALVES = ("left", "right", "upper", "bottom")
_QUADRANTS = ("upper left", "upper right", "bottom left", "bottom right")
_STRIPS = tuple(f"{kind} {n}" for kind in ("column", "row") for n in range(1, 5))
#: Names of the parts, by part count, in `decompose`'s order.
PART_NAMES: dict[int, tuple[str, ...]] = {
    2: _HALVES[:2],
    4: _HALVES,
    8: _HALVES + _QUADRANTS,
    16: _HALVES + _QUADRANTS + _STRIPS,
}

#: Columns of `PartStatistics.rows`.
COLUMNS = (
    *("class", "objects", "part", "iou", "dx", "dy", "abs_dx", "abs_dy", "log_w", "log_h"),
    *("motion", "spread_class", "spread_global"),
)


def part_offsets(part_boxes: Tensor, boxes: Tensor) -> Tensor:
    """Return the offsets (dx, dy, dw, dh) that turn the reference parts of `boxes` into `part_boxes`.

    Args:
        part_boxes: xyxy. [D, P, 4]
        boxes: xyxy, of positive size. [D, 4]

    Returns:
        Units of the reference part's size, sizes as log ratios. [D, P, 4]

    Source: Eq. 2, inverted.
    """
    x, y, width, height = to_centers(decompose(boxes, part_boxes.shape[1]))
    moved_x, moved_y, moved_w, moved_h = to_centers(part_boxes)
    return torch.stack(
        (
            (moved_x - x) / width,
            (moved_y - y) / height,
            torch.log(moved_w / width),
            torch.log(moved_h / height),
        ),
        dim=-1,
    )


class PartStatistics:
    """Collects the parts of detections and tells, per class and over all, how they deform.

    Args:
        class_names: Name of each class index. [K]
    """

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self._offsets: list[Tensor] = []
        self._ious: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, detections: Detections) -> None:
        """Add one image's detections; nothing where the detector has no parts."""
        if detections.part_boxes is None or not len(detections):
            return
        parts, boxes = detections.part_boxes.cpu().double(), detections.boxes.cpu().double()
        sizes = torch.cat((parts[..., 2:] - parts[..., :2], (boxes[:, 2:] - boxes[:, :2])[:, None]), dim=1)
        whole = (sizes > 0).all(dim=-1).all(dim=-1)
        parts, boxes = parts[whole], boxes[whole]
        self._offsets.append(part_offsets(parts, boxes))
        self._ious.append(paired_iou(parts, decompose(boxes, parts.shape[1])))
        self._labels.append(detections.labels.cpu()[whole])

    def result(self) -> dict[str, Any]:
        """Return the statistics as plain containers.

        Returns:
            `parts` (names), `all` and `classes` (those with objects, most objects first), each with
            `name`, `objects`, `iou` (mean with the reference parts), `moved` (share of parts with IoU below
            0.999), `abs_dx`, `abs_dy` (means, in part sizes), `log_w`, `log_h` (means), `motion` (root
            mean square of all offsets), `spread_class` and `spread_global` (the same after subtracting the
            class's or the global mean offsets: what adapts to the instance; a single object has no spread),
            and `per_part`: each part's `part` name, `iou`, `dx`, `dy`, `abs_dx`, `abs_dy`, `log_w`, `log_h`.
        """
        if not self._labels or not sum(map(len, self._labels)):
            return {"parts": [], "all": None, "classes": []}
        offsets, ious, labels = torch.cat(self._offsets), torch.cat(self._ious), torch.cat(self._labels)
        names = PART_NAMES[offsets.shape[1]]
        template = offsets.mean(dim=0)
        classes = []
        for label in sorted(set(labels.tolist())):
            own = labels == label
            classes.append(_describe(self.class_names[label], names, offsets[own], ious[own], template))
        classes.sort(key=lambda row: (-row["objects"], row["name"]))
        total = _describe("all", names, offsets, ious, template)
        # over all classes, what is left of the motion once each class has its own template
        weights = [row["objects"] * row["spread_class"] ** 2 for row in classes]
        total["spread_class"] = (sum(weights) / len(labels)) ** 0.5
        return {"parts": list(names), "all": total, "classes": classes}

    def rows(self) -> list[dict[str, Any]]:
        """Return the statistics as flat rows for a CSV: one per class and part, `all` first."""
        result = self.result()
        groups = [result["all"], *result["classes"]] if result["all"] else []
        shared = ("motion", "spread_class", "spread_global")
        return [
            {"class": group["name"], "objects": group["objects"]} | part | {key: group[key] for key in shared}
            for group in groups
            for part in group["per_part"]
        ]


def _describe(
    name: str, parts: tuple[str, ...], offsets: Tensor, ious: Tensor, template: Tensor
) -> dict[str, Any]:
    """Describe one group. Offsets [D, P, 4], IoUs [D, P], global mean offsets [P, 4]."""
    mean, size = offsets.mean(dim=0), offsets.abs().mean(dim=0)  # [P, 4] each
    per_part = [
        {
            "part": part,
            "iou": iou,
            "dx": dx,
            "dy": dy,
            "abs_dx": abs_dx,
            "abs_dy": abs_dy,
            "log_w": log_w,
            "log_h": log_h,
        }
        for part, iou, (dx, dy, log_w, log_h), (abs_dx, abs_dy, _, _) in zip(
            parts, ious.mean(dim=0).tolist(), mean.tolist(), size.tolist(), strict=True
        )
    ]
    return {
        "name": name,
        "objects": len(offsets),
        "iou": ious.mean().item(),
        "moved": (ious < 0.999).double().mean().item(),
        "abs_dx": size[:, 0].mean().item(),
        "abs_dy": size[:, 1].mean().item(),
        "log_w": mean[:, 2].mean().item(),
        "log_h": mean[:, 3].mean().item(),
        "motion": _rms(offsets),
        "spread_class": _rms(offsets - mean),
        "spread_global": _rms(offsets - template),
        "per_part": per_part,
    }


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


class PartDrift:
    """Mean IoU of detected parts with the reference parts of their boxes: 1 where nothing moved."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    @staticmethod
    def of(detections: Detections) -> tuple[float, int]:
        """Return the sum over one image's parts, and their number: none where the detector has no parts."""
        parts = detections.part_boxes
        if parts is None or not parts.shape[1]:
            return 0.0, 0
        overlap = paired_iou(parts.float(), decompose(detections.boxes.float(), parts.shape[1]))
        return overlap.sum().item(), overlap.numel()

    def add(self, drift: tuple[float, int]) -> None:
        """Count one image, as `of` returns it."""
        self._sum, self._count = self._sum + drift[0], self._count + drift[1]

    def result(self) -> dict[str, float]:
        """Return `{"part_iou": ...}`, or nothing where there were no parts."""
        return {"part_iou": self._sum / self._count} if self._count else {}
