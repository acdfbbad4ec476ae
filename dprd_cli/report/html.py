"""Pieces of an HTML page; whatever is text is escaped."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from dprd_cli.drawing.canvas import shrink
from dprd_cli.drawing.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    GRID,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    show_names_as_they_are,
)
from dprd_cli.files.images import encode_jpeg
from dprd_cli.structures.sample import ImageArray

_IMAGE_SIDE = 560  # pixels of an image's long side, at most


class Html(str):
    """Text that is HTML already, and safe."""

    __slots__ = ()


def text(value: Any) -> Html:
    """Escape a value, unless it is HTML."""
    return value if isinstance(value, Html) else Html(html.escape(_printable(str(value))))


def attribute(value: Any) -> str:
    """Return a value as an attribute's, in quotes."""
    return f'"{html.escape(_printable(str(value)), quote=True)}"'


def _printable(value: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value)


def join(parts: Iterable[str]) -> Html:
    """Set pieces one after the other; plain text among them is escaped."""
    return Html("".join(text(part) for part in parts))


def element(name: str, *content: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: Its tag.
        content: Pieces; plain text is escaped.
        attributes: A trailing underscore is left out, others become hyphens; None leaves the attribute out.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    given = "".join(f" {key}={attribute(value)}" for key, value in pairs if value is not None)
    return Html(f"<{name}{given}>{join(content)}</{name}>")


def dotted(key: str) -> Html:
    """Return a dotted key that may break after a dot or underscore, not within a word."""
    return Html(text(key).replace(".", ".<wbr>").replace("_", "_<wbr>"))


def note(*content: Any) -> Html:
    """Return a line that explains, or says what is lacking."""
    return element("p", *content, class_="note")


def section(title: str, anchor: str, *content: Any, level: int = 3) -> Html:
    """Return a section with a heading that can be linked to."""
    return element("section", element(f"h{level}", title), *content, id=anchor)


def details(summary: str, *content: Any) -> Html:
    """Return content that opens when asked for."""
    return element("details", element("summary", summary), *content)


def table(
    caption: str,
    head: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: bool = True,
    class_: str | None = None,
) -> Html:
    """Return a table whose first column heads its rows; it scrolls where the page is narrow.

    Args:
        caption: What it holds.
        head: Column titles.
        rows: Cells.
        numbers: The other columns are numbers, set flush right.
        class_: For the style sheet.
    """
    titles = join(element("th", title, scope="col") for title in head)
    body = join(
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    kinds = " ".join(filter(None, ("numbers" if numbers else "words", class_)))
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", titles)),
        element("tbody", body),
        class_=kinds,
    )
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def figure(content: Html, caption: Any = "", *, class_: str | None = None) -> Html:
    """Return a figure with its caption."""
    return element("figure", content, element("figcaption", caption) if caption else "", class_=class_)


def embed_image(image: ImageArray, alt: str) -> Html:
    """Return an image, made smaller where it is large, inside the page.

    Args:
        image: RGB. [H, W, 3]
        alt: What it shows.
    """
    image = shrink(image, _IMAGE_SIDE)
    return embedded(encode_jpeg(image, 82), "image/jpeg", alt, (image.shape[1], image.shape[0]))


def embedded(data: bytes, kind: str, alt: str, size: tuple[int, int] | None = None) -> Html:
    """Return an image file of a MIME type inside the page, and its (width, height) for the layout."""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    width, height = size or (None, None)
    return Html(
        f"<img src={attribute(source)} alt={attribute(alt)}"
        + (f' width="{width}" height="{height}"' if size else "")
        + ">"
    )


def number(value: Any, digits: int = 1) -> str:
    """Write a number with a fixed number of digits, and `-` for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return f"{value:.{digits}f}" if usable else "-"


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
        number: Number of the figure in the page, because ids must differ.
    """
    buffer = io.StringIO()
    show_names_as_they_are(figure)
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
