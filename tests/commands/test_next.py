"""What commands say comes next works as it is printed."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from command_tree import ROOT_COMMAND, flags_of, parse
from dprd_cli import cli
from dprd_cli.commands._next import folder_of_images
from paths import ROOT, TINY

SOURCES = sorted((ROOT / "dprd_cli").rglob("*.py"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "a folder").mkdir()
    monkeypatch.chdir(tmp_path / "a folder")


def said(capsys):
    """Return the commands that were said to come next, without `dprd`."""
    lines = capsys.readouterr().err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("next:"))
    inline = lines[start].removeprefix("next:").strip()
    return [shlex.split(line)[1:] for line in ([inline] if inline else lines[start + 1 :])]


def test_after_a_training_on_built_in_data(capsys):
    assert cli.run(["train", "--config", str(TINY), "--steps", "1", "--out", "my run"]) == 0
    steps = said(capsys)
    assert [words[0] for words in steps] == ["eval", "report", "data", "predict", "visualize-parts"]
    for words in steps:
        if words[0] != "report":  # takes long
            assert cli.run(words) == 0, words


def test_after_a_training_without_parts_on_own_data(capsys):
    small = ["--train", "3", "--val", "2", "--size", "64"]
    assert cli.run(["data", "synth", "my data", *small]) == 0
    (words,) = said(capsys)
    assert words == ["train", "--data", "my data", "--schedule", "small"]
    plain = ["--config", str(TINY), "--preset", "mask-rcnn-small", "--steps", "1"]
    plain += ["--backbone-weights", "none"]
    assert cli.run([*words, *plain, "--out", "run"]) == 0
    steps = said(capsys)
    assert steps == [
        ["eval", "--weights", "run"],
        ["report", "run"],
        ["predict", "my data/images", "--weights", "run"],
    ]
    assert cli.run(steps[2]) == 0


def test_after_data_commands(capsys):
    assert cli.run(["data", "synth", "data", "--train", "4", "--val", "1", "--size", "64"]) == 0
    said(capsys)
    assert cli.run(["data", "convert", "data", "as yolo", "--to", "yolo"]) == 0
    (words,) = said(capsys)
    assert words == ["data", "check", "as yolo"]
    assert cli.run(words) == 0
    Path("data/val.json").unlink()
    capsys.readouterr()
    assert cli.run(["data", "split", "data", "new data", "--val", "0.3"]) == 0
    assert said(capsys) == [["train", "--data", "new data"]]


def test_after_a_learning_rate_was_found_the_options_are_those_that_were_given(capsys, monkeypatch):
    class Found:
        stopped, optimizer, batch_size, suggestion, lowest = "done", "sgd", 2, 0.01, 0.1

    monkeypatch.setattr("dprd_cli.training.lr_finder.find_lr", lambda *given: Found())
    given = ["--config", str(TINY), "--set", "model.parts.sigma=0.4", "--set", "train.seed=3"]
    assert cli.run(["train", *map(str, given), "--find-lr", "--steps", "8", "--out", "lr"]) == 0
    (words,) = said(capsys)
    assert words[0] == "train"
    assert set(map(str, given)) < set(words)
    assert words[-4:] == ["--batch-size", "2", "--lr", "0.01"]
    assert not {"--find-lr", "--out", "--steps"} & set(words)
    parse(words)


def test_the_folder_of_images_is_the_first_that_has_any():
    assert folder_of_images(Path("gone")) is None
    for name in ("set/b", "set/a/inner"):
        Path(name).mkdir(parents=True)
    assert folder_of_images(Path("set")) is None
    Path("set/b/1.JPG").touch()
    Path("set/a/notes.txt").touch()
    assert folder_of_images(Path("set")) == Path("set/b")


def messages(path):
    """Yield the texts of a module, holes of f-strings filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def test_commands_in_messages_exist():
    texts = [text for path in SOURCES for text in messages(path)]
    found = {words for text in texts for words in re.findall(r"`dprd ([a-z][^`\n]*)`", text)}
    found |= {words for text in texts for words in re.findall(r"\bdprd ((?:train|data) --?[^`;,\n]*)", text)}
    assert len(found) > 25
    for line in sorted(found):
        command, rest = ROOT_COMMAND, shlex.split(line.partition(" with ")[0])
        while hasattr(command, "commands") and rest and rest[0] != "X":
            assert rest[0] in command.commands, line
            command, rest = command.commands[rest[0]], rest[1:]
        assert {word for word in rest if word.startswith("--")} <= flags_of(command) | {"--help"}, line


@pytest.mark.parametrize(
    "command",
    [["eval"], ["predict", "1.png"], ["visualize-parts", "1.png"], ["export"], ["gradcam", "1.png"]],
)
def test_where_there_is_no_run_the_demo_is_offered(command, capsys):
    Image.new("RGB", (64, 64)).save("1.png")
    code = cli.run(command)
    line = capsys.readouterr().err.splitlines()[-1]
    assert (code, line) == (
        1,
        "error: no checkpoint in runs/; train one with `dprd train`, or pass --weights voc or demo",
    )


def test_a_report_offers_that_of_the_demo(capsys):
    assert cli.run(["report"]) == 1
    line = "error: no run in runs/; train one with `dprd train`, or see `dprd report demo`"
    assert capsys.readouterr().err.splitlines()[-1] == line
