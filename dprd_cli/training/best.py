"""Which evaluation of a run was the best, and when to stop waiting for a better one.

All of it is a function of the evaluations' rows in the metrics file, so there is nothing else to resume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dprd_cli.config import registry
from dprd_cli.errors import UsageError, did_you_mean
from dprd_cli.evaluation.coco import METRICS
from dprd_cli.evaluation.voc import POINTS

Row = Mapping[str, Any]


def check_metric(name: str, *, masks: bool = True, voc: bool = True) -> None:
    """Check that evaluations will have a metric that can choose the best checkpoint.

    Args:
        name: `train.best_metric`.
        masks: Whether masks are evaluated.
        voc: Whether the data is Pascal VOC's.

    Raises:
        UsageError: If there is none of that name, or not on this data.
    """
    if registry.is_metric_of_plugin(name):
        return
    every = _metrics(masks=True, voc=True)
    if name not in every:
        raise UsageError(
            f"train.best_metric: no metric '{name}'{did_you_mean(name, every)}; there are: "
            f"{', '.join((*every, *registry.metric.from_plugins))}"
        )
    if name not in _metrics(masks=masks, voc=voc):
        why = "no masks are evaluated" if name.startswith("segm") else "VOC's AP is measured on VOC data only"
        raise UsageError(f"train.best_metric={name}: {why} here; take bbox_AP (the default)")


def _metrics(*, masks: bool, voc: bool) -> list[str]:
    names = [f"bbox_{name}" for name in METRICS]
    names += [f"segm_{name}" for name in METRICS] if masks else []
    names += [f"voc_{points}_{name}" for points in POINTS for name in ("AP", "AP50", "AP75")] if voc else []
    return [*names, "recall50", "recall70"]


def best_score(rows: Sequence[Row], metric: str) -> float | None:
    """Return the best score among evaluations; null ones (nothing to measure) do not count."""
    return max((row[metric] for row in rows if row.get(metric) is not None), default=None)


def evaluations_since_best(rows: Sequence[Row], metric: str) -> int:
    """Return how many evaluations, the last ones, were not better than the one before them that was best."""
    scores = [row[metric] for row in rows if row.get(metric) is not None]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
