"""What `dprd ablate` does without training: forecasts, costs, and measurements of checkpoints."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dprd_cli.commands._options import data_flags, say, with_data

if TYPE_CHECKING:
    from dprd_cli.studies.checkpoints import Measuring
    from dprd_cli.studies.plan import Job
    from dprd_cli.studies.study import Study

#: What a study's tables are written to.
FILES = "table.md, table.tex, table.csv, study.json"


def forecast(study: Study, jobs: list[Job], out: Path, *, json: bool) -> dict[str, Any]:
    """Print (or return, for `--json`) what is left of a study and what it costs: `--dry-run`."""
    from dprd_cli.commands._study_tables import print_forecast
    from dprd_cli.studies.costs import classes_of, image_size
    from dprd_cli.studies.costs import forecast as forecast_study

    config = jobs[0].config
    found = forecast_study(jobs, out, classes_of(config))
    if not json:
        title = f"{study.name}: {study.title}; {config.train.steps} steps a run, into {out / study.name}"
        print_forecast(title, found, image_size(config))
    rows = [{**asdict(one), "seconds": one.seconds} for one in found]
    return {"study": study.name, "image_size": list(image_size(config)), "rows": rows}


def costs(study: Study, jobs: list[Job], out: Path, *, json: bool) -> dict[str, Any]:
    """Measure a study's networks, print the table and write it: `--cost-only`."""
    from dprd_cli.commands._study_tables import print_costs
    from dprd_cli.studies.costs import classes_of, cost_columns, measure_costs
    from dprd_cli.studies.study import COSTS
    from dprd_cli.studies.summary import Summary
    from dprd_cli.studies.write import write_costs

    folder = out / study.name
    found = measure_costs(jobs, folder, classes_of(jobs[0].config), anew=True)
    summary = Summary(replace(study, columns=COSTS), [], cost_columns(found))
    write_costs(summary, folder)
    if not json:
        print_costs(summary)
    one = next(iter(found.values()))
    size, classes = "x".join(str(side) for side in one["image_size"]), one["num_classes"]
    say(f"{study.name}: an image of {size}, {classes} classes, on {one['device']}")
    say(f"{study.name}: {folder}: costs.json, costs.md, costs.tex")
    return {"study": study.name, "costs": found}


def measuring(
    data: str | None,
    on_bad_image: str | None,
    overrides: list[str] | None,
    device: str | None,
    limit: int,
    *,
    tta: bool,
) -> Measuring:
    """Return how `--weights` are measured."""
    from dprd_cli.studies.checkpoints import Measuring

    return Measuring(
        data=lambda config: with_data(config, overrides, data_flags(config, data, on_bad_image)),
        device=device or "auto",
        limit=limit,
        tta=tta,
    )


def measure(study: Study, weights: list[str], out: Path, how: Measuring, *, json: bool) -> dict[str, Any]:
    """Measure checkpoints, print the table and write it: `--weights`."""
    from dprd_cli.commands._study_tables import print_study
    from dprd_cli.studies.checkpoints import check_measurable, measure_checkpoints
    from dprd_cli.studies.plan import parse_checkpoints
    from dprd_cli.studies.summary import Summary
    from dprd_cli.studies.write import write_study

    check_measurable(study)
    checkpoints = parse_checkpoints(weights)
    folder = out / (study.name if study.published else f"{study.name}-at-test")
    summary = Summary(*measure_checkpoints(study, checkpoints, folder, how))
    settings = {"weights": {one.name: one.spec for one in checkpoints}, "limit": how.limit, "tta": how.tta}
    content = write_study(summary, folder, settings)
    if not json:
        print_study(summary)
    say(f"{study.name}: {folder}: {FILES}{'' if study.published else ', plot.png'}")
    return content
