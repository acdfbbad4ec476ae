"""Tables of results on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dprd_cli.errors import one_line

_COLUMNS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")


class LiteralConsole(Console):
    """Stdout, where a text is shown as it is: neither markup, emoji codes nor escape sequences act.

    Args:
        soft_wrap: Leave long lines whole.
    """

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text for a cell or line; line ends stay, for headings of two lines."""
        return super().render_str("\n".join(map(one_line, text.split("\n"))), **options)


def print_results(results: Mapping[str, Any]) -> None:
    """Print the COCO metrics of boxes and masks, VOC's on its data, then those of every class.

    Args:
        results: What `evaluate` returns under `results`, with `recall50`, `recall70` and `part_iou` where
            they were measured.
    """
    totals = _table("", *_COLUMNS)
    totals.add_row("box", *(_percent(results["bbox"].get(name)) for name in _COLUMNS))
    masks = results.get("segm")
    if masks:
        totals.add_row("mask", *(_percent(masks.get(name)) for name in _COLUMNS))
    columns = {"bbox_ap": "box AP", "bbox_ap50": "box AP50"}
    columns |= {"segm_ap": "mask AP", "segm_ap50": "mask AP50"} if masks else {}
    rows = results["classes"]
    if "voc" in results:
        columns |= {"11_point": "VOC07", "all_point": "VOC"}
        rows = [row | voc for row, voc in zip(rows, results["voc"]["classes"], strict=True)]
    classes = _table("class", "objects", *columns.values())
    for row in rows:
        classes.add_row(row["name"], str(row["objects"]), *(_percent(row[key]) for key in columns))
    console = LiteralConsole()
    console.print(totals)
    if "voc" in results:
        console.print(_voc_table(results["voc"]))
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
    best = results.get("thresholds", {}).get("overall")
    if best:
        console.print(f"best F1 {best['f1']:.2f}, at score {best['score']:.3g}")


def print_rows(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a plain table: the first column is text, the others numbers."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*row)
    console = LiteralConsole()
    if not console.is_terminal:
        console.width = 240  # nothing to fit into: no line is broken in a file or pipe
    console.print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _voc_table(voc: Mapping[str, Any]) -> Table:
    names = {"AP": "AP", "AP50": "mAP (AP50)", "AP75": "AP75"}
    table = _table("", *names.values())
    for title, points in (("VOC07 11-point", "11_point"), ("VOC all-point", "all_point")):
        table.add_row(title, *(_percent(voc[points][name]) for name in names))
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
