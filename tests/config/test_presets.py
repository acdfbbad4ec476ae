"""The learning rate follows the batch size, unless it was given with it."""

import pytest

from dprd_cli.config.presets import resolve

COCO = "data.path=x"


def rate(*overrides, **how):
    notes = []
    config = resolve(overrides=[COCO, *overrides], notes=notes, **how)
    return config.train.lr, notes


def test_sgds_rate_is_scaled_linearly_and_said():
    scaled, notes = rate("train.batch_size=4")  # 1x: 0.02 for 16 images
    assert scaled == pytest.approx(0.005)
    assert notes == [
        "learning rate 0.005: 0.02 is for 16 images a step, scaled linearly to 4 (train.lr sets it, "
        "train.scale_lr=false keeps it); the 90000 steps see 360,000 images"
    ]


def test_adamws_rate_is_scaled_by_the_square_root():
    scaled, notes = rate("train.batch_size=16", schedule="photos")  # 1e-3 for 4 images
    assert scaled == pytest.approx(2e-3)
    assert "by the square root" in notes[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.batch_size=16",),
        ("train.batch_size=4", "train.lr=0.02"),
        ("train.batch_size=4", "train.scale_lr=false"),
        ("train.accumulate=4",),
    ],
)
def test_a_rate_that_was_given_or_fits_stays(overrides):
    assert rate(*overrides) == (0.02, [])


@pytest.mark.parametrize(("schedule", "steps"), [("1x", 90_000), ("3x", 270_000)])
def test_swin_l_is_trained_as_is_usual_for_it(schedule, steps):
    train = resolve(preset="cascade-dprd-swin-l", schedule=schedule, overrides=[COCO]).train
    found = train.optimizer, train.lr, train.weight_decay, train.steps
    assert found == ("adamw", 1e-4, 0.05, steps)
    # what a schedule for few images says stands
    assert resolve(preset="cascade-dprd-swin-l", schedule="photos", overrides=[COCO]).train.lr == 1e-3


def test_a_file_gives_a_rate_for_its_batch_size(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[train]\nlr = 0.1\nbatch_size = 8\n")
    assert rate(config_file=path) == (0.1, [])
    assert rate("train.batch_size=2", config_file=path)[0] == pytest.approx(0.025)
    path.write_text("[train]\nlr = 0.1\n")  # for the schedule's 16
    assert rate("train.batch_size=8", config_file=path)[0] == pytest.approx(0.05)


def test_a_written_config_is_not_scaled_again(tmp_path):
    from dprd_cli.config.tree import to_toml

    first = resolve(overrides=[COCO, "train.batch_size=4"])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(first))
    again = resolve(config_file=path)
    assert again == first
