import numpy as np
import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.transforms import prepare
from dprd_cli.inference.tta import ImageView, detect_views, make_views, merge, view_sizes
from dprd_cli.model.build import build_detector
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import without_objects

PRESETS = ("mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd")
FIELDS = ("boxes", "scores", "labels", "masks", "mask_scores", "part_boxes")
QUICK = (
    "model.backbone.name=mobilenet_v2",
    "model.neck.channels=16",
    "model.rpn.post_nms_test=40",
    "model.heads.box_dim=16",
    "model.heads.mask_channels=8",
    "model.heads.mask_iou_channels=8",
    "model.heads.mask_iou_dim=16",
    "model.test.score_thresh=0.01",
    "model.test.detections_per_image=30",
)


def make(preset, *overrides, with_masks=True):
    """A detector that was never trained, finds many things, and whose parts have moved."""
    torch.manual_seed(0)
    config = resolve(preset=f"{preset}-small", overrides=[*QUICK, *overrides])
    detector = build_detector(config.model, num_classes=3, with_masks=with_masks).eval()
    for name, parameter in detector.named_parameters():
        if name.endswith(("box_head.classes.weight", "box_head.deltas.weight")):
            torch.nn.init.normal_(parameter, std=0.3)
    if detector.part_layer is not None:
        torch.nn.init.normal_(detector.part_layer.weight, std=0.05)
        torch.nn.init.normal_(detector.part_layer.bias, std=0.1)
    return detector


def noise_image(height=96, width=128, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def data(sizes, *, flip=False, test=96):
    return DataConfig(tta_min_sizes=sizes, tta_flip=flip, test_min_size=test)


def found_in(boxes, scores, labels, size=(100, 200)):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels),
        size,
    )


def assert_equal(found, expected, fields=FIELDS):
    for name in fields:
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None) == (b is None), name
        assert a is None or torch.equal(a, b), name


@pytest.mark.parametrize("size", [(96, 128), (150, 97)])
@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_test_size_alone_gives_the_plain_result_exactly(preset, with_masks, size):
    detector, image, config = make(preset, with_masks=with_masks), noise_image(*size), data((96,))
    plain = detector.detect([prepare(without_objects(image), config)[0]]).detections[0]
    found = detect_views(detector, image, config)
    assert len(found) > 5
    assert found.image_size == plain.image_size
    assert_equal(found, plain)
    assert_equal(found.resize(size), plain.resize(size))
    assert (found.masks is None) is not with_masks


