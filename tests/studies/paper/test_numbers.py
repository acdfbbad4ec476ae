"""In which order the paper prints its numbers."""

import pytest

from dprd_cli.studies.paper.numbers import box_and_mask_ap, result_row


def test_rows_of_tables_1_to_3_are_boxes_then_masks_then_costs_by_name():
    assert box_and_mask_ap(40.0, 35.0, fps=9.5) == {"bbox_AP": 40.0, "segm_AP": 35.0, "fps": 9.5}


@pytest.mark.parametrize(
    ("numbers", "columns"),
    [
        ((1, 2, 3, 4, 5, 6, 7), ["AP", "AP50", "AP75", "APS", "APM", "APL", "AP"]),
        ((1, 2, 3), ["AP", "AP50", "AP75"]),
        ((1, None, None), ["AP"]),  # what the paper leaves out is not there
    ],
)
def test_rows_of_tables_4_and_5_are_cocos_box_metrics_then_mask_ap(numbers, columns):
    row = result_row("X", "R50", *numbers)
    assert [name.split("_")[1] for name in row.paper] == columns
    assert list(row.paper.values()) == [number for number in numbers if number is not None]
    assert [name for name in row.paper if name.startswith("segm")] == ["segm_AP"] * (len(numbers) == 7)
