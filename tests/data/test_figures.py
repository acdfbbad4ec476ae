import cv2
import numpy as np
import pytest

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.figures import draw_annotated, draw_augmented, draw_split, plot_statistics
from dprd_cli.data.statistics import split_statistics
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.files.output_folder import OutputChoice
from paths import visible

CONFIG = DataConfig(train_min_sizes=(96,), test_min_size=96, max_size=128, flip=1.0)


@pytest.fixture(scope="module")
def dataset():
    return SyntheticDataset("train", 14, 64, 0)


def read(path):
    return cv2.imread(str(path))


def test_sheets_hold_all_images(dataset, tmp_path):
    files = [*draw_annotated(dataset, CONFIG, tmp_path / "train_annotated", limit=20, seed=0)]
    assert [path.name for path in files] == ["train_annotated0.png", "train_annotated1.png"]  # 12 and 2
    assert all(abs(read(path).shape[1] - 2000) < 20 for path in files)


def test_the_seed_says_what_is_shown(dataset, tmp_path):
    def shown(seed, name):
        (tmp_path / name).mkdir()
        files = draw_annotated(dataset, CONFIG, tmp_path / name / "annotated", limit=4, seed=seed)
        batch = draw_augmented(dataset, CONFIG, tmp_path / name / "batch", limit=4, seed=seed)
        return read(*files), read(*batch)

    one, same, other = shown(0, "a"), shown(0, "b"), shown(1, "c")
    for number in range(2):
        np.testing.assert_array_equal(one[number], same[number])
        assert one[number].shape != other[number].shape or (one[number] != other[number]).any()


@pytest.mark.parametrize(
    "changes", [{"vflip": 1.0}, {"quarter_turns": 1.0}, {"rotate": 30.0}, {"copy_paste": 1.0}]
)
def test_what_training_sees_is_drawn_turned_and_pasted(dataset, tmp_path, changes):
    plain = read(*draw_augmented(dataset, CONFIG, tmp_path / "plain", limit=4, seed=0))
    other = CONFIG.model_copy(update=changes)
    changed = read(*draw_augmented(dataset, other, tmp_path / "changed", limit=4, seed=0))
    assert plain.shape == changed.shape
    assert (plain != changed).mean() > 0.02


def test_only_the_training_split_is_drawn_as_training_sees_it(dataset, tmp_path):
    for split, names in (
        ("train", ["train_annotated0.png", "train_batch0.png"]),
        ("val", ["val_annotated0.png"]),
    ):
        folder = tmp_path / split / "new"
        files = [*draw_split(dataset, split, CONFIG, OutputChoice(folder), limit=2, seed=0)]
        assert [path.name for path in files] == names
        assert visible(folder) == names


def test_plots_of_two_splits_and_of_nothing(dataset, tmp_path):
    rpn = RPNConfig()
    both = [
        split_statistics(SyntheticDataset(split, 3, 64, 0), split, CONFIG, rpn)  # type: ignore[arg-type]
        for split in ("train", "val")
    ]
    for path in plot_statistics(both, OutputChoice(tmp_path)):
        assert read(path).std() > 5
    empty = both[0].__class__(
        split="val",
        class_names=("cat",),
        num_images=2,
        num_crowds=0,
        labels=np.zeros(0, np.int64),
        image_index=np.zeros(0, np.int64),
        areas=np.zeros(0),
        sides=np.zeros((0, 2)),
        centres=np.zeros((0, 2)),
        has_mask=np.zeros(0, bool),
        anchor_sizes=(32.0,),
        aspect_ratios=(1.0,),
    )
    assert [path.name for path in plot_statistics([empty], OutputChoice(tmp_path / "empty"))] == [
        "classes.png",
        "objects.png",
    ]
