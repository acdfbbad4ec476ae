import ast
import importlib.util
import sys

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.data.build import build_dataset
from dprd_cli.evaluation.evaluate import evaluate
from dprd_cli.model.build import PARTS, build_detector
from dprd_cli.model.parts import FixedParts
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.structures.detections import Target
from paths import ROOT, TINY

SCRIPT = ROOT / "scripts" / "oracle_parts.py"


@pytest.fixture
def oracle():
    spec = importlib.util.spec_from_file_location("oracle_parts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installed(oracle, monkeypatch):
    monkeypatch.setitem(PARTS, "deformable", PARTS["deformable"])  # put back at the end
    oracle.install()
    return oracle


def an_object():
    masks = torch.zeros(1, 100, 100, dtype=torch.bool)
    masks[0, 20:80, 22:40] = True  # a trunk on the left
    masks[0, 20:36, 40:78] = True  # an arm at the top
    return Target(torch.tensor([[22.0, 20.0, 78.0, 80.0]]), torch.tensor([0]), (100, 100), masks)


def parts_of(oracle, box, sigma, image=0, targets=True):
    rois = RoIs(torch.tensor([box]), torch.tensor([image]), torch.zeros((1, 2), dtype=torch.int64))
    sizes = torch.tensor([[100.0, 100.0]] * 2)
    features = RoIFeatures(None, None, sizes, None, [an_object()] if targets else None)
    parts = oracle.OracleParts(4, sigma)(rois, features)
    return parts.boxes[0].tolist(), parts.iou[0], parts.fallback[0].tolist()


def test_parts_are_tight_around_the_object_within_each_half(oracle):
    boxes, iou, fallback = parts_of(oracle, [20.0, 20.0, 80.0, 80.0], sigma=0.0)
    left, right, upper, lower = boxes
    assert left == [22, 20, 50, 80]
    assert right == [50, 20, 78, 36]
    assert upper == [22, 20, 78, 50]
    assert lower == [22, 50, 40, 80]
    assert fallback == [False] * 4
    torch.testing.assert_close(iou, torch.tensor([28 / 30, 28 * 16 / 1800, 56 / 60, 18 / 60]))


def test_sigma_puts_back_what_moved_too_far(oracle):
    boxes, iou, fallback = parts_of(oracle, [20.0, 20.0, 80.0, 80.0], sigma=0.5)
    assert fallback == [False, True, False, True]
    assert boxes[1] == [50, 20, 80, 80]
    assert boxes[3] == [20, 50, 80, 80]
    assert iou[1] == iou[3] == 1


@pytest.mark.parametrize(
    ("box", "image", "targets"),
    [
        ([0.0, 60.0, 40.0, 100.0], 0, True),
        ([20.0, 20.0, 80.0, 80.0], 1, True),
        ([20.0, 20.0, 80.0, 80.0], 0, False),
    ],
    ids=["far away", "another image", "nothing known"],
)
def test_parts_stay_away_from_objects_and_in_other_images(oracle, box, image, targets):
    boxes, iou, _ = parts_of(oracle, box, sigma=0.0, image=image, targets=targets)
    x0, y0, x1, y1 = box
    assert boxes[0] == [x0, y0, (x0 + x1) / 2, y1]
    assert iou.min() == 1


def test_nothing_is_patched_but_the_table_of_parts(installed):
    tree = ast.parse(SCRIPT.read_text())
    own = {"self"}  # only a module's own attributes are set, and one entry of PARTS
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and any(a.name.startswith("_") for a in node.names))
        if isinstance(node, ast.Attribute):
            assert isinstance(node.ctx, ast.Load) or node.value.id in own
            assert not node.attr.startswith("_") or node.attr == "__init__"
        if isinstance(node, ast.Name):
            assert node.id not in {"setattr", "getattr", "vars", "globals"}
    stored = [n for n in ast.walk(tree) if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
    assert sorted(map(ast.unparse, stored)) == ["PARTS['deformable']", "moved[roi, part]"]


def test_installing_leaves_every_module_of_the_package_as_it_was(oracle, monkeypatch):
    monkeypatch.setitem(PARTS, "deformable", PARTS["deformable"])
    modules = {name: module for name, module in sys.modules.items() if name.startswith("dprd_cli")}
    classes = [v for m in modules.values() for v in vars(m).values() if isinstance(v, type)]
    before = [dict(vars(thing)) for thing in (*modules.values(), *classes)]
    oracle.install()
    assert [dict(vars(thing)) for thing in (*modules.values(), *classes)] == before
    assert PARTS["deformable"] is oracle.oracle_parts


def tiny(*more):
    few = ("data.synthetic_val=3", "data.workers=0", "train.batch_size=2")
    config = resolve(config_file=TINY, overrides=[*few, "model.test.score_thresh=0.0", *more])
    return config, build_dataset(config.data, "val")


def test_a_network_of_oracle_parts_trains_and_is_evaluated_with_the_objects(installed):
    config, dataset = tiny()
    torch.manual_seed(0)
    detector = build_detector(config.model, num_classes=len(dataset.class_names))
    assert type(detector.roi_heads.parts) is installed.OracleParts
    assert (detector.has_parts, detector.part_layer, detector.needs_targets) == (True, None, True)
    given = []
    detector.roi_heads.parts.register_forward_hook(lambda _, inputs, __: given.append(inputs[1].targets))
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 10:50, 10:20] = True
    target = Target(torch.tensor([[10.0, 10.0, 50.0, 50.0]]), torch.tensor([0]), (64, 64), masks)
    output = detector([torch.zeros(3, 64, 64)], [target])
    assert all(targets == [target] for targets in given)
    assert output.diagnostics["part_iou"] < 1  # the object itself is among the RoIs
    sum(output.losses.values()).backward()
    given.clear()
    evaluate(detector, dataset, config)
    seen = {targets[0].image_id for targets in given}
    assert seen == {dataset[0].image_id, dataset[2].image_id}  # of two batches


def test_no_parts_of_a_detector_are_given_the_objects_at_test():
    config, dataset = tiny()
    detector = build_detector(config.model, num_classes=len(dataset.class_names))
    given = []
    detector.roi_heads.parts.register_forward_hook(lambda _, inputs, __: given.append(inputs[1].targets))
    evaluate(detector, dataset, config)
    assert given
    assert not any(given)


def test_other_part_offsets_of_oracle_parts(installed):
    config, dataset = tiny()
    detector = build_detector(config.model, num_classes=len(dataset.class_names))
    assert type(detector.with_part_offsets("reference").roi_heads.parts) is FixedParts
    with pytest.raises(installed.UsageError, match="no mean part offsets"):
        detector.with_part_offsets("mean")
