"""What a study's runs say: means and deviations over seeds, and differences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.files.atomic import read_json
from dprd_cli.studies.plan import Job
from dprd_cli.studies.study import COSTS, Study, Variant

_FLAT = (
    *("recall50", "recall70", "part_iou", "located", "located_accuracy", "cue_held"),
    "seconds_per_image",
)
#: Offsets at test that learned ones are compared with.
OTHER_OFFSETS = ("mean", "reference")


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One finished run.

    Attributes:
        variant: Key of its row.
        seed: Its seed.
        folder: Where its results lie.
        metrics: Name -> value; AP in percent.
    """

    variant: str
    seed: int
    folder: Path
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "folder": str(self.folder)}


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one metric over seeds.

    Attributes:
        mean: Their mean.
        sd: Sample standard deviation; None of a single value.
        values: The values.
    """

    mean: float
    sd: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against another, over the seeds that both have.

    Attributes:
        variant: Key.
        other: Key.
        metric: What is compared.
        seeds: The common ones.
        difference: Mean of the differences seed by seed, and their spread.
        sds: Each one's own standard deviation over these seeds; None with one seed.
        paper: The paper's difference, or None.
        same_network: Both are measurements of one training: only the differences' spread counts.
    """

    variant: str
    other: str
    metric: str
    seeds: tuple[int, ...]
    difference: Spread
    sds: tuple[float | None, float | None]
    paper: float | None
    same_network: bool = False

    @property
    def clear(self) -> bool | None:
        """Whether the difference is larger than every deviation that counts; None with one seed."""
        all_sds = (self.difference.sd, *(() if self.same_network else self.sds))
        deviations = [sd for sd in all_sds if sd is not None]
        return abs(self.difference.mean) > max(deviations) if deviations else None


def read_run(job: Job) -> StudyRun:
    """Read a finished run's results, and what was measured with other part offsets.

    Raises:
        DataError: If a file is broken.
    """
    name = "results.json" if job.variant.part_offsets == "learned" else offsets_file(job.variant.part_offsets)
    metrics = flat_results(read_json(job.folder / name, "results"))
    if job.variant.part_offsets == "learned":
        for kind in OTHER_OFFSETS:
            path = job.folder / offsets_file(kind)
            if path.is_file():
                found = flat_results(read_json(path, "results"))
                kept = ("bbox_AP", "segm_AP")
                metrics |= {f"{kind}_offsets_{key}": found[key] for key in kept if key in found}
    return StudyRun(job.variant.key, job.seed, job.folder, metrics)


def offsets_file(kind: str) -> str:
    """Return the name of a run's measurement with other part offsets: that of `dprd eval`."""
    return f"eval_val_{kind}.json"


def flat_results(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a results file as `metrics.csv` names them."""
    flat: dict[str, float | None] = {}
    for kind in ("bbox", "segm"):
        flat |= {f"{kind}_{name}": value for name, value in (results.get(kind) or {}).items()}
    for kind in ("11_point", "all_point"):
        rows = (results.get("voc") or {}).get(kind) or {}
        flat |= {f"voc_{kind}_{name}": value for name, value in rows.items()}
    for row in results.get("classes") or []:
        flat |= {f"{key}_{row['name']}": row.get(key) for key in ("bbox_ap", "segm_ap")}
    flat |= {key: results.get(key) for key in _FLAT}
    return {key: float(value) for key, value in flat.items() if isinstance(value, int | float)}


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of at least one value."""
    return Spread(
        statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, tuple(values)
    )


@dataclass(frozen=True, slots=True)
class StudySummary:
    """A study's numbers.

    Attributes:
        study: With its backbones.
        runs: The finished ones.
        costs: Variant -> cost column -> number.
        settings: What all variants share, for the record.
    """

    study: Study
    runs: Sequence[StudyRun]
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """AP columns that a training measures, without those that no run has."""
        names = [name for name in self.study.columns if name not in COSTS]
        return tuple(n for n in names if not self.runs or any(n in run.metrics for run in self.runs))

    def of(self, variant: str, metric: str) -> dict[int, float]:
        """Return seed -> value."""
        return {
            run.seed: run.metrics[metric]
            for run in self.runs
            if run.variant == variant and metric in run.metrics
        }

    def spread(self, variant: str, metric: str) -> Spread | None:
        """Return a row's mean and deviation, or None where nothing is measured."""
        values = list(self.of(variant, metric).values())
        return spread(values) if values else None

    def compare(self, variant: str, other: str, metric: str) -> Comparison | None:
        """Compare two rows over their common seeds; None where they have none."""
        papers = [self.study.variant(key).paper.get(metric) for key in (variant, other)]
        mine, theirs = papers
        paper = None if mine is None or theirs is None else round(mine - theirs, 6)
        same = self.study.same_networks or self.study.variant(variant).part_offsets != "learned"
        values = self.of(variant, metric), self.of(other, metric)
        return _compare((variant, other, metric), *values, paper, same_network=same)

    def comparisons(self) -> list[Comparison]:
        """Return every variant against its base, then the study's other pairs, column by column."""
        pairs = [(v.key, v.base) for v in self.study.variants if v.base]
        pairs += [pair for pair in self.study.pairs if pair not in pairs]
        found = [self.compare(*pair, metric) for pair in pairs for metric in self.metrics]
        return [comparison for comparison in found if comparison is not None]

    def offsets(self) -> list[Comparison]:
        """Return what learned offsets are worth over `mean` and `reference` ones, for rows measured so."""
        found = [
            _compare(
                (variant.key, kind, metric),
                self.of(variant.key, metric),
                self.of(variant.key, f"{kind}_offsets_{metric}"),
                None,
                same_network=True,
            )
            for variant in self.study.variants
            for metric in self.metrics
            for kind in OTHER_OFFSETS
        ]
        return [comparison for comparison in found if comparison is not None]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values: what `study.json` holds."""
        study = self.study
        return {
            "study": study.name,
            "title": study.title,
            "source": study.source,
            "note": study.note,
            "settings": dict(self.settings),
            "rows": [self._row(variant) for variant in study.variants],
            "comparisons": [asdict(found) | {"clear": found.clear} for found in self.comparisons()],
            "offsets": [asdict(found) | {"clear": found.clear} for found in self.offsets()],
            "published": [asdict(row) for row in study.published],
            "runs": [run.to_json() for run in self.runs],
        }

    def _row(self, variant: Variant) -> dict[str, Any]:
        return {
            "variant": variant.key,
            "label": variant.label,
            "preset": variant.preset,
            "overrides": dict(variant.overrides),
            "part_offsets": variant.part_offsets,
            "base": variant.base or None,
            "paper": dict(variant.paper),
            "measured": {
                metric: asdict(found)
                for metric in self.metrics
                if (found := self.spread(variant.key, metric))
            },
            "costs": dict(self.costs.get(variant.key, {})),
        }


def _compare(
    names: tuple[str, str, str],
    mine: Mapping[int, float],
    theirs: Mapping[int, float],
    paper: float | None,
    *,
    same_network: bool,
) -> Comparison | None:
    """Compare values by seed; `names` are the variant's, the other's and the metric's."""
    seeds = tuple(sorted(set(mine) & set(theirs)))
    if not seeds:
        return None
    differences = spread([mine[seed] - theirs[seed] for seed in seeds])
    sds = (spread([mine[seed] for seed in seeds]).sd, spread([theirs[seed] for seed in seeds]).sd)
    return Comparison(*names, seeds, differences, sds, paper, same_network)
