"""For the tests of studies: a study of two rows, runs that were never made, and plans of tiny runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.config.tree import to_toml
from dprd_cli.studies.plan import StudySettings, plan
from dprd_cli.studies.study import Study, Variant
from dprd_cli.studies.summary import StudyRun
from paths import TINY

_TWO_ROWS = Study(
    "mine",
    "Mine",
    "Table 9",
    (
        Variant("a", "A & B", "dprd", paper={"bbox_AP": 40.0, "segm_AP": 30.5}),
        Variant(
            "b", "50 % | more", "dprd", base="a", changes=("model.parts.sigma",), paper={"bbox_AP": 41.25}
        ),
    ),
)
_SIGMAS = replace(
    _TWO_ROWS,
    name="sigmas",
    variants=tuple(
        replace(variant, overrides={"model.parts.sigma": sigma})
        for variant, sigma in zip(_TWO_ROWS.variants, (0.5, 1.0), strict=True)
    ),
)


@pytest.fixture
def two_rows():
    """A study of two rows."""
    return _TWO_ROWS


@pytest.fixture
def sigmas():
    """The same, of two sigmas."""
    return _SIGMAS


@pytest.fixture
def study_runs():
    """Make runs from VARIANT=[(seed, box AP), ...]."""

    def make(**values):
        return [
            StudyRun(key, seed, Path(key), {"bbox_AP": ap})
            for key, rows in values.items()
            for seed, ap in rows
        ]

    return make


@pytest.fixture
def planned(tmp_path):
    """Plan tiny runs of a study."""

    def make(study=_SIGMAS, seeds=(0,), **settings):
        given = {"flags": {"train.steps": 4}, **settings}
        return plan(study, StudySettings(config_file=TINY, **given), seeds, tmp_path / "out")

    return make


@pytest.fixture
def start():
    """Make a job's folder as a run leaves it that was stopped, or finished with a box AP."""

    def make(job, steps=2, box_ap=None, seconds=0.5):
        job.folder.mkdir(parents=True)
        (job.folder / "config.toml").write_text(to_toml(job.config))
        rows = [{"kind": "train", "step": n, "seconds_per_step": seconds} for n in range(1, steps + 1)]
        (job.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if box_ap is not None:
            content = {"step": job.config.train.steps, "bbox": {"AP": box_ap}}
            (job.folder / "results.json").write_text(json.dumps(content))
        return job

    return make
