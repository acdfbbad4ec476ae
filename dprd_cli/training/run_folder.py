"""The run folder: its name, what describes the run in it, and what can be resumed from it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision

from dprd_cli import __version__
from dprd_cli.config.schema import Config, to_toml
from dprd_cli.errors import DprdWarning, ResourceError, UsageError, UserError
from dprd_cli.weights.checkpoint import read_checkpoint, write_atomically


def new_run_folder(
    config: Config, out: Path | None = None, runs: Path = Path("runs"), prefix: str = ""
) -> Path:
    """Create a folder for a new run, never one that holds something.

    Args:
        config: Names the run: `runs/<preset>-<backbone>-<data>-<n>`.
        out: The folder to take instead.
        runs: Where runs lie.
        prefix: Of the name.

    Raises:
        UsageError: If `out` is not empty.
        ResourceError: If it cannot be created.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            if any(out.iterdir()):
                raise UsageError(
                    f"{out} is not empty; choose another --out, or continue that run with --resume {out}"
                )
            return out
        data = "synthetic" if config.data.path == "synthetic" else Path(config.data.path).resolve().name
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


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def describe_run(folder: Path, config: Config, device: torch.device) -> None:
    """Write `config.toml` (reproduces the run) and `environment.json` (versions, commit, command line).

    A resumed run may have been given more steps: the next resume must know; the environment is the first's.
    """
    write_atomically(folder / "config.toml", lambda file: file.write(to_toml(config).encode()))
    if not (folder / "environment.json").exists():
        write_json(folder / "environment.json", environment(device))


def environment(device: torch.device) -> dict[str, Any]:
    """Return what ran where: versions, the commit of the sources if they are a checkout, the command line."""
    return {
        "dprd": __version__,
        "commit": git_commit(),
        "command": shlex.join(["dprd", *sys.argv[1:]]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def git_commit() -> str | None:
    """Return the commit of the checkout that this package lies in, or None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def read_resumable(folder: Path) -> dict[str, Any] | None:
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
