"""`dprd env`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dprd_cli.commands._options import Json, print_json
from dprd_cli.errors import one_line

if TYPE_CHECKING:
    from dprd_cli.runtime.environment import Environment
    from dprd_cli.weights.inventory import Inventory


def env(json: Json = False) -> None:
    """Describe this installation for a bug report: versions, devices, weights; no names, no other paths."""
    from dprd_cli.runtime.environment import describe_environment
    from dprd_cli.weights.inventory import take_inventory

    found, weights = describe_environment(), take_inventory()
    if json:
        print_json(found.to_json() | weights.to_json())
        return
    for name, value in _rows(found, weights).items():
        typer.echo(one_line(f"{name:<12}{value}"))


def _rows(found: Environment, weights: Inventory) -> dict[str, str]:
    commit = f", commit {found.commit[:12]}" if found.commit else ""
    threads = "".join(
        f", {number} {what} thread{'s' if number > 1 else ''}" for what, number in found.threads.items()
    )
    devices = [f"{one.name}, {one.memory_gib:g} GiB, sm {one.capability}" for one in found.devices]
    memory = "" if found.memory_gib is None else f", {found.memory_gib:g} GiB of memory"
    cuda = f"built for CUDA {found.cuda}" if found.cuda else "built without CUDA"
    rows = {
        "dprd": f"{found.dprd} ({found.installed}{commit}{', with changes' if found.changed else ''})",
        "python": found.python,
        "system": f"{found.system}, {found.cpus} CPUs{memory}",
        "torch": f"{found.packages['torch'] or 'missing'}, {cuda}{threads}",
        "device": f"{found.device or 'none'}" + (f" ({'; '.join(devices)})" if devices else ""),
        "precision": "none" if found.precision is None else found.precision.line(),
        "packages": ", ".join(
            f"{name} {number or 'MISSING'}" for name, number in found.packages.items() if name != "torch"
        ),
        "variables": ", ".join(f"{name}={value}" for name, value in found.variables.items()) or "none set",
        "weights": f"included: {', '.join(weights.included) or 'none'}; "
        f"in {weights.downloads or 'no folder'}: {', '.join(weights.weights) or 'none'}",
    }
    return rows | {f"problem {n}": line for n, line in enumerate(found.problems, start=1)}
