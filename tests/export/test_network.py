"""The detector with padded shapes says what the detector says."""

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.export.network import ExportDetector, ExportPooler, Pyramid, nms_by_group
from dprd_cli.model.build import build_detector
from dprd_cli.model.rois import RegionPooler, RoIFeatures, RoIs
from dprd_cli.ops.roi_align import FeatureTable
from networks import move_parts

SMALL = (
    "model.neck.channels=16",
    "model.rpn.pre_nms_test=60",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=6",
    "model.heads.box_dim=16",
)
PRESETS = ("mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd", "cascade-dprd-placed")


def build(preset="cascade-dprd", *more, with_masks=True, spread=0.3):
    torch.manual_seed(0)
    config = resolve(preset=f"{preset}-small", overrides=(*SMALL, *more))
    detector = build_detector(config.model, num_classes=3, with_masks=with_masks).eval()
    for stage in detector.roi_heads.cascade:  # otherwise all scores are alike
        torch.nn.init.normal_(stage.box_head.classes.weight, std=spread)
    move_parts(detector, "weight")
    if detector.roi_heads.positions is not None:
        torch.nn.init.normal_(detector.roi_heads.positions.changes.weight, std=0.1)
    return detector


def noise_images():
    generator = torch.Generator().manual_seed(1)
    sizes = ((96, 90), (64, 128))
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


def batch_of(images, height=96, width=128, fill=77):
    batch = torch.full((len(images), 3, height, width), fill, dtype=torch.uint8)
    for canvas, image in zip(batch, images, strict=True):
        canvas[:, : image.shape[1], : image.shape[2]] = image
    return batch, torch.tensor([image.shape[1:] for image in images])


def run(module, images):
    return dict(zip(module.outputs, module(*batch_of(images)), strict=True))


def assert_same(found, outputs, row):
    count = int(outputs["count"][row])
    assert count == len(found)
    for name, value in outputs.items():
        if name != "count":
            torch.testing.assert_close(value[row, :count], getattr(found, name), rtol=1e-4, atol=1e-4)
            assert (value[row, count:] == (-1 if name == "labels" else 0)).all(), name


@pytest.mark.parametrize("preset", PRESETS)
def test_all_presets_say_what_the_detector_says(preset):
    detector, images = build(preset), noise_images()
    module = ExportDetector(detector)
    outputs = run(module, images)
    expected = detector.detect(images).detections
    assert all(len(found) > 1 for found in expected)
    for row, found in enumerate(expected):
        assert_same(found, outputs, row)
    assert ("part_boxes" in outputs) == ("dprd" in preset)


@pytest.mark.parametrize(
    "more",
    [
        ("model.conventions=torchvision",),
        ("model.parts.refeed=carry",),
        ("model.parts.mode=placed", "model.parts.places.looks_at=patch", "model.parts.places.offsets=true"),
        ("model.heads.sampling_ratio=0",),
        ("model.backbone.norm=frozen_bn",),
        ("model.neck.name=bifpn", "model.fusion.name=tree"),
        ("model.fusion.name=concat", "model.parts.level=whole"),
        ("model.parts.source=pyramid", "model.fusion.last=rab"),
        ("model.rpn.pre_nms_test=5000",),  # more than any level has
    ],
    ids=lambda more: more[0],
)
def test_other_settings(more):
    detector, images = build("cascade-dprd", *more), noise_images()
    outputs = run(ExportDetector(detector), images)
    for row, found in enumerate(detector.detect(images).detections):
        assert_same(found, outputs, row)


def test_what_lies_outside_an_image_does_not_matter():
    module, images = ExportDetector(build()), noise_images()
    one, other = module(*batch_of(images, fill=0)), module(*batch_of(images, fill=255))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_nothing_found_is_all_padding():
    detector = build("cascade-dprd", "model.test.score_thresh=0.999", spread=1e-4)
    outputs = run(ExportDetector(detector), noise_images())
    assert outputs["count"].tolist() == [0, 0]
    assert (outputs["labels"] == -1).all()
    assert not any(outputs[name].any() for name in ("boxes", "scores", "masks", "part_boxes"))


def test_boxes_only_models_have_no_masks():
    detector = build("dprd", with_masks=False)
    assert ExportDetector(detector).outputs == ["boxes", "scores", "labels", "part_boxes", "count"]


def test_the_detector_itself_stays_as_it_was():
    detector = build("dprd", "model.backbone.norm=frozen_bn")
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    ExportDetector(detector)
    assert type(detector.roi_heads.pooler) is RegionPooler
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_bins_that_shift_are_refused():
    with pytest.raises(ValueError, match="bins that shift"):
        ExportDetector(build("dprd", "model.parts.mode=pooling"))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_the_pooler_has_the_values_of_the_differentiable_one(aligned, ratio):
    torch.manual_seed(0)
    maps = [torch.randn(2, 5, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    strides = (4, 8, 16, 32)
    low = torch.rand(40, 2) * 60
    boxes = torch.cat((low, low + torch.rand(40, 2) ** 2 * 90), dim=1)  # of all levels, some beyond the maps
    image = torch.arange(40) % 2
    rois = RoIs(boxes, image, image[:, None].expand(-1, 2))
    parts = boxes[:, None] + torch.rand(40, 4, 4)
    pooler = RegionPooler(strides, ratio, "own", 28.0, aligned=aligned)
    assert set(pooler.levels(boxes).tolist()) == {0, 1, 2, 3}

    def features(table):
        return RoIFeatures(table, table, torch.tensor([[64.0, 96.0]] * 2), None)

    expected = pooler(rois, parts, features(FeatureTable.build(maps, strides)), 7)
    found = ExportPooler.like(pooler)(rois, parts, features(Pyramid.of(maps, strides)), 7)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_pyramid_is_the_table_that_build_makes():
    maps = [torch.randn(2, 3, 4, 6), torch.randn(2, 3, 2, 3)]
    for a, b in zip(FeatureTable.build(maps, (4, 8)), Pyramid.of(maps, (4, 8)), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_groups_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 10, 2]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    # row 1 falls to row 0 (IoU 0.9); row 2 is another group's; row 3 has IoU 0.2 with row 0
    keep = nms_by_group(boxes, scores, torch.tensor([0, 0, 5, 0]), torch.tensor(10.0), 0.5)
    assert keep.tolist() == [0, 2, 3]
