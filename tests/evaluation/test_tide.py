"""TIDE's error types, where the package that counts them is installed."""

import sys

import pytest

from coco_scenes import A, B, D, evaluator, truth
from dprd_cli.evaluation.tide import MISSING, tide_errors


def test_tide_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    report = tide_errors(evaluator(truth((1, 7, A)), {}))
    assert report.to_json() == {"skipped": MISSING}


def test_tide_by_hand():
    pytest.importorskip("hotcoco")
    tree = truth((1, 7, A), (1, 3, B))
    measured = tide_errors(evaluator(tree, {1: [(0, A, 0.9), (0, D, 0.8)]}))
    assert measured.errors["Miss"].count == 1
    assert measured.errors["Bkg"].count == 1
