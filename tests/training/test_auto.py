"""Training on own data without a schedule: fitted, said, written down, never chosen anew."""

import pytest

from data_folders import write_cups
from dprd_cli.config.tree import differences, to_toml
from dprd_cli.errors import UsageError
from dprd_cli.training.auto import machine_facts, steps_of
from dprd_cli.training.start import TrainOptions, new_config, resumed_config


@pytest.fixture
def cups(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return str(write_cups(tmp_path / "cups"))


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def test_own_data_gets_a_fitted_schedule_with_its_reasons(cups, caplog):
    caplog.set_level("INFO", logger="dprd_cli")
    config = new_config(TrainOptions(data=cups, device="cpu"))
    assert (config.schedule, config.preset) == ("auto", "cascade-dprd-medium")
    assert (config.model.backbone.name, config.model.backbone.weights) == ("mobilenet_v2", "none")
    assert (config.train.batch_size, config.data.test_min_size) == (4, 192)
    lines = said(caplog)
    assert lines[0].startswith("auto: 7 images (short side 24), 6 objects (6 with masks), 2 classes; the CPU")
    assert [line.split()[0] for line in lines[1:6]] == [
        "preset",
        "backbone",
        "image",
        "batch",
        str(config.train.steps),
    ]
    assert new_config(TrainOptions(data=cups, device="cpu")) == config


def test_options_win_over_what_is_fitted(cups, tmp_path):
    options = TrainOptions(
        data=cups, device="cpu", preset="dprd-small", backbone="r10", epochs=4, batch_size=2, lr=1e-4,
        image_size=64, seed=5, workers=1, overrides=["train.eval_every=3"],
    )  # fmt: skip
    config = new_config(options)
    train, data = config.train, config.data
    # 4 epochs of 7 images in batches of 2
    assert (config.preset, train.steps, train.batch_size, train.lr) == ("dprd-small", 14, 2, 1e-4)
    assert (data.test_min_size, max(data.train_min_sizes), data.workers) == (64, 64, 1)
    assert (train.seed, train.eval_every) == (5, 3)
    file = tmp_path / "my.toml"
    file.write_text('schedule = "photos"\n')
    assert new_config(TrainOptions(data=cups, config_file=file)).schedule == "photos"
    assert new_config(TrainOptions(data=cups, schedule="1x")).train.steps == 90_000


def test_values_that_are_written_as_texts_are_numbers(cups):
    texts = ['data.test_min_size="64"', 'train.batch_size="2"', 'train.steps="9"']
    config = new_config(TrainOptions(data=cups, device="cpu", overrides=texts))
    assert (max(config.data.train_min_sizes), config.train.batch_size, config.train.eval_every) == (64, 2, 3)
    with pytest.raises(UsageError, match=r"train\.batch_size = 0"):
        new_config(TrainOptions(data=cups, batch_size=0))


def test_a_run_keeps_what_was_chosen(cups, tmp_path, caplog):
    """As plain values: neither a resumed run nor one from its file chooses again."""
    config = new_config(TrainOptions(data=cups, device="cpu", backbone="r10"))
    (tmp_path / "config.toml").write_text(to_toml(config))
    (tmp_path / "cups" / "train.json").unlink()  # it is not even looked at
    assert resumed_config(tmp_path, TrainOptions()) == config
    write_cups(tmp_path / "cups")
    caplog.clear()
    caplog.set_level("INFO", logger="dprd_cli")
    assert new_config(TrainOptions(config_file=tmp_path / "config.toml")) == config
    assert said(caplog) == []


def test_a_detector_to_start_from_brings_its_network(cups):
    config = new_config(TrainOptions(data=cups, device="cpu", weights="demo"))
    demo = new_config(TrainOptions(data=cups, device="cpu", weights="demo", schedule="photos"))
    assert config.preset == "cascade-dprd-small"
    assert config.model == demo.model
    assert (config.schedule, config.train.weights) == ("auto", "demo")


def test_epochs_and_image_size_with_a_named_schedule(cups):
    plain = new_config(TrainOptions(data=cups, schedule="1x", batch_size=2))
    config = new_config(TrainOptions(data=cups, schedule="1x", batch_size=2, epochs=1.5, image_size=400))
    assert config.train.steps == steps_of(1.5, config) == 5  # 9 images: one of 7 has no object
    assert (config.data.test_min_size, config.data.max_size) == (400, 666)  # half of 800, 1333
    assert config.data.train_min_sizes == (320, 336, 352, 368, 384, 400)
    changed = {key.partition(".")[0] for key in differences(plain, config)}
    assert changed == {"data", "train"}
    small = new_config(TrainOptions(epochs=1, overrides=["data.synthetic_train=12"]))
    assert small.train.steps == 2  # the built-in schedule has 6 images a step


def test_a_resumed_run_can_be_given_epochs_and_a_rate(cups, tmp_path):
    config = new_config(TrainOptions(data=cups, device="cpu", steps=2))
    (tmp_path / "config.toml").write_text(to_toml(config))
    resumed = resumed_config(tmp_path, TrainOptions(epochs=2, lr=1e-5, batch_size=2, workers=0))
    assert (resumed.train.steps, resumed.train.lr, resumed.data.workers) == (7, 1e-5, 0)


@pytest.mark.parametrize("resume", [False, True])
def test_steps_and_epochs_exclude_each_other(tmp_path, resume):
    (tmp_path / "config.toml").touch()
    options = TrainOptions(steps=1, epochs=1)
    with pytest.raises(UsageError, match=r"^--steps, --epochs: choose one"):
        resumed_config(tmp_path, options) if resume else new_config(options)


@pytest.mark.parametrize("epochs", [0, -1, float("nan"), float("inf")])
def test_epochs_are_a_number_above_0(epochs):
    with pytest.raises(UsageError, match=r"^--epochs .*: expected a number above 0"):
        new_config(TrainOptions(epochs=epochs))


def test_the_machine_is_measured():
    found = machine_facts("cpu")
    assert (found.device, found.name) == ("cpu", "the CPU")
    assert found.cores >= 1
    assert found.memory > 1e8
