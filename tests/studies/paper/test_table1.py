"""Table 1: its numbers, and which steps lie between its rows."""

import json

from dprd_cli.config.presets import resolve
from dprd_cli.studies.paper.steps import CASCADE, DPR, MASKS_IN_ALL_STAGES, PART_LOSSES
from dprd_cli.studies.paper.table1 import TABLE1
from dprd_cli.studies.plan import differing


def column(name):
    return [variant.paper.get(name) for variant in TABLE1.variants]


def test_table_1_is_the_papers():
    assert column("bbox_AP") == [40.98, 42.20, 42.95, 44.33, None, 45.92, 44.61]
    assert column("segm_AP") == [37.17, 38.83, 39.21, 38.46, None, 39.79, 38.67]


def test_each_row_takes_one_step_from_its_base():
    assert TABLE1.variant("dpr").changes == DPR
    assert TABLE1.variant("dprd").changes == PART_LOSSES
    assert TABLE1.variant("cascade").changes == CASCADE
    assert (TABLE1.variant("fixed").base, TABLE1.variant("fixed").changes) == ("all", ("model.parts.mode",))


def test_the_control_has_the_cascade_s_mask_heads_and_no_parts():
    control = plan_of("control")
    assert differing(plan_of("cascade"), control).keys() == {*MASKS_IN_ALL_STAGES, "model.heads.mask_iou"}
    assert differing(control, plan_of("all")).keys() == {*DPR, *PART_LOSSES} - {"model.heads.mask_iou"}
    assert ("all", "control") in TABLE1.pairs


def plan_of(key):
    variant = TABLE1.variant(key)
    overrides = [f"{name}={json.dumps(value)}" for name, value in variant.overrides.items()]
    return resolve(preset=variant.preset, schedule="1x", overrides=overrides)


def test_trained_parts_are_measured_with_other_offsets_too():
    assert TABLE1.measures_offsets
