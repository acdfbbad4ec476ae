"""Evaluation: what a detector that sees the annotations gets, and what is called on the way."""

import json
from types import SimpleNamespace

import pytest
import torch

from dprd_cli.benchmark.launches import CountedDevice
from dprd_cli.config.presets import resolve
from dprd_cli.data import coco_results
from dprd_cli.data.build import build_dataset
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.structures.detections import Detections


class Oracle(torch.nn.Module):
    """Gives, for image after image, the boxes it was told, with full masks where they are asked for."""

    device = torch.device("cpu")
    needs_targets = False
    place_shifts = None
    precision = "fp32"

    def __init__(self, answers, found_on="cpu"):
        super().__init__()
        self.answers, self.found_on = list(answers), found_on

    def detect(self, images, *, masks, targets, evidence_from):
        assert targets is None
        found = []
        for image in images:
            rows = self.answers.pop(0)
            size = (image.shape[1], image.shape[2])
            boxes = torch.tensor([box for *_, box in rows], dtype=torch.float32).reshape(-1, 4)
            scores = torch.tensor([score for _, score, _ in rows])
            labels = torch.tensor([label for label, *_ in rows], dtype=torch.int64)
            full = torch.ones(len(boxes), 28, 28) if masks else None
            found.append(Detections(boxes, scores, labels, size, masks=full).to(self.found_on))
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


def three_images():
    config = resolve(
        overrides=["data.synthetic_val=3", "data.synthetic_size=64", "data.workers=0", "train.batch_size=2"]
    )
    return build_dataset(config.data, "val"), config


def test_progress_and_watch_see_every_image_that_is_asked_for():
    val, config = three_images()
    told, watched = [], []
    options = EvaluationOptions(
        limit=2,
        batch_size=1,
        progress=lambda done, total: told.append((done, total)),
        watch=lambda sample, detections: watched.append((sample.image_id, len(detections))),
    )
    evaluation = evaluate(Oracle([[], [(0, 0.9, [0, 0, 9, 9])]]), val, config, options)
    assert told == [(1, 2), (2, 2)]
    assert watched == [(val[0].image_id, 0), (val[1].image_id, 1)]
    assert evaluation.metrics["images"] == evaluation.to_json()["images"] == 2


def test_the_training_mode_is_restored_also_after_an_error():
    val, config = three_images()
    detector = Oracle([[]]).train()

    def stop(done, total):
        assert not detector.training
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(detector, val, config, EvaluationOptions(batch_size=1, progress=stop))
    assert detector.training


def test_diagnostics_are_in_the_metrics_and_in_the_json_under_the_same_names():
    val, config = three_images()
    evaluation = evaluate(Oracle([[]] * 3), val, config)
    assert evaluation.diagnostics == {"recall50": 0.0, "recall70": 0.0}  # and no parts
    assert evaluation.diagnostics.items() <= evaluation.metrics.items()
    assert evaluation.diagnostics.items() <= evaluation.to_json().items()


def test_masks_of_a_device_are_encoded_there_and_measured_the_same(monkeypatch):
    val, config = three_images()
    answers = [[(0, 0.9, [10, 8, 40, 50])], [], [(1, 0.8, [5, 5, 60, 30]), (0, 0.7, [0, 0, 20, 20])]]
    here = evaluate(Oracle(answers), val, config)
    assert len(here.evaluator.results["segm"]) == 3
    monkeypatch.setattr(coco_results, "encode_rle", lambda *_: pytest.fail("encoded again on the host"))
    with CountedDevice() as counted:
        there = evaluate(Oracle(answers, counted.device), val, config)
    assert there.evaluator.results == here.evaluator.results
    assert there.coco == here.coco
