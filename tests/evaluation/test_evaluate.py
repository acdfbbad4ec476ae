"""Evaluation on Pascal VOC data: what a detector that sees the annotations gets."""

import json
from types import SimpleNamespace

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.data.build import build_dataset
from dprd_cli.evaluation.evaluate import evaluate
from dprd_cli.structures.detections import Detections


class Oracle(torch.nn.Module):
    """Gives, for image after image, the boxes it was told."""

    device = torch.device("cpu")

    def __init__(self, answers):
        super().__init__()
        self.answers = list(answers)

    def detect(self, images, part_offsets, *, masks):
        found = []
        for image in images:
            rows = self.answers.pop(0)
            size = (image.shape[1], image.shape[2])
            boxes = torch.tensor([box for *_, box in rows], dtype=torch.float32).reshape(-1, 4)
            scores = torch.tensor([score for _, score, _ in rows])
            labels = torch.tensor([label for label, *_ in rows], dtype=torch.int64)
            found.append(Detections(boxes, scores, labels, size))
        return SimpleNamespace(detections=found, proposals=[one.boxes for one in found])


DOG, CAT = 11, 7  # in VOC's order, from 0


@pytest.mark.parametrize(
    ("second", "eleven", "area"),
    [
        ([(CAT, 0.9, [19, 9, 60, 45]), (DOG, 0.8, [4, 4, 34, 40])], 100, 100),
        # the second dog is missed: recall 1/2, six of eleven points; the cat's AP stays 1
        ([(CAT, 0.9, [19, 9, 60, 45])], (100 + 600 / 11) / 2, 75),
    ],
)
def test_voc_and_coco_metrics_of_an_oracle(devkit, second, eleven, area):
    overrides = [f"data.path={devkit}", "data.test_min_size=48", "train.batch_size=1", "data.workers=0"]
    config = resolve(schedule="voc", overrides=overrides)
    val = build_dataset(config.data, "val")
    # a detection of the difficult cat of the first image, twice: neither right nor wrong
    hard = [(CAT, 0.95, [39, 3, 63, 20]), (CAT, 0.94, [39, 3, 63, 20])]
    first = [*hard, (DOG, 0.9, [4, 4, 34, 40])]
    measured = evaluate(Oracle([first, second]), val, config)
    voc, metrics = measured.to_json()["voc"], measured.metrics
    assert voc["11_point"]["AP50"] == metrics["voc_11_point_AP50"] == pytest.approx(eleven)
    assert voc["all_point"]["AP50"] == metrics["voc_all_point_AP50"] == pytest.approx(area)
    # COCO's: 101 recalls, of which 51 are at most 1/2
    assert metrics["bbox_AP50"] == pytest.approx(100 if area == 100 else (100 + 5100 / 101) / 2)
    assert metrics["bbox_AP"] == pytest.approx(metrics["bbox_AP50"])
    counts = {row["name"]: row["objects"] for row in voc["classes"] if row["objects"]}
    assert counts == {"cat": 1, "dog": 2}
    json.dumps(measured.to_json(), allow_nan=False)


def test_other_data_has_no_voc_metrics():
    config = resolve(overrides=["data.synthetic_val=1", "data.synthetic_size=64", "data.workers=0"])
    val = build_dataset(config.data, "val")
    measured = evaluate(Oracle([[]]), val, config)
    assert "voc" not in measured.to_json()
    assert not any(key.startswith("voc") for key in measured.metrics)
