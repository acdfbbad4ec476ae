"""The run folder: its name, what describes the run in it, and what can be resumed from it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import to_toml
from dprd_cli.errors import DprdWarning, ResourceError, UsageError, UserError
from dprd_cli.files.atomic import write_atomically, write_json
from dprd_cli.files.folder_lock import LOCK_FILE, FolderLock
from dprd_cli.runtime.environment import describe_run_environment
from dprd_cli.weights.checkpoint import CheckpointData, read_checkpoint


def new_run_folder(
    config: Config, out: Path | None = None, runs: Path = Path("runs"), prefix: str = ""
) -> Path:
    """Create a folder for a new run, never one that holds something.

    Args:
        config: Names the run: `runs/<preset>-<backbone>-<data>-<n>`.
        out: The folder to take instead.
        runs: Where runs lie.
        prefix: What the name starts with.

    Raises:
        UsageError: If `out` is not empty.
        ResourceError: If it cannot be created.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            if any(not _is_leftover(path) for path in out.iterdir()):
                raise UsageError(
                    f"{out} is not empty; choose another --out, or continue that run with --resume {out}"
                )
            return out
        data = config.data.path if config.data.built_in else Path(config.data.path).resolve().name
        number = 1
        while True:
            folder = runs / f"{prefix}{config.preset}-{config.model.backbone.name}-{data}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise ResourceError(f"{error.filename}: cannot create the run folder ({error.strerror})") from error


def _is_leftover(path: Path) -> bool:
    """Whether a file is what a run leaves that is killed before it has written anything."""
    return path.name == LOCK_FILE or (path.name.startswith(".") and path.name.endswith(".tmp"))


def describe_run(folder: Path, config: Config, device: torch.device) -> None:
    """Write `config.toml` (reproduces the run) and `environment.json` (versions, commit, command line).

    A resumed run may have been given more steps: the next resume must know; the environment is the first's.
    """
    write_atomically(folder / "config.toml", lambda file: file.write(to_toml(config).encode()))
    if not (folder / "environment.json").exists():
        write_json(folder / "environment.json", describe_run_environment(device).to_json())


def read_resumable(folder: Path) -> CheckpointData | None:
    """Return the newest checkpoint that a run can continue from: `last.pt`, else `previous.pt`.

    Returns:
        None if the run was stopped before it saved its first one.

    Raises:
        UserError: If there is no run, or neither of its checkpoints is readable.
    """
    found = [path for name in ("last.pt", "previous.pt") if (path := folder / name).exists()]
    if not found and not (folder / "config.toml").exists():
        raise UserError(f"no run to resume in {folder}; start one with `dprd train`")
    for left in folder.glob(".*.tmp"):  # by a kill while it was written
        left.unlink()
    for path in found:
        try:
            content = read_checkpoint(path)
        except UserError as error:
            if path == found[-1]:
                raise
            warnings.warn(f"{error}; trying {found[-1].name}", DprdWarning, stacklevel=2)
            continue
        if "optimizer" not in content:
            raise UserError(f"{path}: holds no optimizer state; it cannot be resumed")
        return content
    return None


def run_lock(folder: Path) -> FolderLock:
    """Return the lock of a run folder, to be entered while the run is trained or measured."""
    return FolderLock(folder, "training this run")
