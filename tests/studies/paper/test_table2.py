"""Table 2: its numbers, and that D1 to D4 are all pairs of part model and fusion."""

from dprd_cli.studies.paper.table2 import TABLE2


def test_table_2_is_the_papers():
    rows = {v.key: tuple(v.paper.get(c) for c in TABLE2.columns) for v in TABLE2.variants}
    assert rows == {
        "DPM": (34.5, None, 50, None, None, 5.2),
        "D1": (38.7, 35.2, 44, 116, 2110, 11.7),
        "D2": (40.8, 37.6, 46, 117, 2182, 10.0),
        "D3": (41.7, 38.2, 44, 117, 2170, 11.3),
        "D4": (42.9, 39.2, 46, 118, 2242, 9.5),
    }


def test_the_detectors_are_every_part_model_with_every_fusion():
    keys = ("model.parts.mode", "model.fusion.name")
    found = {v.key: tuple(v.overrides.get(key) for key in keys) for v in TABLE2.variants}
    assert found == {
        "DPM": ("pooling", None),
        "D1": ("fixed", "concat"),
        "D2": ("fixed", "rda"),
        "D3": ("deformable", "concat"),
        "D4": ("deformable", "rda"),
    }
