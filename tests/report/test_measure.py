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
    """All are alike here: nothing is found. None is best, and the last is the worst."""
    (worst,) = measurement.worst
    assert (worst.name, worst.f1) == ("val_000002.png", 0.0)
    assert worst.annotated.shape == worst.detected.shape
    assert measurement.best == []


def test_no_more_maps_are_made_than_asked_for(measurement):
    assert len(measurement.maps) <= 1


def test_numbers_can_be_printed(measurement):
    content = json.loads(json.dumps(measurement.to_json()))
    assert set(content) == {"images", "total", "step", "metrics", "ap", "confusion", "parts", "tide"}
    assert content["metrics"]["bbox_AP"] == measurement.metrics["bbox_AP"]
