"""Means over objects, and how far the first network is ahead."""

import numpy as np
import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.data.build import build_dataset
from dprd_cli.gradcam.comparison import Evidence
from dprd_cli.gradcam.explainer import Explainer, Heatmap
from dprd_cli.gradcam.localization import COLUMNS, AnnotatedObject, Localization, measure_localization
from tiny_model import tiny_model

MAP = np.array([[1, 2, 0], [3, 4, 0]], np.float32)  # sum 10
TOP = np.array([[1, 1, 1], [0, 0, 0]], bool)  # holds 1 + 2


def evidence(values):
    return Evidence(1.0, torch.zeros(4), None, Heatmap(values, "p2"))


def test_means_and_the_lead():
    found = Localization(("a", "b"))
    for number, (ours, theirs) in enumerate([(MAP, MAP), (MAP, np.zeros_like(MAP)), (MAP, MAP[:, ::-1])]):
        box = np.array([1, 0, 3, 2], np.float32)
        subject = AnnotatedObject("x", number, "cat", box, TOP if number else None)
        found.add(subject, [evidence(ours), evidence(theirs)])
    result = found.result().to_json()
    first, second = result["models"]
    assert result["objects"] == 3
    assert first["share_box"] == pytest.approx(0.6)
    assert first["area_box"] == pytest.approx(4 / 6)  # what a uniform map scores
    # of the second: 6/10, no map, and the mirrored [[0, 2, 1], [0, 4, 3]], all of it in the right two columns
    assert second["share_box"] == pytest.approx((0.6 + 1.0) / 2)
    assert second["zero_maps"] == 1
    # leads: 0 and 0.6 - 1.0; their standard deviation is 0.4 / sqrt 2, so 1.96 * 0.4 / sqrt 2 / sqrt 2
    assert result["lead"]["share_box"]["mean"] == pytest.approx(-0.2)
    assert result["lead"]["share_box"]["interval"] == pytest.approx(1.96 * 0.2)
    assert result["lead"]["share_mask"]["objects"] == 1  # the first object has no mask
    rows = [record.row() for record in found.records]
    assert len(rows) == 6
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[0]["share_mask"] is None
    assert rows[2]["share_mask"] == pytest.approx(0.3)


def test_nothing_to_average():
    result = Localization(("a", "b")).result().to_json()
    assert result["objects"] == 0
    assert result["models"][0]["share_mask"] is None


def test_a_network_beside_itself_is_never_ahead():
    """Every class is tried, as random weights find no object of the right one."""
    config = resolve(overrides=["data.synthetic_val=2", "data.synthetic_size=64", "data.workers=0"])
    dataset = build_dataset(config.data, "val")
    explainer = Explainer(tiny_model(names=dataset.class_names))
    told = []
    found = measure_localization(
        dataset,
        [explainer, explainer],
        titles=("a", "b"),
        limit=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 1)]
    assert len(found.records) % 2 == 0
    assert len(found.records) // 2 + found.missed == len(dataset[0].boxes)
    lead = found.result().lead["share_box"]
    assert lead.mean in (None, 0)
