"""Whether the anchors can reach a split's objects, and which setting would let them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.object_checks import clip_box, is_degenerate
from dprd_cli.data.formats.problems import Problems, plural
from dprd_cli.data.formats.segmentation import are_numbers
from dprd_cli.structures.sample import CocoTree

Floats = NDArray[np.float64]

_LEAST_IOU = 0.5
_LEAST_SHARE = 0.25  # of the objects; on COCO itself it is 0.15 with the anchors of the paper
_FEWEST = 5


def best_ious(sides: Floats, sizes: Floats, ratios: Floats) -> Floats:
    """Return the IoU of each box with the anchor of the most similar shape, laid over its centre. [G].

    Args:
        sides: (width, height) of each box, pixels of the resized image. [G, 2]
        sizes: Square roots of the anchors' areas, pixels. [S]
        ratios: Height over width of the anchors. [R]
    """
    grid_sizes, grid_ratios = (grid.ravel() for grid in np.meshgrid(sizes, np.sqrt(ratios)))
    anchors = np.stack([grid_sizes / grid_ratios, grid_sizes * grid_ratios], axis=1)  # [A, 2]
    both = np.minimum(sides[:, None], anchors).prod(axis=2)  # [G, A]
    union = sides.prod(axis=1)[:, None] + anchors.prod(axis=1) - both
    return np.asarray((both / union).max(axis=1, initial=0.0))


def check_anchors(tree: CocoTree, config: DataConfig, rpn: RPNConfig, problems: Problems) -> None:
    """Warn where no anchor overlaps with many objects by half, and name a setting that does better.

    Args:
        tree: The split in COCO's form; entries that are not sound are left out.
        config: The size that images are tested at.
        rpn: The anchors.
        problems: Gets the warning.
    """
    sides = _sides(tree, config)
    sizes, ratios = np.array(rpn.anchor_sizes), np.array(rpn.aspect_ratios)
    out = best_ious(sides, sizes, ratios) < _LEAST_IOU
    if out.sum() < max(_FEWEST, _LEAST_SHARE * len(sides)):
        return
    scales, shapes = np.sqrt(sides.prod(axis=1)), sides[:, 1] / sides[:, 0]
    kinds = {
        "small": out & (scales < sizes.min() / np.sqrt(2)),
        "large": out & (scales > sizes.max() * np.sqrt(2)),
        "tall": out & (shapes > ratios.max() * 2),
        "wide": out & (shapes < ratios.min() / 2),
    }
    said = [f"{int(some.sum())} too {kind}" for kind, some in kinds.items() if some.any()]
    advice = [f"--set {name}={value}" for name, value in _settings(kinds, sides, rpn)]
    text = f"{int(out.sum())} of {plural(len(sides), 'object')} overlap with no anchor by half"
    text = f"{text} ({', '.join(said)})" if said else text
    problems.count("anchors", text, [], advice=f"pass {' or '.join(advice)} in training" if advice else "")


def _settings(kinds: dict[str, NDArray[np.bool_]], sides: Floats, rpn: RPNConfig) -> list[tuple[str, str]]:
    """Return settings under which more objects are reached, the better first."""
    sizes, ratios = np.array(rpn.anchor_sizes), np.array(rpn.aspect_ratios)
    found: list[tuple[float, str, str]] = []
    now = float((best_ious(sides, sizes, ratios) >= _LEAST_IOU).mean())

    def offer(key: str, new_sizes: Floats, new_ratios: Floats, values: Floats) -> None:
        share = float((best_ious(sides, new_sizes, new_ratios) >= _LEAST_IOU).mean())
        if share > now:
            found.append((share, key, f"[{','.join(f'{value:g}' for value in values)}]"))

    if kinds["tall"].any() or kinds["wide"].any():
        for reach in (2, 4):
            ends = ratios.max() * reach, ratios.min() / reach
            between = (ratios.max() * 2, ratios.min() / 2)
            longer = np.unique([*ratios, *between, *ends])
            offer("model.rpn.aspect_ratios", sizes, longer, longer)
    for kind, factors in (("small", (0.5, 0.25)), ("large", (2.0, 4.0))):
        if kinds[kind].any():
            for factor in factors:
                offer("model.rpn.anchor_sizes", sizes * factor, ratios, sizes * factor)
    found.sort(key=lambda row: -row[0])
    best: dict[str, str] = {}
    for _, key, value in found:
        best.setdefault(key, value)
    return list(best.items())


def _sides(tree: CocoTree, config: DataConfig) -> Floats:
    """Return (width, height) of the objects, pixels of the image as it is tested. [G, 2]."""
    sizes = {
        str(image.get("id")): (image["height"], image["width"])
        for image in tree["images"]
        if all(type(image.get(key)) is int and image[key] > 0 for key in ("height", "width"))
    }
    rows, scales = [], dict[tuple[int, int], float]()
    for ann in tree["annotations"]:
        size, box = sizes.get(str(ann.get("image_id"))), ann.get("bbox")
        sound = isinstance(box, list) and len(box) == 4 and are_numbers(box)
        if size is None or not sound or ann.get("iscrowd") or is_degenerate(box, size):
            continue
        x1, y1, x2, y2 = clip_box(box, size)
        if size not in scales:
            scales[size] = min(config.test_min_size / min(size), config.max_size / max(size))
        rows.append(((x2 - x1) * scales[size], (y2 - y1) * scales[size]))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)
