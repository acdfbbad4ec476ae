"""Images that are the same, or look the same, in both splits: what they measure was seen in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.image_checks import ImageCheck

_BANDS = 4  # of a look's bits: where fewer differ than there are bands, one band is the same
_MOST = 200  # images of one band that are compared; a band that so many share says nothing


def warn_of_look_alikes(
    train: Mapping[Path, ImageCheck], val: Mapping[Path, ImageCheck], problems: Problems
) -> None:
    """Warn of images for evaluation that training has under another name.

    Args:
        train: What is known of the training images.
        val: What is known of those for evaluation; files that are in both are told of elsewhere.
        problems: Gets the warnings.
    """
    contents = {(check.look, check.content): path for path, check in train.items() if check.look}
    bands: dict[tuple[int, str], list[Path]] = {}
    for path, check in train.items():
        for key in _bands(check.look):
            bands.setdefault(key, []).append(path)
    same: list[str] = []
    near: list[str] = []
    for path, check in val.items():
        if path in train or not check.look:
            continue
        if (check.look, check.content) in contents:
            same.append(f"{path.name} is {contents[check.look, check.content].name}")
            continue
        others = (other for key in _bands(check.look) for other in bands.get(key, [])[:_MOST])
        found = next((other for other in others if _differing(check.look, train[other].look) < _BANDS), None)
        if found is not None:
            near.append(f"{path.name} is like {found.name}")
    too_good = "the numbers will be too good"
    if same:
        text = f"{plural(len(same), 'image')} with the pixels of a training image ({first_five(same)})"
        problems.count("same pixels", f"{text}: {too_good}", same)
    if near:
        text = f"{plural(len(near), 'image')} that look like a training image ({first_five(near)})"
        problems.count("look-alikes", f"{text}: if they are copies or neighbouring frames, {too_good}", near)


def _bands(look: str) -> list[tuple[int, str]]:
    """Return the parts of a look, each with its number."""
    length = len(look) // _BANDS
    return (
        [(number, look[number * length : (number + 1) * length]) for number in range(_BANDS)] if look else []
    )


def _differing(one: str, other: str) -> int:
    """Return how many bits of two looks differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
