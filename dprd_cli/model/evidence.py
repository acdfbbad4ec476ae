"""Which part decided: who won the maxima of the assembly, and how the score falls when a part is taken out.

Of parts that choose among places: how sure they were of theirs.

Nothing of this is computed unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dprd_cli.model.contest import Assembly
from dprd_cli.model.places import ChoosesPlaces, PlaceEvidence
from dprd_cli.model.roi_heads import RoIHeads
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.model.stage import Stage
from dprd_cli.structures.detections import CascadeTrace


class PartEvidence(NamedTuple):
    """What each part of detections, and the whole, did for their class score.

    Args:
        shares: Share of the assembly's maxima that each part wins, the whole last. [D, P+1]
        falls: By how much the score falls when it wins none; negative where the score rises. [D, P+1]
    """

    shares: Tensor
    falls: Tensor


def parts_meet(stage: Stage) -> bool:
    """Whether parts and whole meet in maxima in a stage."""
    return isinstance(stage.fusion, Assembly)


@torch.no_grad()
def part_evidence(
    heads: RoIHeads, features: RoIFeatures, traces: Sequence[CascadeTrace], labels: Sequence[Tensor]
) -> list[PartEvidence] | None:
    """Return what the parts of each image's detections did for their scores.

    The way through the cascade is held: boxes and part boxes of every stage stay as they were, and what is
    taken out wins no maximum in any stage. Shares are averaged over the stages that pool parts.
    Law: the probability with all parts is the detection's score.

    Args:
        heads: In eval mode.
        features: Those that the images were detected in.
        traces: Way of each image's detections. N x [D]
        labels: Their classes. N x [D]

    Returns:
        None where parts never meet in maxima (no parts, or a fusion without any).

    Reading: the paper gives no measure of a part's part in a decision.
    """
    cascade = heads.cascade
    if heads.parts is None or not any(map(parts_meet, cascade)):
        return None
    shares: list[Tensor] = []
    probs: list[Tensor] = []
    counts = [len(trace) for trace in traces]
    anchors, ways = (
        torch.cat([getattr(trace, name) for trace in traces]) for name in ("anchor_index", "boxes")
    )
    index = torch.arange(len(counts), device=ways.device).repeat_interleave(
        torch.tensor(counts, device=ways.device)
    )
    for stage, boxes, anchor_index in zip(cascade, ways.unbind(1), anchors.unbind(1), strict=True):
        rois = RoIs(boxes, index, anchor_index)
        parts = heads.decompose(stage, rois, features)
        part_boxes = None if parts is None else parts.boxes
        whole, pooled = stage.box_pooler(rois, part_boxes, features, heads.box_pool)
        if isinstance(stage.fusion, Assembly) and pooled is not None:
            outcome = stage.fusion.contest(whole, pooled)
            shares.append(outcome.shares[0])
            variants = outcome.feature
        else:
            variants = stage.fusion(whole, pooled).whole[None]
        logits = stage.box_head.classify(variants.flatten(0, 1))
        logits = logits.view(*variants.shape[:2], logits.shape[1])  # [1 or P+2, D, K+1]
        probs.append(logits.softmax(dim=2).expand(heads.parts.count + 2, -1, -1))
    mean = torch.stack(probs).mean(dim=0)  # [P+2, D, K+1]
    scores = mean.gather(2, torch.cat([*labels]).expand(len(mean), -1)[..., None])[..., 0]  # [P+2, D]
    of_all = PartEvidence(torch.stack(shares).mean(dim=0), (scores[:1] - scores[1:]).T)
    return [
        PartEvidence(*rows) for rows in zip(*(torch.split(values, counts) for values in of_all), strict=True)
    ]


@torch.no_grad()
def place_evidence(
    heads: RoIHeads, features: RoIFeatures, boxes: Sequence[Tensor]
) -> list[PlaceEvidence] | None:
    """Return how sure the places of the parts of each image's final boxes are.

    Args:
        heads: In eval mode.
        features: Those that the images were detected in.
        boxes: N x [D, 4]

    Returns:
        None where parts do not choose among places.
    """
    if not isinstance(heads.parts, ChoosesPlaces) or heads.parts.place_shifts is None:
        return None
    anchors = [torch.zeros_like(one[:, :2], dtype=torch.int64) for one in boxes]  # places need none
    told = heads.parts.place_evidence(RoIs.of_images([*boxes], anchors), features)
    counts = [len(one) for one in boxes]
    return [PlaceEvidence(*rows) for rows in zip(*(values.split(counts) for values in told), strict=True)]


__all__ = ["PartEvidence", "part_evidence", "parts_meet", "place_evidence"]
