"""Images with rare classes, shown more often: how often an epoch repeats each image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dprd_cli.structures.sample import Dataset

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # sums of shares that are whole but for rounding are whole


def repeat_factors(dataset: Dataset, threshold: float) -> Floats:
    """Return how often an epoch shows each image on average; 1 and more. [N].

    A class c that is in a share f(c) of the images has the factor max(1, sqrt(threshold / f(c))); an image
    has the largest factor of its classes, and 1 without objects.

    Args:
        dataset: A training split.
        threshold: Share of images; classes in fewer are repeated.

    Source: Gupta et al. 2019, "LVIS", Appendix B.2 (version 2).
    """
    classes = [np.unique(dataset.labels_of(image)) for image in range(len(dataset))]
    images = np.bincount(np.concatenate(classes), minlength=len(dataset.class_names))
    shares = np.maximum(images, 1) / len(dataset)
    factors = np.maximum(1.0, np.sqrt(threshold / shares))
    return np.array([factors[some].max(initial=1.0) for some in classes])


def epoch_length(factors: Floats) -> int:
    """Return how many images an epoch shows: the sum of the factors [N], rounded up."""
    whole = np.floor(factors)
    return int(whole.sum()) + int(np.ceil((factors - whole).sum() - _ROUNDING))


def draw_repeats(factors: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw how often an epoch shows each image. [N].

    Each image comes as often as the whole part of its factor says, and some come once more: as many as make
    the sum `epoch_length(factors)`, whatever is drawn, so that every epoch is of one length. Which ones is
    systematic sampling: the fractions, stretched to that sum, lie end to end in random order, and a comb
    with teeth 1 apart, laid on them at random, touches each with a probability that is its length.

    Args:
        factors: At least 1 each. [N]
        rng: Source of all randomness.

    Source: Madow 1949, "On the Theory of Systematic Sampling, II". Gupta et al. and Detectron2 round each
        factor on its own, so that their epochs differ in length.
    """
    whole = np.floor(factors)
    counts = whole.astype(np.int64)
    more = epoch_length(factors) - int(counts.sum())
    if not more:
        return counts
    order = rng.permutation(len(factors))
    ends = np.cumsum((factors - whole)[order])
    ends *= more / ends[-1]  # the sum was rounded up
    ends[-1] = more
    teeth = np.floor(ends + rng.integers(1 << 20) / (1 << 20)).astype(np.int64)
    counts[order] += np.diff(teeth, prepend=0)
    return counts
