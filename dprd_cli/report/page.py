"""What the sections of a page share: the numbering of figures, and what each run has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from matplotlib.figure import Figure

from dprd_cli.report.html import Html, inline, note
from dprd_cli.report.measure import RunMeasurement
from dprd_cli.report.runs import RunFiles


class ReportPage:
    """What sections share: the numbering of figures, and what each run has.

    Args:
        runs: The page's runs.
        measured: By run name: what was measured for the page.
        left_out: By run name: why nothing was.
    """

    def __init__(
        self, runs: Sequence[RunFiles], measured: Mapping[str, RunMeasurement], left_out: Mapping[str, str]
    ) -> None:
        self.runs, self.measured, self.left_out = runs, measured, left_out
        self._numbers = count()

    def svg(self, drawn: Figure, alt: str) -> Html:
        """Return a figure as SVG with ids of its own."""
        return inline(drawn, alt, next(self._numbers))

    def anchor(self, run: RunFiles, part: str = "") -> str:
        """Return the id of a run's section, or of a part of it."""
        return f"run{self.runs.index(run) + 1}" + (f"-{part}" if part else "")

    def analysis(self, run: RunFiles) -> dict[str, Any] | None:
        """Return the page's own analysis, else the one that `dprd eval` left, else None."""
        if run.name in self.measured:
            return self.measured[run.name].analysis
        return run.analysis.content if run.analysis is not None else None

    def config(self, run: RunFiles) -> dict[str, Any]:
        """Return the run's settings, by its file or its checkpoint; empty where neither is known."""
        return run.config or (self.measured[run.name].config if run.name in self.measured else {})

    def measured_on(self, run: RunFiles) -> Html:
        """Say on which images the page's own numbers of a run rest, or where else they come from."""
        if run.name in self.measured:
            found = self.measured[run.name]
            some = f"the first {found.images} of {found.total}"
            which = f"all {found.total}" if found.images == found.total else some
            return note(
                f"Measured for this page: {found.checkpoint.name}, step {found.step}, on {which} images of "
                f"{found.data}."
            )
        why = self.left_out.get(run.name, "")
        if run.analysis is not None:
            images = run.analysis.content.get("images", "an unknown number of")
            return note(f"{why} From {run.analysis.file}: {images} images.")
        return note(f"{why} Nothing to show without it.")
