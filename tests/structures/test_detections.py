import pytest
import torch

from dprd_cli.structures.detections import CascadeTrace, Detections, Target


def found(count=3):
    boxes = torch.tensor([[0.0, 0, 10, 20]]).repeat(count, 1) + torch.arange(count)[:, None]
    masks, parts = torch.rand(count, 7, 7), boxes[:, None].repeat(1, 4, 1)
    scores = torch.linspace(0.9, 0.5, count)
    return Detections(boxes, scores, torch.arange(count), (40, 80), masks=masks, part_boxes=parts)


def trace(count=3, parts=True):
    boxes = found(count).boxes[:, None].repeat(1, 2, 1)
    index = torch.arange(4 * count).view(count, 2, 2)
    return CascadeTrace(boxes, index, boxes[:, :, None].repeat(1, 1, 4, 1) if parts else None, (40, 80))


both = pytest.mark.parametrize("rows", [found(), trace()], ids=["detections", "trace"])


def test_rows_are_selected_in_every_field():
    all_of_them = found()
    kept = all_of_them[torch.tensor([2, 0])]
    assert len(kept) == 2
    assert kept.labels.tolist() == [2, 0]
    assert torch.equal(kept.masks, all_of_them.masks[[2, 0]])
    assert kept.part_boxes[0, 0].tolist() == [2, 2, 12, 22]
    assert kept.mask_scores is None
    way = trace()[torch.tensor([False, False, True])]
    assert len(way) == 1
    assert way.anchor_index.tolist() == [[[8, 9], [10, 11]]]
    assert way.part_boxes.shape == (1, 2, 4, 4)
    assert trace(parts=False)[:1].part_boxes is None


@both
def test_another_frame_scales_boxes_and_nothing_else(rows):
    other = rows.resize((80, 40))  # twice as high, half as wide
    assert other.image_size == (80, 40)
    scale = torch.tensor([0.5, 2.0, 0.5, 2.0])
    assert torch.equal(other.boxes, rows.boxes * scale)
    assert torch.equal(other.part_boxes, rows.part_boxes * scale)
    assert rows.image_size == (40, 80)
    same = "anchor_index" if isinstance(rows, CascadeTrace) else "masks"
    assert torch.equal(getattr(other, same), getattr(rows, same))


@both
def test_every_tensor_goes_to_the_device(rows):
    moved = rows.to("meta")
    assert moved.boxes.is_meta
    assert moved.part_boxes.is_meta
    assert moved.image_size == rows.image_size


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Detections(torch.zeros(2, 5), torch.zeros(2), torch.zeros(2), (1, 1)),
            "boxes: expected shape (_, 4), but got (2, 5)",
        ),
        (
            lambda: Detections(torch.zeros(2, 4), torch.zeros(3), torch.zeros(2), (1, 1)),
            "scores: expected shape (2), but got (3,)",
        ),
        (
            lambda: CascadeTrace(torch.zeros(2, 3, 4), torch.zeros(2, 2, 2), None, (1, 1)),
            "anchor_index: expected shape (2, 3, 2), but got (2, 2, 2)",
        ),
        (
            lambda: CascadeTrace(torch.zeros(2, 3, 4), torch.zeros(2, 3, 2), torch.zeros(2, 3, 4), (1, 1)),
            "part_boxes: expected shape (2, 3, _, 4), but got (2, 3, 4)",
        ),
        (
            lambda: Target(torch.zeros(1, 4), torch.zeros(1), (8, 9), torch.zeros(1, 9, 8)),
            "masks: expected shape (1, 8, 9), but got (1, 9, 8)",
        ),
    ],
)
def test_shapes_must_agree(build, message):
    with pytest.raises(ValueError, match="expected shape") as caught:
        build()
    assert str(caught.value) == message


def test_objects_carry_a_mask_where_there_are_masks():
    with_masks = Target(torch.zeros(2, 4), torch.zeros(2), (3, 3), torch.zeros(2, 3, 3).bool())
    without = Target(torch.zeros(2, 4), torch.zeros(2), (3, 3))
    assert with_masks.has_mask.tolist() == [True, True]
    assert without.has_mask.tolist() == [False, False]
    assert without.to("meta").boxes.is_meta
    assert len(without) == 2
