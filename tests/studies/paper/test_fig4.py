"""Fig. 4: the sigmas, and the two numbers that the paper prints of it."""

from dprd_cli.studies.figures import curve_groups
from dprd_cli.studies.paper.fig4 import FIG4


def test_fig_4_has_the_sigmas_and_the_two_points_that_table_1_prints():
    found = {v.overrides["model.parts.sigma"]: v.paper.get("bbox_AP") for v in FIG4.variants}
    assert found == {0.0: None, 0.1: None, 0.3: None, 0.4: None, 0.5: 45.92, 0.7: None, 1.0: 44.61}


def test_it_is_a_curve_over_sigma_alone():
    assert FIG4.plot == "curve"
    key, groups = curve_groups(FIG4.variants)
    assert (key, list(groups)) == ("model.parts.sigma", [""])
