"""The runs and ablations that the command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dprd_cli.errors import UserError
from dprd_cli.report.runs import RunFiles, is_run, read_run
from dprd_cli.report.studies import StudyFiles, folders_in, is_study, read_study
from dprd_cli.weights.find import find_checkpoint, newest_run


def collect(specs: Sequence[str]) -> tuple[list[RunFiles], list[StudyFiles]]:
    """Read runs and ablations.

    Args:
        specs: Run folders, checkpoints, `demo`, folders of an ablation or of several; the newest run if
            there is none.

    Raises:
        UserError: If one is not there, or holds nothing of a run.
    """
    runs: dict[Path, RunFiles] = {}
    studies: list[StudyFiles] = []
    for spec in specs or [str(_newest())]:
        for place in _expand(spec, studies):
            if place.resolve() not in runs:
                runs[place.resolve()] = read_run(place)
    found = list(runs.values())
    _name_apart(found)
    return found, studies


def _newest() -> Path:
    """Return the newest run."""
    found = newest_run()
    if found is None:
        raise UserError("no run in runs/; train one with `dprd train`, or see `dprd report demo`")
    return found


def _expand(spec: str, studies: list[StudyFiles]) -> list[Path]:
    """Return the run folders or checkpoints that `spec` stands for; ablations are added to `studies`."""
    path = Path(spec)
    if path.is_dir():
        if is_run(path):
            return [path]
        folders = [path] if is_study(path) else [inner for inner in folders_in(path) if is_study(inner)]
        if not folders:
            raise UserError(f"{path}/: holds no run and no ablation; pass a folder that `dprd train` made")
        read = [read_study(folder) for folder in folders]
        studies += read
        return [run for study in read for run in study.runs]
    return [find_checkpoint(spec)]


def _name_apart(runs: list[RunFiles]) -> None:
    """Put the folder above before names that are alike."""
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1 and run.folder is not None:
            run.name = f"{run.folder.resolve().parent.name}/{run.name}"
