import json
import sys

from dprd_cli import __version__
from dprd_cli.cli import run


def test_the_description_is_lines_to_paste(capsys):
    assert run(["env"]) == 0
    out, err = capsys.readouterr()
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(rows) == ["dprd", "python", "system", "torch", "device", "packages", "variables", "weights"]
    assert rows["dprd"].startswith(f"{__version__} (")
    assert rows["weights"].startswith("demo installed; in ")
    assert err == ""


def test_as_json(capsys):
    assert run(["env", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["dprd"], found["problems"]) == (__version__, [])
    assert found["packages"]["torch"]


def test_what_is_broken_is_told_and_no_error(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["env"]) == 0
    assert "problem 1   PyTorch cannot be imported: " in capsys.readouterr().out
