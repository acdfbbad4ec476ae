"""From a study to its runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError
from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.plan import (
    FREE_KEYS,
    StudySettings,
    differing,
    on_backbones,
    plan,
    trained_as,
    unvaried,
)


def test_runs_come_seed_by_seed_each_in_its_folder(sigmas):
    planned = plan(sigmas, StudySettings(), [0, 7], Path("out"))
    assert [(job.variant.key, job.seed) for job in planned.jobs] == [("a", 0), ("b", 0), ("a", 7), ("b", 7)]
    assert [str(job.folder) for job in planned.jobs][::3] == ["out/sigmas/a-seed0", "out/sigmas/b-seed7"]
    assert [job.config.train.seed for job in planned.jobs] == [0, 0, 7, 7]
    assert [job.config.model.parts.sigma for job in planned.jobs] == [0.5, 1.0, 0.5, 1.0]
    assert planned.folder == Path("out/sigmas")
    assert {key: len(jobs) for key, jobs in planned.by_variant().items()} == {"a": 2, "b": 2}


def test_a_measurement_lies_in_the_folder_of_the_training_that_it_is_of():
    offsets = STUDIES["offsets"]
    folders = {job.folder.name for job in plan(offsets, StudySettings(), [3], Path("out")).jobs}
    assert folders == {"all-seed3"}
    assert trained_as(offsets, offsets.variant("mean")) is offsets.variant("all")
    assert trained_as(offsets, offsets.variant("all")) is offsets.variant("all")


def test_what_the_variant_sets_wins_over_what_the_user_set(sigmas):
    settings = StudySettings(overrides=("model.parts.count=2",), flags={"train.steps": 5})
    config = settings.resolve(sigmas.variant("b"))
    assert (config.model.parts.count, config.model.parts.sigma, config.train.steps) == (2, 1.0, 5)


@pytest.mark.parametrize(
    ("preset", "size", "found"),
    [
        ("dprd", "small", "dprd-small"),
        ("dprd", "medium", "dprd-medium"),
        ("dprd", "full", "dprd"),
        ("dprd-medium", "small", "dprd-medium"),  # a variant that names its size keeps it
    ],
)
def test_the_size_joins_the_architectures_name(preset, size, found, sigmas):
    variant = replace(sigmas.variants[0], preset=preset)
    assert StudySettings(size=size).resolve(variant).preset == found


def test_what_a_study_varies_cannot_be_set(sigmas):
    with pytest.raises(UsageError, match=r"--set .*=0\.4: sigmas sets model\.parts\.sigma itself; leave"):
        plan(sigmas, StudySettings(overrides=("model.parts.sigma=0.4",)), [0], Path("out"))


def test_only_what_is_learned_or_measured_counts_as_a_difference():
    one = resolve(preset="dprd-small")
    other = resolve(preset="dprd-small", overrides=["train.log_every=99", "train.lr=0.5"])
    assert differing(one, one) == {}
    assert differing(one, other) == {"train.lr": (one.train.lr, 0.5)}
    assert "train.log_every" in FREE_KEYS


def test_variants_that_the_settings_made_alike(tmp_path, sigmas):
    file = tmp_path / "c.toml"
    file.write_text("")
    assert unvaried(sigmas, StudySettings(config_file=file)) == []
    alike = replace(sigmas, variants=tuple(replace(v, overrides={}) for v in sigmas.variants))
    with pytest.raises(UsageError, match=r"^sigmas: 'b' is 'a' again, because the settings"):
        unvaried(alike, StudySettings())


def test_a_lost_part_of_a_difference_is_told():
    """Table 1's DPR is several settings; one of them can be fixed for both rows."""
    study, pair = STUDIES["table1"], "model.heads.mask_iou=false"
    lines = unvaried(study, StudySettings(overrides=(pair,)))
    assert "table1: dpr and baseline share model.heads.mask_iou here" in lines


def test_several_backbones_join_keys_labels_and_pairs():
    study = STUDIES["table1"]
    assert on_backbones(study, []) is study
    one = on_backbones(study, ["r101"])
    assert [v.key for v in one.variants] == [v.key for v in study.variants]
    assert all(v.overrides["model.backbone.name"] == "r101" for v in one.variants)
    two = on_backbones(study, ["r50", "r101"])
    assert len(two.variants) == 2 * len(study.variants)
    assert two.variant("dpr-r101").base == "baseline-r101"
    assert two.variant("dpr-r101").label == "+ DPR, R101"
    assert (two.variant("all-r50").paper, two.variant("all-r101").paper) == (study.variant("all").paper, {})
    assert ("dprd-r101", "baseline-r101") in two.pairs


def test_the_record_says_what_all_variants_share(planned):
    assert planned(seeds=(0, 1)).to_json() | {"config": None} == {
        "size": "small",
        "schedule": "small",
        "data": "synthetic",
        "backbones": ["mobilenet_v2"],
        "steps": 4,
        "batch_size": 2,
        "seeds": [0, 1],
        "config": None,
        "set": [],
    }
