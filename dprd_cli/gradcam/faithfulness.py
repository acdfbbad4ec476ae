"""Whether a map shows what the score comes from: hide what it marks, or show only that."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli.gradcam.explainer import Explainer, NetworkView

#: How many pixels are hidden or shown, as shares of the detection's box.
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """What is left of a detection's class score, as a share of it, averaged over `SHARES`.

    Args:
        hidden: Where the marked pixels are blurred ("deletion"); the lower, the better the map.
        shown: Where all others are ("insertion"); the higher, the better.
    """

    hidden: float
    shown: float


@torch.no_grad()
def measure_faithfulness(
    explainer: Explainer, view: NetworkView, index: int, values: NDArray[np.float32]
) -> Faithfulness:
    """Return how the class score of a detection follows its map; its boxes stay where they are.

    Args:
        explainer: The network.
        view: From its `look`.
        index: Which of its detections.
        values: The map. [H, W]

    Source: "deletion" and "insertion", Petsiuk et al. 2018. Reading: as many pixels as the box has, at
    most, so that small objects count as large ones do; equal values are taken in random order.
    """
    height, width = view.found.image_size
    small = cv2.resize(values, (width, height)).ravel()
    order = np.lexsort((np.random.default_rng(0).random(small.size), -small))
    blurred = _blur(view.image)
    box = view.found.boxes[index]
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    whole = _score(explainer, view, index, view.image)
    hidden, shown = [], []
    for share in SHARES:
        marked = np.zeros(small.size, np.bool_)
        marked[order[: max(1, round(share * area))]] = True
        inside = torch.from_numpy(marked.reshape(height, width)).to(view.image.device)
        hidden.append(_score(explainer, view, index, torch.where(inside, blurred, view.image)) / whole)
        shown.append(_score(explainer, view, index, torch.where(inside, view.image, blurred)) / whole)
    return Faithfulness(float(np.mean(hidden)), float(np.mean(shown)))


def _blur(image: Tensor) -> Tensor:
    """Return an image [3, H, W] averaged over squares of about a fifth of its short side."""
    reach = max(1, min(image.shape[-2:]) // 10)
    padded = F.pad(image[None], (reach, reach, reach, reach), mode="reflect")
    return F.avg_pool2d(padded, 2 * reach + 1, stride=1)[0]


def _score(explainer: Explainer, view: NetworkView, index: int, image: Tensor) -> float:
    logits = explainer.detector.class_logits(image, view.trace[index : index + 1])  # [1, n, K+1]
    return float(logits.softmax(dim=2).mean(dim=1)[0, view.found.labels[index]])
