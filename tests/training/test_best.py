import pytest

from dprd_cli.errors import UsageError
from dprd_cli.training.best import best_score, check_metric, evaluations_since_best


def rows(*scores):
    return [{"kind": "eval", "segm_AP": score} for score in scores]


def test_the_best_score_leaves_out_what_could_not_be_measured():
    assert best_score(rows(), "segm_AP") is None
    assert best_score(rows(None), "segm_AP") is None
    assert best_score(rows(1.0, None, 3.0, 2.0), "segm_AP") == 3.0
    assert best_score(rows(1.0), "bbox_AP") is None


@pytest.mark.parametrize(
    ("scores", "count"),
    [((), 0), ((None, None), 0), ((1.0,), 0), ((1.0, 2.0), 0), ((2.0, 1.0, 1.5), 2), ((1.0, 1.0, None), 1)],
)
def test_patience_counts_evaluations_without_a_better_score(scores, count):
    assert evaluations_since_best(rows(*scores), "segm_AP") == count


def test_only_metrics_that_will_be_measured_choose_the_best():
    check_metric("segm_AP75")
    check_metric("recall70", masks=False, voc=False)
    check_metric("voc_11_point_AP50")
    with pytest.raises(
        UsageError, match=r"no metric 'bbox_ap' \(did you mean 'bbox_AP'\?\); there are: bbox_AP, "
    ):
        check_metric("bbox_ap")
    with pytest.raises(UsageError, match="segm_AP: no masks are evaluated here; take bbox_AP"):
        check_metric("segm_AP", masks=False)
    with pytest.raises(UsageError, match="VOC's AP is measured on VOC data only here"):
        check_metric("voc_11_point_AP50", voc=False)
