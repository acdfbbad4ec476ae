"""The detectors that come along: which there are, and where their files lie."""

from __future__ import annotations

from pathlib import Path

#: What `--weights` takes for each, and the preset that it was trained with; all alike, on the built-in data.
DEMOS = {"demo": "cascade-dprd-small", "demo-cascade-mrcnn": "cascade-mrcnn-small"}


def demo_file(name: str) -> Path | None:
    """Return the file of a demo, in the package or in the checkout beside it; None where it is not there."""
    package = Path(__file__).resolve().parents[1]
    places = (folder / "assets" / f"{name}.safetensors" for folder in (package, package.parent))
    return next(filter(Path.is_file, places), None)


def demo_of(preset: str) -> str | None:
    """Return the demo of a preset, or of its `-small` form."""
    return next((name for name, own in DEMOS.items() if own in (preset, f"{preset}-small")), None)
