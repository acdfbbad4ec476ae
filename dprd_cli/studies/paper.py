"""The paper's tables and figures as studies: which variants they compare, and the numbers the paper gives.

A study lists variants as architectures (preset names without a size) and overrides of config keys. Every
variant but the first names the one it is derived from, and declares the config keys in which the two differ.
The paper's numbers are here and nowhere else.
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
class Published:
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
        plot: `bars` (a group of bars a column) or `curve` (over the one key that the variants set).
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
    plot: Literal["bars", "curve"] = "bars"
    measures_offsets: bool = False
    same_networks: bool = False
    published: tuple[Published, ...] = ()
    note: str = ""

    def variant(self, key: str) -> Variant:
        """Return the variant of that key."""
        return next(variant for variant in self.variants if variant.key == key)


#: Metric -> its heading. AP in percent; costs are of one image's inference.
COLUMNS: dict[str, str] = {
    "bbox_AP": "box AP",
    "bbox_AP50": "AP50",
    "bbox_AP75": "AP75",
    "bbox_APS": "APS",
    "bbox_APM": "APM",
    "bbox_APL": "APL",
    "segm_AP": "mask AP",
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

# What the paper adds in one step, and what it is in the configuration.
_DPR = ("model.parts.mode", "model.heads.mask_iou", "model.sampling.bg_iou_low", "model.cascade.part_stages")
_CASCADE = (
    "model.cascade.ious",
    "model.cascade.box_weights",
    "model.cascade.class_agnostic_box",
    "model.cascade.feature_grad_scale",
    "model.rpn.post_nms_train",
)
_PART_LOSS = ("model.parts.losses",)


def _ap(box: float, mask: float, **costs: float) -> dict[str, float]:
    return {"bbox_AP": box, "segm_AP": mask, **costs}


_TABLE1 = Study(
    "table1",
    "Effects of each method",
    "Table 1",
    (
        Variant("baseline", "Mask R-CNN", "mask-rcnn", paper=_ap(40.98, 37.17)),
        Variant(
            "dpr",
            "+ DPR",
            "dprd",
            {"model.parts.losses": False},
            base="baseline",
            changes=_DPR,
            paper=_ap(42.20, 38.83),
        ),
        Variant(
            "dprd",
            "+ DPR + part losses",
            "dprd",
            {"model.parts.losses": True},
            base="dpr",
            changes=_PART_LOSS,
            paper=_ap(42.95, 39.21),
        ),
        Variant(
            "cascade",
            "Cascade Mask R-CNN",
            "cascade-mrcnn",
            base="baseline",
            changes=_CASCADE,
            paper=_ap(44.33, 38.46),
        ),
        Variant(
            "all",
            "Cascade D-PRD (all)",
            "cascade-dprd",
            {"model.parts.mode": "deformable"},
            base="cascade",
            changes=(*_DPR, *_PART_LOSS, "model.cascade.mask_stages"),
            paper=_ap(45.92, 39.79),
        ),
        Variant(
            "fixed",
            "all, parts fixed",
            "cascade-dprd",
            {"model.parts.mode": "fixed"},
            base="all",
            changes=("model.parts.mode",),
            paper=_ap(44.61, 38.67),
        ),
    ),
    pairs=(("dprd", "baseline"), ("all", "dprd"), ("all", "baseline")),
    measures_offsets=True,
    note="DPR is one step in the paper and several settings here: parts, their fusion, the MaskIoU head, and "
    "background RoIs from IoU 0.1; in the cascade also the part losses, and mask heads in all three stages.",
)


def _detector(key: str, parts: str, fusion: str, base: str, change: str, **paper: float) -> Variant:
    """Return one of Table 2's D1 to D4."""
    names = {"fixed": "Fixed", "deformable": "DPR", "concat": "Concat", "rda": "RDA"}
    return Variant(
        key,
        f"({key}) {names[parts]}, {names[fusion]}",
        "dprd",
        {"model.parts.mode": parts, "model.fusion.name": fusion},
        base=base,
        changes=(change,) if change else (),
        paper=_ap(**paper),
    )


_TABLE2 = Study(
    "table2",
    "Part models and feature fusions, with their cost",
    "Table 2",
    (
        Variant(
            "DPM",
            "deformable RoI pooling",
            "dprd",
            {"model.parts.mode": "pooling"},
            base="D4",
            changes=("model.parts.mode",),
            paper={"bbox_AP": 34.5, "parameters": 50, "fps": 5.2},
        ),
        _detector(
            "D1", "fixed", "concat", "", "",
            box=38.7, mask=35.2, parameters=44, macs=116, memory=2110, fps=11.7,
        ),
        _detector(
            "D2", "fixed", "rda", "D1", "model.fusion.name",
            box=40.8, mask=37.6, parameters=46, macs=117, memory=2182, fps=10.0,
        ),
        _detector(
            "D3", "deformable", "concat", "D1", "model.parts.mode",
            box=41.7, mask=38.2, parameters=44, macs=117, memory=2170, fps=11.3,
        ),
        _detector(
            "D4", "deformable", "rda", "D2", "model.parts.mode",
            box=42.9, mask=39.2, parameters=46, macs=118, memory=2242, fps=9.5,
        ),
    ),
    columns=("bbox_AP", "segm_AP", *COSTS),
    pairs=(("D4", "D3"), ("D4", "D1")),
    note="The paper's DPM row is R-FCN with deformable RoI pooling (boxes only); here the pooling stands on "
    "the baseline of the other rows, without part features, fusion and part losses.",
)  # fmt: skip

