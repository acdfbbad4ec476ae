"""Tables of results on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_COLUMNS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")


def print_results(results: Mapping[str, Any]) -> None:
    """Print the COCO metrics of boxes and masks, then those of every class.

    Args:
        results: What `evaluate` returns under `results`, with `recall50`, `recall70` and `part_iou` where
            they were measured.
    """
    totals = _table("", *_COLUMNS)
    totals.add_row("box", *(_percent(results["bbox"].get(name)) for name in _COLUMNS))
    masks = results.get("segm")
    if masks:
        totals.add_row("mask", *(_percent(masks.get(name)) for name in _COLUMNS))
    classes = _table("class", "objects", "box AP", "box AP50", *(("mask AP", "mask AP50") if masks else ()))
    for row in results["classes"]:
        keys = ("bbox_ap", "bbox_ap50", *(("segm_ap", "segm_ap50") if masks else ()))
        classes.add_row(row["name"], str(row["objects"]), *(_percent(row[key]) for key in keys))
    console = Console(highlight=False)
    console.print(totals)
    console.print(classes)
    notes = [
        f"{text} {results[key]:.3f}"
        for key, text in (
            ("recall50", "proposal recall @0.5"),
            ("recall70", "@0.7"),
            ("part_iou", "part IoU"),
        )
        if results.get(key) is not None
    ]
    if notes:
        console.print("   ".join(notes))


def print_rows(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a plain table: the first column is text, the others numbers."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
