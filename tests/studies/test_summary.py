"""A study's arithmetic, by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.studies.summary import StudyRun, StudySummary, flat_results, offsets_file, read_run, spread


def test_mean_and_deviation_by_hand():
    # mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; / (3 - 1) = 7
    found = spread([1, 2, 6])
    assert found.mean == 3
    assert found.sd == pytest.approx(7**0.5)
    assert spread([5.0]).sd is None


def test_a_difference_counts_common_seeds_and_its_deviation_is_of_the_pairs(two_rows, study_runs):
    summary = StudySummary(
        two_rows, study_runs(a=[(0, 10.0), (1, 14.0), (2, 90.0)], b=[(0, 13.0), (1, 18.0)])
    )
    found = summary.compare("b", "a", "bbox_AP")
    assert found.seeds == (0, 1)  # seed 2 has no b
    assert found.difference.mean == 3.5  # 3 and 4
    assert found.difference.sd == pytest.approx(0.5**0.5)  # (0.25 + 0.25) / 1
    # a: 10, 14 -> sqrt(8) = 2.83; b: 13, 18 -> sqrt(12.5) = 3.54 > 3.5
    assert found.sds == pytest.approx((12.5**0.5, 8**0.5))
    assert found.clear is False
    assert found.paper == 1.25


@pytest.mark.parametrize(
    ("b", "clear"),
    [
        ([(0, 15.0), (1, 19.0)], True),  # + 5, deviations 2.83, 2.83 and 0
        ([(0, 5.0), (1, 9.0)], True),
        ([(0, 12.0), (1, 16.0)], False),  # + 2 < 2.83
        ([(0, 15.0)], None),
    ],
)
def test_when_a_difference_is_clear(b, clear, two_rows, study_runs):
    summary = StudySummary(two_rows, study_runs(a=[(0, 10.0), (1, 14.0)], b=b))
    assert summary.compare("b", "a", "bbox_AP").clear is clear


def test_measurements_of_one_network_need_no_spread_over_trainings(two_rows):
    folder = Path("a")
    rows = [
        StudyRun("a", 0, folder, {"bbox_AP": 10.0, "mean_offsets_bbox_AP": 9.0}),
        StudyRun("a", 1, folder, {"bbox_AP": 20.0, "mean_offsets_bbox_AP": 18.5}),
    ]
    (found,) = StudySummary(two_rows, rows).offsets()
    assert (found.other, found.difference.mean, found.clear) == ("mean", 1.25, True)  # 1 and 1.5; sd 0.35


def test_rows_that_measure_the_same_networks_are_compared_pair_by_pair(two_rows, study_runs):
    # 3.25 is more than the 0.35 of the pairs, less than the 7 of either's trainings
    values = study_runs(a=[(0, 10.0), (1, 20.0)], b=[(0, 13.0), (1, 23.5)])
    assert StudySummary(two_rows, values).compare("b", "a", "bbox_AP").clear is False
    assert (
        StudySummary(replace(two_rows, same_networks=True), values).compare("b", "a", "bbox_AP").clear is True
    )


def test_the_document_holds_differences_in_numbers(two_rows, study_runs):
    values = study_runs(a=[(0, 1.0), (1, 2.0)], b=[(0, 5.0), (1, 6.0)])
    content = StudySummary(two_rows, values, settings={"steps": 3}).to_json()
    assert content["rows"][1]["measured"]["bbox_AP"]["mean"] == 5.5
    assert content["comparisons"][0]["difference"]["values"] == (4.0, 4.0)
    assert content["comparisons"][0]["clear"] is True
    assert content["settings"] == {"steps": 3}
    assert content["runs"][0] == {"variant": "a", "seed": 0, "folder": "a", "metrics": {"bbox_AP": 1.0}}


def test_results_are_named_as_in_the_metrics_file():
    content = {
        "bbox": {"AP": 10, "APS": None},
        "segm": None,
        "voc": {"11_point": {"AP50": 60.0}},
        "classes": [{"name": "fan", "bbox_ap": 5.0, "segm_ap": None}],
        "recall50": 0.5,
        "images": 3,
    }
    assert flat_results(content) == {
        "bbox_AP": 10.0, "voc_11_point_AP50": 60.0, "bbox_ap_fan": 5.0, "recall50": 0.5,
    }  # fmt: skip


def test_a_run_has_what_was_measured_with_other_offsets(planned, start):
    (job, _) = planned().jobs
    start(job, box_ap=10.0)
    (job.folder / offsets_file("mean")).write_text('{"bbox": {"AP": 8.0, "AP50": 9.0}}')
    run = read_run(job)
    assert run.metrics == {"bbox_AP": 10.0, "mean_offsets_bbox_AP": 8.0}
    assert read_run(replace(job, variant=replace(job.variant, part_offsets="mean"))).metrics == {
        "bbox_AP": 8.0, "bbox_AP50": 9.0,
    }  # fmt: skip