_TABLE3 = Study(
    "table3",
    "Number of parts",
    "Table 3",
    (
        Variant("baseline", "Mask R-CNN", "mask-rcnn", paper=_ap(41.00, 37.20, fps=11.29)),
        *(
            Variant(
                f"parts-{count}",
                f"{count} parts, {stages} RDA stages",
                "dprd",
                {"model.parts.count": count},
                base="baseline" if count == 4 else "parts-4",
                changes=(*_DPR, *_PART_LOSS) if count == 4 else ("model.parts.count",),
                paper=_ap(box, mask, fps=fps),
            )
            for count, stages, box, mask, fps in (
                (2, 2, 40.78, 37.58, 9.02),
                (4, 3, 42.95, 39.21, 8.60),
                (8, 4, 42.96, 39.21, 8.18),
                (16, 5, 42.82, 39.10, 6.65),
            )
        ),
    ),
    columns=("bbox_AP", "segm_AP", "fps"),
)

# Fig. 4 is a plot without a table; Table 1 has two of its points on R50-FPN.
_SIGMA = {0.5: _TABLE1.variant("all").paper, 1.0: _TABLE1.variant("fixed").paper}
_FIG4 = Study(
    "fig4",
    "Amount of part deformation: least IoU with the fixed part",
    "Fig. 4",
    tuple(
        Variant(
            f"sigma-{sigma:g}",
            f"sigma {sigma:g}",
            "cascade-dprd",
            {"model.parts.sigma": sigma},
            base="" if sigma == 0.5 else "sigma-0.5",
            changes=() if sigma == 0.5 else ("model.parts.sigma",),
            paper=_SIGMA.get(sigma, {}),
        )
        for sigma in (0.0, 0.1, 0.3, 0.4, 0.5, 0.7, 1.0)
    ),
    plot="curve",
    note="The paper prints no numbers of Fig. 4; those at 0.5 and 1 are Table 1's. It says that box AP is "
    "best at 0.5, mask AP at 0.3 to 0.5, and that both change by less than 0.28 from 0.3 to 0.7.",
)

_OFFSETS = Study(
    "offsets",
    "Part offsets at test: learned, their mean, or none",
    "",
    (
        Variant("all", "learned", "cascade-dprd", {"model.parts.mode": "deformable"}),
        *(
            Variant(
                kind,
                label,
                "cascade-dprd",
                {"model.parts.mode": "deformable"},
                base="all",
                part_offsets=kind,
            )
            for kind, label in (("mean", "mean (one template per part)"), ("reference", "reference (none)"))
        ),
    ),
    note="One trained network, measured three times.",
)


def _reading(name: str, title: str, key: str, *values: Any, note: str = "") -> Study:
    """Return the study of a decision where the paper is silent; the default is first, or in `note`."""

    def variant_key(value: Any) -> str:
        return str(value).lower()

    first, *_ = values
    return Study(
        name,
        title,
        "",
        tuple(
            Variant(
                variant_key(value),
                f"{key.rpartition('.')[2]} = {str(value).lower()}",
                "cascade-dprd",
                {key: value},
                base="" if value == first else variant_key(first),
                changes=() if value == first else (key,),
            )
            for value in values
        ),
        note=note or "The first row is the default.",
    )


_READINGS = (
    _reading("refeed", "Offsets of refined boxes", "model.parts.refeed", "lookup", "carry"),
    _reading("bottleneck", "Width inside a region assembly block", "model.fusion.bottleneck", 4, 2, 1),
    _reading("average-masks", "Masks of all stages or the last", "model.cascade.average_masks", True, False),
    _reading(
        "feature-grad-scale",
        "Gradient from the part layer into the RPN's feature",
        "model.parts.feature_grad_scale",
        0.0, 0.1, 1.0,
    ),
    _reading(
        "straight-through",
        "Gradient of parts that fell back to their reference",
        "model.parts.straight_through",
        False, True,
    ),
    _reading("level", "Pyramid level of a part", "model.parts.level", "own", "whole"),
    _reading(
        "part-lr-mult",
        "Learning rate of the part layer",
        "train.part_lr_mult",
        0.02, 0.1, 1.0,
        note="The default is 0.02 in the schedule small, 0.1 in photos, 1 in the others.",
    ),
    _reading(
        "residual",
        "An identity shortcut in the assembly's transform F",
        "model.fusion.residual",
        True, False,
        note="The default is true in the small and medium presets, false (the paper's text) in the others.",
    ),
)  # fmt: skip


