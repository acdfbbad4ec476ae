"""Table 2: part models and feature fusions, with their cost."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import box_and_mask_ap
from dprd_cli.studies.study import COSTS, Study, Variant


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
        paper=box_and_mask_ap(**paper),
    )


TABLE2 = Study(
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
    "the baseline of the other rows, without part features, fusion and part losses. The paper's D1 has the "
    "numbers of Detectron2's Mask R-CNN after the schedule 1x, D4 those of Table 1's D-PRD, whose baselines "
    "are 3x: so D4 - D1 in the paper is not of one schedule, here all rows are.",
)  # fmt: skip
