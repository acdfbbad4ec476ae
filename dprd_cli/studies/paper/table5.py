"""Table 5: Pascal VOC 2007 test, beside other detectors."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import result_row
from dprd_cli.studies.study import Study

TABLE5 = Study(
    "table5",
    "Pascal VOC 2007 test",
    "Table 5",
    columns=(
        "bbox_AP", "bbox_AP50", "bbox_AP75", "voc_11_point_AP", "voc_11_point_AP50", "voc_11_point_AP75",
    ),
    published=(
        result_row("Cascade R-CNN", "R50-FPN", 51.8, 78.5, 57.1),
        result_row("Cascade R-CNN", "R101-FPN", 54.2, 79.6, 59.2),
        result_row("Retina-SWN", "R50-FPN", 53.4, None, None),
        result_row("Retina-SWN", "X101-FPN", 56.8, None, None),
        result_row("D-PRD", "R50-FPN", 54.4, 78.6, 61.0),
        result_row("D-PRD", "R101-FPN", 56.2, 80.0, 63.0),
        result_row("Cascade D-PRD", "R50-FPN", 60.3, 80.6, 66.3),
        result_row("Cascade D-PRD", "R101-FPN", 61.1, 80.8, 67.2),
        result_row("Cascade D-PRD", "X101-FPN", 60.8, 80.8, 67.2),
    ),
    note="The paper does not say by which rule it averages precision: COCO's and VOC07's 11-point are shown.",
)  # fmt: skip
