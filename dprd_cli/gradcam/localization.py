"""How well maps stay on objects: shares of their energy, and the pointing game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dprd_cli.drawing.style import BLUE, ORANGE

#: Region -> what the figure and the table call it.
REGIONS = {"mask": "in mask", "box": "in box"}
_MEASURES = tuple(f"{kind}_{region}" for region in REGIONS for kind in ("share", "hit", "area"))
#: Columns of `Localization.rows`.
COLUMNS = ("image", "object", "class", "model", "score", "layer", *_MEASURES)


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


class Localization:
    """Collects the maps of objects that every model found.

    Args:
        models: What to call each model.

    Attributes:
        rows: A dict by `COLUMNS` per object and model; `area_*` is the region's share of the image, which
            is what a map without any preference would score.
        missed: Annotated objects that not every model found.
    """

    def __init__(self, models: tuple[str, ...]) -> None:
        self.models = models
        self.rows: list[dict[str, Any]] = []
        self.missed = 0

    def add(
        self,
        known: dict[str, Any],
        maps: Sequence[tuple[NDArray[np.float32], dict[str, Any]]],
        box: NDArray[np.float32],
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """Add one object.

        Args:
            known: `image`, `object` and `class`.
            maps: Each model's map [H, W], with `score` and `layer`.
            box: The object's box, xyxy in pixels. [4]
            mask: The object's mask, where there is one. [H, W]
        """
        height, width = maps[0][0].shape
        regions = {"mask": mask, "box": box_region(box.tolist(), (height, width))}
        for model, (values, more) in zip(self.models, maps, strict=True):
            row = {**known, "model": model, **more, **dict.fromkeys(_MEASURES)}
            for name, inside in regions.items():
                if inside is not None:
                    row[f"share_{name}"] = energy_share(values, inside)
                    row[f"hit_{name}"] = pointing_hit(values, inside)
                    row[f"area_{name}"] = float(inside.mean())
            self.rows.append(row)

    def values(self, model: str, measure: str) -> NDArray[np.float64]:
        """Return a measure of one model's maps, NaN where there is none. [objects]."""
        return np.array([row[measure] for row in self.rows if row["model"] == model], dtype=np.float64)

    def result(self) -> dict[str, Any]:
        """Return means over the objects, and the first model's lead over the second.

        Returns:
            `objects`, `missed`; `models`: a dict each of `model`, `zero_maps` and the means of `share_*`,
            `hit_*`, `area_*`; `lead`: for each `share_*` the mean difference and half its interval, over the
            objects where both have a map. None where there is nothing to average.
        """
        models = [
            {"model": model, "zero_maps": int(np.isnan(self.values(model, "share_box")).sum())}
            | {measure: _mean(self.values(model, measure)) for measure in _MEASURES}
            for model in self.models
        ]
        lead = {}
        if len(self.models) > 1:
            for region in REGIONS:
                ours, theirs = (self.values(model, f"share_{region}") for model in self.models[:2])
                lead[f"share_{region}"] = _mean_and_interval(ours - theirs)
        objects = len(self.rows) // len(self.models)
        return {"objects": objects, "missed": self.missed, "models": models, "lead": lead}

    def plot(self) -> Figure:
        """Draw the shares of each model as box plots; dashes are a map without any preference."""
        regions = [r for r in REGIONS if np.isfinite(self.values(self.models[0], f"area_{r}")).any()]
        figure = Figure(figsize=(1.6 + 2.0 * len(regions), 3.6), dpi=200, layout="constrained")
        axes = figure.subplots()
        step = 1.0 / (len(self.models) + 1)
        for place, region in enumerate(regions):
            for number, (model, colour) in enumerate(zip(self.models, (ORANGE, BLUE), strict=False)):
                values = self.values(model, f"share_{region}")
                where = place + (number - (len(self.models) - 1) / 2) * step
                drawn = axes.boxplot(
                    values[np.isfinite(values)],
                    positions=[where],
                    widths=0.75 * step,
                    patch_artist=True,
                    showmeans=True,
                    flierprops={"markersize": 2, "markeredgecolor": "#777777"},
                    medianprops={"color": "black"},
                    meanprops={"marker": "D", "markersize": 3.5, "markerfacecolor": "white"}
                    | {"markeredgecolor": "black"},
                )
                drawn["boxes"][0].set(facecolor=colour, alpha=0.75, label=model if place == 0 else None)
            area = _mean(self.values(self.models[0], f"area_{region}")) or 0.0
            label = "uniform map" if place == 0 else "_"  # an underscore keeps it out of the legend
            axes.hlines(area, place - 0.45, place + 0.45, colors="#555555", linestyles="--", label=label)
        axes.set_xticks(range(len(regions)), [f"{REGIONS[region]}" for region in regions])
        axes.set(ylabel="share of the map's energy", ylim=(0, 1), xlim=(-0.5, len(regions) - 0.5))
        axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
        return figure


def _mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _mean_and_interval(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Return the mean, and half of its 95 % interval (normal approximation)."""
    finite = values[np.isfinite(values)]
    half = 1.96 * float(finite.std(ddof=1)) / len(finite) ** 0.5 if len(finite) > 1 else None
    return {"mean": _mean(finite), "interval": half, "objects": len(finite)}
