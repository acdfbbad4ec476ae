"""A study: the variants that a table or figure compares, and the numbers that the paper gives beside them.

Variants are architectures (preset names without a size) and overrides of config keys. Every variant but the
first names the one it is derived from, and declares the config keys in which the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Variant:
    """One row.

    Attributes:
        key: Its name in folders and files.
        label: Its name in tables.
        preset: Architecture; a size (`-small`) may be added to its name.
        overrides: Dotted config key -> value, on top of the preset.
        base: Key of the variant that it is derived from; empty for the first.
        changes: Config keys in which it differs from its base: more than one where the paper changes several
            things together.
        part_offsets: Offsets at test; unless `learned`, the variant is its base's trained network, measured
            otherwise.
        paper: Column -> the paper's number, on R50-FPN where it does not say otherwise.
    """

    key: str
    label: str
    preset: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    changes: tuple[str, ...] = ()
    part_offsets: str = "learned"
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaperResult:
    """A row of the paper that has no variant here: another detector, or ours on the paper's data.

    Attributes:
        label: The detector.
        backbone: As the paper writes it.
        paper: Column -> number.
    """

    label: str
    backbone: str
    paper: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Study:
    """A table or figure.

    Attributes:
        name: What the command line calls it.
        title: One line.
        source: Where in the paper; empty for studies that it has not.
        variants: Rows that are trained; each one's base comes before it or after it.
        columns: Metrics shown, keys of `COLUMNS`.
        pairs: More (variant, other) pairs that are compared, beside each variant and its base.
        plot: `bars` (a group of bars a column), `curve` (over the one key that the variants set), or `parts`
            (a row a variant: its numbers, and where its parts went in held-out images).
        measures_offsets: Trained deformable parts are also measured with mean and reference offsets at test.
        same_networks: All rows measure the same trained networks, at other settings.
        published: Rows of the paper that given checkpoints are shown beside.
        note: What a reader of the table must know.
    """

    name: str
    title: str
    source: str
    variants: tuple[Variant, ...] = ()
    columns: tuple[str, ...] = ("bbox_AP", "segm_AP")
    pairs: tuple[tuple[str, str], ...] = ()
    plot: Literal["bars", "curve", "parts"] = "bars"
    measures_offsets: bool = False
    same_networks: bool = False
    published: tuple[PaperResult, ...] = ()
    note: str = ""

    def variant(self, key: str) -> Variant:
        """Return the variant of that key."""
        return next(variant for variant in self.variants if variant.key == key)


#: Metric -> its heading. AP in percent, shares of located objects in 0..1; costs are of one image.
COLUMNS: dict[str, str] = {
    "bbox_AP": "box AP",
    "bbox_AP50": "AP50",
    "bbox_AP75": "AP75",
    "bbox_APS": "APS",
    "bbox_APM": "APM",
    "bbox_APL": "APL",
    "segm_AP": "mask AP",
    "located_accuracy": "class right",
    "cue_held": "tag held",
    "voc_11_point_AP": "VOC07 AP",
    "voc_11_point_AP50": "VOC07 AP50",
    "voc_11_point_AP75": "VOC07 AP75",
    "parameters": "params (M)",
    "macs": "MACs (G)",
    "memory": "memory (MiB)",
    "fps": "images/s",
}
#: Columns that are a property of the network, not of a training.
COSTS = ("parameters", "macs", "memory", "fps")
