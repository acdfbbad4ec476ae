"""The detectors that come along: which there are, and where their files lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class IncludedDetector:
    """A checkpoint of this package; its file has the command and the AP with it (`dprd weights show`).

    Args:
        preset: What it was trained with.
        data: What it was trained on.
        finds: The same in words.
    """

    preset: str
    data: str
    finds: str

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


#: What `--weights` takes for each.
INCLUDED = {
    "voc": IncludedDetector("cascade-dprd-medium", "voc07", "twenty kinds of things in photographs"),
    "demo": IncludedDetector("cascade-dprd-small", "synthetic", "the built-in data's six kinds"),
    "demo-cascade-mrcnn": IncludedDetector("cascade-mrcnn-small", "synthetic", "the same, to compare with"),
}


def included_file(name: str) -> Path | None:
    """Return its file, in the package or in the checkout beside it; None where it is not there."""
    package = Path(__file__).resolve().parents[1]
    places = (folder / "assets" / f"{name}.safetensors" for folder in (package, package.parent))
    return next(filter(Path.is_file, places), None)


def included_beside(name: str, preset: str) -> str | None:
    """Return the included detector of a preset that knows the classes of this one.

    Args:
        name: What `--weights` was; it need not be an included detector.
        preset: Its `-small` and `-medium` forms count too.
    """
    forms = (preset, f"{preset}-small", f"{preset}-medium")
    data = INCLUDED[name].data if name in INCLUDED else ""
    return next((one for one, own in INCLUDED.items() if own.preset in forms and own.data == data), None)
