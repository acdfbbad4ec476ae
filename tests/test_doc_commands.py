"""Every command in the README and the pages: run as printed, or parsed where that is long or needs more.

Which of the two is decided in `why_not_run`, and nowhere else. Commands of one shape run once and are parsed
on later pages. A line that is neither a command nor known to be none is an error.
"""

import json
import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from command_tree import ROOT_COMMAND, flags_of, parse
from dprd_cli import cli
from dprd_cli.weights.checkpoint import read_checkpoint, save_checkpoint
from paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("[CS]*.md"))]
#: First words of lines in code blocks that are commands.
PROGRAMS = ("dprd", "pip", "make", "python", "sh", "torchrun", "find", "split", ".venv/bin/pre-commit")
#: Languages of code blocks that hold no commands.
OTHERS = ("python", "json", "toml", "bibtex", "yaml", "html", "xml", "mermaid", "latex")


class Command(NamedTuple):
    """A command as a page prints it, without its comment; `words` are those of the shell."""

    page: str
    line: str
    words: tuple[str, ...]


def code_lines(text):
    """Yield the lines of blocks that may hold commands, lines that end in a backslash joined."""
    language, held = None, ""
    for line in text.splitlines():
        if fence := re.match(r"^ *```(\w*)", line):
            language = None if language is not None else fence[1]
            continue
        inside = language not in OTHERS if language is not None else re.match(r"^    \S|^     ", line)
        if not inside:
            continue
        held += re.sub(r"\s+#( .*)?$", "", line).strip()
        if held.endswith("\\"):
            held = held[:-1]
            continue
        if held:
            yield held
        held = ""


def commands(page):
    """Return the commands of a page; environment variables before them are left out."""
    found = []
    for line in code_lines(page.read_text(encoding="utf-8")):
        if not re.match(rf"(?:\w+=\S+ )*(?:{'|'.join(map(re.escape, PROGRAMS))}) ", line):
            assert not re.match(r"(?:\w+=\S+ |\$ )*(?:\.venv/bin/)?dprd\b(?!_)", line), f"{page.name}: {line}"
            continue
        plain = re.sub(r"\[--\S+ \.\.\.\]", "", line)
        plain = re.sub(r"\[(--[^]]*)\]", r"\1", plain)  # [--option VALUE]: with it
        plain = re.sub(r"(?<=\w)\|[\w|.-]+", "", plain).replace(" ...", "")  # a|b|c: the first
        words = shlex.split(plain)
        while re.match(r"\w+=", words[0]):
            words = words[1:]
        if ">" in words:
            words = words[: words.index(">")]
        found.append(Command(page.name, line, tuple(words)))
    return found


def why_not_run(words):
    """Return why a command of `dprd` is parsed and not run, or nothing: it is run."""
    name, rest = words[1], words[2:]
    if name.startswith("--"):
        return "it changes the shell"
    if name in ("benchmark", "parity", "export", "ablate"):
        return "it takes long"
    if name == "train" and {"--find-lr", "--probe-batch", "--resume"} & set(rest):
        return "it takes long"
    if name == "info" or (name == "weights" and rest[0] not in ("list", "pack")):
        return "it takes long"
    if any(re.match(r"https?:|webcam:|detectron2:|torchvision:", word) for word in rest):
        return "it needs a network or a camera"
    if "--gpus" in rest or rest[:1] == ("-",) or "cuda" in rest:
        return "it needs GPUs or standard input"
    if any(word in ("WEIGHTS", "PRESET", "RUN/last.pt", "CASCADE-D-PRD", "clip.mp4") for word in rest):
        return "it names what a reader has"
    if "--ray" in rest:
        return "it needs Ray, which tests/distributed starts where it is installed"
    if "--plugin" in rest:
        return "its code is on the page, and tests/test_extend.py runs it"
    if name == "gradcam" and "--stats" in rest:
        return "it takes long"
    if name == "gradcam" and "--compare" in rest and "demo" not in rest:
        return "it compares with a run of another preset"
    return ""


def shape(words):
    """Return what tells one command from another: its name and its options."""
    kinds = tuple(word if word.startswith("-") else "" for word in words[2:])
    names = words[1:3] if words[1] in ("data", "config", "weights") else words[1:2]
    if names == ("report",):
        return names  # one takes ten seconds
    return (*names, *sorted(set(kinds)))


def planned():
    """Return page -> its commands, each with why it is not run, or nothing."""
    plan, seen = {}, set()
    for page in PAGES:
        for command in commands(page):
            why = "another program"
            if command.words[0] == "dprd":
                why = why_not_run(command.words)
                if not why and shape(command.words) in seen and "labelled" not in command.line:
                    why = "one of its shape is run already"
                seen.add(shape(command.words))
            plan.setdefault(page, []).append((command, why))
    return plan


