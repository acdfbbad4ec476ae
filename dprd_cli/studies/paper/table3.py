"""Table 3: the number of parts."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import box_and_mask_ap
from dprd_cli.studies.paper.steps import DPR, PART_LOSSES
from dprd_cli.studies.study import Study, Variant

TABLE3 = Study(
    "table3",
    "Number of parts",
    "Table 3",
    (
        Variant("baseline", "Mask R-CNN", "mask-rcnn", paper=box_and_mask_ap(41.00, 37.20, fps=11.29)),
        *(
            Variant(
                f"parts-{count}",
                f"{count} parts, {stages} RDA stages",
                "dprd",
                {"model.parts.count": count},
                base="baseline" if count == 4 else "parts-4",
                changes=(*DPR, *PART_LOSSES) if count == 4 else ("model.parts.count",),
                paper=box_and_mask_ap(box, mask, fps=fps),
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
    note="The paper's rows without parts and with four are those of its Table 1, so of the schedule 3x.",
)
