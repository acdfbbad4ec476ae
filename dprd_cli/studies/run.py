"""A study's trainings, one after the other: ordinary runs, made, resumed or found done.

A finished run is skipped, a started one goes on exactly where it stopped, and a run that another process
trains is left to it. So several processes may work on one study, and a kill costs nothing but the steps since
the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dprd_cli.errors import DivergedError, InterruptedRun
from dprd_cli.evaluation.checkpoint import CheckpointOptions, evaluate_model
from dprd_cli.files.atomic import read_json
from dprd_cli.files.folder_lock import BusyError
from dprd_cli.runtime.progress import Work, progress, say
from dprd_cli.studies.folders import finished_like, is_finished, state_of
from dprd_cli.studies.held_out import draw_held_out
from dprd_cli.studies.plan import Job, StudyPlan
from dprd_cli.studies.study import Study
from dprd_cli.studies.summary import OTHER_OFFSETS, offsets_file
from dprd_cli.training.loop import train_locked
from dprd_cli.training.run_folder import run_lock
from dprd_cli.weights.load import load_model


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What became of a study's runs.

    Attributes:
        done: Jobs with results, their folders being where those lie.
        busy: Jobs that another process trains.
        diverged: Jobs whose loss was not finite.
    """

    done: tuple[Job, ...] = ()
    busy: tuple[Job, ...] = ()
    diverged: tuple[Job, ...] = ()


def run_study(plan: StudyPlan, on_done: Callable[[StudyOutcome], object]) -> StudyOutcome:
    """Train what is missing, in the order of the jobs.

    Args:
        plan: The study's runs.
        on_done: Called after each job with results, to write the tables anew.

    Raises:
        UserError: If a folder holds another run (before anything is trained), or training fails otherwise
            than by a loss that is not finite; `InterruptedRun` after a signal, all saved.
    """
    for job in plan.jobs:
        state_of(job)
    with progress(plan.study.name, "runs", lines=False) as show:
        return _run_jobs(plan, on_done, show)


def _run_jobs(plan: StudyPlan, on_done: Callable[[StudyOutcome], object], show: Work) -> StudyOutcome:
    outcome = StudyOutcome()
    for number, job in enumerate(plan.jobs, start=1):
        title = f"{plan.study.name}: {job.variant.key}, seed {job.seed} ({number} of {len(plan.jobs)})"
        passed = state_of(job) == "done" or number == 1
        (show.begin if passed else show)(number - 1, len(plan.jobs))
        try:
            done = _train(job, plan.runs, title)
            _measure_offsets(plan.study, done)
            if plan.study.plot == "parts":
                draw_held_out(done.folder, done.config.train.device)
        except BusyError:
            say(f"{title}: another process trains it")
            outcome = replace(outcome, busy=(*outcome.busy, job))
            continue
        except InterruptedRun as error:
            raise InterruptedRun(
                f"{title}: stopped, and saved in {job.folder}; the same command goes on", error.exit_code
            ) from error
        except DivergedError as error:
            say(f"{title}: {error}")
            outcome = replace(outcome, diverged=(*outcome.diverged, job))
            continue
        outcome = replace(outcome, done=(*outcome.done, done))
        on_done(outcome)
    return outcome


def finished_runs(plan: StudyPlan) -> StudyOutcome:
    """Return what is there already, and train nothing."""
    done = []
    for job in plan.jobs:
        folder = job.folder if state_of(job) == "done" else finished_like(job, plan.runs)
        kind = job.variant.part_offsets
        if folder and (kind == "learned" or _is_measured(replace(job, folder=folder), kind)):
            done.append(replace(job, folder=folder))
    return StudyOutcome(tuple(done))


def _train(job: Job, runs: Path, title: str) -> Job:
    """Train a job if it is not done, and return it with the folder that its results lie in."""
    state = state_of(job)
    if state == "absent" and (folder := finished_like(job, runs)):
        say(f"{title}: the same run is {folder}")
        return replace(job, folder=folder)
    if state != "done":
        job.folder.mkdir(parents=True, exist_ok=True)
        with run_lock(job.folder):
            state = state_of(job)  # another process may have trained it in between
            if state != "done":
                say(f"{title}: {'resumes in' if state == 'started' else 'into'} {job.folder}")
                train_locked(job.config, job.folder, resume=state == "started")
                return job
    say(f"{title}: done before")
    return job


def _measure_offsets(study: Study, job: Job) -> None:
    """Measure a run's last checkpoint with other part offsets, where the study wants that."""
    kinds: tuple[str, ...] = OTHER_OFFSETS if study.measures_offsets else (job.variant.part_offsets,)
    wanted = [kind for kind in kinds if kind != "learned" and not _is_measured(job, kind)]
    if not wanted or not job.config.model.parts.moving:
        return
    with run_lock(job.folder):
        model = load_model(str(job.folder / "last.pt"), job.config.train.device)
        model = model.with_precision(job.config.train.precision).with_data(job.config.data.path)
        for kind in wanted:
            say(f"  {job.folder}: measuring with {kind} part offsets")
            options = CheckpointOptions(
                part_offsets=kind, out=job.folder / offsets_file(kind), overwrite=True
            )
            evaluate_model(model.with_part_offsets(kind), options)


def _is_measured(job: Job, kind: str) -> bool:
    path = job.folder / offsets_file(kind)
    if not path.is_file() or not is_finished(job.folder, job.config.train.steps):
        return False
    content = read_json(path, "results")
    # `dprd eval` may have measured another checkpoint of the run
    return (
        Path(str(content.get("checkpoint"))).name == "last.pt"
        and content.get("step") == job.config.train.steps
    )
