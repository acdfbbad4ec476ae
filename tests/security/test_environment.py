"""Odd environments: closed streams, variables without sense, folders that are not there."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from dprd_cli.weights.checkpoint import save_checkpoint
from paths import ROOT, TINY
from security.targets import tiny_payload

VARIABLES = {
    "no home": {"HOME": None, "XDG_CACHE_HOME": None, "TORCH_HOME": None},
    "a home that is no folder": {"HOME": "/dev/null", "XDG_CACHE_HOME": None, "TORCH_HOME": None},
    "a relative home": {"HOME": "nowhere", "XDG_CACHE_HOME": "\udcff", "TORCH_HOME": ""},
    "columns": {"COLUMNS": "abc", "LINES": "-5"},
    "no columns": {"COLUMNS": "0", "LINES": "0", "TERM": "nothing"},
    "many columns": {"COLUMNS": "9" * 30},
    "colours": {"NO_COLOR": "", "FORCE_COLOR": "x", "TERM": "xterm-256color"},
    "threads": {"OMP_NUM_THREADS": "x", "MKL_NUM_THREADS": "-1", "OMP_WAIT_POLICY": "x"},
    "no GPUs": {"CUDA_VISIBLE_DEVICES": "x,,99"},
    "ranks": {"RANK": "x", "WORLD_SIZE": "y", "LOCAL_RANK": ""},
    "half of torchrun": {"WORLD_SIZE": "2"},
    "no temporary folder": {"TMPDIR": "/nowhere", "TEMP": "/nowhere", "TMP": "/nowhere"},
    "plots": {"MPLBACKEND": "nothing", "MPLCONFIGDIR": "/dev/null"},
    "proxies": {"http_proxy": "nonsense://[", "https_proxy": "\udcff", "no_proxy": "*"},
    "languages": {"LANG": "xx_YY.nothing", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "no path": {"PATH": None, "USER": None, "LOGNAME": None, "SHELL": None, "PWD": "/nowhere"},
}
FEW = ("--set", "data.synthetic_train=2", "--set", "data.synthetic_val=2")
STREAMS = {"nothing closed": [], "stdin": [0], "stdout": [1], "stderr": [2], "all": [0, 1, 2]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an image and a checkpoint."""
    folder = tmp_path_factory.mktemp("place")
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    save_checkpoint(folder / "tiny.pt", tiny_payload())
    return folder


def sound(answer):
    """Check that a command did its work, or said in a line why not."""
    assert answer["code"] in (0, 1, 2, 3), answer
    assert not any("this is a bug" in line or "Traceback" in line for line in answer["err"]), answer
    assert (answer["code"] == 0) == (not any(line.startswith("error: ") for line in answer["err"])), answer


@pytest.mark.parametrize("kind", VARIABLES)
def test_variables_without_sense(cage, place, tmp_path, kind):
    lines = [
        ("env",),
        ("predict", "a.png", "--weights", "tiny.pt", "--out", str(tmp_path / "out"), "--json"),
    ]
    if kind == "proxies":
        lines[1] = ("predict", "http://127.0.0.1:1/a.png", "--weights", "tiny.pt", "--out", str(tmp_path))
    elif kind in ("no home", "columns", "plots", "no temporary folder"):
        lines.append(("data", "stats", "synthetic", *FEW, "--out", str(tmp_path / "stats")))
    for argv in lines:
        sound(cage.run(*argv, folder=place, environ=VARIABLES[kind]))


@pytest.mark.parametrize("kind", STREAMS)
def test_closed_streams(cage, place, tmp_path, kind):
    for argv in (
        ("predict", "a.png", "--weights", "tiny.pt", "--out", str(tmp_path / "out"), "--json"),
        ("predict", "-", "--weights", "tiny.pt", "--out", str(tmp_path / "none")),
        ("config", "show"),
        ("data", "check", "synthetic", *FEW),
    ):
        answer = cage.run(*argv, folder=place, closed=STREAMS[kind])
        assert answer["code"] in (0, 2, 3), (argv, answer)
        assert not any("bug" in line for line in answer["err"]), answer


def test_a_train_without_a_home_keeps_its_run(cage, place, tmp_path):
    argv = ("train", "--config", TINY, "--steps", "1", "--out", tmp_path / "run")
    answer = cage.run(*argv, folder=place, environ={"HOME": None, "XDG_CACHE_HOME": None, "COLUMNS": "abc"})
    assert answer["code"] == 0, answer
    assert (tmp_path / "run/last.pt").is_file()


@pytest.mark.parametrize(
    ("kinds", "argv"),
    [
        (("threads", "plots", "ranks"), ("info", "--preset", "mask-rcnn-small", "--image-size", "64x64")),
        (("languages", "no path", "columns"), ("config", "show")),
    ],
)
def test_variables_that_are_read_at_the_start(tmp_path, kinds, argv):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, value in (pair for kind in kinds for pair in VARIABLES[kind].items()):
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    command = [sys.executable, "-m", "dprd_cli", *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert "this is a bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
