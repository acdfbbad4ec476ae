"""Dividing a data set that has no splits: by class, reproducibly, and what belongs together in one part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from dprd_cli.data.formats.problems import plural
from dprd_cli.errors import DataError, UsageError
from dprd_cli.structures.sample import CocoEntry, CocoTree

#: What programs add to the name of an image that they made from another.
_COPY = re.compile(
    r"(\.rf\.[0-9a-z]{8,}"  # Roboflow's
    r"|[ _-]+(copy|kopie|copie)[ _-]*\d*"
    r"|[ _-]+(aug|augmented|flip|flipped|hflip|vflip|mirror|rot|rotated|rotate|crop|cropped|resized)"
    r"[ _-]*\d*)+$",
    re.IGNORECASE,
)

_NUMBERED = re.compile(r" *\(\d+\)$")


@dataclass(frozen=True, slots=True)
class DivisionRule:
    """How a set is divided.

    Args:
        val: Share of the images for evaluation.
        test: Share of the images that are kept for the end.
        seed: Another seed gives another division.
        group_by: Regular expression; images whose names match it with the same groups (the whole match
            without any) stay together. Empty: those whose names differ by what copies are called.
    """

    val: float = 0.2
    test: float = 0.0
    seed: int = 0
    group_by: str = ""

    def pattern(self) -> re.Pattern[str] | None:
        """Return the compiled expression.

        Raises:
            UsageError: If it is none.
        """
        try:
            return re.compile(self.group_by) if self.group_by else None
        except re.error as error:
            raise UsageError(f"--group-by {self.group_by}: not a regular expression ({error})") from error


def divide(tree: CocoTree, rule: DivisionRule) -> dict[str, list[CocoEntry]]:
    """Divide the images of a set in COCO's form.

    The parts have the classes in about the set's shares (iterative stratification: Sechidis, Tsoumakas and
    Vlahavas 2011), beginning with the rarest. The division depends on the images' names and classes and the
    seed alone, not on their order in the file.

    Args:
        tree: The set; entries that are not sound go with the training images.
        rule: How.

    Returns:
        The images of `train`, `val` and `test`, in the file's order.

    Raises:
        DataError: If there are too few images, or groups of them, for one in each part.
    """
    images = [image for image in tree["images"] if isinstance(image, dict)]
    groups = _groups(images, rule)
    shares = {"train": 1 - rule.val - rule.test, "val": rule.val, "test": rule.test}
    wanted = {name: share for name, share in shares.items() if share > 0}
    if len(groups) < len(wanted):
        raise DataError(
            f"{plural(len(images), 'image')} in {plural(len(groups), 'group')} cannot be divided into "
            f"{len(wanted)} splits: label more images"
        )
    parts = _assign(groups, _classes_of(images, tree), wanted, rule.seed)
    chosen = {index: part for part, members in parts.items() for index in members}
    return {part: [image for index, image in enumerate(images) if chosen[index] == part] for part in shares}


def _groups(images: list[CocoEntry], rule: DivisionRule) -> list[list[int]]:
    """Return numbers of images that belong together, in the order of their names.

    Equal ids, equal files, and equal names but for what copies are called, belong together.
    """
    pattern = rule.pattern()
    known = {group_key(str(image.get("file_name")), pattern) for image in images}
    leader: dict[object, int] = {}
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for index, image in enumerate(images):
        name = str(image.get("file_name"))
        group = group_key(name, pattern)
        plain = _NUMBERED.sub("", group)  # "a (1)" is a copy only where there is an "a"
        for key in (("id", str(image.get("id"))), ("name", plain if plain in known else group)):
            parent[root(index)] = root(leader.setdefault(key, index))
    groups: dict[int, list[int]] = {}
    for index in sorted(range(len(images)), key=lambda i: (str(images[i].get("file_name")), i)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def group_key(name: str, pattern: re.Pattern[str] | None = None) -> str:
    """Return what the names of images that belong together have in common."""
    if pattern is not None:
        found = pattern.search(name)
        if found is None:
            return name
        return "/".join(filter(None, found.groups())) if pattern.groups else found.group()
    path = PurePosixPath(name)
    stem = re.sub(r"_(jpe?g|png|bmp|webp|tiff?)(?=\.rf\.)", "", path.stem, flags=re.IGNORECASE)
    return f"{path.parent}/{_COPY.sub('', stem) or path.stem}".casefold()


def _classes_of(images: list[CocoEntry], tree: CocoTree) -> list[Counter[str]]:
    """Return how many objects of each class every image has."""
    place = {str(image.get("id")): index for index, image in enumerate(images)}
    counts: list[Counter[str]] = [Counter() for _ in images]
    for ann in tree["annotations"]:
        if isinstance(ann, dict) and not ann.get("iscrowd") and str(ann.get("image_id")) in place:
            counts[place[str(ann.get("image_id"))]][str(ann.get("category_id"))] += 1
    return counts


def _assign(
    groups: list[list[int]], counts: list[Counter[str]], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Give each group to a part: the class that is rarest among what is left decides which is next."""
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    held = [sum((counts[index] for index in groups[number]), Counter()) for number in order]
    sizes = [len(groups[number]) for number in order]
    totals = sum(held, Counter())
    lacking = {
        part: {name: share * total for name, total in totals.items()} for part, share in shares.items()
    }
    room = {part: share * sum(sizes) for part, share in shares.items()}
    parts: dict[str, list[int]] = {part: [] for part in shares}
    left = dict.fromkeys(range(len(order)))
    while left:
        remaining = sum((held[place] for place in left), Counter())
        rarest = min(remaining, key=lambda name: (remaining[name], name), default=None)
        for place in [place for place in left if rarest is None or held[place][rarest]]:
            empty = [part for part in shares if not parts[part]]
            must = bool(empty) and len(left) <= len(empty)
            part = max(
                empty if must else shares,
                key=lambda one: (
                    (lacking[one].get(rarest or "", 0.0), room[one]) if rarest else (room[one], 0.0)
                ),
            )
            parts[part] += groups[order[place]]
            room[part] -= sizes[place]
            for name, number in held[place].items():
                lacking[part][name] -= number
            del left[place]
    return parts
