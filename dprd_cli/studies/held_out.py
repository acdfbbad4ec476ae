"""Where the parts of a run's detector went in a few held-out images, drawn into its run folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from dprd_cli.data.build import build_dataset
from dprd_cli.drawing.parts import draw_parts
from dprd_cli.drawing.sheet import grid
from dprd_cli.evaluation.cues import locate_objects
from dprd_cli.evaluation.evaluate import EvaluationOptions, detect_split
from dprd_cli.evaluation.metric import DetectionRecord
from dprd_cli.files.images import write_image
from dprd_cli.structures.sample import ImageArray
from dprd_cli.training.run_folder import run_lock
from dprd_cli.weights.load import load_model

#: The images side by side, in a run folder.
HELD_OUT = "held_out_parts.jpg"
IMAGES = 4
_HEIGHT, _EMPHASIS = 480, 1.7


def draw_held_out(folder: Path, device: str) -> Path:
    """Draw the parts that a run's last checkpoint has in the first images that it was evaluated on.

    Each object has the box and the parts of the surest detection that locates it, and the class that this
    says. What is there already stays.

    Args:
        folder: A finished run.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        The file.

    Raises:
        UserError: If the checkpoint or the data cannot be used, or the file cannot be written.
    """
    path = folder / HELD_OUT
    if path.is_file():
        return path
    with run_lock(folder):
        model = load_model(str(folder / "last.pt"), device).with_precision()
        data = build_dataset(
            model.config.data, "val", class_names=model.class_names, category_ids=model.category_ids
        )
        options = EvaluationOptions(limit=IMAGES, masks=False)
        with torch.no_grad():
            found = detect_split(model.detector, data, model.config, options)
            drawn = [_draw(record, model.class_names) for record in itertools.islice(found, IMAGES)]
        width = round(_HEIGHT * sum(one.shape[1] / one.shape[0] for one in drawn))
        write_image(path, grid(drawn, len(drawn), width=width))
    return path


def _draw(record: DetectionRecord, class_names: tuple[str, ...]) -> ImageArray:
    sample = record.sample
    chosen = locate_objects(record.detections, torch.from_numpy(sample.boxes))
    shown = record.detections[chosen[chosen >= 0]]
    truth = sample.labels[(chosen >= 0).numpy()].tolist()
    captions = [
        class_names[said] if said == true else f"{class_names[said]}, is {class_names[true]}"
        for said, true in zip(shown.labels.tolist(), truth, strict=True)
    ]
    return draw_parts(sample.image, shown.boxes, shown.part_boxes, captions=captions, emphasis=_EMPHASIS)
