"""Table 4: COCO test-dev, beside other detectors."""

from __future__ import annotations

from dprd_cli.studies.paper.numbers import result_row
from dprd_cli.studies.study import Study

TABLE4 = Study(
    "table4",
    "COCO test-dev",
    "Table 4",
    columns=("bbox_AP", "bbox_AP50", "bbox_AP75", "bbox_APS", "bbox_APM", "bbox_APL", "segm_AP"),
    published=(
        result_row("ATSS", "R101-FPN", 43.6, 62.1, 47.4, 26.1, 47.0, 53.6, None),
        result_row("IQDET", "R101-FPN", 45.1, 63.4, 49.3, 26.7, 48.5, 56.6, None),
        result_row("CentripetalNet (multi-scale)", "Hourglass-104", 48.0, 65.1, 51.8, 29.0, 50.4, 59.9, 40.2),
        result_row("Mask R-CNN w/ SWN", "X101", 42.5, 64.1, 46.6, 24.8, 46.0, 53.5, None),
        result_row("Grid R-CNN", "X101", 43.2, 63.0, 46.6, 25.1, 46.5, 55.2, None),
        result_row("Dynamic R-CNN (multi-scale)", "R101", 44.7, 63.6, 49.1, 26.0, 47.4, 57.2, None),
        result_row("D-PRD", "R50-FPN", 43.6, 63.1, 48.1, 26.2, 46.1, 54.0, 38.8),
        result_row("D-PRD", "R101-FPN", 45.3, 64.6, 49.9, 27.2, 48.1, 56.7, 40.0),
        result_row("Hybrid Task Cascade", "X101-FPN", 47.1, 63.9, 44.7, 22.8, 43.9, 54.6, 41.2),
        result_row("HCE Cascade R-CNN (multi-scale)", "R101-FPN", 46.5, 65.6, 50.6, 27.4, 49.9, 59.4, None),
        result_row("QueryInst", "R101-FPN", 47.0, None, None, None, None, None, 41.7),
        result_row("SCNet", "X101-FPN", 48.3, None, None, None, None, None, 42.7),
        result_row("Cascade D-PRD", "R50-FPN", 46.5, 63.9, 51.1, 28.8, 48.5, 57.3, 40.1),
        result_row("Cascade D-PRD", "R101-FPN", 48.3, 65.7, 53.0, 29.6, 51.0, 59.8, 41.7),
        result_row("Cascade D-PRD", "X101-FPN", 49.2, 66.8, 53.9, 30.4, 51.7, 60.9, 42.4),
        result_row("Cascade D-PRD (multi-scale)", "X101-FPN", 51.1, 69.2, 56.0, 33.3, 53.2, 63.5, 44.7),
    ),
    note="The published rows are of COCO test-dev, whose annotations are not public: what is measured here "
    "is of the evaluation split of the data. For test-dev itself: dprd eval --split test-dev. The author's "
    "repository has the box APs of the D-PRD rows, and says that they are of the schedule 3x.",
)
