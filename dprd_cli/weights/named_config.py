"""The configuration that a name stands for: a preset, a TOML file, a run, a checkpoint, published weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.config.aliases import fill_old_values
from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.config.provenance import ConfigBase, explain
from dprd_cli.config.tree import differences
from dprd_cli.errors import UsageError, did_you_mean
from dprd_cli.weights.included import INCLUDED


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
    if spec not in INCLUDED and ":" not in spec and not path.exists():  # before torch is imported
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
    return _of_tree(spec if spec in INCLUDED else str(file), read_checkpoint(file)["config"])


@dataclass(frozen=True, slots=True)
class ConfigComparison:
    """Two configurations, and where they differ.

    Args:
        first: What the first one is called.
        second: What the second one is called.
        differences: Dotted key -> both values.
    """

    first: str
    second: str
    differences: dict[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        rows = [{"key": key, "first": a, "second": b} for key, (a, b) in self.differences.items()]
        return {"first": self.first, "second": self.second, "differences": rows}


def compare_configs(first: str, second: str = "") -> ConfigComparison:
    """Compare what two names stand for; a name alone is compared with its own preset and schedule.

    Raises:
        UserError: If one stands for nothing.
    """
    mine = explain(named_base(first)).config
    if second:
        return ConfigComparison(first, second, differences(mine, explain(named_base(second)).config))
    usual = resolve(preset=mine.preset, schedule=mine.schedule)
    title = f"preset {mine.preset}, schedule {mine.schedule}"
    return ConfigComparison(title, first, differences(usual, mine))


def _of_tree(title: str, tree: dict[str, Any]) -> ConfigBase:
    tree = fill_old_values(tree)
    return ConfigBase(title, preset=tree["preset"], schedule=tree["schedule"], tree=tree)