def _row(label: str, backbone: str, *numbers: float | None) -> Published:
    """Return a row of Table 4 (seven numbers) or Table 5 (three)."""
    columns = ("bbox_AP", "bbox_AP50", "bbox_AP75", "bbox_APS", "bbox_APM", "bbox_APL", "segm_AP")
    pairs = zip(columns[: len(numbers)], numbers, strict=True)
    return Published(label, backbone, {column: number for column, number in pairs if number is not None})


_TABLE4 = Study(
    "table4",
    "COCO test-dev",
    "Table 4",
    columns=("bbox_AP", "bbox_AP50", "bbox_AP75", "bbox_APS", "bbox_APM", "bbox_APL", "segm_AP"),
    published=(
        _row("ATSS", "R101-FPN", 43.6, 62.1, 47.4, 26.1, 47.0, 53.6, None),
        _row("IQDET", "R101-FPN", 45.1, 63.4, 49.3, 26.7, 48.5, 56.6, None),
        _row("CentripetalNet (multi-scale)", "Hourglass-104", 48.0, 65.1, 51.8, 29.0, 50.4, 59.9, 40.2),
        _row("Mask R-CNN w/ SWN", "X101", 42.5, 64.1, 46.6, 24.8, 46.0, 53.5, None),
        _row("Grid R-CNN", "X101", 43.2, 63.0, 46.6, 25.1, 46.5, 55.2, None),
        _row("Dynamic R-CNN (multi-scale)", "R101", 44.7, 63.6, 49.1, 26.0, 47.4, 57.2, None),
        _row("D-PRD", "R50-FPN", 43.6, 63.1, 48.1, 26.2, 46.1, 54.0, 38.8),
        _row("D-PRD", "R101-FPN", 45.3, 64.6, 49.9, 27.2, 48.1, 56.7, 40.0),
        _row("Hybrid Task Cascade", "X101-FPN", 47.1, 63.9, 44.7, 22.8, 43.9, 54.6, 41.2),
        _row("HCE Cascade R-CNN (multi-scale)", "R101-FPN", 46.5, 65.6, 50.6, 27.4, 49.9, 59.4, None),
        _row("QueryInst", "R101-FPN", 47.0, None, None, None, None, None, 41.7),
        _row("SCNet", "X101-FPN", 48.3, None, None, None, None, None, 42.7),
        _row("Cascade D-PRD", "R50-FPN", 46.5, 63.9, 51.1, 28.8, 48.5, 57.3, 40.1),
        _row("Cascade D-PRD", "R101-FPN", 48.3, 65.7, 53.0, 29.6, 51.0, 59.8, 41.7),
        _row("Cascade D-PRD", "X101-FPN", 49.2, 66.8, 53.9, 30.4, 51.7, 60.9, 42.4),
        _row("Cascade D-PRD (multi-scale)", "X101-FPN", 51.1, 69.2, 56.0, 33.3, 53.2, 63.5, 44.7),
    ),
    note="The published rows are of COCO test-dev, whose annotations are not public: what is measured here "
    "is of the evaluation split of the data. For test-dev itself: dprd eval --split test-dev.",
)
_TABLE5 = Study(
    "table5",
    "Pascal VOC 2007 test",
    "Table 5",
    columns=(
        "bbox_AP", "bbox_AP50", "bbox_AP75", "voc_11_point_AP", "voc_11_point_AP50", "voc_11_point_AP75",
    ),
    published=(
        _row("Cascade R-CNN", "R50-FPN", 51.8, 78.5, 57.1),
        _row("Cascade R-CNN", "R101-FPN", 54.2, 79.6, 59.2),
        _row("Retina-SWN", "R50-FPN", 53.4, None, None),
        _row("Retina-SWN", "X101-FPN", 56.8, None, None),
        _row("D-PRD", "R50-FPN", 54.4, 78.6, 61.0),
        _row("D-PRD", "R101-FPN", 56.2, 80.0, 63.0),
        _row("Cascade D-PRD", "R50-FPN", 60.3, 80.6, 66.3),
        _row("Cascade D-PRD", "R101-FPN", 61.1, 80.8, 67.2),
        _row("Cascade D-PRD", "X101-FPN", 60.8, 80.8, 67.2),
    ),
    note="The paper does not say by which rule it averages precision: COCO's and VOC07's 11-point are shown.",
)  # fmt: skip

#: Name -> study.
STUDIES: dict[str, Study] = {
    study.name: study for study in (_TABLE1, _TABLE2, _TABLE3, _FIG4, _TABLE4, _TABLE5, _OFFSETS, *_READINGS)
}
#: Name -> the studies it stands for. Tables 4 and 5 need checkpoints, and are asked for by name.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("table1", "table2", "table3", "fig4"),
    "readings": tuple(study.name for study in _READINGS),
}