def test_masks_of_the_last_stage_only_and_other_part_offsets_keep_the_law():
    detector = make("cascade-dprd", "model.cascade.average_masks=false")
    image, config = noise_image(), data((96,))
    for offsets in ("learned", "mean", "reference"):
        placed = detector.with_part_offsets(offsets)
        plain = placed.detect([prepare(without_objects(image), config)[0]]).detections[0]
        assert_equal(detect_views(placed, image, config), plain)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_mirrored_image_gives_the_mirrored_result(preset):
    detector, image, config = make(preset), noise_image(), data((96,), flip=True)
    found = detect_views(detector, image, config)
    mirrored = detect_views(detector, np.ascontiguousarray(image[:, ::-1]), config)
    assert len(found) == len(mirrored) > 5
    boxes = ImageView((96, 128), flipped=True).lift(mirrored.boxes, (96, 128))
    torch.testing.assert_close(boxes, found.boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(mirrored.scores, found.scores)
    assert torch.equal(mirrored.labels, found.labels)
    torch.testing.assert_close(mirrored.masks.flip(-1), found.masks, rtol=0, atol=1e-3)
    torch.testing.assert_close(mirrored.mask_scores, found.mask_scores, rtol=0, atol=1e-3)


def test_masks_are_the_mean_over_the_views_and_parts_are_the_plain_views():
    detector, image, config = make("cascade-dprd"), noise_image(), data((64, 96), flip=True)
    found = detect_views(detector, image, config)
    masks, ious = [], []
    for view in make_views((96, 128), config):
        seen = detector.forward_with_given_boxes(
            view.render(image), view.place(found.boxes, (96, 128)), found.labels
        )
        masks.append(seen.masks.flip(-1) if view.flipped else seen.masks)
        ious.append(seen.mask_ious)
    torch.testing.assert_close(found.masks, torch.stack(masks).mean(dim=0))
    torch.testing.assert_close(found.mask_scores, found.scores * torch.stack(ious).mean(dim=0))
    plain = detector.forward_with_given_boxes(
        ImageView((96, 128), flipped=False).render(image), found.boxes, found.labels
    )
    assert torch.equal(found.part_boxes, plain.part_boxes)


def test_the_plain_size_need_not_be_among_the_views():
    found = detect_views(make("dprd"), noise_image(), data((64, 128)))
    assert found.image_size == (96, 128)
    assert found.part_boxes.shape == (len(found), 4, 4)
    assert (found.scores.diff() <= 0).all()
    assert len(found) <= 30
    assert found.boxes.min() >= 0
    assert (found.boxes <= torch.tensor([128.0, 96, 128, 96])).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_found(preset):
    found = detect_views(
        make(preset, "model.test.score_thresh=1.0"), noise_image(), data((64, 96), flip=True)
    )
    assert len(found) == 0
    assert found.masks.shape[0] == found.mask_scores.shape[0] == 0
    assert (found.part_boxes is None) is ("dprd" not in preset)


@pytest.mark.parametrize("preset", PRESETS)
def test_masks_off(preset):
    detector, image, config = make(preset), noise_image(), data((64, 96), flip=True)
    found = detect_views(detector, image, config, masks=False)
    assert found.masks is None
    assert found.mask_scores is None
    assert_equal(found, detect_views(detector, image, config), ("boxes", "scores", "labels", "part_boxes"))


def test_default_sizes_are_detectron2s_and_follow_the_test_size():
    assert view_sizes(DataConfig()) == (400, 500, 600, 700, 800, 900, 1000, 1100, 1200)
    assert view_sizes(DataConfig(test_min_size=160)) == (80, 100, 120, 140, 160, 180, 200, 220, 240)
    assert len(make_views((480, 640), DataConfig())) == 18


def test_views_of_a_long_image_are_limited_and_none_is_taken_twice():
    config = DataConfig(tta_min_sizes=(10, 20, 40), tta_max_size=60, tta_flip=False)
    # 10 x 30; 20 x 60; 40 x 120 shrinks to 20 x 60
    assert make_views((100, 300), config) == [ImageView((10, 30), False), ImageView((20, 60), False)]


def test_views_map_there_and_back():
    boxes = torch.tensor([[10.0, 20.0, 50.0, 80.0]])
    view = ImageView((50, 400), flipped=True)
    # x doubles and becomes 400 - x, y halves
    assert view.place(boxes, (100, 200)).tolist() == [[300.0, 10.0, 380.0, 40.0]]
    assert torch.equal(view.lift(view.place(boxes, (100, 200)), (100, 200)), boxes)


def test_a_flipped_view_shows_the_mirrored_image():
    image = noise_image(10, 20)
    plain, flipped = (ImageView((30, 60), flip).render(image) for flip in (False, True))
    assert torch.equal(plain.flip(-1), flipped)
    assert plain.shape == (3, 30, 60)


def test_merging_keeps_the_best_of_each_object_and_class():
    first = found_in([[0, 0, 10, 10], [50, 50, 60, 60]], [0.8, 0.3], [0, 0])
    second = found_in([[0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30]], [0.9, 0.5, 0.4], [0, 1, 0])
    merged = merge([first, second], 0.5, 100)
    # 0.8 overlaps 0.9 by 90/100; 0.5 is of another class
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5, 0.4, 0.3])
    assert merged.labels.tolist() == [0, 1, 0, 0]
    assert merge([first, second], 0.5, 2).scores.tolist() == pytest.approx([0.9, 0.5])
    assert len(merge([first[:0], second[:0]], 0.5, 100)) == 0
    assert_equal(merge([first, first[:0]], 0.5, 100), first)


def test_merging_over_all_classes():
    first, second = found_in([[0, 0, 10, 10]], [0.8], [0]), found_in([[0, 0, 10, 9]], [0.9], [1])
    assert merge([first, second], 0.5, 100).labels.tolist() == [1, 0]
    assert merge([first, second], 0.5, 100, torch.zeros_like).labels.tolist() == [1]


def test_a_suppressed_detection_suppresses_nothing():
    # b overlaps a and c by 2/3 each (8 of 12), a and c overlap by 3/7: b goes, and c stays
    a, b, c = ([x, 0, x + 10, 10] for x in (0.0, 2.0, 4.0))
    merged = merge(
        [found_in([a], [0.9], [0]), found_in([b], [0.8], [0]), found_in([c], [0.7], [0])], 0.5, 100
    )
    assert merged.scores.tolist() == pytest.approx([0.9, 0.7])


def test_detections_of_one_view_do_not_suppress_each_other():
    same = found_in([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.9], [0, 0])
    assert_equal(merge([same], 0.5, 100), same)
