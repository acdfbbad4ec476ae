"""`dprd report` through the command line, of whole, partial, broken and hostile runs."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.report.html import element, number, table, text
from dprd_cli.report.runs import changed_settings, read_run
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import TINY

CLASSES = ("<script>alert('x')</script>", 'a "quoted" & b', "flower", "fan", "lizard", "$cash$ 10^2")
VOID = {"meta", "img", "wbr", "br", "hr", "link", "input"}


def rows(steps=3):
    """Return rows of a run's metrics, as training writes them."""
    train = [
        {"kind": "train", "step": n, "loss": 5.0 / n, "part_iou": 0.9, "lr": 1e-3}
        for n in range(1, steps + 1)
    ]
    return [*train, {"kind": "eval", "step": steps, "images": 4, "bbox_AP": 12.5, "bbox_AP50": 30.0}]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return checkpoints of detectors that were never trained: with parts and masks, and with neither."""
    folder = tmp_path_factory.mktemp("checkpoints")
    data = folder / "data"
    assert cli.run(["data", "synth", str(data), "--train", "1", "--val", "2", "--size", "64"]) == 0
    for file in data.glob("*.json"):
        tree = json.loads(file.read_text())
        for row, name in zip(tree["categories"], CLASSES, strict=True):
            row["name"] = name
        file.write_text(json.dumps(tree))
    for name, masks, more in (("parts", True, []), ("plain", False, ["preset=mask-rcnn-small"])):
        low = ["model.test.score_thresh=0.0", f"data.path={data}"]
        config = resolve(config_file=TINY, overrides=[*low, *more])
        torch.manual_seed(0)
        payload = {
            "config": config.model_dump(mode="json"),
            "class_names": list(CLASSES),
            "category_ids": [1, 2, 3, 4, 5, 6],
            "with_masks": masks,
            "model": build_detector(config.model, num_classes=6, with_masks=masks).state_dict(),
            "step": 3,
        }
        save_checkpoint(folder / f"{name}.pt", payload)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_run(name, checkpoint=None, **files):
    """Make a run folder with a configuration, metrics, an environment, and other files' texts."""
    folder = Path(name)
    folder.mkdir()
    texts = {
        "config.toml": TINY.read_text(),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows()),
        "environment.json": json.dumps({"dprd": "0.1.0", "device": "cpu", "commit": "abc", "torch": "2"}),
        **files,
    }
    for file, content in texts.items():
        if content is not None:
            (folder / file).write_text(content)
    if checkpoint is not None:
        (folder / "best.pt").write_bytes(checkpoint.read_bytes())
    return folder


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.ids, self.references, self.images, self.links = [], [], [], [], []
        self.words = []
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert not any(key.startswith("on") for key in given)
        self.references += [given[key] for key in ("src", "href", "data", "action", "srcset") if key in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img" or (tag == "svg" and "role" in given):
            self.images.append(given.get("alt") or given.get("aria-label"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def check(path):
    """Return a page that needs nothing else, whose ids differ, whose links lead somewhere."""
    page = Page(path)
    assert all(one.startswith(("#", "data:image/")) for one in page.references)
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    assert all(one[1:] in page.ids for one in page.references if one.startswith("#"))
    assert set(re.findall(r"url\(#([\w-]+)\)", page.source)) <= set(page.ids)
    assert all(page.images)
    assert "<script" not in page.source
    return page


def test_a_whole_run(checkpoints, capsys):
    run = make_run("run", checkpoints / "parts.pt")
    assert cli.run(["report", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err.splitlines()[0] == "run: measuring best.pt"
    assert re.fullmatch(r"report: run/report\.html \(\d\.\d MB\)", err.splitlines()[-1])
    assert document["report"] == "run/report.html"
    assert document["bytes"] == (run / "report.html").stat().st_size
    (one,) = document["runs"]
    assert (one["name"], one["measured"]["images"], one["measured"]["step"]) == ("run", 2, 3)
    assert one["not_measured"] is None
    page = check(run / "report.html")
    assert CLASSES[0] in page.text
    assert CLASSES[1] in page.text
    assert CLASSES[5] in page.text
    for title in (
        "Accuracy",
        "Training",
        "Precision and recall",
        "Confusion",
        "Parts",
        "Grad-CAM",
        "Settings",
    ):
        assert title in page.text
    assert "Not shown" not in page.text
    assert len(page.images) > 10


def test_a_run_without_parts_and_masks(checkpoints):
    make_run("run", checkpoints / "plain.pt")
    assert cli.run(["report", "run", "--out", "sub/page.html", "--limit", "1"]) == 0
    page = check("sub/page.html")
    assert "No masks: the detector or the data has none." in page.text
    assert "No parts: the detector has none" in page.text
    assert "on the first 1 of 2 images" in page.text


def test_several_runs_are_compared_first(checkpoints, capsys):
    make_run("a", checkpoints / "parts.pt")
    make_run("b", **{"config.toml": TINY.read_text().replace("batch_size = 2", "batch_size = 3")})
    assert cli.run(["report", "a", "b", "--no-eval"]) == 0
    assert capsys.readouterr().err.startswith("report: report.html (")
    page = check("report.html")
    assert page.text.index("Runs side by side") < page.text.index("Accuracy")
    assert "train.batch_size23" in page.text.replace(" ", "")
    assert page.links[:4] == ["#content", "#comparison", "#run1", "#run2"]


def test_a_study_comes_first():
    Path("study").mkdir()
    make_run("study/one")
    Path("study/table.csv").write_text("variant,AP\n<b>one</b>,12.5\nshort\n")
    Path("study/study.json").write_text(json.dumps({"title": "T & T"}))
    assert cli.run(["report", "study", "--no-eval", "--out", "p.html"]) == 0
    page = check("p.html")
    assert "<b>one</b>" in page.text
    assert "T & T" in page.text
    assert "no plot.png: no plot" in page.text


def test_a_study_is_shown_as_its_tables_say():
    Path("study").mkdir()
    make_run("study/one")
    Path("study/table.csv").write_text("variant,AP\nall,12.3456789\n")
    Path("study/table.md").write_text(
        "# Effects\n\nOf a & b.\n\n| | AP |\n|---|--:|\n| all | 12.3 ± 0.4 |\n\n|\n\n"
        "| rows |\n|---|\n| 2 - 1 |\n"
    )
    assert cli.run(["report", "study", "--no-eval", "--out", "p.html"]) == 0
    text = check("p.html").text
    assert "Of a & b." in text
    assert "12.3 ± 0.4" in text
    assert "2 - 1" in text
    assert "12.3456789" not in text


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"metrics.jsonl": None}, "no rows in metrics.jsonl: no training curves"),
        ({"metrics.jsonl": '{"kind": "train", "st'}, "no rows in metrics.jsonl: no training curves"),
        ({"config.toml": None}, "no config.toml: settings unknown"),
        ({"config.toml": "a = ["}, "config.toml"),
        ({"environment.json": None}, "no environment.json: environment unknown"),
        ({"environment.json": "[1]"}, "environment.json: not a JSON object"),
        ({"results.json": "{"}, "results.json: not readable"),
        ({}, "no checkpoint (best.pt or last.pt): nothing can be measured anew"),
    ],
)
def test_what_a_run_lacks_is_said(files, line):
    make_run("run", **files)
    assert cli.run(["report", "run"]) == 0
    assert line in check("run/report.html").text


@pytest.mark.parametrize(
    "metrics",
    [
        '{"kind": "train", "step": 1, "loss": null}',  # as NaN is written
        '{"kind": "train", "step": 1, "loss": "text"}',
        '{"kind": "train", "step": "one", "loss": 1}',
        '{"kind": "eval", "step": 1, "bbox_AP": 0}',
    ],
)
def test_odd_metrics_do_not_stop_a_report(metrics):
    make_run("run", **{"metrics.jsonl": metrics})
    assert cli.run(["report", "run"]) == 0
    check("run/report.html")


@pytest.mark.parametrize(
    "results", [{"bbox": {}}, {"bbox": {"AP": "x"}, "classes": [1]}, {"bbox": {}, "classes": 3}]
)
def test_odd_results_do_not_stop_a_report(results):
    make_run("run", **{"results.json": json.dumps(results)})
    assert cli.run(["report", "run"]) == 0
    check("run/report.html")


def test_a_torn_checkpoint_is_said(checkpoints, capsys):
    run = make_run("run")
    (run / "best.pt").write_bytes((checkpoints / "plain.pt").read_bytes()[:5000])
    assert cli.run(["report", "run"]) == 0
    assert "run: not measured: run/best.pt" in capsys.readouterr().err
    assert "Nothing was measured for this page: run/best.pt" in check("run/report.html").text


def test_headline_numbers_are_those_of_learned_offsets(capsys):
    """Other offsets and test-time augmentation measure another detector."""
    boxes = {"images": 9, "bbox": {"AP": 10.0}}
    other = {"images": 9, "bbox": {"AP": 99.0}}
    make_run(
        "run",
        **{
            "results.json": json.dumps(boxes),
            "eval_val_mean.json": json.dumps({**other, "part_offsets": "mean"}),
            "eval_val_tta.json": json.dumps({**other, "tta": True}),
            "eval_train.json": json.dumps({**other, "split": "train"}),
        },
    )
    assert cli.run(["report", "run", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["runs"]
    assert (one["headline"]["bbox_AP"], one["headline_from"]) == (10.0, "results.json, 9 images")


def test_what_is_no_run_is_refused(capsys):
    Path("empty").mkdir()
    assert cli.run(["report", "empty"]) == 1
    line = "error: empty/: holds no run and no ablation; pass a folder that `dprd train` made"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert cli.run(["report", "absent"]) == 1
    assert capsys.readouterr().err.startswith("error: no such checkpoint: absent")
    assert cli.run(["report", "--limit", "-1"]) == 2


def test_a_page_that_cannot_be_written(capsys):
    make_run("run")
    Path("file").write_text("")
    assert cli.run(["report", "run", "--out", "file/page.html"]) == 2
    assert capsys.readouterr().err == "error: --out file: a file; choose a folder\n"


def test_text_is_escaped_once():
    assert text('<a & "b">') == "&lt;a &amp; &quot;b&quot;&gt;"
    assert element("p", text("&"), title='"') == '<p title="&quot;">&amp;</p>'
    assert text("a\x00b") == "a\ufffdb"
    assert "&lt;td&gt;" in table("", ("a", "b"), [("x", "<td>")])


@pytest.mark.parametrize(
    ("value", "shown"), [(1.25, "1.2"), (None, "-"), (float("nan"), "-"), ("x", "-"), (True, "-")]
)
def test_numbers(value, shown):
    assert number(value) == shown


def test_only_changed_settings_are_differences():
    config = resolve(preset="dprd-small", schedule="small", flags={"data.path": "synthetic"})
    assert changed_settings(config.model_dump(mode="json")) == {}
    tree = config.model_dump(mode="json")
    tree["train"]["steps"] += 1
    assert changed_settings(tree) == {"train.steps": (config.train.steps + 1, config.train.steps)}
    assert changed_settings({"preset": "unheard-of"}) is None


def test_a_checkpoint_in_a_run_belongs_to_it(checkpoints):
    run = make_run("run", checkpoints / "plain.pt")
    assert read_run(run / "best.pt").metrics == rows()
    assert read_run(checkpoints / "plain.pt").folder is None
