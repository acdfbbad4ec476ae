"""What a page measures itself of a checkpoint."""

import json
from pathlib import Path

import pytest

from dprd_cli.report.measure import ReportOptions, measure


@pytest.fixture(scope="module")
def measurement(tiny_checkpoint):
    return measure(Path(tiny_checkpoint), ReportOptions(limit=3, device="cpu"), keep=1)


def test_only_the_first_images_are_measured(measurement):
    assert (measurement.images, measurement.total, measurement.step) == (3, 4, 3)
    assert measurement.results["images"] == measurement.analysis["images"] == 3
    assert measurement.config["data"]["path"] == "synthetic"


def test_no_image_is_among_the_best_and_the_worst(measurement):
    """All are alike here: nothing is found. The first is the best, and is not shown again."""
    (best,) = measurement.best
    assert (best.name, best.f1) == ("val_000000.png", 0.0)
    assert best.annotated.shape == best.detected.shape
    assert best.name not in [pair.name for pair in measurement.worst]


def test_no_more_maps_are_made_than_asked_for(measurement):
    assert len(measurement.maps) <= 1


def test_numbers_can_be_printed(measurement):
    content = json.loads(json.dumps(measurement.to_json()))
    assert set(content) == {"images", "total", "step", "metrics", "ap", "confusion", "parts", "tide"}
    assert content["metrics"]["bbox_AP"] == measurement.metrics["bbox_AP"]
