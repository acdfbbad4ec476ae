"""Whether a split has anything to learn from: objects, and not crowds alone."""

from __future__ import annotations

from collections import Counter

from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.structures.sample import CocoTree, Split

_CROWDS = "set iscrowd to 0, or take them for objects with --set data.crowds=objects"


def check_presence(tree: CocoTree, split: Split, name: str, problems: Problems, *, left_out: int = 0) -> None:
    """Find a split without an object, which is an error in training, and classes that are crowds alone.

    Args:
        tree: The split in COCO's form; VOC's difficult objects count as objects.
        split: Which one.
        name: What to call its annotations.
        problems: Gets what is found.
        left_out: Objects whose box has no area.
    """
    anns = [ann for ann in tree["annotations"] if isinstance(ann, dict)]
    crowds = [ann for ann in anns if ann.get("iscrowd") and not ann.get("difficult")]
    if len(crowds) + left_out >= len(anns):
        severity, use = ("error", "learned") if split == "train" else ("warning", "measured")
        if crowds and not left_out:
            text = f"{name}: all {plural(len(anns), 'annotation')} of {split} have iscrowd 1"
            text = f"{text} (CVAT and Datumaro write it for brush masks): nothing would be {use}"
            advice = _CROWDS
        else:
            images = plural(len(tree["images"]), "image")
            text = f"{name}: no object in {images} of {split}: nothing would be {use}"
            advice = "annotate objects, or name the right files"
        problems.count("no objects", text, [], "error" if severity == "error" else "warning", advice)
        return
    names = {one.get("id"): one.get("name") for one in tree["categories"] if isinstance(one.get("id"), int)}
    totals = Counter(ann.get("category_id") for ann in anns if isinstance(ann.get("category_id"), int))
    alone = Counter(ann.get("category_id") for ann in crowds if isinstance(ann.get("category_id"), int))
    only = [str(names.get(ident, ident)) for ident, number in totals.items() if alone[ident] == number]
    if only:
        text = f"{plural(len(only), 'class')} with iscrowd 1 in every annotation ({first_five(only)})"
        problems.count("crowds alone", f"{text}: nothing would be learned of them", only, advice=_CROWDS)
