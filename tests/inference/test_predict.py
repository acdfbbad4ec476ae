"""The library call behind `dprd predict`, whose other tests go through the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from dprd_cli.errors import DataError, InterruptedRun, UsageError
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.predict import PredictOptions, PredictSummary, _tell_best, predict
from dprd_cli.inference.predictor import ReadFailure
from dprd_cli.inference.sources import Source
from dprd_cli.runtime.process_group import ProcessGroup
from paths import visible
from tiny_model import IMAGE, tiny_model


def summary(**changes):
    content = {
        **{
            "checkpoint": Path("x.pt"),
            "options": PredictOptions(),
            "folder": None,
            "total": 3,
            "done": 3,
            "moving": False,
        },
        **{"files": (), "written": ("3 annotated images",), "records": (), "failures": (), "exit_code": 0},
    }
    return PredictSummary(**(content | changes))


def test_what_was_found_is_written_and_told(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(IMAGE).save(tmp_path / "in" / name)
    sources = [Source("image", str(tmp_path / "in" / name)) for name in ("a.png", "gone.png", "b.png")]
    out = tmp_path / "out"
    options = PredictOptions(
        output=OutputChoice(out), kinds=("coco",), style=DisplayStyle(score_thresh=0), records=True
    )
    found = predict(tiny_model(), sources, options)
    assert (found.total, found.done, [failure.name for failure in found.failures]) == (
        3,
        2,
        [sources[1].text],
    )
    assert visible(out) == ["images.json", "results.json"]
    records = json.loads((out / "results.json").read_text())
    assert len(records) == sum(len(record.objects) for record in found.records)
    assert [record.file for record in found.records] == [sources[0].text, sources[2].text]
    assert str(found) == f"results.json, images.json in {out}/"
    assert found.to_json()["results"] == [str(out / "results.json"), str(out / "images.json")]
    with pytest.raises(DataError, match=r"^1 of 3 images could not be read; the others are in .*/out/$"):
        found.raise_for_failures()


@pytest.mark.parametrize(("own", "asked", "used"), [(0.37, None, 0.37), (None, None, 0.5), (0.37, 0.9, 0.9)])
def test_the_threshold_is_the_detectors_own_unless_one_is_given(tmp_path, caplog, own, asked, used):
    caplog.set_level("INFO", logger="dprd_cli")
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    model = replace(tiny_model(), score_thresh=own)
    options = PredictOptions(kinds=(), style=DisplayStyle(asked), records=True)
    found = predict(model, [Source("image", str(tmp_path / "a.png"))], options)
    assert found.to_json()["score_thresh"] == used
    assert all(one.score >= used for record in found.records for one in record.objects)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("shown from score 0.37") for line in said) == (used == 0.37)


@pytest.mark.parametrize(
    ("best", "line"),
    [
        (0.384, "nothing reached 0.5 (best 0.38); try --score-thresh 0.3"),
        (0.062, "nothing reached 0.5 (best 0.062); try --score-thresh 0.06"),
        (0.0, "nothing was detected, at any score"),
        (0.5, None),
        (-1.0, None),
    ],
)
def test_what_would_show_something_is_said(caplog, best, line):
    caplog.set_level("INFO", logger="dprd_cli")
    _tell_best(best, 0.5)
    assert [record.getMessage() for record in caplog.records] == ([line] if line else [])


def test_shares_together_are_everything(tmp_path):
    (tmp_path / "in").mkdir()
    sources = []
    for number in range(3):
        path = tmp_path / "in" / f"{number}.png"
        Image.fromarray(IMAGE).save(path)
        sources.append(Source("image", str(path)))
    model = tiny_model()
    seen = []
    for index in range(2):
        options = PredictOptions(kinds=(), share=(index, 2), records=True)
        found = predict(model, sources, options)
        assert found.to_json()["shard"] == f"{index + 1}/2"
        seen += [record.file for record in found.records]
    assert sorted(seen) == [source.text for source in sources]


def test_videos_have_one_process():
    with pytest.raises(UsageError, match=r"^videos and webcams: in one process"):
        predict(tiny_model(), [Source("video", "a.mp4")], None, ProcessGroup(0, 2))


def test_a_stop_goes_before_what_could_not_be_read():
    failures = (ReadFailure("a", "a: no such file"),)
    with pytest.raises(InterruptedRun, match=r"^stopped; what was done is whole \(1 image\)$") as caught:
        summary(done=1, failures=failures, exit_code=130).raise_for_failures()
    assert caught.value.exit_code == 130
    with pytest.raises(DataError, match=r"^1 of 3 inputs could not be read$"):
        summary(failures=failures, moving=True, options=PredictOptions(kinds=())).raise_for_failures()
    summary().raise_for_failures()


def test_nothing_saved_is_said():
    assert str(summary(written=(), options=PredictOptions(kinds=()))) == "nothing saved"
