import json

from dprd_cli import cli
from dprd_cli.benchmark import parity
from paths import PARITY

FIXTURE = str(PARITY / "mask-rcnn-r50.json")


def test_a_file_that_is_no_fixture_is_one_line(tmp_path, capsys):
    path = tmp_path / "no.json"
    path.write_text("[]")
    assert cli.run(["parity", str(path)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}")
    assert cli.run(["parity", str(tmp_path / "gone.json")]) == 3


def test_the_exit_code_says_whether_all_is_within_tolerance(monkeypatch, capsys):
    monkeypatch.setattr(parity, "compare", lambda _: [])
    assert cli.run(["parity", FIXTURE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
