"""`dprd parity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._options import Json, print_json, say


def parity(
    fixture: Annotated[Path, typer.Argument(metavar="FIXTURE.json", help="What Detectron2 computed.")],
    json: Json = False,
) -> None:
    """Compare this implementation with Detectron2's own numbers; fails if they differ."""
    from rich.table import Table

    from dprd_cli.benchmark.parity import compare
    from dprd_cli.commands._tables import LiteralConsole
    from dprd_cli.errors import EXIT_FAILED

    differences = compare(fixture)
    same = all(difference.ok for difference in differences)
    if json:
        rows = [difference.to_json() for difference in differences]
        print_json({"fixture": str(fixture), "ok": same, "differences": rows})
    else:
        table = Table("compared", "largest difference", "tolerance", "", title=fixture.name)
        for difference in differences:
            verdict = "ok" if difference.ok else "DIFFERS"
            table.add_row(difference.kind, f"{difference.value:.2g}", f"{difference.tolerance:g}", verdict)
        LiteralConsole().print(table)
    say("within tolerance" if same else "not within tolerance")
    if not same:
        raise typer.Exit(EXIT_FAILED)
