"""Which benchmark runs on what, and the table of them all, by hand."""

from dataclasses import replace

import pytest
import torch

from dprd_cli.benchmark import table
from dprd_cli.benchmark.machine import Machine
from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, Timing
from dprd_cli.benchmark.table import KINDS, BenchmarkSettings, check, markdown, run, run_all, show
from dprd_cli.errors import UsageError, UserError

SETTINGS = BenchmarkSettings("torchvision", "dprd", None, None, None, 5000, 7, torch.device("cpu"), False)
HERE = Machine("2022-02-22", "M", "cpu", 2, "Linux x86_64", "3.11.0", {"torch": "2.11"})


def silent(done, total):
    pass


def report(name="paste"):
    rows = [
        BenchmarkRow("a", "b", 2.5, 4.0, at_least=True),
        BenchmarkRow("c", "d", 0.2, 0.5, at_least=False, unit="s"),
    ]
    timings = {
        "theirs": Timing((2.0, 4.0, 3.0), None, processor=(1.0, 2.0, 7.0)),
        "ours": Timing((1.0,), 5_000_000, macs=7e9),
    }
    return BenchmarkReport(name, {}, timings, rows, True, "equal")


def test_what_was_asked_for_wins_over_a_benchmarks_own():
    inputs = SETTINGS.inputs((512, 640), 2)
    assert (inputs.image_size, inputs.batch, inputs.proposals) == ((512, 640), 2, 1000)
    inputs = replace(SETTINGS, image_size=(64, 96), batch=3, proposals=10).inputs((512, 640), 2)
    assert (inputs.image_size, inputs.batch, inputs.proposals) == ((64, 96), 3, 10)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("roialign", ((800, 1216), 2048, 7, torch.device("cpu"), silent)),
        ("eval", (5000, 7, silent)),
        ("paste", ((800, 1216), 100, 7, silent)),
        ("startup", ((480, 640), 7, silent)),
    ],
)
def test_each_benchmark_gets_its_own_settings(monkeypatch, kind, expected):
    name = {"eval": "evaluation"}.get(kind, kind)
    monkeypatch.setattr(table, name, lambda *given: given)
    assert run(kind, SETTINGS, silent) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (replace(SETTINGS, images=None, repetitions=None), (None, (480, 640), 1, 1, "", "")),
        (
            replace(SETTINGS, images=9, image_size=(64, 96), batch=2, weights="voc", folder="in"),
            (9, (64, 96), 2, 7, "voc", "in"),
        ),
    ],
)
def test_prediction_gets_its_own_settings(monkeypatch, settings, expected):
    def given(images, size, batch, *, repetitions, device, progress, weights, folder):
        assert (device, progress) == (torch.device("cpu"), silent)
        return images, size, batch, repetitions, weights, folder

    monkeypatch.setattr(table, "prediction", given)
    assert run("predict", settings, silent) == expected


def test_the_check_gets_its_own_settings(monkeypatch):
    monkeypatch.setattr(table, "data_check", lambda *given, folder: (*given, folder))
    assert run("check", replace(SETTINGS, images=None, folder="in"), silent) == (
        (5000, (480, 640), 7, silent, "in")
    )
    assert run("check", replace(SETTINGS, repetitions=None), silent)[2] == 3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("check", {"weights": "voc"}, "--weights: for predict alone"),
        ("eval", {"folder": "in"}, "--folder: for predict and check alone"),
        ("all", {"folder": "in"}, "--folder: for predict and check alone"),
    ],
)
def test_options_of_commands_are_for_them_alone(kind, options, message):
    with pytest.raises(UsageError, match=message):
        check(kind, replace(SETTINGS, **options))


def test_all_runs_every_benchmark_against_every_peer(monkeypatch):
    asked, said = [], []

    def one(kind, settings, progress):
        asked.append((kind, settings.against, settings.repetitions))
        if settings.against == "detectron2":
            raise UserError("not\ninstalled")
        return report(kind)

    monkeypatch.setattr(table, "run", one)
    reports, missing = run_all(SETTINGS, silent, said.append)
    assert {kind for kind, *_ in asked} == set(KINDS)
    peers = ["torchvision", "detectron2", "mask-rcnn"]
    assert [against for kind, against, _ in asked if kind == "train"] == peers
    assert [turns for kind, _, turns in asked if kind == "eval"] == [3]  # pycocotools is slow
    assert missing == [f"{kind} against detectron2: not installed" for kind in ("inference", "train")]
    assert len(reports) == 10
    assert [turns for kind, _, turns in asked if kind in ("predict", "check")] == [1, 3]
    assert f"not measured: {missing[0]}" in said


def test_only_networks_are_compiled():
    compiled = replace(SETTINGS, compiled=True)
    for kind in ("inference", "train", "all"):
        check(kind, compiled)
    check("paste", SETTINGS)
    with pytest.raises(UsageError, match="--compile: paste has no network to compile"):
        check("paste", compiled)


def test_the_markdown_by_hand():
    assert markdown([report()], ["eval: none"], HERE).splitlines() == [
        "2022-02-22, M, 2 threads, Python 3.11.0, torch 2.11.",
        "",
        "| what | against | measured | target | |",
        "|---|---|---|---|---|",
        "| a | b | 2.50x | >= 4.00x | missed |",
        "| c | d | 0.20 s | <= 0.50 s | met |",
        "",
        "| benchmark | program | median | range | turns | processor | peak memory | GMAC/s |",
        "|---|---|---|---|---|---|---|---|",
        "| paste | theirs | 3 s | 2..4 s | 3 | 2 s |  |  |",
        "| paste | ours | 1 s | 1..1 s | 1 |  | 5 MB | 7 |",
        "",
        "Answers:",
        "",
        "- paste, theirs and ours: equal",
        "- not measured: eval: none",
    ]
    assert markdown([], [], replace(HERE, device="G")).startswith("2022-02-22, G, 2 threads")


def test_units():
    assert [show(79.6, "%"), show(1.234, "x"), show(0.5, "s")] == ["80 %", "1.23x", "0.50 s"]
