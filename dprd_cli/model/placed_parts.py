"""Parts whose place is a latent variable: each is put at one of a few places, chosen from the RoI's feature.

A layer gives the probability pi of each place, from the pooled whole RoI and before any class is known; in
training a scorer tells how well each place's feature speaks for the true class, and the exact marginal
likelihood of the class trains both. Offsets by Eq. 2 may follow within the chosen place.

Source: docs/placed-parts.md. Not the paper's; it is `model.parts.mode=placed`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import FullLinear, scale_gradient
from dprd_cli.model.parts import (
    MEAN_MOMENTUM,
    UNIT_PARTS,
    MeanParts,
    Parts,
    PartSource,
    move_parts,
    reference_parts,
    undo_far_moves,
)
from dprd_cli.model.places import (
    PlaceEvidence,
    PlaceLoss,
    candidate_parts,
    choose_places,
    jittered,
    place_loss,
)
from dprd_cli.model.rois import RegionPooler, RoIFeatures, RoIs
from dprd_cli.ops.boxes import clip_boxes, paired_iou
from dprd_cli.ops.precision import full_precision

#: Side of the patch of the pyramid that the layer can look at, cells.
PATCH = 5
#: Side of the feature that the scorer looks at.
SCORER_POOL = 3


class PlaceLayer(nn.Module):
    """What tells from a RoI's feature where its parts are.

    Args:
        in_features: Numbers of the feature.
        width: Hidden units.
        count: P.
        num_places: Q.
        fine: Give offsets within the places too.

    Reading: zero-initialised, so that training starts from places that are all alike.
    """

    def __init__(self, in_features: int, width: int, count: int, num_places: int, *, fine: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, width)
        self.places = FullLinear(width, count * num_places)
        self.offsets = FullLinear(width, count * 4) if fine else None
        self.count = count
        for layer in (self.places, self.offsets):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits of the places and offsets within them, of RoI features.

        The offsets' gradient ends at the hidden units.

        Args:
            feature: [R, C, S, S]

        Returns:
            [R, P, Q], and (dx, dy, dw, dh) [R, P, 4] or None.
        """
        flat = feature.flatten(1)
        hidden = self.hidden(F.layer_norm(flat, flat.shape[1:])).relu()
        logits: Tensor = self.places(hidden)
        logits = logits.view(-1, self.count, logits.shape[1] // self.count)
        if self.offsets is None:
            return logits, None
        return logits, self.offsets(hidden.detach()).view(-1, self.count, 4)


class Placement(NamedTuple):
    """Where the parts of RoIs are.

    Args:
        logits: Scores of the places, before the softmax. [R, P, Q]
        candidates: The places. [R, P, Q, 4]
        chosen: The place of each part, 0..Q-1. [R, P]
        fine: Offsets within it, or None. [R, P, 4]
    """

    logits: Tensor
    candidates: Tensor
    chosen: Tensor
    fine: Tensor | None


class LatentParts(nn.Module):
    """Parts at places that a layer chooses.

    Args:
        count: P.
        pooler: Pools the features that the layer and the scorer look at.
        channels: C.
        num_classes: K.
        offsets: The places; see `place_offsets`. [P, Q, 4]
        looks_at: `roi`, the pooled whole RoI, or `patch`, cells of the pyramid around its middle.
        pool: Side of the pooled whole RoI.
        width: Hidden units of the layer and of the scorer.
        fine: Move parts by Eq. 2 within their places.
        sigma: Least IoU of a part with its place, where they move within it; see `undo_far_moves`.
        moves: Put the parts at their places; else they stay at their references, and the loss alone is there.
        entropy: Bonus of the places' entropy at the first step.
        entropy_until: Share of the training after which there is none.
        draw: Share of the parts in training whose place is drawn.
        apart: Weight of what parts pay that all move alike; see `place_loss`.
        weight: Factor of the loss.
        feature_grad_scale: Factor on the gradient into the features that the layer and the scorer look at.

    Attributes:
        mean_offsets: Running mean of the offsets over object RoIs. [P, 4]
        place_offsets: The places; see `place_offsets`. [P, Q, 4]
    """

    needs_targets = False
    mean_offsets: Tensor
    place_offsets: Tensor

    def __init__(
        self,
        count: int,
        pooler: RegionPooler,
        channels: int,
        num_classes: int,
        offsets: Tensor,
        *,
        looks_at: str = "roi",
        pool: int = 7,
        width: int = 64,
        fine: bool = False,
        sigma: float = 0.5,
        moves: bool = True,
        entropy: float = 0.3,
        entropy_until: float = 0.25,
        draw: float = 0.1,
        apart: float = 0.0,
        weight: float = 1.0,
        feature_grad_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.count, self.pooler, self.looks_at = count, pooler, looks_at
        self.num_classes, self.sigma, self.moves = num_classes, sigma, moves
        self.entropy, self.entropy_until, self.draw, self.weight = entropy, entropy_until, draw, weight
        self.apart = apart
        self.feature_grad_scale = feature_grad_scale
        self.pool = PATCH if looks_at == "patch" else pool
        self.register_buffer("place_offsets", offsets, persistent=False)
        self.register_buffer("mean_offsets", torch.zeros(count, 4))
        self.layer = PlaceLayer(channels * self.pool**2, width, count, offsets.shape[1], fine=fine)
        self.scorer = nn.Sequential(
            nn.Linear(channels * SCORER_POOL**2, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    @property
    def running_means(self) -> list[tuple[Tensor, float]]:
        """The mean offsets [P, 4]."""
        return [(self.mean_offsets, MEAN_MOMENTUM)]

    @property
    def place_parameters(self) -> list[nn.Parameter]:
        """What chooses places: all but the offsets within them."""
        modules = (self.layer.hidden, self.layer.places, self.scorer)
        return [parameter for module in modules for parameter in module.parameters()]

    @property
    def place_shifts(self) -> Tensor | None:
        """(x, y, scale) of each place, None where parts stay; see `ChoosesPlaces`. [Q, 3]."""
        if not self.moves:
            return None
        x0, y0, x1, y1 = UNIT_PARTS[self.count][0]
        offsets = self.place_offsets[0]
        return torch.cat((offsets[:, :2] * offsets.new_tensor([x1 - x0, y1 - y0]), offsets[:, 2:3].exp()), 1)

    @torch.no_grad()
    def place_evidence(self, rois: RoIs, features: RoIFeatures) -> PlaceEvidence:
        """Return how sure the places of the parts of RoIs are."""
        logits, _ = self.layer(self._look(rois, features))
        chosen, same = choose_places(logits), []
        for boxes in jittered(rois.boxes):
            moved = rois._replace(boxes=clip_boxes(boxes, features.sizes_of(rois)))
            same.append(choose_places(self.layer(self._look(moved, features))[0]) == chosen)
        return PlaceEvidence(logits.softmax(dim=-1), torch.stack(same).float().mean(dim=0))

    def place(self, rois: RoIs, features: RoIFeatures, draw: float = 0.0) -> Placement:
        """Return where the parts of RoIs are; `draw` as for `choose_places`."""
        logits, fine = self.layer(scale_gradient(self._look(rois, features), self.feature_grad_scale))
        candidates = candidate_parts(rois.boxes, self.place_offsets, features.sizes_of(rois))
        if not self.moves:
            return Placement(logits, candidates, torch.zeros_like(logits[..., 0], dtype=torch.int64), None)
        return Placement(logits, candidates, choose_places(logits, draw), fine)

    def _look(self, rois: RoIs, features: RoIFeatures) -> Tensor:
        """Return what the layer looks at. [R, C, S, S]."""
        if self.looks_at == "roi":
            return self.pooler.pool_whole(rois, features, self.pool)
        levels = self.pooler.levels(rois.boxes)
        half = 0.5 * PATCH * rois.boxes.new_tensor(self.pooler.strides)[levels][:, None]
        middle = 0.5 * (rois.boxes[:, :2] + rois.boxes[:, 2:])
        patches = torch.cat((middle - half, middle + half), dim=1)
        return self.pooler.pool(features, patches, rois.image_index, levels, PATCH)

    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the part boxes of RoIs; where labels [R] are given, some at drawn places, with the loss."""
        placement = self.place(rois, features, 0.0 if labels is None else self.draw)
        chosen = placement.chosen[..., None, None].expand(-1, -1, 1, 4)
        boxes = placement.candidates.gather(2, chosen)[:, :, 0]
        fallback = torch.zeros_like(placement.chosen, dtype=torch.bool)
        if placement.fine is not None:
            moved = clip_boxes(move_parts(boxes, placement.fine), features.sizes_of(rois)[:, None])
            boxes, _, fallback = undo_far_moves(boxes, moved, self.sigma)[:3]
        reference = reference_parts(rois, features, self.count).boxes
        parts = Parts(boxes, paired_iou(boxes.detach(), reference), fallback)
        if labels is None:
            return parts
        loss = self._loss(rois, features, labels, placement)
        return parts._replace(
            losses={"loss_place": self.weight * loss.total},
            diagnostics={
                "place_nll": loss.nll,
                "place_entropy": loss.entropy,
                "place_moved": (placement.chosen > 0).float().mean(),
            },
        )

    def _loss(self, rois: RoIs, features: RoIFeatures, labels: Tensor, placement: Placement) -> PlaceLoss:
        objects = torch.nonzero(labels < self.num_classes)[:, 0]
        candidates = placement.candidates[objects].flatten(1, 2)  # [F, P * Q, 4]
        _, pooled = self.pooler(rois.select(objects), candidates, features, SCORER_POOL)
        assert pooled is not None
        scores = self.scorer(scale_gradient(pooled, self.feature_grad_scale).flatten(2))
        scores = full_precision(scores).log_softmax(dim=-1)  # [F, P * Q, K]
        known = labels[objects][:, None, None].expand(-1, scores.shape[1], 1)
        likelihood = scores.gather(2, known)[..., 0]
        places = placement.logits[objects].log_softmax(dim=-1)
        bonus = self.bonus(features.progress)
        return place_loss(places, likelihood.view_as(places), bonus, self.apart)

    def bonus(self, progress: float) -> float:
        """Return the weight of the entropy when a share of the training, 0..1, is done: falls to none."""
        left = 1 - progress / self.entropy_until if self.entropy_until else 0.0
        return self.entropy * max(left, 0.0)

    @torch.no_grad()
    def track(self, rois: RoIs, features: RoIFeatures) -> None:
        """Move `mean_offsets` toward the mean offsets of the given (foreground) RoIs."""
        if len(rois.boxes):
            placement = self.place(rois, features)
            part = torch.arange(self.count, device=rois.boxes.device)
            offsets = self.place_offsets[part, placement.chosen]  # [R, P, 4]
            self.mean_offsets.lerp_(offsets.mean(dim=0), MEAN_MOMENTUM)

    def by_mean(self) -> PartSource:
        """Return parts that move by `mean_offsets`, as they are at each call."""
        return MeanParts(self.mean_offsets, 0.0)
