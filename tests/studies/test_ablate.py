"""Whole studies in one call."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.errors import UsageError, UserError
from dprd_cli.studies import ablate as module
from dprd_cli.studies.ablate import (
    AblateOptions,
    ablate,
    forecast_studies,
    measure_studies,
    measure_study_costs,
    pick_studies,
    plan_studies,
)
from dprd_cli.studies.checkpoints import CheckpointStudyOptions, StudyCheckpoint
from dprd_cli.studies.costs import VariantCosts
from paths import TINY

TOML = """
preset = "dprd"
[variants.a]
model.parts.sigma = 0.5
[variants.b]
model.parts.sigma = 1.0
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sigmas.toml").write_text(TOML)


OPTIONS = AblateOptions(config_file=TINY, steps=4, seeds=(0, 1), out=Path("out"))


def test_studies_are_found_by_name_group_and_file():
    assert [study.name for study in pick_studies(["all", "table1", "sigmas.toml", "offsets"])] == [
        "table1", "table2", "table3", "fig4", "sigmas", "offsets",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"unknown study 'tabel1' \(did you mean 'table1'\?\); there are: "):
        pick_studies(["tabel1"])


@pytest.mark.parametrize(
    ("given", "size"),
    [({}, "small"), ({"data": "coco"}, "full"), ({"data": "x", "size": "medium"}, "medium")],
)
def test_the_built_in_data_takes_small_networks(given, size):
    assert AblateOptions(**given).settings().size == size


def test_an_unknown_size_is_named():
    with pytest.raises(UsageError, match="unknown size 'smal'"):
        AblateOptions(size="smal").settings()


def test_options_are_those_of_every_run():
    options = replace(OPTIONS, batch_size=3, overrides=["train.warmup_steps=1"], backbones=["r10", "r18"])
    (plan,) = plan_studies(["sigmas.toml"], options)
    assert len(plan.jobs) == 2 * 2 * 2  # variants, backbones, seeds
    assert {job.config.model.backbone.name for job in plan.jobs} == {"r10", "r18"}
    assert {
        (c.train.steps, c.train.batch_size, c.train.warmup_steps) for c in (j.config for j in plan.jobs)
    } == {(4, 3, 1)}


def test_nothing_starts_before_all_studies_are_planned():
    with pytest.raises(UsageError, match="table4 measures checkpoints; pass them with --weights NAME=RUN"):
        ablate(["sigmas.toml", "table4"], OPTIONS)
    with pytest.raises(UsageError, match="the rows of table1 are networks that are trained differently"):
        measure_studies(["table4", "table1"], [StudyCheckpoint("x", "absent")])
    assert not Path("out").exists()


def test_runs_that_are_there_are_summed_up(start):
    with pytest.raises(UserError, match=r"out/sigmas: no finished run with these settings"):
        list(ablate(["sigmas.toml"], OPTIONS, train=False))
    (plan,) = plan_studies(["sigmas.toml"], OPTIONS)
    for job, box_ap in zip(plan.jobs, (10.0, 13.0, 14.0), strict=False):
        start(job, box_ap=box_ap)
    (result,) = ablate(["sigmas.toml"], OPTIONS, train=False)
    assert result.summary.spread("a", "bbox_AP").values == (10.0, 14.0)
    assert result.summary.compare("b", "a", "bbox_AP").difference.mean == 3.0  # seed 0 alone
    assert (result.planned, len(result.outcome.done)) == (4, 3)
    assert json.loads(Path("out/sigmas/study.json").read_text()) == json.loads(json.dumps(result.to_json()))


def test_studies_are_done_one_after_the_other(monkeypatch, start):
    """The first one's tables are there before the second one's trainings start."""
    seen = []

    def train(config, folder, *, resume):
        seen.append((folder.parent.name, Path("out/sigmas/table.md").exists()))
        results = {"step": config.train.steps, "bbox": {"AP": 1.0}}
        (folder / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr("dprd_cli.studies.run.train_locked", train)
    Path("other.toml").write_text(TOML.replace("0.5", "0.6"))
    results = ablate(["sigmas.toml", "other.toml"], replace(OPTIONS, seeds=(0,)))
    assert seen == []
    assert next(results).summary.study.name == "sigmas"
    assert seen == [("sigmas", False), ("sigmas", True)]  # written anew after each run
    assert next(results).summary.study.name == "other"
    assert seen[2:] == [("other", True)] * 2


def test_costs_and_forecasts_train_nothing(monkeypatch):
    costs = VariantCosts(46.0, 118.0, (64, 64), 6, "cpu, 1 thread", 100.0, 2.0)
    monkeypatch.setattr(module, "measure_costs", lambda plan, classes, *, anew: {"a": costs, "b": costs})
    (found,) = forecast_studies(["sigmas.toml"], OPTIONS)
    assert [sum(one.left.values()) for one in found.variants] == [8, 8]
    assert not Path("out").exists()
    Path("out/sigmas").mkdir(parents=True)
    (cost,) = measure_study_costs(["sigmas.toml"], OPTIONS)
    assert sorted(path.name for path in cost.folder.iterdir()) == ["costs.md", "costs.tex"]


def test_measurements_lie_apart_from_the_study_that_is_trained(tiny_checkpoint):
    options = CheckpointStudyOptions(device="cpu", limit=1)
    checkpoints = [StudyCheckpoint("mine", tiny_checkpoint)]
    results = measure_studies(["sigmas.toml", "table5"], checkpoints, options, Path("out"))
    at_test, published = results
    assert [one.folder.name for one in (at_test, published)] == ["sigmas-at-test", "table5"]
    assert at_test.planned == 0
    assert (at_test.folder / "plot.png").exists()
    assert not (published.folder / "plot.png").exists()
