"""The run folder: its name, what describes the run in it, and what can be resumed from it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import warnings
from pathlib import Path
from types import TracebackType

import torch

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import to_toml
from dprd_cli.errors import DprdWarning, ResourceError, UsageError, UserError
from dprd_cli.files.atomic import write_atomically, write_json
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
    return path.name == ".lock" or (path.name.startswith(".") and path.name.endswith(".tmp"))


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


class BusyError(UserError):
    """A run that another process holds."""


class RunLock:
    """Holds `.lock` in a run folder while entered; the system releases it when the process ends, however.

    The lock is the process's own: forked workers of the loader, which live on for seconds after a `kill -9`,
    do not hold it (they would with `flock`).

    Args:
        folder: The run folder; exists.

    Raises:
        BusyError: On entering, if another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file = -1

    def __enter__(self) -> RunLock:
        while True:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise ResourceError(f"{self._path}: cannot lock the run folder ({error.strerror})") from error
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(self._file).st_ino == self._path.stat().st_ino:
                    break
            except FileNotFoundError:
                pass  # its last holder removed it in between: take a new one
            except (BlockingIOError, PermissionError) as error:  # EAGAIN or EACCES: held
                os.close(self._file)
                raise BusyError(f"{self._path.parent}: another process is training this run") from error
            except OSError:
                break  # a file system without locks
            os.close(self._file)
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._file)
