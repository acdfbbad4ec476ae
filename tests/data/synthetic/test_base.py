"""What built-in data sets share: an index, splits, and their COCO form."""

import pytest

from dprd_cli.data.synthetic.dataset import SyntheticDataset


def test_index_beyond_the_end():
    dataset = SyntheticDataset("val", 3)
    assert len(list(dataset)) == 3
    with pytest.raises(IndexError, match=r"expected 0\.\.2, but got 3"):
        dataset[3]


def test_unknown_split():
    with pytest.raises(ValueError, match="expected train or val, but got 'test'"):
        SyntheticDataset("test", 3)  # type: ignore[arg-type]


def test_coco_is_made_once_and_matches_the_samples():
    dataset = SyntheticDataset("val", 6)
    tree = dataset.coco()
    assert dataset.coco() is tree
    assert [c["name"] for c in tree["categories"]] == list(dataset.class_names)
    assert [c["id"] for c in tree["categories"]] == list(dataset.category_ids)
    assert len(tree["annotations"]) == sum(len(sample.labels) for sample in dataset)
