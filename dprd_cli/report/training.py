"""The sections on how a run was trained: curves, settings, environment."""

from __future__ import annotations

import json
from typing import Any

from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import differences, flatten, to_toml, validate
from dprd_cli.errors import UserError
from dprd_cli.report.curves import draw, run_panels
from dprd_cli.report.html import Html, details, dotted, element, figure, join, note, table
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import RunFiles


def training(page: ReportPage, run: RunFiles) -> Html:
    """Return the curves of loss, AP, recall, parts, gradients."""
    panels = run_panels(run.metrics)
    if not panels:
        return note("No training curves: metrics.jsonl is not there or has no rows.")
    drawn = [figure(page.svg(draw(panel), panel.alt()), panel.title) for panel in panels]
    lines = []
    if not any(panel.title == "AP" for panel in panels):
        lines.append(note("No AP during training: the run was not evaluated."))
    if not any(panel.title == "Part IoU" for panel in panels):
        lines.append(note("No part curves: the detector has no parts."))
    return join((element("div", *drawn, class_="charts three"), *lines))


def settings(page: ReportPage, run: RunFiles) -> Html:
    """Return the differences to the preset's defaults, then all settings."""
    config = page.config(run)
    if not config:
        return note("Settings unknown: there is no config.toml.")
    name = f"preset {config.get('preset', '?')}, schedule {config.get('schedule', '?')}"
    changed = changed_settings(config)
    if changed is None:
        shown = note(f"{name}: not known to this version, so there are no defaults to compare with.")
    elif not changed:
        shown = note(f"All settings are the defaults of {name}.")
    else:
        rows = [
            (dotted(key), _value(value), "-" if usual is None else _value(usual))
            for key, (value, usual) in changed.items()
        ]
        shown = table(
            f"Differences to the defaults of {name}", ("key", "this run", "default"), rows, numbers=False
        )
    return join((shown, details("All settings", element("pre", _whole(config)))))


def _whole(config: dict[str, Any]) -> str:
    try:
        return to_toml(validate(config))
    except UserError:  # of another version
        return "\n".join(f"{key} = {_value(value)}" for key, value in flatten(config).items())


def _value(value: Any) -> str:
    return json.dumps(value, default=str)


def environment(_page: ReportPage, run: RunFiles) -> Html:
    """Return versions, machine, commit, command."""
    if not run.environment:
        return note("Environment unknown: there is no environment.json.")
    rows = [(key, "unknown" if value is None else value) for key, value in run.environment.items()]
    return table("Where it was trained", ("what", "value"), rows, numbers=False)


def changed_settings(config: dict[str, Any]) -> dict[str, tuple[Any, Any]] | None:
    """Return the settings that differ from the defaults of the run's preset and schedule.

    Args:
        config: The tree of a `config.toml`.

    Returns:
        Dotted key -> (value, default); the default of a key that this version does not know is None. None
        where there is no such preset or schedule.
    """
    path = flatten(config).get("data.path")
    try:
        usual = resolve(
            preset=config.get("preset"), schedule=config.get("schedule"), flags={"data.path": path}
        )
    except UserError:
        return None
    return differences(config, usual)
