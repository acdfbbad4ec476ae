"""Places that a part can be at: where they lie, how one is chosen, what choosing costs, how sure it is.

Source: docs/placed-parts.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from dprd_cli.model.parts import UNIT_PARTS, decompose, move_parts
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.ops.boxes import clip_boxes

#: The reference part is left only for a place whose logit is this much higher (1.6 times as likely).
PREFERENCE = 0.5
#: Least side of a place that the image's edge cuts, pixels.
LEAST_SIDE = 2.0
#: How far boxes are shifted to see whether their parts stay at the same places, in sizes of the box.
JITTER = 0.05
_JITTERS = 8
_SURELY = 1e-6  # keeps the logarithm of what is impossible finite


def place_offsets(count: int, grid: int, reach: float, scales: Sequence[float] = (1.0,)) -> Tensor:
    """Return the places that a part can be at, as offsets of its reference part; the first is zero.

    Args:
        count: P.
        grid: Places along each axis, odd.
        reach: Step between them, in sizes of the RoI.
        scales: Sizes of the part at each of them, in sizes of its reference part.

    Returns:
        (dx, dy, dw, dh) as Eq. 2 has them, in units of the part's own size. [P, Q, 4]
    """
    steps = range(-(grid // 2), grid // 2 + 1)
    shifts = [(reach * x, reach * y, math.log(s)) for s in scales for y, x in itertools.product(steps, steps)]
    shifts.sort(key=lambda shift: shift != (0.0, 0.0, 0.0))
    if shifts[0] != (0.0, 0.0, 0.0):
        shifts.insert(0, (0.0, 0.0, 0.0))
    rows = []
    for x0, y0, x1, y1 in UNIT_PARTS[count]:
        width, height = x1 - x0, y1 - y0
        # Eq. 2 as `move_parts` has it: the middle moves by the shift, whatever the size becomes
        rows.append([(x / width, y / height, size, size) for x, y, size in shifts])
    return torch.tensor(rows)


def candidate_parts(boxes: Tensor, offsets: Tensor, image_sizes: Tensor) -> Tensor:
    """Return where the parts of RoIs can be.

    Law: the first place of each part is its reference part, as `reference_parts` has it. The others lie in
    the image, at least `LEAST_SIDE` wide and high.

    Args:
        boxes: RoIs. [R, 4]
        offsets: See `place_offsets`. [P, Q, 4]
        image_sizes: (height, width) of each RoI's image. [R, 2]

    Returns:
        [R, P, Q, 4]
    """
    reference = decompose(boxes, offsets.shape[0])[:, :, None]  # [R, P, 1, 4]
    limits = image_sizes[:, None, None]
    moved = clip_boxes(move_parts(reference, offsets[:, 1:]), limits)  # [R, P, Q - 1, 4]
    low = torch.minimum(moved[..., :2], (limits.flip(-1) - LEAST_SIDE).clamp(min=0))
    high = torch.maximum(moved[..., 2:], torch.minimum(low + LEAST_SIDE, limits.flip(-1)))
    return torch.cat((clip_boxes(reference, limits), torch.cat((low, high), dim=-1)), dim=2)


class PlaceLoss(NamedTuple):
    """What placing parts costs.

    Args:
        total: Negative log likelihood, the bonus of the entropy that the places lack, and what parts pay that
            all move alike. []
        nll: Negative log marginal likelihood of the classes, a mean over RoIs and parts, no gradient. []
        entropy: Entropy of the places, a mean likewise, no gradient. []
    """

    total: Tensor
    nll: Tensor
    entropy: Tensor


def place_loss(log_places: Tensor, log_likelihood: Tensor, bonus: float, apart: float = 0.0) -> PlaceLoss:
    """Return -log sum_q pi_q p(y | place q), minus a bonus for entropy; zero where there is no RoI.

    Args:
        log_places: log pi. [F, P, Q]
        log_likelihood: log p(y | place) of each RoI's class y. [F, P, Q]
        bonus: Weight of the entropy that pi lacks to be uniform: bonus * (log Q - H(pi)).
        apart: Weight of -log of the probability that not all parts of a RoI are moved alike, were they drawn.
    """
    number = max(log_places.shape[0] * log_places.shape[1], 1)
    nll = -(log_places + log_likelihood).logsumexp(dim=-1).sum() / number
    entropy = -(log_places.exp() * log_places).sum() / number
    most = math.log(log_places.shape[2]) if log_places.shape[0] else 0.0
    total = nll + bonus * (most - entropy)
    if apart:
        alike = log_places[..., 1:].sum(dim=1).exp().sum(dim=-1)  # [F]: by the same step, whichever
        total = total - apart * (1 - alike + _SURELY).log().sum() / max(len(alike), 1)
    return PlaceLoss(total, nll.detach(), entropy.detach())


def choose_places(logits: Tensor, draw: float = 0.0) -> Tensor:
    """Return the place of each part: the likeliest, with some preference for the first.

    Args:
        logits: Scores of the places before the softmax, the reference part's first. [R, P, Q]
        draw: Share of the parts whose place is drawn from softmax(logits) with PyTorch's generator instead.

    Returns:
        0..Q-1, int64. [R, P]
    """
    best, place = logits[..., 1:].max(dim=-1) if logits.shape[-1] > 1 else (logits[..., 0], None)
    first = torch.zeros_like(best, dtype=torch.int64)
    if place is None:
        return first
    chosen = torch.where(best > logits[..., 0] + PREFERENCE, place + 1, first)
    if draw <= 0:
        return chosen
    chance = torch.rand((2, *chosen.shape), device=logits.device)
    reached = logits.detach().softmax(dim=-1).cumsum(dim=-1) < chance[0, ..., None]
    drawn = reached.sum(dim=-1).clamp(max=logits.shape[-1] - 1)
    return torch.where(chance[1] < draw, drawn, chosen)


class PlaceEvidence(NamedTuple):
    """How sure the places of the parts of boxes are.

    Args:
        probs: pi, the probability of each place. [D, P, Q]
        steadiness: Share of slightly shifted boxes whose part is at the same place. [D, P]
    """

    probs: Tensor
    steadiness: Tensor


@runtime_checkable
class ChoosesPlaces(Protocol):
    """Parts that are at one of a few places, and can tell how sure that is."""

    @property
    def place_shifts(self) -> Tensor | None:
        """(x, y, scale) of each place: shift in sizes of the box, and size; None if parts stay. [Q, 3]."""
        ...

    def place_evidence(self, rois: RoIs, features: RoIFeatures) -> PlaceEvidence:
        """Return how sure the places of the parts of RoIs are."""
        ...


def jittered(boxes: Tensor) -> list[Tensor]:
    """Return boxes [D, 4] shifted by up to `JITTER` of their size: all by the same few shifts, each time.

    Law: what is shifted does not depend on what else is.
    """
    chance = torch.rand((_JITTERS, 2), generator=torch.Generator().manual_seed(0))
    size = boxes[:, 2:] - boxes[:, :2]
    shifts = ((2 * chance - 1) * JITTER).to(boxes)
    return [boxes + (shift * size).repeat(1, 2) for shift in shifts]
