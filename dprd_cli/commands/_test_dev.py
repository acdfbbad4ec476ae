"""`dprd eval --split test-dev`: results files for COCO's evaluation server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dprd_cli.commands._options import progress, say

if TYPE_CHECKING:
    from dprd_cli.config.schema import Config
    from dprd_cli.runtime.process_group import ProcessGroup
    from dprd_cli.weights.load import LoadedModel


def submit(
    model: LoadedModel,
    config: Config,
    out: Path | None,
    group: ProcessGroup,
    *,
    part_offsets: str,
    limit: int,
    tta: bool,
) -> dict[str, Any]:
    """Detect in test-dev and write the server's files; return what to print, on the main rank."""
    from dprd_cli.data.coco_test_dev import build_test_dev
    from dprd_cli.evaluation.evaluate import EvaluationOptions, detect_split
    from dprd_cli.evaluation.submission import MOST, Submission
    from dprd_cli.files.results import output_folder

    dataset, category_ids = build_test_dev(config.data, model.class_names)
    say(f"{dataset.name}: {len(dataset)} images, {len(dataset.class_names)} categories")
    for line in dataset.report.warnings:
        say(f"  warning: {line}")
    say("test-dev has no annotations: nothing is measured here, the evaluation server does it")
    with_masks = model.detector.roi_heads.has_masks
    if not with_masks:
        say("this model predicts no masks: only bbox results are written")
    folder = output_folder(out or _folder(model.source), [])
    tree = dataset.coco()
    submission = Submission(tree["images"], tree["categories"], category_ids, with_masks=with_masks)
    with progress("detect") as update:
        found = detect_split(
            model.detector,
            dataset,
            config,
            EvaluationOptions(limit=limit, tta=tta, progress=update),
            group,
        )
        rows = [(one.number, submission.rows(one.sample.image_id, one.detections)) for one in found]
    parts = group.gather(rows)
    if not group.is_main:
        return {}
    images = sorted((one for part in parts for one in part), key=lambda one: one[0])
    for _, image in images:
        submission.add_rows(image)
    if submission.left_out:
        say(
            f"left out: {submission.left_out} detections with an empty box, without a category, or after an "
            f"image's best {MOST}"
        )
    files = submission.save(folder, re.sub(r"[^A-Za-z0-9-]+", "-", config.preset))
    return {
        "checkpoint": str(model.source),
        "step": model.step,
        "data": config.data.path,
        "split": "test-dev",
        "part_offsets": part_offsets,
        "tta": tta,
        "images": len(images),
        "detections": len(submission.results["bbox"]),
        "files": [str(path) for path in files],
    }


def _folder(checkpoint: Path) -> Path:
    return checkpoint.parent / "test-dev" if checkpoint.suffix == ".pt" else Path("test-dev")
