"""COCO's classes: eighty of ninety ids."""

from dprd_cli.data.coco_classes import COCO_CLASSES, COCO_CLASSES_WITH_GAPS, GAP


def test_eighty_classes_with_the_ids_of_the_annotation_files():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES.values())) == 80
    assert list(COCO_CLASSES) == sorted(COCO_CLASSES)
    assert (min(COCO_CLASSES), max(COCO_CLASSES)) == (1, 90)
    # the ids that COCO left out, from the 91 categories of the first paper
    assert sorted(set(range(1, 91)) - set(COCO_CLASSES)) == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert [COCO_CLASSES[i] for i in (1, 18, 44, 90)] == ["person", "dog", "bottle", "toothbrush"]


def test_gaps_have_names_of_their_own():
    assert list(COCO_CLASSES_WITH_GAPS) == list(range(1, 91))
    assert len(set(COCO_CLASSES_WITH_GAPS.values())) == 90
    gaps = {i: name for i, name in COCO_CLASSES_WITH_GAPS.items() if name.startswith(GAP)}
    assert {i: name for i, name in COCO_CLASSES_WITH_GAPS.items() if i not in gaps} == COCO_CLASSES
    assert len(gaps) == 10
