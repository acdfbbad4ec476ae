"""TIDE's error types, by the package hotcoco where it is installed.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
"""

from __future__ import annotations

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


def tide_errors(evaluator: CocoEvaluator) -> dict[str, Any]:
    """Decompose the box errors of an evaluation.

    Returns:
        `errors`: for each type of `ERRORS` its `delta_ap` (AP50 points that would be gained without it) and
        `count`; `ap50` in percent. Or `skipped`: why there are none.
    """
    try:
        from hotcoco import COCO, COCOeval
    except ImportError:
        return {"skipped": MISSING}
    kept = set(evaluator.image_ids)
    truth = {
        **{key: evaluator.ground_truth[key] for key in ("categories",)},
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
    return {
        "ap50": 100 * found["ap_base"],
        "errors": {
            name: {"delta_ap": 100 * found["delta_ap"][name], "count": found["counts"][name]}
            for name in ERRORS
        },
    }
