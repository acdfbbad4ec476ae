"""What the parts of an object are called, in the order of the reference decomposition."""

from __future__ import annotations

_HALVES = ("left", "right", "upper", "bottom")
_QUADRANTS = ("upper left", "upper right", "bottom left", "bottom right")
_STRIPS = tuple(f"{kind} {n}" for kind in ("column", "row") for n in range(1, 5))
#: Names of the parts, by part count, in the order of `model.parts.decompose`.
PART_NAMES: dict[int, tuple[str, ...]] = {
    2: _HALVES[:2],
    4: _HALVES,
    8: _HALVES + _QUADRANTS,
    16: _HALVES + _QUADRANTS + _STRIPS,
}

#: What the object itself is called, beside its parts.
WHOLE = "whole"


def part_letters(count: int) -> tuple[str, ...]:
    """Return a short sign for each part: L, R, U, B, then UL (upper left), ..., C1 (column 1), ..., R1."""
    return tuple("".join(word[0] for word in name.split()).upper() for name in PART_NAMES[count])