PLAN = planned()
RUN = {page: [c for c, why in rows if not why] for page, rows in PLAN.items() if any(not w for _, w in rows)}
PARSED = [(command, why) for rows in PLAN.values() for command, why in rows if why]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder in which everything lies that the pages name: data, images, and runs of a detector."""
    folder = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(folder)
    try:
        small = ["--train", "8", "--val", "2", "--size", "160"]
        assert cli.run(["data", "synth", "DATA", *small]) == 0
        assert cli.run(["data", "convert", "DATA", "VOCdevkit", "--to", "voc"]) == 0
    finally:
        os.chdir(before)
    shutil.copytree(folder / "DATA", folder / "COCO")
    shutil.copytree(folder / "DATA", folder / "OUT")
    shutil.copy(folder / "OUT" / "val.json", folder / "OUT" / "test.json")
    shutil.copytree(folder / "DATA", folder / "unsplit" / "DATA")
    unsplit = folder / "unsplit" / "DATA"
    (unsplit / "val.json").unlink()
    tree = json.loads((unsplit / "train.json").read_text())
    for number, row in enumerate(tree["images"]):  # the frames of a few videos
        old, row["file_name"] = row["file_name"], f"{'abcd'[number // 2]}{number % 2}.png"
        (unsplit / "images" / old).rename(unsplit / "images" / row["file_name"])
    (unsplit / "train.json").write_text(json.dumps(tree))
    image = next((folder / "DATA" / "images").glob("val_*.png"))
    for place in ("IMAGES", "PHOTOS", "FOLDER", "folder", "shots/a", "photos"):
        (folder / place).mkdir(parents=True)
        shutil.copy(image, folder / place / "1.png")
    for number, other in enumerate(sorted((folder / "DATA" / "images").glob("*[01].png"))):
        shutil.copy(other, folder / "PHOTOS" / f"{number}.png")
    for name in ("photo.jpg", "a.jpg", "map.tif"):
        Image.open(image).save(folder / name)
    (folder / "lists").mkdir()
    for name in ("names.txt", "lists/00042"):
        (folder / name).write_text("photo.jpg\n")
    (folder / "results.json").write_text(
        '[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 1}]'
    )
    checkpoint = read_checkpoint(ROOT / "assets" / "demo.safetensors")
    for name in ("NAME", "A", "B", "C", "OTHER", "demo"):
        (folder / "runs" / name).mkdir(parents=True)
        if name == "NAME":
            save_checkpoint(folder / "runs" / name / "best.pt", checkpoint)
        else:
            os.link(folder / "runs" / "NAME" / "best.pt", folder / "runs" / name / "best.pt")
        os.link(folder / "runs" / name / "best.pt", folder / "runs" / name / "last.pt")
        (folder / "runs" / name / "config.toml").write_text(
            'preset = "cascade-dprd-small"\nschedule = "small"\n'
        )
    for name in ("assets", "tests", "docs", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def shortened(words):
    """Return a command with the options that keep it short."""
    more = []
    if (words[1] == "eval" and "--results" not in words) or words[1] == "report" or "--stats" in words:
        more += ["--limit", "1"]
    if words[1] == "eval" and "--results" not in words and "--plots" not in words:
        more += ["--no-plots"]
    if "--tta" in words:
        more += ["--set", "data.tta_min_sizes=[96]", "--set", "data.tta_flip=false"]
    if words[1:3] == ("data", "synth"):
        more += ["--train", "1", "--val", "1", "--size", "64"]
    return [*words[1:], *more]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_commands_run_as_they_are_printed(page, world, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    shutil.copytree(world, here, symlinks=True, copy_function=os.link)
    monkeypatch.chdir(here)
    started = []
    monkeypatch.setattr("dprd_cli.training.start.run_training", lambda *given: started.append(given))
    for command in RUN[page]:
        kind, rest = command.words[1:3], command.words[3:]
        monkeypatch.chdir(here / "unsplit" if kind == ("data", "split") else here)
        for written in (
            rest[:1] if kind == ("data", "synth") else rest[1:2] if kind == ("data", "split") else ()
        ):
            shutil.rmtree(written, ignore_errors=True)  # lines of a page may be alternatives
        assert cli.run(shortened(command.words)) == 0, f"{command.line}\n{capsys.readouterr().err}"
    assert len(started) == sum(command.words[1] == "train" for command in RUN[page])


@pytest.mark.parametrize(("command", "why"), PARSED, ids=[f"{c.page}: {c.line[:60]}" for c, _ in PARSED])
def test_commands_that_are_not_run_are_whole(command, why):
    words = command.words
    if words[0] == "dprd" and words[1].startswith("--"):
        assert words[1] in flags_of(ROOT_COMMAND)
    elif words[0] == "dprd":
        parse(words[1:])
    elif words[0] == "torchrun":
        parse(words[words.index("dprd_cli") + 1 :])
    elif words[0] == "find":
        parse(words[words.index("dprd") + 1 :])
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        known = re.findall(r"^([a-z-]+):|^#   (\w+)=", makefile, re.MULTILINE)  # targets, and variables
        assert {word.partition("=")[0] for word in words[1:]} <= {name for pair in known for name in pair}
    elif words[:2] == ("python", "-m"):
        assert (ROOT / Path(*words[2].split("."))).with_suffix(".py").is_file()
    elif words[0] in ("python", "sh"):
        text = (ROOT / words[1]).read_text(encoding="utf-8")
        assert [word for word in words[2:] if word.startswith("--") and word not in text] == []
    elif words[:3] == ("pip", "install", ".[export]"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert "export" in project["project"]["optional-dependencies"]
    else:
        assert words[0] in PROGRAMS


def test_most_commands_are_run():
    """None is lost on the way, and the rule of `why_not_run` leaves out no more than it should."""
    runs, parsed = sum(map(len, RUN.values())), len(PARSED)
    assert runs + parsed == sum(len(commands(page)) for page in PAGES)
    own = [why for command, why in PARSED if command.words[0] == "dprd"]
    assert runs >= 30
    assert runs + own.count("one of its shape is run already") >= 0.5 * (runs + len(own))
