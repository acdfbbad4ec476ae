"""The tables of `dprd eval --compare` on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from dprd_cli.commands._tables import LiteralConsole

_KINDS = {"bbox": "box", "segm": "mask"}
#: From which p on chance alone explains a difference well enough.
_CHANCE = 0.05


def print_comparison(document: Mapping[str, Any]) -> None:
    """Print what the two are, each AP with its difference, the same for each class, and what it comes to.

    Args:
        document: What the results file of a comparison holds.
    """
    console = LiteralConsole()
    for key in "ab":
        one = document[key]
        step = "" if one["step"] is None else f" (step {one['step']})"
        console.print(f"{key.upper()}  {one['source']}{step}")
    kinds = [kind for kind in _KINDS if document[kind]]
    totals = _table("")
    for kind in kinds:
        for name, row in document[kind].items():
            totals.add_row(f"{_KINDS[kind]} {name}", *_cells(row))
    console.print(totals)
    for kind in kinds if len(document["classes"]) > 1 else ():
        classes = _table(f"{_KINDS[kind]} AP", "objects")
        for row in document["classes"]:
            classes.add_row(row["name"], str(row["objects"]), *_cells(row[kind]["AP"]))
        console.print(classes)
    for kind in kinds:
        console.print(verdict(document, kind))


def verdict(document: Mapping[str, Any], kind: str) -> str:
    """Return what a comparison says of the AP of boxes or masks, in a sentence.

    Args:
        document: What the results file holds.
        kind: `bbox` or `segm`.
    """
    row, name = document[kind]["AP"], f"{_KINDS[kind]} AP"
    if row["difference"] is None:
        return f"{name}: no object to measure"
    if row["p"] is None:
        return f"{name}: too few images with objects to tell what is chance"
    chance = f"on these {document['images']} images (p = {_p(row['p'])})"
    if row["p"] >= _CHANCE:
        return f"{name}: no difference beyond chance {chance}"
    better = "A" if row["difference"] > 0 else "B"
    return f"{name}: {better} is better by {abs(row['difference']):.1f} {chance}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in (*others, "A", "B", "A - B", "95 % interval", "p"):
        table.add_column(name, justify="right")
    return table


def _cells(row: Mapping[str, float | None]) -> tuple[str, ...]:
    if row["difference"] is None:
        return ("-",) * 5
    interval = "-" if row["low"] is None else f"{row['low']:+.1f} to {row['high']:+.1f}"
    return (f"{row['a']:.1f}", f"{row['b']:.1f}", f"{row['difference']:+.1f}", interval, _p(row["p"]))


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
