"""Table 5: its numbers."""

from dprd_cli.studies.paper.table5 import TABLE5


def test_table_5s_rows_are_the_papers():
    rows = [tuple(row.paper.values()) for row in TABLE5.published]
    assert rows == [
        (51.8, 78.5, 57.1), (54.2, 79.6, 59.2), (53.4,), (56.8,), (54.4, 78.6, 61.0),
        (56.2, 80.0, 63.0), (60.3, 80.6, 66.3), (61.1, 80.8, 67.2), (60.8, 80.8, 67.2),
    ]  # fmt: skip


def test_each_metric_is_shown_by_both_rules_of_averaging_precision():
    names = ("AP", "AP50", "AP75")
    assert TABLE5.columns == (*(f"bbox_{n}" for n in names), *(f"voc_11_point_{n}" for n in names))
