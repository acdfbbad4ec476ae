"""The configuration that a name stands for: a preset, a TOML file, a run, a checkpoint, published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dprd_cli.config.presets import PRESETS
from dprd_cli.config.provenance import ConfigBase
from dprd_cli.errors import UsageError, did_you_mean


def named_base(spec: str) -> ConfigBase:
    """Find out what a name stands for.

    Raises:
        UserError: If it stands for nothing.
    """
    path = Path(spec)
    if not spec or spec in PRESETS:
        return ConfigBase(preset=spec or None)
    for file in (path, path / "config.toml"):
        if file.suffix == ".toml" and file.is_file():
            return ConfigBase(str(file), file=file)
    if spec != "demo" and ":" not in spec and not path.exists():  # before torch is imported
        raise UsageError(
            f"'{spec}': no such preset, config file, run or checkpoint{did_you_mean(spec, PRESETS)}"
        )
    from dprd_cli.weights.checkpoint import read_checkpoint
    from dprd_cli.weights.find import find_checkpoint
    from dprd_cli.weights.published import published_config
    from dprd_cli.weights.zoo import is_published, published

    if is_published(spec):
        return _of_tree(spec, published_config(published(spec)).model_dump(mode="json"))
    file = find_checkpoint(spec)
    return _of_tree("demo" if spec == "demo" else str(file), read_checkpoint(file)["config"])


def _of_tree(title: str, tree: dict[str, Any]) -> ConfigBase:
    return ConfigBase(title, preset=tree["preset"], schedule=tree["schedule"], tree=tree)
