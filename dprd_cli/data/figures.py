"""Figures of a data set: its annotations, what training makes of them, and its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.loading import TrainLoader
from dprd_cli.data.statistics import SIZES, Floats, SplitStatistics
from dprd_cli.data.train_items import TrainReader
from dprd_cli.data.transforms import to_tensors
from dprd_cli.drawing.axes import tidy
from dprd_cli.drawing.detections import draw_targets
from dprd_cli.drawing.sheet import grid
from dprd_cli.drawing.style import BLACK, BLUE, GREEN, ORANGE, save_figure
from dprd_cli.files.images import write_image
from dprd_cli.files.output_folder import OutputChoice, output_folder
from dprd_cli.runtime.progress import progress
from dprd_cli.structures.detections import Target
from dprd_cli.structures.sample import Dataset, ImageArray, Split

_A_SHEET, _COLUMNS = 12, 4
_MOST_CLASSES = 25
_COLORS = {"train": BLUE, "val": ORANGE}


def draw_split(
    dataset: Dataset, split: Split, config: DataConfig, output: OutputChoice, *, limit: int, seed: int
) -> Iterator[Path]:
    """Draw images as they are annotated, and those of the training split as training sees them.

    They are in sheets `SPLIT_annotated0.png`, `train_batch0.png` and so on, in the order in which a training
    with this seed sees them.

    Args:
        dataset: The split.
        split: Which split it is.
        config: Sizes and augmentation.
        output: Where the sheets go; `shown` by default.
        limit: Images of each kind.
        seed: Seed of the order and the augmentation.

    Yields:
        Each file written.

    Raises:
        ResourceError: If a file cannot be written.
    """
    starts = [f"{split}_annotated", *(["train_batch"] if split == "train" else [])]
    sheets = range(-(-min(limit, len(dataset)) // _A_SHEET))
    names = [f"{start}{number}.png" for start in starts for number in sheets]
    with output_folder(output, Path("shown"), "data show", names=names) as folder:
        for name in names:
            folder.claim(name)
        yield from draw_annotated(dataset, config, folder.path / starts[0], limit=limit, seed=seed)
        if split == "train":
            yield from draw_augmented(dataset, config, folder.path / "train_batch", limit=limit, seed=seed)


def draw_annotated(
    dataset: Dataset, config: DataConfig, start: Path, *, limit: int, seed: int
) -> Iterator[Path]:
    """Draw the first images of the shuffled order as they are annotated, in sheets `START0.png` and so on."""
    order = TrainReader(dataset, config, seed).order
    images, titles = [], []
    total = min(limit, len(dataset))
    with progress("draw as annotated") as show:
        for position in range(total):
            sample = dataset[order[position].image]
            _, target = to_tensors(sample)
            images.append(draw_targets(sample.image, target, dataset.class_names))
            titles.append(f"{Path(sample.file_name).name} (id {sample.image_id})")
            show(position + 1, total)
    yield from _sheets(images, titles, start)


def draw_augmented(
    dataset: Dataset, config: DataConfig, start: Path, *, limit: int, seed: int
) -> Iterator[Path]:
    """Draw the first images that a training with this seed sees, in sheets `START0.png` and so on."""
    one_process = config.model_copy(update={"workers": 0})
    steps = min(limit, len(dataset))
    loader = TrainLoader(dataset, one_process, batch_size=1, seed=seed, steps=steps)
    panels, titles = [], []
    with progress("draw as trained on") as show:
        for images, targets in loader:
            pixels = np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())  # [H, W, 3]
            panels.append(draw_targets(pixels, targets[0], dataset.class_names))
            titles.append(_caption(targets[0]))
            show(len(panels), steps)
    yield from _sheets(panels, titles, start)


def _caption(target: Target) -> str:
    height, width = target.image_size
    return f"id {target.image_id}, {width}x{height}"


def _sheets(images: list[ImageArray], titles: list[str], start: Path) -> Iterator[Path]:
    for number, first in enumerate(range(0, len(images), _A_SHEET)):
        some = slice(first, first + _A_SHEET)
        path = start.with_name(f"{start.name}{number}.png")
        write_image(path, grid(images[some], _COLUMNS, titles[some], width=2000))
        yield path


def plot_statistics(splits: Sequence[SplitStatistics], output: OutputChoice) -> list[Path]:
    """Draw `classes.png` and `objects.png`.

    Args:
        splits: One or both; the first says which classes are frequent.
        output: Where the figures go; `plots` by default.

    Returns:
        The files written.

    Raises:
        ResourceError: If a file cannot be written.
    """
    names = ("classes.png", "objects.png")
    with output_folder(output, Path("plots"), "data stats", names=names) as folder:
        paths = [folder.claim(name) for name in names]
        save_figure(_classes(splits), paths[0])
        save_figure(_objects(splits), paths[1])
    return paths


def _classes(splits: Sequence[SplitStatistics]) -> Figure:
    """Draw bars of the objects of each class."""
    rows = splits[0].classes()
    names = [row.name for row in rows[:_MOST_CLASSES]]
    figure = Figure(
        figsize=(7.2, 1.2 + 0.24 * len(names) * max(1, len(splits) ** 0.5)), dpi=150, layout="constrained"
    )
    axes = figure.subplots()
    thick = 0.8 / len(splits)
    places = np.arange(len(names))
    for number, one in enumerate(splits):
        counts = {row.name: row.objects for row in one.classes()}
        values = np.array([counts.get(name, 0) for name in names])
        bars = axes.barh(
            places + (number - (len(splits) - 1) / 2) * thick, values, thick, color=_COLORS[one.split]
        )
        bars.set_label(f"{one.split}: {sum(counts.values()):,} objects in {one.num_images:,} images")
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=2, fontsize=6, color="#555555")
    axes.set_yticks(places, [_short(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    spread = max(rows[0].objects, 1) / max(rows[len(names) - 1].objects, 1)
    if spread > 50:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
    axes.margins(x=0.12, y=0.01)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    more = len(rows) - len(names)
    title = f"Objects of each class{f' (the {len(names)} most frequent of {len(rows)})' if more else ''}"
    _finish(axes, title, "objects", "class")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _objects(splits: Sequence[SplitStatistics]) -> Figure:
    """Draw sizes, shapes, numbers and places of the objects."""
    figure = Figure(figsize=(11.5, 6.6), dpi=150, layout="constrained")
    panels = figure.subplots(2, 3)
    (scales, shapes, fit), (areas, numbers, places) = panels
    _size_panel(scales, splits)
    _shape_panel(shapes, splits)
    _fit_panel(fit, splits)
    _area_panel(areas, splits)
    _number_panel(numbers, splits)
    _place_panel(places, splits[0])
    handles, labels = scales.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def _size_panel(axes: Axes, splits: Sequence[SplitStatistics]) -> None:
    low = min(8.0, *(float(one.scales.min(initial=8)) for one in splits))
    high = max(max(one.scales.max(initial=64.0), *one.anchor_sizes) for one in splits)
    bins = np.geomspace(max(low, 1.0), high * 1.05, 42)
    for one in splits:
        _histogram(axes, one.scales, bins, one.split)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _mark(axes, splits[0].anchor_sizes, "anchor sizes, ratios")
    _finish(axes, "Box size at test size", "square root of the area (pixels)", "share of the objects")


def _shape_panel(axes: Axes, splits: Sequence[SplitStatistics]) -> None:
    bins = np.geomspace(1 / 8, 8, 42)
    for one in splits:
        _histogram(axes, np.clip(one.ratios, 1 / 8, 8), bins, one.split)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1"])
    _mark(axes, splits[0].aspect_ratios)
    _finish(axes, "Aspect ratio", "height : width", "share of the objects")


def _fit_panel(axes: Axes, splits: Sequence[SplitStatistics]) -> None:
    for one in splits:
        best = one.anchor_ious()
        _histogram(axes, best, np.linspace(0, 1, 41), one.split)
    best = splits[0].anchor_ious()
    if len(best):
        share = float((best >= 0.7).mean())
        axes.axvline(0.7, color=BLACK, linewidth=1, linestyle=":")
        text = f"{share:.0%} of {splits[0].split}\nat 0.7 or above"
        axes.text(0.03, 0.95, text, transform=axes.transAxes, va="top", fontsize=8)
    axes.set_xlim(0, 1)
    _finish(
        axes, "How well an anchor can fit", "IoU with the anchor of the nearest shape", "share of the objects"
    )


def _area_panel(axes: Axes, splits: Sequence[SplitStatistics]) -> None:
    thick = 0.8 / len(splits)
    for number, one in enumerate(splits):
        counts = np.array(list(one.size_counts().values()))
        shares = counts / max(1, counts.sum())
        places = np.arange(3) + (number - (len(splits) - 1) / 2) * thick
        bars = axes.bar(places, shares, thick, color=_COLORS[one.split])
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=7, color="#555555", padding=2)
    axes.set_xticks(range(3), [f"{name}\n{text}" for name, text in zip(SIZES, _SIZE_TEXTS, strict=True)])
    axes.margins(y=0.12)
    _percent(axes)
    _finish(axes, "COCO's sizes (area in the original image)", "", "share of the objects")
    axes.grid(visible=False, axis="x")


_SIZE_TEXTS = ("below 32² px", "32² to 96² px", "from 96² px")


def _number_panel(axes: Axes, splits: Sequence[SplitStatistics]) -> None:
    top = max(2, *(int(np.quantile(one.per_image, 0.99)) for one in splits if one.num_images))
    step = max(1, -(-top // 30))
    bins = np.arange(-0.5, top + step + 0.5, step)
    for one in splits:
        _histogram(axes, np.minimum(one.per_image, bins[-1] - 0.5).astype(np.float64), bins, one.split)
    mean = splits[0].per_image.mean() if splits[0].num_images else 0.0
    empty = int((splits[0].per_image == 0).sum())
    title = f"Objects in an image ({splits[0].split}: mean {mean:.1f}, {empty:,} without)"
    _finish(axes, title, f"objects (the last bar: {bins[-2] + 0.5:.0f} and more)", "share of the images")


def _place_panel(axes: Axes, one: SplitStatistics) -> None:
    """Draw where the objects' centres are, each axis in shares of the image."""
    cells, _, _ = np.histogram2d(one.centres[:, 1], one.centres[:, 0], bins=32, range=((0, 1), (0, 1)))
    axes.imshow(
        cells, cmap="Blues" if one.split == "train" else "Oranges", extent=(0, 1, 1, 0), aspect="auto"
    )
    axes.set_xticks([0.05, 0.95], ["left", "right"])
    axes.set_yticks([0.05, 0.95], ["top", "bottom"])
    axes.set_title(f"Where the centres are ({one.split})", fontsize=10, loc="left")
    axes.tick_params(labelsize=8, length=0)
    for side in axes.spines.values():
        side.set_color("#bbbbbb")


def _histogram(axes: Axes, values: Floats, bins: Floats, split: str) -> None:
    """Draw shares as a filled outline, so that splits of different sizes compare."""
    weights = np.full(len(values), 1 / max(1, len(values)))
    heights, _ = np.histogram(values, bins, weights=weights)
    axes.stairs(heights, bins, fill=True, alpha=0.22, color=_COLORS[split])
    axes.stairs(heights, bins, color=_COLORS[split], linewidth=1.4, label=split)
    _percent(axes)


def _mark(axes: Axes, values: Sequence[float], label: str = "") -> None:
    for number, value in enumerate(values):
        axes.axvline(value, color=GREEN, linewidth=1, linestyle="--", label=label if not number else "")


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 2):g}%"))


def _finish(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(across, fontsize=8)
    axes.set_ylabel(up, fontsize=8)
    axes.tick_params(labelsize=8)
    tidy(axes)
