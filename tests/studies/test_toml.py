"""Studies that users define, in TOML files."""

from pathlib import Path

import pytest

from dprd_cli.errors import UsageError
from dprd_cli.studies.plan import StudySettings
from dprd_cli.studies.study import Variant
from dprd_cli.studies.toml import read_study
from paths import ROOT

WIDTHS = """
title = "How wide the pyramid must be"
preset = "dprd"
columns = ["bbox_AP"]
plot = "curve"
pairs = [["wide", "narrow"]]
measures_offsets = true
note = "Mind this."

[variants.narrow]
model.neck.channels = 128

[variants.default]
model.neck.channels = 256

[variants.wide]
label = "twice as wide"
preset = "cascade-dprd"
base = "default"
model.neck.channels = 512
paper = { bbox_AP = 45.92 }
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(text, name="mine.toml"):
    Path(name).write_text(text)
    return read_study(Path(name))


def test_every_key_of_a_study_is_read():
    study = read(WIDTHS, "widths.toml")
    assert (study.name, study.title, study.note) == ("widths", "How wide the pyramid must be", "Mind this.")
    assert (study.columns, study.plot, study.pairs) == (("bbox_AP",), "curve", (("wide", "narrow"),))
    assert study.measures_offsets
    assert study.source == ""  # no number of it is the paper's
    key = "model.neck.channels"
    assert study.variants == (
        Variant("narrow", "narrow", "dprd", {key: 128}, changes=(key,)),
        Variant("default", "default", "dprd", {key: 256}, base="narrow", changes=(key,)),
        Variant(
            "wide", "twice as wide", "cascade-dprd", {key: 512}, base="default", changes=(key,),
            paper={"bbox_AP": 45.92},
        ),
    )  # fmt: skip


def test_a_measurement_is_of_its_bases_network():
    study = read("[variants.a]\nmodel.parts.sigma = 0.4\n[variants.b]\npart_offsets = 'mean'")
    measured = study.variant("b")
    assert (measured.base, measured.part_offsets) == ("a", "mean")
    assert (measured.overrides, measured.changes) == ({"model.parts.sigma": 0.4}, ())
    assert measured.preset == study.variant("a").preset


@pytest.mark.parametrize("name", ["table1.toml", "all.toml", "a b.toml", ".toml"])
def test_a_study_cannot_have_the_name_of_another_or_of_no_folder(name):
    with pytest.raises(UsageError, match="cannot name a study of yours; rename the file"):
        read("[variants.a]", name)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[variants]", "mine.toml: variants = {}: "),
        ("title = 'x'", "mine.toml: no [variants.NAME] table; a study needs at least one"),
        ("titel = 'x'\n[variants.a]", "mine.toml: no key 'titel' in a study (did you mean 'title'?)"),
        (
            "[variants.a]\nlable = 'x'",
            "mine.toml: no key 'variants.a.lable' in a study (did you mean 'label'",
        ),
        (
            "[variants.a]\nmodel.parts.sgma = 1",
            "mine.toml: variants.a: no config key 'model.parts.sgma' (did you mean 'model.parts.sigma'?)",
        ),
        (
            "[variants.a]\n[variants.b]\nbase = 'c'",
            "mine.toml: variants.b.base: no variant 'c'",
        ),
        ("[variants.a]\nbase = 'a'", "mine.toml: variants.a: its base is itself"),
        ("pairs = [['a', 'z']]\n[variants.a]", "mine.toml: pairs: no variant 'z'"),
        ("plot = 'pie'\n[variants.a]", "mine.toml: plot = 'pie': "),
        ("[variants.'a/b']", "mine.toml: variants.'a/b' names folders; use letters"),
        (
            "plot = 'curve'\n[variants.a]\n[variants.b]\ntrain.lr = 1",
            'mine.toml: plot = "curve" needs variants',
        ),
        (
            "[variants.a]\n[variants.b]\npart_offsets = 'mean'\ntrain.lr = 1",
            'mine.toml: variants.b: part_offsets = "mean" measures the base\'s network; give it a base',
        ),
        (
            "[variants.a]\n[variants.b]\nmodel.parts.sigma = 2",
            "mine.toml: variants.b: model.parts.sigma = 2: Input",
        ),
        ("a = ", "mine.toml: not a TOML config file ("),
    ],
)
def test_a_study_files_mistakes_are_named(text, line):
    with pytest.raises(UsageError) as error:
        read(text)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "studies").glob("*.toml")), ids=lambda path: path.stem
)
def test_the_studies_of_the_evidence_can_be_run(path):
    study = read_study(path)
    assert all(StudySettings().resolve(variant, seed=0).train.seed == 0 for variant in study.variants)
