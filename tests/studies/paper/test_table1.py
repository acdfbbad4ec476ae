"""Table 1: its numbers, and which steps lie between its rows."""

from dprd_cli.studies.paper.steps import CASCADE, DPR, PART_LOSSES
from dprd_cli.studies.paper.table1 import TABLE1


def column(name):
    return [variant.paper.get(name) for variant in TABLE1.variants]


def test_table_1_is_the_papers():
    assert column("bbox_AP") == [40.98, 42.20, 42.95, 44.33, 45.92, 44.61]
    assert column("segm_AP") == [37.17, 38.83, 39.21, 38.46, 39.79, 38.67]


def test_each_row_takes_one_step_from_its_base():
    assert TABLE1.variant("dpr").changes == DPR
    assert TABLE1.variant("dprd").changes == PART_LOSSES
    assert TABLE1.variant("cascade").changes == CASCADE
    assert (TABLE1.variant("fixed").base, TABLE1.variant("fixed").changes) == ("all", ("model.parts.mode",))


def test_trained_parts_are_measured_with_other_offsets_too():
    assert TABLE1.measures_offsets
