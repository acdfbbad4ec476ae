"""COCO's test-dev: detections in its images, as files for the server that has the annotations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.data.coco_test_dev import build_test_dev
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.evaluation.checkpoint import CheckpointOptions, load_for_measuring
from dprd_cli.evaluation.evaluate import EvaluationOptions, detect_split
from dprd_cli.evaluation.submission import MOST, Submission
from dprd_cli.files.output_folder import OutputChoice, output_folder
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import progress, say
from dprd_cli.weights.load import LoadedModel


@dataclass(frozen=True, slots=True)
class TestDevFiles:
    """The files for the evaluation server.

    Args:
        source: The checkpoint.
        step: Optimiser steps it was trained for.
        options: How the detections were made.
        data: Path of the data.
        images: Images that were looked at.
        detections: Boxes in the files.
        files: Results files and their zips.
    """

    __test__ = False  # no test class, for pytest

    source: Path
    step: int
    options: CheckpointOptions
    data: str
    images: int
    detections: int
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return {
            "checkpoint": str(self.source),
            "step": self.step,
            "data": self.data,
            "split": "test-dev",
            "part_offsets": self.options.part_offsets,
            "tta": self.options.tta,
            "images": self.images,
            "detections": self.detections,
            "files": [str(path) for path in self.files],
        }


def write_test_dev(options: CheckpointOptions, group: ProcessGroup = SINGLE_PROCESS) -> TestDevFiles | None:
    """Detect in test-dev and write the server's files.

    Args:
        options: The checkpoint, the data, the folder (`out`).
        group: The processes that share the images.

    Returns:
        The files; None on processes that are not the main one.
    """
    model = load_for_measuring(options, group)
    config = model.config
    dataset, category_ids = build_test_dev(config.data, model.class_names)
    say(f"{dataset.name}: {len(dataset)} images, {len(dataset.class_names)} categories")
    for line in dataset.report.warnings:
        say(f"  warning: {line}")
    say("test-dev has no annotations: nothing is measured here, the evaluation server does it")
    with_masks = model.detector.roi_heads.has_masks
    if not with_masks:
        say("this model predicts no masks: only bbox results are written")
    tree = dataset.coco()
    submission = Submission(tree["images"], tree["categories"], category_ids, with_masks=with_masks)
    if not group.is_main:
        _detect(model, dataset, submission, options, group)
        return None
    choice, default = OutputChoice(options.out, options.overwrite), _folder(model.source)
    with output_folder(choice, default, "eval.test-dev", names=("bbox", "segm")) as folder:
        images = _detect(model, dataset, submission, options, group)
        if submission.left_out:
            say(
                f"left out: {submission.left_out} detections with an empty box, without a category, or after "
                f"an image's best {MOST}"
            )
        files = submission.save(folder, re.sub(r"[^A-Za-z0-9-]+", "-", config.preset))
    detections = len(submission.results["bbox"])
    return TestDevFiles(model.source, model.step, options, config.data.path, images, detections, tuple(files))


def _detect(
    model: LoadedModel,
    dataset: CocoDataset,
    submission: Submission,
    options: CheckpointOptions,
    group: ProcessGroup,
) -> int:
    """Fill the submission on the main process, in the images' order; return how many images there were."""
    with progress("detect") as update:
        how = EvaluationOptions(limit=options.limit, tta=options.tta, tiling=options.tiling, progress=update)
        found = detect_split(model.detector, dataset, model.config, how, group)
        rows = [
            (one.number, submission.rows(one.sample.image_id, one.detections, one.segmentations))
            for one in found
        ]
    images = sorted((one for part in group.gather(rows) for one in part), key=lambda one: one[0])
    for _, image in images:
        submission.add_rows(image)
    return len(images)


def _folder(checkpoint: Path) -> Path:
    return checkpoint.parent / "test-dev" if checkpoint.suffix == ".pt" else Path("test-dev")
