"""`dprd predict --ray` without Ray: what it takes, and what it says."""

import json
import sys

import pytest

from command_tree import parse
from dprd_cli.cli import run
from dprd_cli.distributed.engines import LoopEngine


@pytest.mark.parametrize(
    ("line", "address", "inputs"),
    [
        ("--ray", "local", []),
        ("--ray --list x", "local", []),
        ("--ray auto --list x", "auto", []),
        ("--ray 10.0.0.1:6379 a.jpg", "10.0.0.1:6379", ["a.jpg"]),
        ("a.jpg --ray ray://head:10001", "ray://head:10001", ["a.jpg"]),
        ("--ray s3://a/b", "local", ["s3://a/b"]),
        ("--ray a.jpg", "local", ["a.jpg"]),
        ("--ray=auto a.jpg", "auto", ["a.jpg"]),
        ("a.jpg -- --ray", None, ["a.jpg", "--ray"]),
    ],
)
def test_the_address_may_be_left_out(line, address, inputs):
    params = parse(["predict", *line.split()]).params
    assert (params["ray"], list(params["inputs"] or [])) == (address, inputs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--ray --out x",
            "error: nothing to look at; pass --list FILE, --parquet DIR, folders or s3:// prefixes",
        ),
        ("--ray --list x", "error: --ray: name the folder of the results by --out"),
        ("--ray --list x --save coco", "error: --save: not with --ray, which writes Parquet files"),
        ("--ray --list x --gpus 2", "error: --gpus: not with --ray"),
        ("a.jpg --parquet x", "error: --parquet: only with --ray"),
        ("a.jpg --actors 2", "error: --actors: only with --ray"),
        ("a.jpg --piece-size 2", "error: --piece-size: only with --ray"),
        (
            "--ray --list x --out y",
            "error: Ray is not installed; install it with: pip install 'dprd-cli[ray]'",
        ),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["predict", *line.split()]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[-1].startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def in_one_process(monkeypatch):
    """Let a loop take Ray's place, and JSON Parquet's; return the results that are made."""
    from dprd_cli.distributed import engines, results
    from dprd_cli.distributed.storage import results_place

    asked = []

    def engine(*given):
        asked.append(given)
        return LoopEngine()

    def encode(rows):
        return json.dumps([[row.file, bool(row.error), len(row.detections)] for row in rows]).encode()

    monkeypatch.setattr(engines, "RayEngine", engine)
    monkeypatch.setattr(
        results, "parquet_results", lambda out: results.JobResults(results_place(out), encode, ".rows")
    )
    return asked


def test_the_options_of_the_command_are_those_of_the_job(
    tmp_path, monkeypatch, capsys, tiny_checkpoint, in_one_process
):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Image.new("RGB", (64, 64), (90, 20, 30)).save(f"{name}.png")
    (tmp_path / "names").write_text("a.png\nb.png\ngone.png\nc.png\n")
    line = ["predict", "--ray", "auto", "--list", "names", "--weights", tiny_checkpoint, "--out", "out"]
    line += ["--device", "cpu", "--actors", "3", "--piece-size", "2", "--max-detections", "1", "--json"]
    assert run(line) == 3
    output, errors = capsys.readouterr()
    document = json.loads(output)
    assert in_one_process == [("auto", 3, "cpu")]
    assert (document["pieces"], document["images"], document["unreadable"]) == (2, 4, 1)
    assert errors.splitlines()[-1] == "error: 1 of 4 images could not be read; their rows say why (error)"
    rows = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("out/*/*.rows"))]
    assert rows == [[["a.png", False, 1], ["b.png", False, 1]], [["gone.png", True, 0], ["c.png", False, 1]]]
    assert run(line) == 0  # all pieces are there
    assert json.loads(capsys.readouterr().out)["done_before"] == 2
    assert run([*line, "--score-thresh", "0.5"]) == 2
    assert (
        "--out out: holds a job that differs in min_score; choose another folder" in capsys.readouterr().err
    )
