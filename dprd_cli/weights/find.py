"""From what `--weights` names to the file that it stands for: a run folder, the demo, weights on the hub."""

from __future__ import annotations

from pathlib import Path

from dprd_cli.config.tree import read_toml
from dprd_cli.errors import UserError
from dprd_cli.files.downloads import download_folder
from dprd_cli.weights.hub import fetch_hub, is_hub
from dprd_cli.weights.zoo import ZOO


def find_checkpoint(spec: str = "", runs: Path = Path("runs")) -> Path:
    """Return the file that `spec` stands for (see `weights/load.py`).

    Raises:
        UserError: If there is none, with the next step.
    """
    if spec == "demo":
        return _demo_checkpoint()
    if is_hub(spec):
        return fetch_hub(spec).path
    path = Path(spec)
    if spec and path.is_file():
        return path
    if spec and path.is_dir():
        return _checkpoint_in(path) or _no_checkpoint(path)
    if spec:
        raise UserError(f"no such checkpoint: {spec}; pass a file, a run folder, or 'demo'")
    newest = newest_run(runs)
    return (newest and _checkpoint_in(newest)) or _no_checkpoint(runs)


def find_preset(preset: str, runs: Path = Path("runs")) -> str:
    """Return what `load_model` takes for the newest run of a preset, else for its published weights.

    Args:
        preset: Its `-small` and `-medium` forms count too.
        runs: Where runs are.

    Raises:
        UserError: If there is no such run, and no such weights were downloaded before.
    """
    run = newest_run(runs, preset)
    if run is not None:
        return str(run)
    names = [name for name, file in ZOO.items() if file.preset == preset]
    here = [name for name in names if (download_folder() / ZOO[name].file_name).is_file()]
    if here:
        return here[-1]
    fetching = f", fetch published ones with `dprd weights fetch {names[-1]}`" if names else ""
    raise UserError(
        f"no run of preset {preset} in {runs}/; train one with `dprd train --preset {preset}`{fetching}, "
        "or pass a run folder or checkpoint"
    )


def newest_run(runs: Path = Path("runs"), preset: str = "") -> Path | None:
    """Return the run folder (of a preset, where one is given) whose checkpoint is the newest, or None."""
    found = {
        folder: path
        for folder in runs.glob("*/")
        if (path := _checkpoint_in(folder, ("last", "previous", "best")))
        and (not preset or _preset_of(folder) in (preset, f"{preset}-small", f"{preset}-medium"))
    }
    return max(found, key=lambda folder: found[folder].stat().st_mtime, default=None)


def _preset_of(folder: Path) -> str:
    path = folder / "config.toml"
    return str(read_toml(path).get("preset", "")) if path.is_file() else ""


def _checkpoint_in(folder: Path, names: tuple[str, ...] = ("best", "last", "previous")) -> Path | None:
    return next((path for name in names if (path := folder / f"{name}.pt").is_file()), None)


def _no_checkpoint(folder: Path) -> Path:
    raise UserError(f"no checkpoint in {folder}/; train one with `dprd train`, or pass --weights demo")


def _demo_checkpoint() -> Path:
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        if (path := folder / "assets" / "demo.safetensors").is_file():
            return path
    raise UserError("the demo checkpoint is not installed; train one with `dprd train`, or pass --weights")
