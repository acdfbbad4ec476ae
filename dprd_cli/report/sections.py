"""All sections about one run, in their order."""

from __future__ import annotations

from collections.abc import Callable

from dprd_cli.report.accuracy import accuracy, confusion, precision_recall
from dprd_cli.report.html import Html, note, section
from dprd_cli.report.images import gradcam, images, parts
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import RunFiles
from dprd_cli.report.training import environment, settings, training


def run_sections(page: ReportPage, run: RunFiles) -> list[tuple[str, str, Html]]:
    """Return (title, anchor, HTML) of each section about a run."""
    makers: dict[str, tuple[str, Callable[[ReportPage, RunFiles], Html]]] = {
        "accuracy": ("Accuracy", accuracy),
        "curves": ("Training", training),
        "pr": ("Precision and recall", precision_recall),
        "confusion": ("Confusion", confusion),
        "images": ("Worst and best images", images),
        "parts": ("Parts", parts),
        "gradcam": ("Grad-CAM", gradcam),
        "config": ("Settings", settings),
        "environment": ("Environment", environment),
    }
    made = []
    for part, (title, maker) in makers.items():
        anchor = page.anchor(run, part)
        try:
            content = maker(page, run)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            # files of a run may hold anything
            why = f"{type(error).__name__}: {error}"
            content = note(f"Not shown: the run's files are not as expected ({why}).")
        made.append((title, anchor, section(title, anchor, content)))
    return made
