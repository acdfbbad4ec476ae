"""From what `--weights` names to the file that it stands for: a run, an included detector, the hub's."""

from __future__ import annotations

from pathlib import Path

from dprd_cli.config.tree import read_toml
from dprd_cli.errors import UserError
from dprd_cli.files.downloads import download_folder
from dprd_cli.weights.hub import WEIGHTS_FILE, fetch_hub, is_hub
from dprd_cli.weights.included import INCLUDED, included_beside, included_file
from dprd_cli.weights.zoo import ZOO


def find_checkpoint(spec: str = "", runs: Path = Path("runs")) -> Path:
    """Return the file that `spec` stands for (see `weights/load.py`).

    Raises:
        UserError: If there is none, with the next step.
    """
    if spec in INCLUDED:
        return included_file(spec) or _not_installed(spec)
    if is_hub(spec):
        return fetch_hub(spec).path
    path = Path(spec)
    if spec and path.is_file():
        return path
    if spec and path.is_dir():
        return _checkpoint_in(path) or _packed_in(path) or _no_checkpoint(path)
    if spec:
        raise UserError(
            f"no such checkpoint: {spec}; pass a file, a run folder, or one of: {', '.join(INCLUDED)}"
        )
    newest = newest_run(runs)
    return (newest and _checkpoint_in(newest)) or _no_checkpoint(runs)


def find_preset(preset: str, runs: Path = Path("runs"), *, beside: str = "") -> str:
    """Return what `load_model` takes for a preset: beside an included detector one like it, else a run.

    The run is the newest. Without one these are its published weights, where they were downloaded before.

    Args:
        preset: Its `-small` and `-medium` forms count too.
        runs: Where runs are.
        beside: What the detector that it is compared with was loaded by.

    Raises:
        UserError: If there is none of these.
    """
    if included := included_beside(beside, preset):
        return included
    run = newest_run(runs, preset)
    if run is not None:
        return str(run)
    names = published_as(preset)
    here = [name for name in names if (download_folder() / ZOO[name].file_name).is_file()]
    if here:
        return here[-1]
    fetching = f", fetch published ones with `dprd weights fetch {names[-1]}`" if names else ""
    raise UserError(
        f"no run of preset {preset} in {runs}/; train one with `dprd train --preset {preset}`{fetching}, "
        "or pass a run folder or checkpoint"
    )


def published_as(preset: str) -> list[str]:
    """Return the names of a preset's published weights, the best last."""
    return [name for name, file in ZOO.items() if file.preset == preset]


def newest_run(runs: Path = Path("runs"), preset: str = "", *, but: str = "") -> Path | None:
    """Return the run folder whose checkpoint is the newest, or None.

    Args:
        runs: Where runs are.
        preset: Look at its runs only; its `-small` and `-medium` forms count too.
        but: Leave out the runs of this preset.
    """
    found = {
        folder: path
        for folder in runs.glob("*/")
        if (path := _checkpoint_in(folder, ("last", "previous", "best")))
        and (not preset or _is_of(folder, preset))
        and not (but and _is_of(folder, but))
    }
    return max(found, key=lambda folder: found[folder].stat().st_mtime, default=None)


def _is_of(folder: Path, preset: str) -> bool:
    path = folder / "config.toml"
    found = str(read_toml(path).get("preset", "")) if path.is_file() else ""
    return found in (preset, f"{preset}-small", f"{preset}-medium")


def _checkpoint_in(folder: Path, names: tuple[str, ...] = ("best", "last", "previous")) -> Path | None:
    return next((path for name in names if (path := folder / f"{name}.pt").is_file()), None)


def _packed_in(folder: Path) -> Path | None:
    """Return the weights of a folder that `dprd weights pack` made, or None."""
    path = folder / WEIGHTS_FILE
    return path if path.is_file() else None


def _no_checkpoint(folder: Path) -> Path:
    raise UserError(f"no checkpoint in {folder}/; train one with `dprd train`, or pass --weights voc or demo")


def _not_installed(name: str) -> Path:
    raise UserError(
        f"the {name} checkpoint is not installed; train one with "
        f"`dprd train --preset {INCLUDED[name].preset}`, or pass --weights"
    )
