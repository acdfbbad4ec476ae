"""Takes pictures of a page, such as a report, with a headless Chromium: whole, or some of its sections.

python scripts/page_pictures.py runs/NAME/report.html top.png --height 900
python scripts/page_pictures.py runs/NAME/report.html images.png --sections images gradcam
python scripts/page_pictures.py runs/NAME/report.html phone.png --width 390 --height 1200
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TALLEST = 8000  # pixels of a page
_MARGIN = 24  # pixels that stay below what is on the page
_COLOURS = 200


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path, help="a PNG")
    parser.add_argument("--width", type=int, default=1280, help="of the window, CSS pixels")
    parser.add_argument(
        "--height", type=int, default=0, help="of the picture; by default as far as the page goes"
    )
    parser.add_argument(
        "--sections", nargs="+", default=(), metavar="ID", help="show these alone, of every run"
    )
    options = parser.parse_args()
    html = options.page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(
            html.replace("</head>", f"{_alone(html, options.sections)}</head>", 1), encoding="utf-8"
        )
        image = _screenshot(page, options.width, options.height or _TALLEST)
    trimmed(image).quantize(_COLOURS, dither=Image.Dither.NONE).save(options.out, optimize=True)


def _alone(html: str, sections: Sequence[str]) -> str:
    """Return a style that hides all but these sections of a page, its head and its menu too.

    Raises:
        SystemExit: If the page has no such section.
    """
    for name in sections:
        if not re.search(rf'<section id="(run\d+-)?{re.escape(name)}"', html):
            there = ", ".join(re.findall(r'<section id="([^"]*)"', html))
            sys.exit(f"no section {name}; there are: {there}")
    shown = ", ".join(f'#{name}, section[id$="-{name}"]' for name in sections)
    hidden = f"section:not(:has({shown}), :is({shown}) *, {shown}), section:has({shown}) > :not(section)"
    return f"<style>header, nav, footer, {hidden} {{ display: none }}</style>" if sections else ""


def _screenshot(page: Path, width: int, height: int) -> Image.Image:
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser found; install one of: {', '.join(_BROWSERS)}")
    shot = page.with_suffix(".png")
    looks = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
    )
    size = (f"--window-size={width},{height}", f"--screenshot={shot}")
    subprocess.run([browser, *looks, *size, page.as_uri()], check=True, capture_output=True, timeout=300)
    with Image.open(shot) as image:
        return image.convert("RGB")


def trimmed(image: Image.Image) -> Image.Image:
    """Return an image without the rows at its end that hold nothing."""
    pixels = np.asarray(image)  # [H, W, 3]
    full = np.flatnonzero((pixels != pixels[-1, 0]).any(axis=(1, 2)))
    last = int(full[-1]) if len(full) else image.height - 1
    return image.crop((0, 0, image.width, min(image.height, last + 1 + _MARGIN)))


if __name__ == "__main__":
    main()
