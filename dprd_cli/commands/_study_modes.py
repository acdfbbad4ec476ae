"""What `dprd ablate` is asked to do, and how it shows what came out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dprd_cli.commands._options import print_json, say

if TYPE_CHECKING:
    from dprd_cli.studies.ablate import StudyResult
    from dprd_cli.studies.costs import StudyCosts
    from dprd_cli.studies.forecast import StudyForecast

_MODES = ("dry_run", "cost_only", "report_only", "weights")
_OF_TRAININGS = ("size", "backbone", "backbone_weights", "schedule", "config", "steps", "batch_size")
_OF_CHECKPOINTS = ("limit", "tta")


def check_modes(parameters: Mapping[str, Any]) -> None:
    """Check that a command line asks for one thing.

    Args:
        parameters: Parameter of the command -> its value.

    Raises:
        UsageError: If options contradict each other, naming them.
    """
    from dprd_cli.errors import UsageError

    def given(names: Iterable[str]) -> str:
        return ", ".join(f"--{name.replace('_', '-')}" for name in names if parameters[name])

    if "," in (modes := given(_MODES)):
        raise UsageError(f"{modes}: one of them")
    if parameters["weights"]:
        if fixed := given(_OF_TRAININGS):
            raise UsageError(f"{fixed}: the checkpoints of --weights fix this")
    elif given(_OF_CHECKPOINTS):
        raise UsageError("--limit, --tta: for measuring checkpoints with --weights")


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `0,1,2`.

    Raises:
        UsageError: If it is not of that form.
    """
    from dprd_cli.errors import UsageError

    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", word) for word in words) or len(set(words)) != len(words):
        raise UsageError(f"--seeds {text}: expected different numbers with commas between, such as 0,1,2")
    return [int(word) for word in words]


def show_all(results: Iterable[StudyResult | StudyForecast | StudyCosts], *, json: bool) -> None:
    """Show what became of each study as soon as it is known, or print all as one JSON document.

    Raises:
        DivergedError: At the end, if the loss of a run was not finite.
    """
    from dprd_cli.commands._study_tables import print_costs, print_forecast, print_study
    from dprd_cli.errors import DivergedError
    from dprd_cli.studies.costs import StudyCosts
    from dprd_cli.studies.forecast import StudyForecast

    documents, diverged = [], []
    for result in results:
        documents.append(result.to_json())
        if isinstance(result, StudyForecast):
            if not json:
                print_forecast(result)
        elif isinstance(result, StudyCosts):
            if not json:
                print_costs(result.summary)
            _tell_costs(result)
        else:
            if not json:
                print_study(result.summary)
            _tell_result(result)
            diverged += [str(job.folder) for job in result.outcome.diverged]
    if json:
        print_json({"studies": documents})
    if diverged:
        raise DivergedError(f"the loss of {', '.join(diverged)} was not finite; the other runs are done")


def _tell_costs(result: StudyCosts) -> None:
    one, name = next(iter(result.variants.values())), result.study.name
    size = "x".join(str(side) for side in one.image_size)
    say(f"{name}: an image of {size}, {one.num_classes} classes, on {one.device}")
    say(f"{name}: {result.folder}: costs.json, costs.md, costs.tex")


def _tell_result(result: StudyResult) -> None:
    study, outcome = result.summary.study, result.outcome
    runs = f"{len(outcome.done)} of {result.planned} runs; " if result.planned else ""
    plot = "" if study.published else ", plot.png"
    say(f"{study.name}: {runs}{result.folder}: table.md, table.tex, table.csv, study.json{plot}")
    if outcome.busy:
        say(
            f"{study.name}: {len(outcome.busy)} runs are with another process; the same command completes "
            "the tables"
        )
