"""What chance in the choice of the images does to AP: AP over resampled images, and a difference's interval.

AP is no mean over images, so it is computed anew for each resample, exactly: a resample is a weight for each
image, how often it was drawn, and the detections' scores stay as they are. Copies of an image stand side by
side, which matters where scores are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from dprd_cli.evaluation.matches import ClassMatches

Weights = NDArray[np.int64]
#: Name of an AP -> which of COCO's ten IoUs it is the mean of.
COMPARED: dict[str, slice] = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
#: How much of the resamples' differences an interval holds, percent.
INTERVAL = 95.0
#: Of objects in fewer images than these, resamples say too little: no interval, and no p.
FEWEST = 10
_RECALLS = np.linspace(0, 1, 101)
_AT_ONCE = 2_000_000  # weights of detections that are looked at together, for the processor's cache


@dataclass(frozen=True, slots=True)
class Difference:
    """An AP of two detectors on the same images, in percent; None where there is no object.

    The last three are None, too, where there are objects in fewer than `FEWEST` images.

    Args:
        a: AP of the first.
        b: AP of the second.
        difference: The first less the second.
        low: Where the middle 95 % of the resamples' differences begin.
        high: Where they end.
        p: Two-sided: twice the smaller share of the resamples in which the difference is at most, or at
            least, zero; each counted once more than seen, so that it is never zero.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return it as a plain dict."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class KindDifferences:
    """The differences of boxes, or of masks, by the names in `COMPARED`.

    Args:
        total: Means over the classes.
        classes: The same of each class. [K]
    """

    total: Mapping[str, Difference]
    classes: tuple[Mapping[str, Difference], ...]


def draw_weights(images: int, resamples: int, seed: int) -> Weights:
    """Return how often each image is drawn when as many are drawn as there are, with replacement. [B, N].

    Args:
        images: How many there are.
        resamples: How many times.
        seed: The same seed gives the same draws.
    """
    shares = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, shares, size=resamples)


def compare_matches(
    first: Sequence[ClassMatches], second: Sequence[ClassMatches], weights: Weights
) -> KindDifferences:
    """Return the differences between two detectors on the same images.

    Law: of a detector with itself every difference is 0, and p is 1.

    Args:
        first: The matches of each class. [K]
        second: Those of the other detector, of the same classes and images. [K]
        weights: The resamples, from `draw_weights`. [B, N]
    """
    every = np.concatenate([np.ones_like(weights[:1]), weights])  # the images as they are come first
    ours, theirs = (100 * average_precisions(one, every) for one in (first, second))  # [B + 1, K, T]
    objects = np.stack([one.objects for one in first])  # [K, N]
    enough = [int(np.count_nonzero(row)) >= FEWEST for row in objects]
    classes = tuple(_differences(ours[:, k], theirs[:, k], enough=enough[k]) for k in range(len(first)))
    together = int(np.count_nonzero(objects.sum(axis=0))) >= FEWEST
    total = _differences(_mean_of_classes(ours), _mean_of_classes(theirs), enough=together)
    return KindDifferences(total, classes)


def average_precisions(classes: Sequence[ClassMatches], weights: Weights) -> NDArray[np.float64]:
    """Return the AP at each IoU of each class, over weighted images.

    Args:
        classes: The matches of each class. [K]
        weights: How often each image counts. [B, N]

    Returns:
        In 0..1; NaN where a class has no object. [B, K, T]
    """
    means = [precisions(one, weights).mean(axis=2) for one in classes]
    return np.stack(means, axis=1)


def precisions(matches: ClassMatches, weights: Weights) -> NDArray[np.float64]:
    """Return a class's precision at COCO's 101 recalls, over weighted images.

    Laws: with weights of 1 it is pycocotools' `precision`, to the bit; an image of weight k counts as k
    copies of it would.

    Args:
        matches: The class's.
        weights: How often each image counts. [B, N]

    Returns:
        In 0..1; NaN where there is no object. [B, T, R]
    """
    step = max(1, _AT_ONCE // max(1, len(matches.images)))
    parts = [_precisions(matches, weights[at : at + step]) for at in range(0, len(weights), step)]
    return np.concatenate(parts)


def _precisions(matches: ClassMatches, weights: Weights) -> NDArray[np.float64]:
    objects = weights @ matches.objects  # [B]
    needed = _needed(objects)
    drawn = np.take(weights.astype(np.int32), matches.images, axis=1)  # [B, D]
    found = np.zeros((len(weights), len(matches.right), len(_RECALLS)))
    counts = np.cumsum(drawn, axis=1, dtype=np.int32)
    for row, (right, ignored) in enumerate(zip(matches.right, matches.ignored, strict=True)):
        places, beside = np.flatnonzero(right), np.flatnonzero(ignored)
        before = counts[:, places]
        if len(beside):
            without = np.cumsum(drawn[:, beside], axis=1, dtype=np.int32)
            without = np.concatenate([np.zeros_like(without[:, :1]), without], axis=1)
            before -= without[:, np.searchsorted(beside, places)]
        found[:, row] = _at_recalls(drawn[:, places], before, needed)
    found[objects == 0] = np.nan
    return found


def _needed(objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many objects must be found for each of the 101 recalls, as floats compare. [B] -> [B, R]."""
    total = np.maximum(objects, 1)[:, None]
    below = np.floor(_RECALLS * total)
    return np.maximum(np.where(below / total >= _RECALLS, below, below + 1), 1).astype(np.int64)


def _at_recalls(
    hits: NDArray[np.int32], counts: NDArray[np.int32], needed: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the best precision from each recall on: 0 where it is not reached.

    Args:
        hits: How often each right detection counts, best score first. [B, P]
        counts: How often it and the detections before it count, right or wrong. [B, P]
        needed: How many objects each recall takes. [B, R]
    """
    if not hits.shape[1]:
        return np.zeros(needed.shape)
    right = np.cumsum(hits, axis=1, dtype=np.int32)
    # between two right detections precision only falls, so these are all that matter
    precision = right / (counts + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    each = np.append(np.repeat(best.ravel(), hits.ravel()), 0.0)  # one for each object found
    first = np.cumsum(right[:, -1]) - right[:, -1]
    reached = needed <= right[:, -1:]
    return each[np.where(reached, first[:, None] + needed - 1, len(each) - 1)]


def _mean_of_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the classes that have objects, NaN without any. [B, K, T] -> [B, T]."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _differences(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, enough: bool
) -> dict[str, Difference]:
    """Return the differences of two APs at each IoU, of which the first row is of all images. [B + 1, T]."""
    return {
        name: _difference(ours[:, ious].mean(axis=1), theirs[:, ious].mean(axis=1), enough=enough)
        for name, ious in COMPARED.items()
    }


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, enough: bool) -> Difference:
    """Return the difference of two APs, of which the first is of all images. [B + 1]."""
    if np.isnan(ours[0]):
        return Difference(None, None, None, None, None, None)
    differences = ours[1:] - theirs[1:]
    differences = differences[~np.isnan(differences)]  # not the resamples without an object of the class
    low = high = p = None
    if enough and len(differences):
        tail = (100 - INTERVAL) / 200
        low, high = map(float, np.quantile(differences, (tail, 1 - tail)))
        rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
        p = min(1.0, 2 * (int(rarer) + 1) / (len(differences) + 1))
    return Difference(float(ours[0]), float(theirs[0]), float(ours[0] - theirs[0]), low, high, p)
