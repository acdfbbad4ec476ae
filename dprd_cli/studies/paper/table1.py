"""Table 1: what each step of the method is worth."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import box_and_mask_ap
from dprd_cli.studies.paper.steps import CASCADE, DPR, MASKS_IN_ALL_STAGES, PART_LOSSES
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
            "control",
            "Cascade Mask R-CNN, masks and MaskIoU in all stages",
            "cascade-mrcnn",
            {"model.cascade.mask_stages": [1, 2, 3], "model.heads.mask_iou": True},
            base="cascade",
            changes=(*MASKS_IN_ALL_STAGES, "model.heads.mask_iou"),
        ),
        Variant(
            "all",
            "Cascade D-PRD (all)",
            "cascade-dprd",
            {"model.parts.mode": "deformable"},
            base="cascade",
            changes=(*DPR, *PART_LOSSES, *MASKS_IN_ALL_STAGES),
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
    pairs=(("dprd", "baseline"), ("all", "dprd"), ("all", "baseline"), ("all", "control")),
    measures_offsets=True,
    note="DPR is one step in the paper and several settings here: parts, their fusion, the MaskIoU head, and "
    "background RoIs from IoU 0.1; in the cascade also the part losses, and mask heads in all three stages. "
    "The control row, which the paper has not, is Cascade Mask R-CNN with the mask heads of Cascade D-PRD, "
    "but without parts. The paper's rows are of the schedule 3x: its baselines have Detectron2's 3x numbers.",
)
