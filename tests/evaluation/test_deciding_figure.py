"""Which part decided, by hand, and on built-in objects of which it is known where they can be read."""

import io
import json

import pytest
import torch
from torch import nn
from torchvision.ops import roi_pool

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import SignpostConfig
from dprd_cli.data.synthetic.signpost import SignpostDataset
from dprd_cli.evaluation.deciding_figure import deciding_figure, tells_parts
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.evaluation.parts import PartStatistics
from dprd_cli.model.build import build_detector
from dprd_cli.model.evidence import part_evidence
from dprd_cli.model.fusion import RDAFusion
from dprd_cli.model.parts import decompose
from dprd_cli.model.rois import RoIFeatures
from dprd_cli.structures.detections import CascadeTrace, Detections
from paths import TINY

HALVES = ("left", "right", "upper", "bottom")
CORNERS = ("upper left", "upper right", "bottom left", "bottom right")
SIDE = 160


def detections(shares, falls, labels, boxes=None):
    count = len(labels)
    boxes = torch.tensor([[10.0, 10, 50, 90]]).repeat(count, 1) if boxes is None else boxes
    told = {"part_shares": torch.as_tensor(shares), "part_falls": torch.as_tensor(falls)}
    parts = decompose(boxes, 4)
    return Detections(boxes, torch.ones(count), torch.tensor(labels), (SIDE, SIDE), part_boxes=parts, **told)


def test_means_and_who_decided_by_hand():
    nan = [float("nan")] * 5
    shares = [[0.2, 0.2, 0.2, 0.2, 0.2], [0.4, 0.0, 0.2, 0.2, 0.2], nan, [0.0] * 5]
    falls = [[0.3, 0.1, 0.0, 0.0, 0.2], [0.1, 0.0, 0.0, 0.0, 0.4], nan, [-0.1] * 5]
    statistics = PartStatistics(("cat", "dog"))
    statistics.add(detections(shares, falls, [0, 0, 0, 1]))
    result = statistics.result()
    cat, dog = result.classes
    assert (cat.objects, dog.objects) == (3, 1)  # the third is a cat of which nothing is known
    assert [part.share for part in cat.per_part] == pytest.approx([0.3, 0.1, 0.2, 0.2])
    assert [part.fall for part in cat.per_part] == pytest.approx([0.2, 0.05, 0.0, 0.0])
    assert [part.decides for part in cat.per_part] == [0.5, 0.0, 0.0, 0.0]
    assert (cat.whole.share, cat.whole.fall) == (pytest.approx(0.2), pytest.approx(0.3))
    assert cat.whole.decides == 0.5
    assert cat.telling == "left 0.200"
    # nothing that is taken out lowers the dog's score: nobody decided
    assert [part.decides for part in dog.per_part] == [0.0] * 4
    assert (dog.whole.decides, dog.telling) == (0.0, "")
    assert result.total.per_part[0].decides == pytest.approx(1 / 3)
    assert [row["part"] for row in result.rows()[:5]] == [*HALVES, "whole"]
    assert json.loads(json.dumps(result.to_json(), allow_nan=False)) == result.to_json()


def test_what_is_not_known_is_none_and_no_figure():
    statistics = PartStatistics(("cat",))
    boxes = torch.tensor([[10.0, 10, 50, 90]])
    plain = Detections(boxes, torch.ones(1), torch.tensor([0]), (99, 99), part_boxes=decompose(boxes, 4))
    statistics.add(plain)
    result = statistics.result()
    assert (result.total.is_told, result.total.whole.share, result.total.per_part[0].fall) == (
        False,
        None,
        None,
    )
    assert [row["part"] for row in result.rows()[:4]] == list(HALVES)
    assert not tells_parts(result.to_json())
    assert not tells_parts(None)
    assert not tells_parts({"parts": [], "all": None, "classes": []})


class TagReader(nn.Module):
    """Pools where an image has a tag: its only saturated pixels."""

    def __init__(self, image, channels):
        super().__init__()
        spread = torch.from_numpy(image.max(axis=2).astype("float32") - image.min(axis=2))
        self.tags = (spread > 165).float()[None, None].repeat(1, channels, 1, 1)

    def forward(self, rois, part_boxes, features, size):
        boxes = torch.cat((rois.boxes[:, None], part_boxes), dim=1)  # [R, P+1, 4]
        pooled = roi_pool(self.tags, [boxes.flatten(0, 1)], size).unflatten(0, boxes.shape[:2])
        return pooled[:, 0], pooled[:, 1:]


