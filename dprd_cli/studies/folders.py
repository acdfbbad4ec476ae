"""What lies in the run folders of studies: nothing yet, a run that was started, or a finished one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import UserError
from dprd_cli.files.atomic import read_json
from dprd_cli.studies.plan import Job, differing

RunState = Literal["absent", "started", "done"]


def state_of(job: Job) -> RunState:
    """Return what is in a job's folder.

    Raises:
        UserError: If it holds another run, naming the keys in which they differ.
    """
    path = job.folder / "config.toml"
    if not path.is_file():
        # hidden files are a lock, or what a kill left of a file half written
        if job.folder.is_dir() and any(not entry.name.startswith(".") for entry in job.folder.iterdir()):
            raise UserError(f"{job.folder} is not empty and no run; move it away, or choose another --out")
        return "absent"
    keys = differing(config_of(job.folder), job.config)
    if keys:
        shown = [f"{key} = {there!r}, not {here!r}" for key, (there, here) in list(keys.items())[:3]]
        more = f", and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise UserError(
            f"{job.folder} holds another run ({', '.join(shown)}{more}); choose another --out, or move it "
            "away"
        )
    return "done" if is_finished(job.folder, job.config.train.steps) else "started"


def is_finished(folder: Path, steps: int) -> bool:
    """Whether a run folder has the results of its last step."""
    path = folder / "results.json"
    return path.is_file() and read_json(path, "results").get("step") == steps


def finished_like(job: Job, runs: Path) -> Path | None:
    """Return a finished run with the job's configuration elsewhere in `runs`: studies share variants."""
    folders = sorted(path.parent for path in runs.glob("*/*/config.toml"))
    return next((folder for folder in folders if folder != job.folder and _serves(folder, job)), None)


def _serves(folder: Path, job: Job) -> bool:
    try:
        return is_finished(folder, job.config.train.steps) and not differing(config_of(folder), job.config)
    except UserError:
        return False  # a broken run of another study is no fault of this one


def config_of(folder: Path) -> Config:
    """Return a run folder's configuration; keys that are newer than the run as it meant them.

    Raises:
        UsageError: If there is none, or it cannot be read.
    """
    path = folder / "config.toml"
    return validate(read_toml(path), str(path))
