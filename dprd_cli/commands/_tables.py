"""Tables of results on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dprd_cli.config.registry import is_metric_of_plugin
from dprd_cli.errors import one_line
from dprd_cli.structures.part_names import WHOLE, part_letters

_COLUMNS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")
_WIDTH_OF_FILES = 240  # nothing to fit into: no line is broken in a file or pipe


class LiteralConsole(Console):
    """Stdout, where a text is shown as it is: neither markup, emoji codes nor escape sequences act.

    Args:
        soft_wrap: Leave long lines whole.
    """

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
        if not self.is_terminal:
            self.width = _WIDTH_OF_FILES

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text for a cell or line; line ends stay, for headings of two lines."""
        return super().render_str("\n".join(map(one_line, text.split("\n"))), **options)


def print_results(results: Mapping[str, Any]) -> None:
    """Print the COCO metrics of boxes and masks, VOC's on its data, then those of every class.

    Args:
        results: What `evaluate` returns under `results`, with `recall50`, `recall70`, `part_iou` and `parts`
            where they were measured.
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
            ("located_accuracy", "class of located objects right"),
            ("cue_held", "cue held by a part"),
        )
        if results.get(key) is not None
    ]
    notes += [
        f"{key} {value:.3f}"
        for key, value in results.items()
        if is_metric_of_plugin(key) and value is not None
    ]
    if notes:
        console.print("   ".join(notes))
    best = results.get("thresholds", {}).get("overall")
    if best:
        console.print(f"best F1 {best['f1']:.2f}, at score {best['score']:.3g}")
    _print_deciding_parts(console, results.get("parts") or {})
    _print_places(console, (results.get("parts") or {}).get("places"))


def _print_deciding_parts(console: Console, parts: Mapping[str, Any]) -> None:
    """Print, for each class, what the score loses without each part or the whole, where that is known.

    Args:
        console: To print on.
        parts: A `PartDeformation` as JSON.
    """
    total = parts.get("all")
    if not total or total["whole"]["fall"] is None:
        return
    letters = part_letters(len(parts["parts"]))
    table = _table("class", "objects", *letters, WHOLE)
    for group in (*parts["classes"], total):
        roles = (*group["per_part"], group["whole"])
        table.add_row(group["name"], str(group["objects"]), *map(_role, roles))
    names = ", ".join(f"{letter} {name}" for letter, name in zip(letters, parts["parts"], strict=True))
    console.print(f"which part decided ({names}):")
    console.print(table)
    console.print("by how much the score falls without it, and for how many objects by the most")


def _print_places(console: Console, places: Mapping[str, Any] | None) -> None:
    """Print at which places the parts are, over all classes, where they choose among places.

    Args:
        console: To print on.
        places: A `PlaceChoices` as JSON.
    """
    if places is None:
        return
    total, table = places["all"], _table("part", "reference", "other place", "entropy", "steady")
    for part in total["per_part"]:
        share, shift = max(zip(part["shares"][1:], places["shifts"][1:], strict=True), default=(0, (0, 0)))
        often = f"({_signed(shift[0])}, {_signed(shift[1])}) {100 * share:.0f}%" if share else "-"
        shares = (f"{100 * part['shares'][0]:.0f}%", often)
        table.add_row(part["part"], *shares, f"{part['entropy']:.2f}", f"{100 * part['steadiness']:.0f}%")
    console.print(f"where the parts of {total['objects']} objects are:")
    console.print(table)
    console.print(
        f"other place: the most frequent one, its shift in sizes of the object; entropy: of at most "
        f"{places['most_entropy']:.2f}; steady: at the same place when the box shifts a little; all parts at "
        f"one place: {100 * total['together']:.0f}% of the objects, at their reference parts: "
        f"{100 * total['still']:.0f}%"
    )


def print_rows(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a plain table: the first column is text, the others numbers."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*row)
    LiteralConsole().print(table)


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


def _role(role: Mapping[str, float | None]) -> str:
    if role["fall"] is None or role["decides"] is None:
        return "-"
    often = f" {100 * role['decides']:.0f}%" if role["decides"] else ""
    return f"{role['fall']:.2f}{often}"


def _signed(value: float) -> str:
    return f"{value:+g}" if value else "0"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
