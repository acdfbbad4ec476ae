"""Table 4: its numbers."""

from dprd_cli.studies.paper.table4 import TABLE4


def test_table_4s_own_rows_are_the_papers():
    rows = [tuple(row.paper.values()) for row in TABLE4.published if "D-PRD" in row.label]
    assert rows == [
        (43.6, 63.1, 48.1, 26.2, 46.1, 54.0, 38.8),
        (45.3, 64.6, 49.9, 27.2, 48.1, 56.7, 40.0),
        (46.5, 63.9, 51.1, 28.8, 48.5, 57.3, 40.1),
        (48.3, 65.7, 53.0, 29.6, 51.0, 59.8, 41.7),
        (49.2, 66.8, 53.9, 30.4, 51.7, 60.9, 42.4),
        (51.1, 69.2, 56.0, 33.3, 53.2, 63.5, 44.7),
    ]
    assert len(TABLE4.published) == 16
    query_inst = next(row for row in TABLE4.published if row.label == "QueryInst")
    assert query_inst.paper == {"bbox_AP": 47.0, "segm_AP": 41.7}


def test_nothing_is_trained_for_it():
    assert TABLE4.variants == ()
