"""Table 3: its numbers, and how many parts each row has."""

import math

from dprd_cli.studies.paper.table3 import TABLE3


def column(name):
    return [variant.paper.get(name) for variant in TABLE3.variants]


def test_table_3_is_the_papers():
    assert column("bbox_AP") == [41.00, 40.78, 42.95, 42.96, 42.82]
    assert column("segm_AP") == [37.20, 37.58, 39.21, 39.21, 39.10]
    assert column("fps") == [11.29, 9.02, 8.60, 8.18, 6.65]
    counts = [v.overrides.get("model.parts.count") for v in TABLE3.variants]
    assert counts == [None, 2, 4, 8, 16]


def test_labels_count_the_stages_of_the_assembly_tree():
    for variant in TABLE3.variants[1:]:
        count = variant.overrides["model.parts.count"]
        stages = round(math.log2(count)) + 1  # pairs of parts, until the whole is joined to one
        assert variant.label == f"{count} parts, {stages} RDA stages"
