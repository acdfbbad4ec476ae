"""How much of a map lies in a region of its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RegionMeasures:
    """How a map lies to a region.

    Args:
        share: Share of its energy inside; see `energy_share`.
        hit: Whether its maximum is inside; see `pointing_hit`.
        area: The region's share of the image, which is what a map without any preference would score.
    """

    share: float | None
    hit: bool | None
    area: float


def measure_region(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> RegionMeasures:
    """Return how a map [H, W] lies to a region. [H, W]."""
    return RegionMeasures(energy_share(values, inside), pointing_hit(values, inside), float(inside.mean()))


def energy_share(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float | None:
    """Return the share 0..1 of a map's sum that lies inside a region; None for a map of zeros.

    Args:
        values: At least 0. [H, W]
        inside: [H, W]

    Source: "energy-based pointing game", Wang et al. 2020.
    """
    total = float(values.sum(dtype=np.float64))
    return float(values[inside].sum(dtype=np.float64)) / total if total > 0 else None


def pointing_hit(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> bool | None:
    """Return whether a map's maximum (the first, of equal ones) is inside; None for a map of zeros.

    Source: "pointing game", Zhang et al. 2016, without its tolerance of 15 pixels.
    """
    return bool(inside.flat[int(values.argmax())]) if values.max(initial=0.0) > 0 else None


def box_region(box: Sequence[float], image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of an image (height, width) whose centres lie in an xyxy box. [H, W]."""
    x1, y1, x2, y2 = box
    rows, columns = (np.arange(size) + 0.5 for size in image_size)
    return np.outer((rows >= y1) & (rows < y2), (columns >= x1) & (columns < x2))
