"""A summary that names what was left out; the rest is `dprd gradcam`'s test."""

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.errors import DataError
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.gradcam.comparison import Evidence, ObjectComparison
from dprd_cli.gradcam.explain import ExplainOptions, explain, stray_maps
from dprd_cli.gradcam.explainer import Heatmap
from tiny_model import IMAGE, tiny_model


def test_a_summary_holds_the_images_that_could_be_read_and_names_the_others(tmp_path):
    (tmp_path / "in").mkdir()
    good, bad = tmp_path / "in" / "a.png", tmp_path / "in" / "b.png"
    Image.fromarray(IMAGE).save(good)
    bad.write_text("no image")
    options = ExplainOptions(output=OutputChoice(tmp_path / "out"), max_objects=1, score_thresh=0)
    summary = explain([tiny_model()], [good, bad], options)
    assert [image.file for image in summary.images] == [good]
    assert summary.images[0].figure == tmp_path / "out" / "a.png"
    assert summary.images[0].figure.is_file()
    assert (summary.combined, summary.statistics) == (None, None)
    (row,) = summary.to_json()["images"]
    assert row["objects"][0]["models"]["Cascade D-PRD"]["score"] >= 0
    with pytest.raises(DataError, match=r"^1 of 2 images could not be read; the others are in .*/out/$"):
        summary.raise_for_unread()


def test_maps_with_most_of_their_energy_outside_the_box_are_told():
    values = np.zeros((4, 6), np.float32)
    values[0, 0], values[3, 5] = 1, 3  # a quarter in the upper left box
    stray, inside = (
        Evidence(0.9, torch.tensor(box), None, Heatmap(values, "p2"))
        for box in ([0.0, 0, 3, 2], [3.0, 2, 6, 4])
    )
    objects = [ObjectComparison("cat", (stray, inside)), ObjectComparison("dog", (stray, None))]
    assert stray_maps(objects, ["a\nx", "b"]) == [
        "most of the map's energy lies outside the box: a, x: cat 0.90 (25 % inside), dog 0.90 (25 % inside)"
    ]
    nothing = Evidence(0.9, stray.box, None, Heatmap(np.zeros_like(values), "p2"))
    assert stray_maps([ObjectComparison("cat", (nothing,))], ["a"]) == []
