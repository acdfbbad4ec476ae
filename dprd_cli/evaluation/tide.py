"""TIDE's error types, by the package hotcoco where it is installed.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from dprd_cli.evaluation.coco import CocoEvaluator

#: Error type -> what it means, in TIDE's order.
ERRORS = {
    "Cls": "found, but named wrong",
    "Loc": "right class, box too far off",
    "Both": "wrong class and box too far off",
    "Dupe": "found a second time",
    "Bkg": "nothing is there",
    "Miss": "not found at all",
}
MISSING = "not measured: the package hotcoco is not installed (pip install hotcoco)"


@dataclass(frozen=True, slots=True)
class TideError:
    """One type of error.

    Args:
        delta_ap: AP50 in percent that would be gained without it.
        count: How many there are.
    """

    delta_ap: float
    count: int


@dataclass(frozen=True, slots=True)
class TideReport:
    """The box errors of an evaluation by type.

    Args:
        ap50: AP at IoU 0.5 in percent; None where nothing was measured.
        errors: Errors of each type in `ERRORS`; none where nothing was measured.
        skipped: Why nothing was measured, or empty.
    """

    ap50: float | None = None
    errors: dict[str, TideError] = field(default_factory=dict)
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return `ap50` and `errors` as plain containers, or `skipped`."""
        if self.skipped:
            return {"skipped": self.skipped}
        return {"ap50": self.ap50, "errors": {name: asdict(error) for name, error in self.errors.items()}}


def tide_errors(evaluator: CocoEvaluator) -> TideReport:
    """Decompose the box errors of an evaluation.

    Args:
        evaluator: Holds the detections of all its images.
    """
    try:
        from hotcoco import COCO, COCOeval
    except ImportError:
        return TideReport(skipped=MISSING)
    kept = set(evaluator.image_ids)
    truth = {
        "categories": evaluator.ground_truth["categories"],
        "images": [image for image in evaluator.ground_truth["images"] if image["id"] in kept],
        "annotations": [
            {**row, "id": number, "iscrowd": int(row.get("iscrowd") or 0)}
            | ({} if row.get("area") is not None else {"area": row["bbox"][2] * row["bbox"][3]})
            for number, row in enumerate(evaluator.ground_truth.get("annotations", []), start=1)
            if row["image_id"] in kept
        ],
    }
    ground = COCO(truth)
    measured = COCOeval(ground, ground.load_res(evaluator.results["bbox"]), "bbox")
    measured.evaluate()
    found = measured.tide_errors()
    errors = {name: TideError(100 * found["delta_ap"][name], found["counts"][name]) for name in ERRORS}
    return TideReport(100 * found["ap_base"], errors)
