import pytest
import torch

from dprd_cli.errors import UsageError
from dprd_cli.model.parts import DeformableParts, FixedParts, decompose, deform, move_parts
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.ops.roi_align import FeatureTable, roi_align

BOX = torch.tensor([[10.0, 20.0, 50.0, 60.0]])  # 40 x 40
LIMITS = torch.tensor([[100.0, 100.0]])


def test_four_parts_are_left_right_upper_bottom():
    expected = [[10, 20, 30, 60], [30, 20, 50, 60], [10, 20, 50, 40], [10, 40, 50, 60]]
    assert decompose(BOX, 4)[0].tolist() == expected


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_every_count_covers_the_box_and_has_its_parts(count: int):
    parts = decompose(BOX, count)[0]
    assert parts.shape == (count, 4)
    assert parts[:, :2].min(dim=0).values.tolist() == [10, 20]
    assert parts[:, 2:].max(dim=0).values.tolist() == [50, 60]
    assert len({tuple(part) for part in parts.tolist()}) == count


def test_eq_2_by_hand():
    # Left half: x 10..30, y 20..60, so w=20, h=40, centre (20, 40). dx=0.25 -> 25, dy=-0.1 -> 36,
    # w*exp(ln 1.5)=30 -> x 10..40, h*exp(ln 0.5)=20 -> y 26..46
    offsets = torch.tensor([0.25, -0.1, 1.5, 0.5])
    offsets[2:] = offsets[2:].log()
    moved = move_parts(decompose(BOX, 4)[0, 0], offsets)
    torch.testing.assert_close(moved, torch.tensor([10.0, 26.0, 40.0, 46.0]))


def test_zero_offsets_are_the_reference_to_the_last_bit():
    boxes = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 50
    boxes[:, 2:] += boxes[:, :2] + 1
    reference = decompose(boxes, 4)
    assert torch.equal(move_parts(reference, torch.zeros_like(reference)), reference)


def test_sigma_one_is_fixed_and_sigma_zero_lets_parts_go():
    reference = decompose(BOX, 4)
    offsets = torch.full_like(reference, 0.7)
    fixed = deform(reference, offsets, LIMITS, 1.0)
    assert torch.equal(fixed.boxes, reference)
    assert fixed.fallback.all()
    free = deform(reference, offsets, LIMITS, 0.0)
    assert not free.fallback.any()
    assert (free.iou < 0.5).any()


def test_fallback_below_sigma_and_where_empty():
    reference = decompose(BOX, 2)
    offsets = torch.zeros_like(reference)
    offsets[0, 0, 0] = 0.2  # shifted by a fifth: IoU 0.8/1.2 = 0.667
    offsets[0, 1, 0] = 0.5  # shifted by half: IoU 0.5/1.5 = 0.333
    parts = deform(reference, offsets, LIMITS, 0.5)
    assert parts.fallback.tolist() == [[False, True]]
    torch.testing.assert_close(parts.iou, torch.tensor([[0.8 / 1.2, 1.0]]))
    gone = deform(
        reference, torch.full_like(offsets, 50.0).index_fill(-1, torch.tensor([2, 3]), 0), LIMITS, 0.0
    )
    assert gone.fallback.all()  # clipped away entirely: the reference even at sigma 0
    assert torch.equal(gone.boxes, reference)


def test_parts_are_clipped_to_the_image():
    reference = decompose(torch.tensor([[60.0, 60.0, 100.0, 100.0]]), 4)
    parts = deform(reference, torch.full_like(reference, 0.2), LIMITS, 0.0)
    assert parts.boxes.max() <= 100


@pytest.mark.parametrize(("straight_through", "has_gradient"), [(False, False), (True, True)])
def test_gradient_of_the_fallback(straight_through: bool, has_gradient: bool):
    offsets = torch.full((1, 4, 4), 0.6, requires_grad=True)
    parts = deform(decompose(BOX, 4), offsets, LIMITS, 0.9, straight_through=straight_through)
    assert parts.fallback.all()
    assert torch.equal(parts.boxes.detach(), decompose(BOX, 4))
    grad = torch.autograd.grad((parts.boxes * torch.arange(4.0)).sum(), offsets, allow_unused=True)[0]
    assert (grad is not None and bool(grad.abs().sum() > 0)) is has_gradient


def test_gradient_scale_into_the_rpn_feature():
    for scale in (0.0, 0.25, 1.0):
        torch.manual_seed(0)
        parts = DeformableParts(4, 8, 3, feature_grad_scale=scale)
        torch.nn.init.normal_(parts.layer.weight, std=0.1)
        rows = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        anchor_index = torch.tensor([[0, 0], [3, 2]])
        parts.offsets(anchor_index, rows).sum().backward()
        assert parts.layer.weight.grad is not None
        total = 0.0 if rows.grad is None else rows.grad.abs().sum().item()
        if scale == 0:
            assert total == 0
        else:
            full = total / scale
            assert full == pytest.approx(_full_gradient(), rel=1e-5)


