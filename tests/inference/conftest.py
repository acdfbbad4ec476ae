"""An image with two detections, for the tests of what is written of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dprd_cli.inference.entry import DisplayStyle, OutputEntry
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.video import Moment
from dprd_cli.structures.detections import Detections


def _make_entry(name="in/a.jpg", style=None, frame=None, masks=True, image_id=5):
    """Return an entry of a 40 x 60 image: a sure dog at the left, an unsure traffic light at the right."""
    boxes = torch.tensor([[0.0, 0, 30, 40], [30, 10, 65, 40]])
    found = Detections(
        boxes,
        torch.tensor([0.9, 0.2]),
        torch.tensor([0, 1]),
        (40, 60),
        masks=torch.ones(2, 28, 28) if masks else None,
        part_boxes=boxes[:, None].repeat(1, 4, 1),
    )
    moment = None if frame is None else Moment(frame, frame / 5, 5.0)
    image = np.full((40, 60, 3), 90, np.uint8)
    path = Path(name)
    title = name if frame is None else f"{name}#{frame}"
    prediction = Prediction(title, image, found, ("dog", "traffic light"), (18, 10), moment)
    return OutputEntry(prediction, image_id, path, frame is None, path.stem, style or DisplayStyle())


@pytest.fixture
def make_entry():
    """Make an entry with two detections."""
    return _make_entry
