import pytest
import torch

from dprd_cli.errors import UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.model.parts import PART_OFFSETS, decompose
from networks import SIZES, SMALL, detections_of, make_batch, move_parts, small_config


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.fusion.name=concat",),
        ("model.fusion.name=tree",),
        ("model.parts.count=2",),
        ("model.parts.count=8",),
        ("model.parts.count=16",),
        ("model.parts.refeed=carry",),
        ("model.parts.level=whole",),
        ("model.parts.feature_grad_scale=1.0",),
        ("model.parts.source=pyramid", "model.fusion.last=rab"),
        ("model.heads.sampling_ratio=0",),
        ("model.cascade.average_masks=false",),
    ],
)
def test_one_step_changes_every_trainable_parameter(overrides: tuple[str, ...]):
    torch.manual_seed(0)
    detector = build_detector(small_config("cascade-dprd-small", *overrides), num_classes=6)
    before = {name: p.detach().clone() for name, p in detector.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3, weight_decay=0)
    sum(detector(*make_batch()).losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.requires_grad)
    optimizer.step()
    same = [
        name for name, p in detector.named_parameters() if name in before and torch.equal(p, before[name])
    ]
    assert same == []
    detector.eval()
    found = detector(make_batch()[0])
    assert [d.image_size for d in found] == SIZES


