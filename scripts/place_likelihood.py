"""place_likelihood.py RUN [--limit N]: what the scorer of placed parts says of the places of objects.

For each annotated object of the run's held-out images, and each part, the negative log likelihood of its
class given the feature at a place: the reference part's, the one chosen, the best one for all objects alike,
and the best for each with its class known, which no detector may know and which the least of several noisy
numbers flatters. Where the first is as low as the others there is nothing to win by moving.

    python scripts/place_likelihood.py RUN/last.pt --limit 250
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer
from torch import Tensor

from dprd_cli.data.build import build_dataset
from dprd_cli.data.loading import iterate_eval
from dprd_cli.model.detector import Detector
from dprd_cli.model.placed_parts import SCORER_POOL, LatentParts
from dprd_cli.model.places import choose_places
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.structures.detections import Target
from dprd_cli.weights.load import load_model


@torch.no_grad()
def likelihoods(detector: Detector, image: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Return log p(y | place) and log pi of the objects of one image.

    Args:
        detector: With placed parts, in eval mode.
        image: RGB in 0..255. [3, H, W]
        target: Its objects, in its frame.

    Returns:
        [D, P, Q] each.
    """
    parts = detector.roi_heads.parts
    assert isinstance(parts, LatentParts)
    seen: list[RoIFeatures] = []
    watch = detector.roi_heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector.detect([image])
    watch.remove()
    (features,) = seen
    rois = RoIs.of_images([target.boxes], [torch.zeros_like(target.boxes[:, :2], dtype=torch.int64)])
    placement = parts.place(rois, features)
    _, pooled = parts.pooler(rois, placement.candidates.flatten(1, 2), features, SCORER_POOL)
    assert pooled is not None
    scores = parts.scorer(pooled.flatten(2)).log_softmax(dim=-1)  # [D, P * Q, K]
    known = target.labels[:, None, None].expand(-1, scores.shape[1], 1)
    places = placement.logits.log_softmax(dim=-1)
    return scores.gather(2, known)[..., 0].view_as(places), places


def main(weights: str, limit: Annotated[int, typer.Option(help="Images; 0 takes all.")] = 250) -> None:
    """Print the negative log likelihoods, means over objects and parts, in nats."""
    model = load_model(weights)
    detector = model.detector.eval()
    if not isinstance(detector.roi_heads.parts, LatentParts):
        raise SystemExit(f"error: {weights}: its parts are not placed; train with --preset dprd-placed")
    batches = iterate_eval(build_dataset(model.config.data, "val"), model.config.data, 1, limit)
    found = [
        likelihoods(detector, batch.images[0], batch.targets[0]) for batch in batches if len(batch.targets[0])
    ]
    if not found:
        raise SystemExit(f"error: {model.config.data.path}: no object in the first {limit} held-out images")
    score, places = (torch.cat(values) for values in zip(*found, strict=True))
    chosen = choose_places(places)
    same = score.mean(dim=0).max(dim=-1).values  # one place per part, the best for all objects
    rows = {
        "reference part": -score[..., 0].mean(),
        "place chosen": -score.gather(2, chosen[..., None]).mean(),
        "all places, weighed by pi": -(score + places).logsumexp(dim=-1).mean(),
        "the best place for all alike": -same.mean(),
        "the best for each, class known": -score.max(dim=-1).values.mean(),
    }
    print(f"{len(score)} objects; {100 * float((chosen > 0).float().mean()):.0f} % of the parts moved")
    for name, value in rows.items():
        print(f"{name:32} {float(value):.3f}")


if __name__ == "__main__":
    typer.run(main)
