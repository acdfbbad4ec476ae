"""What every figure shares: the palette, and how a figure is saved."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from dprd_cli.files.atomic import write_bytes

# Okabe and Ito's palette, distinct for every kind of colour vision
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
#: For things of one kind, one after the other.
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
GREY, GRID = "#777777", "#dddddd"


def show_names_as_they_are(figure: Figure) -> None:
    r"""Keep matplotlib from reading dollar signs in a figure's texts as mathematics (`$\frac$` ends it).

    Only the tick labels of logarithmic axes are mathematics.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for formatter, ticks in (
                (axis.get_major_formatter(), axis.get_major_ticks()),
                (axis.get_minor_formatter(), axis.get_minor_ticks()),
            ):
                for tick in ticks if isinstance(formatter, LogFormatter) else ():
                    tick.label1.set_parse_math(True)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        ResourceError: If the file cannot be written.
    """
    FigureCanvasAgg(figure)
    show_names_as_they_are(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    write_bytes(path, buffer.getvalue())