@pytest.mark.parametrize("preset", ["dprd-small", "cascade-dprd-small"])
@pytest.mark.parametrize("how", ["zero offsets", "sigma 1"])
def test_limit_is_the_fixed_part_form_exactly(preset: str, how: str):
    def outputs(*overrides: str, move: bool):
        torch.manual_seed(0)
        detector = build_detector(
            small_config(preset, "model.test.score_thresh=0.01", *overrides), num_classes=6
        )
        if move:
            torch.nn.init.normal_(detector.part_layer.bias, std=0.1)
        torch.manual_seed(1)
        losses = detector(*make_batch()).losses
        return losses, detections_of(detector, make_batch()[0])

    # DPR-Net draws no random numbers, so that both networks start from the same weights
    fixed = outputs("model.parts.mode=fixed", move=False)
    limit = outputs("model.parts.sigma=1.0", move=True) if how == "sigma 1" else outputs(move=False)
    assert fixed[0].keys() == limit[0].keys()
    assert all(torch.equal(fixed[0][key], limit[0][key]) for key in fixed[0])
    for a, b in zip(fixed[1], limit[1], strict=True):
        assert len(a) > 0
        for name in ("boxes", "scores", "labels", "masks", "mask_scores", "part_boxes"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_moved_parts_change_the_result():
    torch.manual_seed(0)
    detector = build_detector(
        small_config("cascade-dprd-small", "model.test.score_thresh=0.01"), num_classes=6
    )
    torch.nn.init.normal_(detector.part_layer.bias, std=0.1)
    images = make_batch()[0]
    learned = detections_of(detector, images)[0]
    reference = detections_of(detector.with_part_offsets("reference"), images)[0]
    assert not torch.equal(learned.scores, reference.scores)
    again = detections_of(detector, images)[0]
    assert torch.equal(learned.scores, again.scores)  # the detector itself stays as it is


@pytest.mark.parametrize("part_offsets", PART_OFFSETS)
def test_other_part_offsets_share_every_weight(part_offsets: str):
    detector = build_detector(small_config("cascade-dprd-small"), num_classes=6).eval()
    other = detector.with_part_offsets(part_offsets)
    assert (other is detector) is (part_offsets == "learned")
    mine = {id(p): name for name, p in detector.named_parameters()}
    names = {mine[id(p)] for p in other.parameters()}
    moving = {"roi_heads.parts.layer.weight", "roi_heads.parts.layer.bias"}
    assert names == set(mine.values()) - (set() if part_offsets == "learned" else moving)
    buffers = {b.data_ptr() for b in detector.buffers()}
    assert {b.data_ptr() for b in other.buffers()} <= buffers
    assert other.training is detector.training is False
    assert (other.part_layer is not None) is (part_offsets == "learned")
    assert other.has_parts


def test_mean_part_offsets_are_those_of_equal_offsets_everywhere():
    torch.manual_seed(0)
    detector = build_detector(
        small_config("cascade-dprd-small", "model.test.score_thresh=0.01"), num_classes=6
    )
    offsets = 0.1 * torch.randn(4, 4)
    with torch.no_grad():
        detector.part_layer.bias.copy_(offsets.flatten().repeat(3))  # the same of each anchor
        detector.roi_heads.parts.mean_offsets.copy_(offsets)
    images = make_batch()[0]
    learned = detections_of(detector, images)[0]
    mean = detections_of(detector.with_part_offsets("mean"), images)[0]
    for name in ("boxes", "scores", "labels", "masks", "part_boxes"):
        assert torch.equal(getattr(learned, name), getattr(mean, name)), name


@pytest.mark.parametrize(
    ("mode", "part_offsets", "line"),
    [
        (
            "deformable",
            "learnt",
            "unknown kind of part offsets 'learnt' (did you mean 'learned'?); "
            "there are: learned, mean, reference",
        ),
        ("fixed", "mean", "no parts that move, and so no mean part offsets (model.parts.mode)"),
        ("none", "mean", "no parts that move, and so no mean part offsets (model.parts.mode)"),
        ("pooling", "mean", "no part boxes, the pooling bins shift (model.parts.mode=pooling)"),
        ("pooling", "reference", "no part boxes, the pooling bins shift (model.parts.mode=pooling)"),
    ],
)
def test_part_offsets_that_there_are_not(mode: str, part_offsets: str, line: str):
    with torch.device("meta"):
        config = small_config("dprd-small", f"model.parts.mode={mode}")
        detector = build_detector(config, num_classes=6)
    with pytest.raises(UsageError) as caught:
        detector.with_part_offsets(part_offsets)
    assert str(caught.value) == line


@pytest.mark.parametrize("mode", ["fixed", "none"])
def test_parts_that_do_not_move_are_reference_parts(mode: str):
    with torch.device("meta"):
        config = small_config("dprd-small", f"model.parts.mode={mode}")
        detector = build_detector(config, num_classes=6)
    other = detector.with_part_offsets("reference")
    assert other.has_parts is detector.has_parts is (mode == "fixed")
    assert list(other.state_dict()) == list(detector.state_dict())


def test_detections_have_every_field_in_its_frame():
    torch.manual_seed(0)
    detector = build_detector(
        small_config("cascade-dprd-small", "model.test.score_thresh=0.01"), num_classes=6
    )
    detector.eval()
    output = detector.detect(make_batch()[0])
    found, trace = output.detections[0], output.traces[0]
    num = len(found)
    assert 0 < num <= 100
    assert trace.image_size == found.image_size
    assert found.masks.shape == (num, 20, 20)
    assert found.part_boxes.shape == (num, 4, 4)
    assert trace.boxes.shape == (num, 3, 4)
    assert trace.part_boxes.shape == (num, 3, 4, 4)
    assert trace.anchor_index.shape == (num, 3, 2)
    # the second stage pools no parts: its entries are reference parts
    assert torch.equal(trace.part_boxes[:, 1], decompose(trace.boxes[:, 1], 4))
    assert found.boxes.min() >= 0
    assert found.boxes.max() <= 128
    assert (found.scores.diff() <= 0).all()
    assert (found.mask_scores <= found.scores).all()


def test_an_image_without_detections():
    detector = build_detector(
        small_config("cascade-dprd-small", "model.test.score_thresh=1.0"), num_classes=6
    )
    found = detections_of(detector, make_batch()[0])
    assert [len(d) for d in found] == [0, 0]
    assert found[0].masks.shape == (0, 20, 20)
    assert found[0].part_boxes.shape == (0, 4, 4)


def test_without_masks_there_is_no_mask_branch():
    detector = build_detector(small_config("cascade-dprd-small"), num_classes=6, with_masks=False)
    assert not any("mask" in key or "miou" in key for key in detector(*make_batch(masks=False)).losses)
    assert detections_of(detector, make_batch()[0])[0].masks is None


def test_padding_does_not_change_a_detection():
    torch.manual_seed(0)
    detector = build_detector(small_config("mask-rcnn-small", "model.test.score_thresh=0.01"), num_classes=6)
    image = make_batch()[0][0]
    alone = detections_of(detector, [image])[0]
    beside = detections_of(detector, [image, torch.zeros(3, 128, 128, dtype=torch.uint8)])[0]
    torch.testing.assert_close(alone.boxes, beside.boxes, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("preset", SMALL)
def test_described_boxes_are_what_detecting_says_of_them(preset: str):
    torch.manual_seed(0)
    detector = build_detector(small_config(preset, "model.test.score_thresh=0.01"), num_classes=6)
    move_parts(detector)
    image = make_batch()[0][0]
    found = detections_of(detector, [image])[0]
    assert len(found) > 0
    seen = detector.forward_with_given_boxes(image, found.boxes, found.labels)
    assert torch.equal(seen.masks, found.masks)
    assert torch.equal(seen.mask_scores(found.scores), found.mask_scores)
    assert (seen.part_boxes is None) is (found.part_boxes is None)
    assert seen.part_boxes is None or torch.equal(seen.part_boxes, found.part_boxes)


def test_masks_can_be_left_out():
    torch.manual_seed(0)
    detector = build_detector(
        small_config("cascade-dprd-small", "model.test.score_thresh=0.01"), num_classes=6
    )
    images = make_batch()[0]
    found, plain = detections_of(detector, images, masks=False)[0], detections_of(detector, images)[0]
    assert found.masks is None
    assert found.mask_scores is None
    assert torch.equal(found.boxes, plain.boxes)
    assert torch.equal(found.part_boxes, plain.part_boxes)
    seen = detector.forward_with_given_boxes(images[0], found.boxes, found.labels, masks=False)
    assert (seen.masks, seen.mask_ious, seen.mask_scores(found.scores)) == (None, None, None)


def test_the_device_is_that_of_the_weights():
    with torch.device("meta"):
        detector = build_detector(small_config("dprd-small"), num_classes=6)
    assert detector.device == next(detector.parameters()).device == torch.device("meta")