class Sum(nn.Module):
    """The more there is, the surer is class 0."""

    def classify(self, feature):
        evidence = feature.mean(dim=(1, 2, 3))
        return torch.stack((20 * evidence, torch.zeros_like(evidence)), dim=1)


@pytest.fixture(scope="module")
def told():
    """Detections of built-in jointed objects; the class is the corner that the only tag lies in."""
    config = resolve(config_file=TINY, preset="dprd-small", overrides=["model.parts.mode=fixed"])
    heads = build_detector(config.model, num_classes=1, with_masks=False).eval().roi_heads
    (stage,) = heads.cascade
    channels = config.model.neck.channels
    stage.fusion = RDAFusion(channels, 4, residual=True)
    for parameter in stage.fusion.parameters():
        nn.init.zeros_(parameter)  # maxima of the features themselves
    stage.box_head = Sum()
    dataset = SignpostDataset(
        "val", 24, SIDE, settings=SignpostConfig(level="articulated", distractors=0.0, sizes=(0.3, 0.4))
    )
    found = []
    features = RoIFeatures(None, None, torch.tensor([[SIDE, SIDE]]), None)
    for sample in map(dataset.__getitem__, range(len(dataset))):
        boxes, cues = torch.from_numpy(sample.boxes), torch.from_numpy(sample.cues)
        off = (2 * cues - boxes[:, :2] - boxes[:, 2:]) / (
            boxes[:, 2:] - boxes[:, :2]
        )  # -1..1 from the middle
        clear = (off.abs() > 0.45).all(dim=1)  # the tag lies in one corner
        boxes, off = boxes[clear], off[clear]
        corners = (off > 0).long() @ torch.tensor([1, 2])
        stage.box_pooler = TagReader(sample.image, channels)
        trace = CascadeTrace(boxes[:, None], torch.zeros(len(boxes), 1, 2).long(), None, (SIDE, SIDE))
        (one,) = part_evidence(heads, features, [trace], [torch.zeros(len(boxes)).long()])
        found.append(detections(one.shares, one.falls, corners.tolist(), boxes))
    return found


def test_the_parts_that_hold_a_built_in_object_s_tag_decided(told):
    statistics = PartStatistics(CORNERS)
    for one in told:
        statistics.add(one)
    result = statistics.result()
    assert {group.name for group in result.classes} == set(CORNERS)
    assert result.total.objects >= 12
    for group in result.classes:
        told_of = {part.part: part for part in group.per_part}
        for name, part in told_of.items():
            if name in group.name.split():
                assert part.fall > 0.01, (group.name, name)
                assert part.share > 0.05, (group.name, name)
            else:
                assert part.share == part.decides == 0, (group.name, name)
                assert part.fall == pytest.approx(0, abs=1e-6), (group.name, name)
        deciding = sum(told_of[name].decides for name in group.name.split()) + group.whole.decides
        assert deciding == pytest.approx(1)
    figure = deciding_figure(result.to_json())
    figure.savefig(io.BytesIO(), format="svg")
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"L", "R", "U", "B"} <= texts


@pytest.mark.parametrize("count", [2, 8, 16])
def test_the_figure_of_any_number_of_parts(count):
    boxes = torch.tensor([[10.0, 10, 50, 90]])
    told = torch.full((1, count + 1), 1 / (count + 1))
    parts = decompose(boxes, count)
    one = Detections(boxes, torch.ones(1), torch.tensor([0]), (99, 99), part_boxes=parts)
    statistics = PartStatistics(("a class with a very long name",))
    statistics.add(
        Detections(**{n: getattr(one, n) for n in one.__slots__} | {"part_shares": told, "part_falls": told})
    )
    deciding_figure(statistics.result().to_json()).savefig(io.BytesIO(), format="svg")


def test_an_evaluation_tells_it_where_each_image_is_looked_at_once():
    overrides = ["model.test.score_thresh=0.0", "data.tta_min_sizes=[64]", "data.tta_flip=false"]
    config = resolve(config_file=TINY, preset="dprd-small", overrides=overrides)
    torch.manual_seed(0)
    dataset = SignpostDataset("val", 2, 64)
    detector = build_detector(config.model, num_classes=4, with_masks=False)
    options = EvaluationOptions(parts_from=0.0)
    assert options.evidence_from == 0.0
    parts = evaluate(detector, dataset, config, options).parts
    assert parts.total.is_told
    assert parts.total.objects > 0
    in_views = EvaluationOptions(parts_from=0.0, tta=True)
    assert in_views.evidence_from is None
    assert not evaluate(detector, dataset, config, in_views).parts.total.is_told
    plain = evaluate(detector, dataset, config)
    assert plain.parts is None
    assert "parts" not in plain.to_json()
