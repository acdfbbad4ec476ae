"""The signpost study from training to figure: shares of objects, and where parts went in held-out images."""

import json
from dataclasses import replace

import pytest
import torch

from dprd_cli.files.images import read_image
from dprd_cli.studies.held_out import HELD_OUT, IMAGES, draw_held_out
from dprd_cli.studies.readings import SIGNPOSTS
from dprd_cli.studies.run import run_study
from dprd_cli.studies.summary import StudySummary, read_run
from dprd_cli.studies.write import write_study

POINTED = next(study for study in SIGNPOSTS if study.name == "signpost-pointed")
FEW = {"data.synthetic_train": 8, "data.synthetic_val": IMAGES + 1}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_tiny_study_measures_the_tags_and_draws_them(planned, tmp_path):
    rows = tuple(
        replace(POINTED.variant(key), overrides={**POINTED.variant(key).overrides, **FEW})
        for key in ("fixed", "oracle")
    )
    plan = planned(replace(POINTED, variants=rows))
    outcome = run_study(plan, lambda outcome: None)
    assert len(outcome.done) == 2
    for job in outcome.done:
        results = json.loads((job.folder / "results.json").read_text())
        assert {"located", "located_accuracy", "cue_held"} <= results.keys()
        height, width = read_image(job.folder / HELD_OUT, 2**24).shape[:2]
        assert width == pytest.approx(IMAGES * height, rel=0.1)
        drawn = (job.folder / HELD_OUT).stat().st_mtime_ns
        assert draw_held_out(job.folder, "cpu").stat().st_mtime_ns == drawn  # what is there stays
    runs = [read_run(job) for job in outcome.done]
    assert all("located" in run.metrics for run in runs)
    write_study(StudySummary(plan.study, runs), tmp_path / "tables")
    assert (tmp_path / "tables" / "plot.png").read_bytes().startswith(b"\x89PNG")
