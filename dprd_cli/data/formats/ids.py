"""Ids of annotation files as integers, in whatever form tools write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dprd_cli.structures.sample import CocoEntry, CocoTree

#: Key under which an entry keeps an id that was a text; never in a file.
TEXT_ID = "text_id"


def settle_ids(tree: CocoTree) -> CocoTree:
    """Turn the ids of a parsed annotation file into integers, in place, and return it.

    A float without a fraction is the integer (as to pycocotools), and so are widths and heights. Ids that
    are texts are the numbers they spell where all of them do, and all differ; else they are numbered in the
    order of the file, after the integers; their entry keeps the text as `text_id`. What is no id at all
    stays, for the check to name.

    Args:
        tree: What a file of COCO's form holds; entries may be malformed.
    """
    images, categories = _entries(tree, "images"), _entries(tree, "categories")
    for key, entries in (("image_id", images), ("category_id", categories)):
        numbers = _numbers(entry.get("id") for entry in entries)
        for entry in entries:
            entry.pop(TEXT_ID, None)
            _settle(entry, "id", numbers)
        for ann in _entries(tree, "annotations"):
            _settle(ann, key, numbers, keep=False)
    for image in images:
        for key in ("width", "height"):
            if key in image:
                image[key] = as_integer(image[key])
    annotations = _entries(tree, "annotations")
    numbers = _numbers(ann.get("id") for ann in annotations)
    for ann in annotations:
        _settle(ann, "id", numbers, keep=False)
    return tree


def as_integer(value: Any) -> Any:
    """Return a float without a fraction as an integer, and anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def _entries(tree: CocoTree, key: str) -> list[CocoEntry]:
    entries = tree.get(key)
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []


def _numbers(ids: Iterable[Any]) -> dict[str, int]:
    """Return the integer that each text among ids stands for."""
    known = [as_integer(one) for one in ids]
    texts = list(dict.fromkeys(one for one in known if type(one) is str))
    taken = {one for one in known if type(one) is int}
    if all(text.isascii() and text.isdigit() and len(text) < 16 for text in texts):
        spelt = {text: int(text) for text in texts}
        if len({*spelt.values()}) == len(spelt) and not taken & {*spelt.values()}:
            return spelt
    return {text: number for number, text in enumerate(texts, start=max(taken, default=0) + 1)}


def _settle(entry: CocoEntry, key: str, numbers: dict[str, int], *, keep: bool = True) -> None:
    value = entry.get(key)
    if type(value) is str and value in numbers:
        entry[key] = numbers[value]
        if keep:
            entry[TEXT_ID] = value
    elif type(value) is float:
        entry[key] = as_integer(value)


_HASHED = (int, float, str, type(None))


def known_ids(entries: Iterable[CocoEntry]) -> set[Any]:
    """Return the ids of entries, those that are no integers too: they are told of where they are."""
    return {entry.get("id") for entry in entries if type(entry.get("id")) in _HASHED}


def is_known(value: Any, known: set[Any]) -> bool:
    """Whether a reference, of whatever type, leads to one of the `known_ids`."""
    return type(value) in _HASHED and value in known
