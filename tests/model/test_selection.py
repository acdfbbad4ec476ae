import torch

from dprd_cli.model.rois import RoIs
from dprd_cli.model.selection import (
    BoxDetails,
    DetectionSelector,
    StageOutputs,
    split_detections,
    split_traces,
)

SIZES = [(50, 60), (40, 30)]
#: Four RoIs, of images 0, 0, 1, 0; two classes and the background.
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [5, 5, 20, 20], [30, 30, 31, 40]])
PROBS = torch.tensor([[0.6, 0.3, 0.1], [0.7, 0.1, 0.2], [0.05, 0.55, 0.4], [0.02, 0.5, 0.48]])


def outputs_of(boxes=BOXES, probs=PROBS):
    image = torch.tensor([0, 0, 1, 0])
    stages = [RoIs(boxes + k, image, torch.arange(8).view(4, 2) + 100 * k) for k in (0, 1)]
    parts = [boxes[:, None].expand(-1, 4, -1) + k for k in (0, 1)]
    return StageOutputs(boxes[:, None], probs, stages, parts)


def select(outputs, **settings):
    usual = {"num_classes": 2, "score_thresh": 0.2, "nms_iou": 0.5, "detections_per_image": 10}
    return DetectionSelector(**{**usual, **settings}).select(outputs, 2)


def test_the_best_of_each_class_and_image_stay():
    kept = select(outputs_of())
    # class 0: row 1 (0.7) suppresses row 0 (IoU 0.9); class 1: rows 3, 0 and, of image 1, row 2
    assert kept.counts == [3, 1]
    assert kept.rows.tolist() == [1, 3, 0, 2]
    assert kept.labels.tolist() == [0, 1, 1, 1]
    torch.testing.assert_close(kept.scores, torch.tensor([0.7, 0.5, 0.3, 0.55]))
    assert torch.equal(kept.rois.boxes, BOXES[kept.rows])
    assert kept.rois.image_index.tolist() == [0, 0, 0, 1]
    assert torch.equal(kept.rois.anchor_index, outputs_of().stage_rois[1].anchor_index[kept.rows])


def test_limits_of_number_size_and_score():
    assert select(outputs_of(), detections_per_image=1).rows.tolist() == [1, 2]
    assert select(outputs_of(), min_size=2.0).rows.tolist() == [1, 0, 2]  # row 3 is 1 wide
    assert select(outputs_of(), score_thresh=0.9).counts == [0, 0]


def test_only_some_classes_and_these_before_the_number_is_limited():
    assert select(outputs_of(), classes=(1,)).rows.tolist() == [3, 0, 2]
    assert select(outputs_of(), classes=(1,), detections_per_image=1).rows.tolist() == [3, 2]
    assert select(outputs_of(), classes=(0, 1)).rows.tolist() == select(outputs_of()).rows.tolist()


def test_suppression_over_all_classes():
    kept = select(outputs_of(), class_agnostic=True)
    # row 1 as class 0 (0.7) suppresses row 0 as class 1 (0.3, IoU 0.9) too; images stay apart
    assert kept.rows.tolist() == [1, 3, 2]
    assert kept.labels.tolist() == [0, 1, 1]


def test_another_choice_leaves_the_selector_as_it_is():
    usual = DetectionSelector(num_classes=2, score_thresh=0.2, nms_iou=0.5, detections_per_image=10)
    assert vars(usual.chosen()) == vars(usual)
    other = usual.chosen(classes=(1,), max_detections=3, nms_iou=0.9, class_agnostic=True)
    assert (other.classes, other.detections_per_image, other.most_in_tiles) == ((1,), 3, 3)
    assert (other.nms_iou, other.class_agnostic, other.score_thresh) == (0.9, True, 0.2)
    assert vars(other.chosen(max_detections=4)) == {
        **vars(other),
        "detections_per_image": 4,
        "most_in_tiles": 4,
    }
    assert (usual.classes, usual.class_agnostic, usual.nms_iou) == (None, False, 0.5)
    # row 1 and row 0 overlap by 0.9
    assert usual.chosen(nms_iou=0.95).select(outputs_of(), 2).rows.tolist() == [1, 0, 3, 0, 2]


def test_what_is_not_finite_is_no_detection():
    boxes = BOXES.clone()
    boxes[1, 2] = float("inf")
    assert 1 not in select(outputs_of(boxes)).rows.tolist()


def test_boxes_per_class_are_those_of_the_label():
    outputs = outputs_of()._replace(boxes=torch.stack((BOXES, BOXES + 100), dim=1))
    kept = select(outputs)
    assert torch.equal(kept.rois.boxes, BOXES[kept.rows] + 100.0 * kept.labels[:, None])


def test_everything_is_cut_into_images():
    outputs = outputs_of()
    kept = select(outputs)
    details = BoxDetails(torch.rand(4, 28, 28), torch.tensor([0.5, 1.0, 1.0, 0.2]), torch.rand(4, 4, 4))
    first, second = split_detections(kept, details, SIZES)
    assert (len(first), len(second)) == (3, 1)
    assert [first.image_size, second.image_size] == SIZES
    torch.testing.assert_close(second.mask_scores, torch.tensor([0.55 * 0.2]))
    assert torch.equal(torch.cat((first.masks, second.masks)), details.masks)
    traces = split_traces(kept, outputs, SIZES)
    assert [trace.image_size for trace in traces] == SIZES
    assert torch.equal(traces[1].boxes, torch.stack((BOXES[2], BOXES[2] + 1))[None])
    assert traces[1].anchor_index.tolist() == [[[4, 5], [104, 105]]]
    assert torch.equal(traces[0].part_boxes[0, 1], BOXES[1].expand(4, -1) + 1)


def test_without_masks_and_parts_there_are_none():
    outputs = outputs_of()._replace(stage_part_boxes=[])
    kept = select(outputs)
    found = split_detections(kept, BoxDetails(None, None, None), SIZES)[0]
    assert (found.masks, found.mask_scores, found.part_boxes) == (None, None, None)
    assert split_traces(kept, outputs, SIZES)[0].part_boxes is None
    found = split_detections(kept, BoxDetails(torch.rand(4, 28, 28), None, None), SIZES)[0]
    assert torch.equal(found.mask_scores, found.scores)  # without a MaskIoU head