def _full_gradient() -> float:
    torch.manual_seed(0)
    parts = DeformableParts(4, 8, 3, feature_grad_scale=1.0)
    torch.nn.init.normal_(parts.layer.weight, std=0.1)
    rows = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    parts.offsets(torch.tensor([[0, 0], [3, 2]]), rows).sum().backward()
    return rows.grad.abs().sum().item()


def test_offsets_at_rows_equal_the_whole_map():
    parts = DeformableParts(4, 8, 3)
    torch.nn.init.normal_(parts.layer.weight)
    torch.nn.init.normal_(parts.layer.bias)
    feature = torch.randn(1, 8, 4, 5)
    table = FeatureTable.build([feature], (4,))
    whole = parts.layer(feature).view(3, 4, 4, 4, 5)  # [A, P, 4, H, W]
    found = parts.offsets(torch.tensor([[7, 1]]), table.rows)  # row 7 is cell (1, 2)
    torch.testing.assert_close(found[0], whole[1, :, :, 1, 2])


def rois_at(boxes: torch.Tensor, anchor_index: torch.Tensor) -> RoIs:
    return RoIs(boxes, torch.zeros(len(boxes), dtype=torch.int64), anchor_index)


def features_of(rows: torch.Tensor, image_sizes: torch.Tensor) -> RoIFeatures:
    """Return features with the given rows of the RPN's hidden feature, for one image."""
    table = FeatureTable(rows, torch.tensor([[1, len(rows)]]), torch.tensor([0]), (4,))
    return RoIFeatures(table, table, image_sizes, None)


def test_parts_by_the_mean_and_reference_parts():
    parts = DeformableParts(4, 8, 3)
    torch.nn.init.normal_(parts.layer.bias, std=0.1)
    parts.mean_offsets.fill_(0.05)
    rois = rois_at(BOX, torch.zeros((1, 2), dtype=torch.int64))
    features = features_of(torch.zeros(1, 8), LIMITS)
    reference = FixedParts(4)(rois, features)
    still = deform(reference.boxes, torch.zeros(1, 4, 4), LIMITS, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(reference[:3], still[:3], strict=True))
    mean = move_parts(reference.boxes, torch.full((1, 4, 4), 0.05))
    by_mean = parts.by_mean()
    torch.testing.assert_close(by_mean(rois, features).boxes, mean)
    parts.mean_offsets.zero_()
    assert torch.equal(by_mean(rois, features).boxes, reference.boxes)  # it is the running mean itself
    assert not torch.equal(parts(rois, features).boxes, reference.boxes)


@pytest.mark.parametrize("parts", [FixedParts(4), DeformableParts(4, 8, 3).by_mean()])
def test_parts_that_do_not_learn_have_no_mean(parts):
    assert (parts.layer, parts.needs_targets, parts.running_means) == (None, False, [])
    with pytest.raises(UsageError, match="no mean part offsets"):
        parts.by_mean()


def test_running_mean_follows_the_offsets():
    parts = DeformableParts(2, 4, 1)
    torch.nn.init.constant_(parts.layer.bias, 0.3)
    rois = rois_at(BOX.expand(2, 4), torch.tensor([[0, 0], [1, 0]]))
    for _ in range(400):
        parts.track(rois, features_of(torch.randn(2, 4), LIMITS))
    ((tracked, _),) = parts.running_means
    assert tracked is parts.mean_offsets
    torch.testing.assert_close(parts.mean_offsets, torch.full((2, 4), 0.3), rtol=1e-2, atol=1e-2)
    parts.track(rois.select(torch.tensor([False, False])), features_of(torch.randn(2, 4), LIMITS))
    assert parts.mean_offsets.isfinite().all()


def test_parts_move_toward_the_informative_region():
    """Only the pixels right of the box carry the signal; the loss wants parts to see it."""
    feature = torch.zeros(1, 4, 32, 32)
    feature[..., 18:26] = torch.linspace(0, 1, 8)  # brighter the further right, columns 72..104 px
    box = torch.tensor([[40.0, 40.0, 80.0, 80.0]])
    parts = DeformableParts(4, 4, 1, sigma=0.0)
    optimizer = torch.optim.Adam(parts.parameters(), lr=0.001)
    table = FeatureTable.build([feature], (4,))
    rois = rois_at(box, torch.zeros((1, 2), dtype=torch.int64))
    features = features_of(torch.ones(1, 4), torch.tensor([[128.0, 128.0]]))
    index = torch.zeros(4, dtype=torch.int64)
    start = parts(rois, features).boxes.detach()
    for _ in range(60):
        optimizer.zero_grad()
        boxes = parts(rois, features).boxes[0]
        loss = -roi_align(table, boxes, index, index, 7).mean()
        loss.backward()
        optimizer.step()
    end = parts(rois, features).boxes.detach()
    centers = [(b[0, :, 0] + b[0, :, 2]) / 2 for b in (start, end)]
    assert (centers[1][1] - centers[0][1]) > 3  # the right part moved right by pixels
    assert (centers[1] >= centers[0] - 1e-3).all()
