"""Objects that can be read at one place: told right, and a part there."""

import numpy as np
import pytest
import torch

from dprd_cli.evaluation.cues import CueReading, locate_objects
from dprd_cli.evaluation.metric import DetectionRecord
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import Sample

OBJECTS = [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0.0, 50.0, 10.0]]
CUES = [[12.0, 5.0], [25.0, 5.0], [45.0, 5.0]]


def record(boxes, labels, parts=None, cues=CUES, objects=OBJECTS):
    count = len(objects)
    sample = Sample(
        np.zeros((20, 60, 3), np.uint8),
        np.array(objects, np.float32).reshape(-1, 4),
        np.arange(count),
        None,
        np.zeros(count, bool),
        1,
        "a",
        None if cues is None else np.array(cues, np.float32).reshape(-1, 2),
    )
    found = Detections(
        torch.tensor(boxes).view(-1, 4),
        torch.linspace(0.9, 0.1, len(boxes)),
        torch.tensor(labels, dtype=torch.int64),
        (20, 60),
        part_boxes=None if parts is None else torch.tensor(parts).view(len(boxes), 2, 4),
    )
    target = Target(torch.from_numpy(sample.boxes), torch.from_numpy(sample.labels), (20, 60))
    return DetectionRecord(0, sample, target, found, None)


def test_by_hand():
    # 0 is located and wrong, though the second detection of it is right; 1 is located and right; 2 is missed
    boxes = [OBJECTS[0], [0.0, 0.0, 10.0, 8.0], [21.0, 0.0, 30.0, 10.0], [40.0, 0.0, 44.0, 10.0]]
    labels = [2, 0, 1, 2]
    assert locate_objects(record(boxes, labels).detections, torch.tensor(OBJECTS)).tolist() == [0, 2, -1]
    inside, beside = [0.0, 0.0, 1.0, 1.0], [11.0, 4.0, 12.0, 6.0]  # a cue on the edge is held
    parts = [[inside, beside], [inside, inside], [inside, inside], [inside, inside]]
    reading = CueReading()
    found = reading.result([reading.of(record(boxes, labels, parts))])
    assert found == {"located": pytest.approx(2 / 3), "located_accuracy": 0.5, "cue_held": 0.5}


def test_where_there_are_no_parts_cues_objects_or_detections():
    reading = CueReading()
    assert "cue_held" not in reading.result([reading.of(record([OBJECTS[0]], [0]))])
    assert reading.result([reading.of(record([OBJECTS[0]], [0], cues=None))]) == {}
    assert reading.result([]) == {}
    none = reading.result([reading.of(record([], [], parts=[]))])
    assert none == {"located": 0.0, "located_accuracy": None, "cue_held": None}
    empty = reading.of(record([OBJECTS[0]], [0], objects=[], cues=[]))
    assert reading.result([empty]) == {"located": None, "located_accuracy": None}
