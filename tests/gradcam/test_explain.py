"""What networks are called, and a summary that names what was left out; the rest is `dprd gradcam`'s test."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from dprd_cli.errors import DataError, UserError
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.gradcam.explain import ExplainOptions, explain, load_models, model_titles
from tiny_model import IMAGE, PRESETS, tiny_model


def test_two_networks_of_one_architecture_are_told_apart_by_their_runs():
    ours, other, same = tiny_model(PRESETS[0]), tiny_model(PRESETS[1]), tiny_model(PRESETS[0])
    assert model_titles([ours, other]) == ("Cascade D-PRD", "Cascade Mask R-CNN")
    named = [
        replace(ours, source=Path("runs/a/best.pt")),
        replace(same, source=Path("runs/b/last.pt")),
    ]
    assert model_titles(named) == ("Cascade D-PRD\na", "Cascade D-PRD\nb")
    assert model_titles([ours, same]) == ("Cascade D-PRD\ntiny (1)", "Cascade D-PRD\ntiny (2)")


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


def test_a_second_network_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such checkpoint: gone"):
        load_models("gone", "")
