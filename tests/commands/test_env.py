import json
import os
import subprocess
import sys

import pytest

from dprd_cli import __version__
from dprd_cli.cli import run


def test_the_description_is_lines_to_paste(capsys):
    assert run(["env"]) == 0
    out, err = capsys.readouterr()
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    names = ["dprd", "python", "system", "torch", "device", "precision", "packages", "variables", "weights"]
    assert list(rows) == names
    assert rows["dprd"].startswith(f"{__version__} (")
    assert rows["weights"].startswith("included: voc, demo, demo-cascade-mrcnn; in ")
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


@pytest.mark.parametrize(
    ("given", "count"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_waiting_threads_sleep_soon_unless_the_environment_says_otherwise(given, count):
    unset = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | given
    command = [sys.executable, "-m", "dprd_cli", "env", "--json"]
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert told["variables"].get("GOMP_SPINCOUNT") == count
