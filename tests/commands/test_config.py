import json
from pathlib import Path

import pytest

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import known_keys


def output(capsys, *arguments, code=0):
    assert run([*arguments]) == code
    return capsys.readouterr()


def test_show_prints_toml_that_training_takes(tmp_path, capsys):
    out, err = output(capsys, "config", "show", "dprd-small", "--backbone", "r18", "--set", "train.lr=0.5")
    assert err == ""
    file = tmp_path / "run.toml"
    file.write_text(out)
    assert resolve(config_file=file) == resolve(
        preset="dprd-small", flags={"model.backbone.name": "r18"}, overrides=["train.lr=0.5"]
    )
    assert "lr = 0.5                                      # --set" in out.splitlines()
    assert 'name = "r18"                                  # options' in out.splitlines()
    short, _ = output(capsys, "config", "show", "dprd-small", "--changed")
    assert len(short) < len(out) / 2


def test_show_as_json(capsys):
    found = json.loads(output(capsys, "config", "show", "--schedule", "3x", "--json").out)
    assert (found["preset"], found["schedule"]) == ("cascade-dprd", "3x")
    assert list(found["values"]) == list(known_keys())
    assert found["values"]["train.steps"] == {"value": 270_000, "origin": "schedule 3x"}
    found = json.loads(output(capsys, "config", "show", "--schedule", "1x", "--changed", "--json").out)
    assert {entry["origin"] for entry in found["values"].values()} == {
        "auto",
        "preset cascade-dprd",
        "schedule 1x",
    }


def test_diff(capsys, tmp_path):
    out, err = output(capsys, "config", "diff", "cascade-dprd", "cascade-mrcnn")
    assert 'model.parts.mode: "deformable" -> "none"' in out.splitlines()
    assert err == "8 differences: cascade-dprd -> cascade-mrcnn\n"
    assert output(capsys, "config", "diff", "dprd", "dprd") == ("", "no differences: dprd -> dprd\n")
    file = tmp_path / "a.toml"
    file.write_text('preset = "dprd"\nschedule = "3x"\n[train]\nseed = 5\n')
    found = json.loads(output(capsys, "config", "diff", str(file), "--json").out)
    assert found == {
        "first": "preset dprd, schedule 3x",
        "second": str(file),
        "differences": [{"key": "train.seed", "first": 0, "second": 5}],
    }


def test_schema(capsys):
    plain = output(capsys, "config", "schema").out
    assert plain == output(capsys, "config", "schema", "--json").out
    assert json.loads(plain)["properties"].keys() == {
        "preset",
        "schedule",
        "model",
        "data",
        "train",
        "plugins",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (
            ["show", "dprdd"],
            2,
            "'dprdd': no such preset, config file, run or checkpoint (did you mean 'dprd'?)",
        ),
        (["show", "--set", "train.lrr=1"], 2, "--set train.lrr=1: no config key 'train.lrr' (did you mean"),
        (["show", "--schedule", "2x"], 2, "unknown schedule '2x'"),
        (["show", "--backbone", "r51"], 2, "unknown backbone 'r51'"),
        (["diff", "dprd", "x.toml"], 2, "'x.toml': no such preset"),
        (["show", "empty"], 1, "no checkpoint in empty/"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, monkeypatch, arguments, code, line):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    out, err = output(capsys, "config", *arguments, code=code)
    assert out == ""
    assert err.startswith("error: ")
    assert line in err
    assert err.count("\n") == 1
