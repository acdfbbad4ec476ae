"""Table 1: what each step of the method is worth."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import box_and_mask_ap
from dprd_cli.studies.paper.steps import CASCADE, DPR, PART_LOSSES
from dprd_cli.studies.study import Study, Variant

TABLE1 = Study(
    "table1",
    "Effects of each method",
    "Table 1",
    (
        Variant("baseline", "Mask R-CNN", "mask-rcnn", paper=box_and_mask_ap(40.98, 37.17)),
        Variant(
            "dpr",
            "+ DPR",
            "dprd",
            {"model.parts.losses": False},
            base="baseline",
            changes=DPR,
            paper=box_and_mask_ap(42.20, 38.83),
        ),
        Variant(
            "dprd",
            "+ DPR + part losses",
            "dprd",
            {"model.parts.losses": True},
            base="dpr",
            changes=PART_LOSSES,
            paper=box_and_mask_ap(42.95, 39.21),
        ),
        Variant(
            "cascade",
            "Cascade Mask R-CNN",
            "cascade-mrcnn",
            base="baseline",
            changes=CASCADE,
            paper=box_and_mask_ap(44.33, 38.46),
        ),
        Variant(
            "all",
            "Cascade D-PRD (all)",
            "cascade-dprd",
            {"model.parts.mode": "deformable"},
            base="cascade",
            changes=(*DPR, *PART_LOSSES, "model.cascade.mask_stages"),
            paper=box_and_mask_ap(45.92, 39.79),
        ),
        Variant(
            "fixed",
            "all, parts fixed",
            "cascade-dprd",
            {"model.parts.mode": "fixed"},
            base="all",
            changes=("model.parts.mode",),
            paper=box_and_mask_ap(44.61, 38.67),
        ),
    ),
    pairs=(("dprd", "baseline"), ("all", "dprd"), ("all", "baseline")),
    measures_offsets=True,
    note="DPR is one step in the paper and several settings here: parts, their fusion, the MaskIoU head, and "
    "background RoIs from IoU 0.1; in the cascade also the part losses, and mask heads in all three stages.",
)
