"""Parts of an oracle: at the cues of objects, and nowhere else."""

import pytest
import torch

from dprd_cli.errors import UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.model.cue_parts import CueParts
from dprd_cli.model.parts import decompose
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.structures.detections import Target
from networks import small_config

BOXES = torch.tensor([[40.0, 40.0, 60.0, 60.0], [0.0, 0.0, 20.0, 20.0]])


def parts_of(cue, *, known=True):
    target = Target(BOXES[:1], torch.tensor([0]), (100, 100), cues=torch.tensor([cue]))
    rois = RoIs(BOXES, torch.tensor([0, 0]), torch.zeros((2, 2), dtype=torch.int64))
    features = RoIFeatures(None, None, torch.tensor([[100.0, 100.0]]), None, [target] if known else None)
    return CueParts(4)(rois, features)


def test_parts_of_a_roi_lie_at_the_cue_of_its_object():
    parts = parts_of([75.0, 50.0])
    assert parts.boxes[0].tolist() == [[70, 45, 80, 55]] * 4  # half as large as the object
    assert torch.equal(parts.boxes[1], decompose(BOXES[1], 4))
    assert parts.iou.tolist() == [[0] * 4, [1] * 4]


def test_parts_stay_where_nothing_is_known_or_the_cue_is_outside():
    assert torch.equal(parts_of([75.0, 50.0], known=False).boxes, decompose(BOXES, 4))
    assert torch.equal(parts_of([150.0, 50.0]).boxes, decompose(BOXES, 4))


def test_an_oracle_in_a_network():
    detector = build_detector(small_config("dprd-small", "model.parts.mode=oracle"), num_classes=4)
    assert (detector.has_parts, detector.part_layer, detector.needs_targets) == (True, None, True)
    assert detector.place_parameters == []
    with pytest.raises(UsageError, match="no mean part offsets"):
        detector.with_part_offsets("mean")
