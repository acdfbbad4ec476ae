"""What `dprd data check` and `dprd data stats` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dprd_cli.commands._tables import LiteralConsole, print_rows
from dprd_cli.errors import one_line

if TYPE_CHECKING:
    from dprd_cli.data.check import SplitCheck
    from dprd_cli.data.statistics import SplitStatistics

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def verdict(path: str, checks: Sequence[SplitCheck]) -> tuple[bool, str]:
    """Return whether the data can be used, and a line that says so."""
    kinds = Counter(str(problem.severity) for one in checks for problem in one.problems.kinds.values())
    found = [
        f"{kinds[name]} {'kind' if kinds[name] == 1 else 'kinds'} of {name}"
        for name in _STYLES
        if kinds[name]
    ]
    usable = not kinds["error"]
    start = f"{path} can be used" if usable else f"{path} cannot be used as it is"
    return usable, f"{start}: {', '.join(found) or 'nothing odd'}"


def print_checks(checks: Sequence[SplitCheck]) -> None:
    """Print each split's counts and problems, errors first."""
    from dprd_cli.data.check import sorted_problems
    from dprd_cli.data.formats.problems import plural

    console = LiteralConsole(soft_wrap=True)
    for one in checks:
        console.print(Text(one_line(f"{one.split}  {one.annotations_name}"), style="bold"))
        if one.counts:
            counts = one.counts
            parts = [
                f"{plural(counts.images, 'image')} ({counts.without_objects} without objects)",
                f"{plural(counts.objects, 'object')} in {plural(len(one.classes), 'class')} "
                f"({counts.with_masks} with masks)",
            ]
            extras = {"crowd": counts.crowds, "difficult object": counts.difficult}
            parts += [plural(count, word) for word, count in extras.items() if count]
            console.print(f"  {', '.join(parts)}")
        if one.decoded:
            console.print(f"  {one.decoded.line()}")
        for problem in sorted_problems(one.problems):
            start = f"{problem.file}: " if problem.file and problem.severity == "error" else ""
            end = f"; {problem.advice}" if problem.advice else ""
            line = Text("  ")
            line.append(f"{problem.severity:8}", style=_STYLES[problem.severity])
            line.append(one_line(f"{start}{problem.line()}{end}"))
            console.print(line)
        console.print()


def print_statistics(splits: Sequence[SplitStatistics]) -> None:
    """Print the splits side by side, then every class."""
    found = [one.to_json() for one in splits]
    rows = [
        (title, *(str(one[key]) for one in found))
        for title, key in (
            ("images", "images"),
            ("without objects", "without_objects"),
            ("objects", "objects"),
            ("with masks", "with_masks"),
            ("crowds, or difficult", "crowds"),
        )
    ]
    rows += [
        (
            f"{title} ({', '.join(found[0][key])})",
            *(", ".join(map(_text, one[key].values())) for one in found),
        )
        for title, key in (
            ("objects in an image", "per_image"),
            ("COCO's sizes", "sizes"),
            ("height over width", "aspect_ratio"),
            ("box side at test size, pixels", "side_at_test_size"),
        )
    ]
    for title, key in (
        ("best anchor IoU, mean", "mean_best_iou"),
        ("share at 0.7 or above", "share_above_0.7"),
    ):
        rows.append((title, *(_text(one["anchors"][key]) for one in found)))
    print_rows("", tuple(one.split for one in splits), rows)
    first, *others = (one.classes() for one in splits)
    more = [{row.name: row.objects for row in other} for other in others]
    columns = ("objects", "images", "masks", "median side", *(f"{one.split} objects" for one in splits[1:]))
    print_rows(
        f"{splits[0].split} class",
        columns,
        [
            (
                row.name,
                *map(_text, (row.objects, row.images, row.masks, row.median_side)),
                *(str(counts.get(row.name, 0)) for counts in more),
            )
            for row in first
        ],
    )


def _text(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3g}"
