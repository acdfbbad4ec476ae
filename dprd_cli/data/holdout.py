"""A set without an evaluation split: a share of it is held out, the same in every command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dprd_cli.data.division import DivisionRule, divide
from dprd_cli.data.formats.annotations import Annotations
from dprd_cli.data.formats.object_checks import CheckReport
from dprd_cli.data.formats.problems import Problems, plural
from dprd_cli.errors import DataError
from dprd_cli.structures.sample import CocoTree, Split


@dataclass(frozen=True, slots=True)
class HoldoutAnnotations:
    """One of the two parts that a set is divided into.

    Args:
        whole: The set.
        split: Which part.
        rule: How it is divided.
    """

    whole: Annotations
    split: Split
    rule: DivisionRule

    @property
    def name(self) -> str:
        """The set's name, and which part of it."""
        share = f"{self.rule.val:.0%} held out, seed {self.rule.seed}"
        return f"{self.whole.name}, {share if self.split == 'val' else f'without the {share}'}"

    @property
    def images_dir(self) -> Path:
        """The set's."""
        return self.whole.images_dir

    @property
    def is_voc(self) -> bool:
        """The set's."""
        return self.whole.is_voc

    def read(self, problems: Problems) -> CocoTree:
        """Return the part's images and their annotations.

        Raises:
            DataError: If the set cannot be read or divided.
        """
        tree = self.whole.read(problems)
        keys = ("images", "annotations")
        if not all(isinstance(tree.get(key), list) and tree[key] for key in keys):
            return tree  # the check says what is wrong
        try:
            parts = divide(tree, self.rule)
        except DataError as error:
            if self.split == "train":  # evaluation says why there is none
                return tree
            raise DataError(f"{self.whole.name}: no val split, and {error}") from error
        chosen = parts[self.split]
        held = f"{plural(len(parts['val']), 'image')} of {len(tree['images'])}"
        text = f"no val split: {held} held out of training for it (seed {self.rule.seed})"
        text = f"{text}; dprd data split writes such a division"
        problems.count("held out", text, [], "note")
        ids = {str(image.get("id")) for image in chosen}
        others = {str(image.get("id")) for part in parts.values() for image in part} - ids
        anns = [
            a for a in tree["annotations"] if not isinstance(a, dict) or str(a.get("image_id")) not in others
        ]
        return {**tree, "images": chosen, "annotations": anns}

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Check the part as the set is checked."""
        return self.whole.check(tree, problems, missing_ok=missing_ok)

    def file_of(self, file_name: str) -> Path:
        """Return the annotation file of an image."""
        return self.whole.file_of(file_name)
