"""matplotlib figures as SVG inside a page: its colours follow the page's theme, its text the page's font."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

from dprd_cli.drawing.curves import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from dprd_cli.evaluation.figures import GREY, GRID
from dprd_cli.report.html import Html, attribute

#: Colour of a figure -> what the page's style sheet calls it.
_THEME = {
    BLACK: "currentColor",
    GRID: "var(--grid)",
    GREY: "var(--muted)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    PURPLE: "var(--purple)",
    SKY: "var(--sky)",
}
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>", re.DOTALL)
_PATH = re.compile(r' d="([^"]*)"')
_DECIMALS = re.compile(r"(\d+\.\d)\d+")


def inline(figure: Figure, alt: str, number: int) -> Html:
    """Turn a figure into an SVG element that fills its place.

    Args:
        figure: Drawn with the palette of `drawing/curves.py`.
        alt: What it shows, for those who cannot see it.
        number: Of the figure in the page, because ids must differ.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dprd"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = _DROPPED.sub("", text[text.index("<svg") :])
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None  # matplotlib always writes one
    inner = text[text.index(">") + 1 : text.rindex("</svg>")]
    inner = re.sub(r"(<(?:path|clipPath) id=)\"(\w+)\"", rf'\1"f{number}-\2"', inner)
    inner = re.sub(r'<g id="[^"]*"', "<g", inner)
    inner = inner.replace("url(#", f"url(#f{number}-").replace('xlink:href="#', f'href="#f{number}-')
    inner = re.sub(r"font-family: [^;\"]*;? ?", "", inner).replace("xlink:href", "href")
    inner = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", inner)
    inner = _PATH.sub(lambda found: f' d="{_DECIMALS.sub(_shorter, " ".join(found[1].split()))}"', inner)
    for colour, name in _THEME.items():
        inner = re.sub(f"(?<=: ){colour}\\b", name, inner, flags=re.IGNORECASE)
    inner = re.sub(r">\s+<", "><", inner)
    width = float(box[1].split()[2])
    style = f"max-width:{1.9 * width:.0f}px"
    head = f'<svg viewBox="{box[1]}" style="{style}" role="img" aria-label={attribute(alt)}>'
    return Html(f"{head}{inner}</svg>")


def _shorter(found: re.Match[str]) -> str:
    return found[1]
