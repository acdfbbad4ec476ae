"""The order in which the paper prints its numbers, and the columns that they are of."""

from __future__ import annotations

from dprd_cli.studies.study import PaperResult


def box_and_mask_ap(box: float, mask: float, **costs: float) -> dict[str, float]:
    """Return column -> number of a row of Tables 1 to 3; `costs` by their columns' names."""
    return {"bbox_AP": box, "segm_AP": mask, **costs}


def result_row(label: str, backbone: str, *numbers: float | None) -> PaperResult:
    """Return a row of Table 4 (seven numbers) or Table 5 (three)."""
    columns = ("bbox_AP", "bbox_AP50", "bbox_AP75", "bbox_APS", "bbox_APM", "bbox_APL", "segm_AP")
    pairs = zip(columns[: len(numbers)], numbers, strict=True)
    return PaperResult(label, backbone, {column: number for column, number in pairs if number is not None})
